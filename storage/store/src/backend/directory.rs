//! The claim on a data directory: who wrote it, in which format, and that nobody else has it open.
//!
//! Every backend with files calls [`DataDirectory::claim`] before it opens anything. The claim is a
//! small text file, [`MARKER`], and an advisory lock on the directory itself. A directory that is
//! refused is left exactly as it was found.

mod home;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::StoreError;

pub use home::HOME;

/// The file that names backend and format: `backend = "…"` and `format = N`, as TOML.
pub const MARKER: &str = "KALAMDB";

/// The marker before its rename; all that a crash during the very first open can leave behind.
const MARKER_DRAFT: &str = "KALAMDB.tmp";

/// What [`DataDirectory::probe`] writes and removes again; a crash can leave it behind.
const PROBE: &str = "KALAMDB.probe";

/// A probe is written in pieces of so many bytes.
const PROBE_PIECE: usize = 1 << 20;

/// What a fresh directory may hold: nothing, an unfinished claim, or what `mkfs` puts on a volume.
const HARMLESS: &[&str] = &[MARKER_DRAFT, PROBE, "lost+found"];

/// Who may use a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The backend's name.
    pub backend: &'static str,
    /// The newest format it reads, and the one it writes.
    pub format: u32,
}

/// A directory that this process, and no other, may open with one backend. Given up when dropped.
pub struct DataDirectory {
    path: PathBuf,
    _lock: Option<File>,
}

impl fmt::Debug for DataDirectory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("DataDirectory").field(&self.path).finish()
    }
}

impl DataDirectory {
    /// Claims `path`, creating it if it is missing. `recognises` is asked about a directory that has
    /// files but no marker (a copy made by the engine's own tools): `true` adopts it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] with one line that names the directory: in use, written by another
    /// backend or by a newer format, or full of somebody else's files. Nothing was touched then.
    pub fn claim(
        path: &Path,
        claim: Claim,
        recognises: impl FnOnce(&Path) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        create(path)?;
        let lock = lock(path)?;
        match read_marker(path)? {
            Some(marker) => check_marker(path, &marker, claim)?,
            None => {
                if !is_fresh(path)? && !recognises(path)? {
                    return Err(StoreError::Directory(format!(
                        "data directory {} is not empty and not KalamDB's: it has no file {MARKER}",
                        path.display()
                    )));
                }
                write_marker(path, claim)?;
            }
        }
        remove_if_there(&path.join(PROBE)).map_err(|error| refused(path, "cannot be written", &error))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether so many bytes can be written and synced here; leaves nothing behind.
    ///
    /// # Errors
    /// [`StoreError::Backend`] with the system's reason.
    pub fn probe(&self, bytes: u64) -> Result<(), StoreError> {
        let probe = self.path.join(PROBE);
        let written = write_zeros(&probe, bytes);
        let removed = remove_if_there(&probe);
        written.and(removed).map_err(|error| StoreError::Backend {
            action: "write into its directory",
            message: format!("{}: {error}", self.path.display()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files below it.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when it cannot be listed.
    pub fn size(&self) -> Result<u64, StoreError> {
        size_of(&self.path).map_err(|error| StoreError::Backend {
            action: "measure its directory",
            message: format!("{}: {error}", self.path.display()),
        })
    }
}

/// Writes the marker durably: after a power cut it is either whole or not there.
pub(super) fn write_marker(path: &Path, claim: Claim) -> Result<(), StoreError> {
    let write = || {
        let draft = path.join(MARKER_DRAFT);
        let mut file = File::create(&draft)?;
        file.write_all(format!("backend = \"{}\"\nformat = {}\n", claim.backend, claim.format).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path.join(MARKER))?;
        sync_directory(path)
    };
    write().map_err(|error| refused(path, "cannot be written", &error))
}

fn write_zeros(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0; PROBE_PIECE];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PROBE_PIECE as u64);
        file.write_all(zeros.get(..usize::try_from(piece).unwrap_or(PROBE_PIECE)).unwrap_or_default())?;
        left -= piece;
    }
    file.sync_all()
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn refused(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    StoreError::Directory(format!("data directory {} {what}: {error}", path.display()))
}

fn create(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(StoreError::Directory(format!("data directory {} is not a directory", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_durably(path).map_err(|error| refused(path, "cannot be created", &error))
        }
        Err(error) => Err(refused(path, "cannot be read", &error)),
    }
}

/// `create_dir_all`, and every new name synced in its parent, from the top down. For the server's own user alone: credentials
/// of storages are in it, and people's rows.
fn create_durably(path: &Path) -> std::io::Result<()> {
    let parent = parent(path);
    if !parent.try_exists()? {
        create_durably(parent)?;
    }
    let mut directory = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut directory, 0o700);
    match directory.create(path) {
        Ok(()) => sync_directory(parent),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Where a path's own name is kept.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Makes the names in a directory survive a power cut.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Locks the directory itself, which leaves no trace in it. Where the file system cannot do that, the
/// engine's own lock file is what remains.
fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let directory = File::open(path).map_err(|error| refused(path, "cannot be read", &error))?;
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(in_use(path)),
        Err(TryLockError::Error(error)) => {
            tracing::debug!(directory = %path.display(), %error, "directory cannot be locked");
            Ok(None)
        }
    }
}

/// The refusal of a directory that another server holds.
pub(super) fn in_use(path: &Path) -> StoreError {
    StoreError::Directory(format!("data directory {} is in use by another server", path.display()))
}

fn read_marker(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path.join(MARKER)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&path.join(MARKER), "cannot be read", &error)),
    }
}

