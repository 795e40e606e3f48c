//! Directories, and which of them are known to be on disk.
//!
//! A new directory is durable once its parent was synced. One that is found is not durable for that: another group, or
//! a process that was killed, may have made it a moment ago. So each is synced into its parent once per process.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use quick_cache::sync::Cache;
use ulid::Ulid;

use crate::error::{Result, SegmentError};

/// Directories remembered; one that is forgotten costs a sync more.
const REMEMBERED: usize = 65_536;
/// What [`probe`] writes and removes again begins with this.
const PROBE: &str = ".kalamdb-probe-";

/// The directories of one storage that are known to be durable.
pub(super) struct DurableDirectories {
    known: Cache<PathBuf, ()>,
}

impl DurableDirectories {
    pub(super) fn new() -> Self {
        Self { known: Cache::new(REMEMBERED) }
    }

    pub(super) fn is_known(&self, directory: &Path) -> bool {
        self.known.get(directory).is_some()
    }

    pub(super) fn remember(&self, directory: PathBuf) {
        self.known.insert(directory, ());
    }

    pub(super) fn forget(&self, directory: &Path) {
        self.known.remove(directory);
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates a storage's directory and those above it, durably.
pub(super) fn create(root: &Path) -> Result<()> {
    let failed = |action| failed(root, action);
    let mut missing: Vec<&Path> = Vec::new();
    for directory in root.ancestors().filter(|directory| !directory.as_os_str().is_empty()) {
        match fs::metadata(directory) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(directory),
            Err(error) => return Err(failed("open")(error)),
        }
    }
    for directory in missing.into_iter().rev() {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create")(error)),
        }
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_directory(parent).map_err(failed("sync"))?;
    }
    Ok(())
}

/// Whether a storage's directory can be written.
pub(super) fn probe(root: &Path) -> Result<()> {
    // A name of its own for each: two may be at it.
    let path = root.join(format!("{PROBE}{}", Ulid::new()));
    File::create_new(&path).and_then(|mut file| file.write_all(b"KalamDB")).map_err(failed(root, "write into"))?;
    fs::remove_file(&path).map_err(failed(root, "write into"))
}

fn failed(root: &Path, action: &'static str) -> impl Fn(io::Error) -> SegmentError {
    move |error| SegmentError::io(action, &root.to_string_lossy(), &error)
}