fn of_another_backend(path: &Path, theirs: &str, ours: &str) -> StoreError {
    StoreError::Directory(format!(
        "data directory {} was written by backend {theirs:?}, not by {ours:?}: move the data with \
         BACKUP DATABASE and kalamdb-server restore, or set storage.backend back",
        path.display()
    ))
}

/// For a backend without files: refuses a directory that another backend keeps its data in, because a
/// start without that data would look like its loss. Touches nothing, whatever it finds.
///
/// # Errors
/// [`StoreError::Directory`] with one line.
pub fn refuse_other_backends(path: &Path, ours: &str) -> Result<(), StoreError> {
    match fs::read_to_string(path.join(MARKER)) {
        Ok(text) => match parse_marker(path, &text)? {
            (theirs, _) if theirs != ours => Err(of_another_backend(path, &theirs, ours)),
            _ => Ok(()),
        },
        // Nothing of ours there, or nothing that can be told from here.
        Err(_) => Ok(()),
    }
}

fn parse_marker(path: &Path, marker: &str) -> Result<(String, i64), StoreError> {
    // Only these two keys are looked at: a newer version may add others, and is refused by its number.
    let table = marker.parse::<toml::Table>().ok();
    let backend = table.as_ref().and_then(|table| table.get("backend")).and_then(toml::Value::as_str);
    let format = table.as_ref().and_then(|table| table.get("format")).and_then(toml::Value::as_integer);
    match (backend, format) {
        (Some(backend), Some(format @ 1..)) => Ok((backend.to_owned(), format)),
        _ => Err(StoreError::Directory(format!(
            "data directory {} has a damaged file {MARKER}: it must hold backend = \"…\" and format = N",
            path.display()
        ))),
    }
}

fn check_marker(path: &Path, marker: &str, claim: Claim) -> Result<(), StoreError> {
    let (backend, format) = parse_marker(path, marker)?;
    if backend != claim.backend {
        return Err(of_another_backend(path, &backend, claim.backend));
    }
    if format > i64::from(claim.format) {
        return Err(StoreError::Directory(format!(
            "data directory {} was written by a newer version: its format is {format}, this version reads up to {}",
            path.display(),
            claim.format
        )));
    }
    Ok(())
}

fn is_fresh(path: &Path) -> Result<bool, StoreError> {
    let entries = fs::read_dir(path).map_err(|error| refused(path, "cannot be read", &error))?;
    for entry in entries {
        let name = entry.map_err(|error| refused(path, "cannot be read", &error))?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A file that goes away while it is being counted counts as nothing.
fn size_of(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let size = match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => Err(error),
        };
        match size {
            Ok(size) => bytes += size,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
