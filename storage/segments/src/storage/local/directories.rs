//! Directories, and which of them are known to be on disk.
//!
//! A new directory is durable once its parent was synced. One that is found is not durable for that: another group, or
//! a process that was killed, may have made it a moment ago. So each is synced into its parent once per process.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use quick_cache::sync::Cache;

use crate::error::{Result, SegmentError};

/// Directories remembered; one that is forgotten costs a sync more.
const REMEMBERED: usize = 65_536;
/// What [`prepare`] writes and removes again.
const PROBE: &str = ".kalamdb-probe";

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

/// Creates a storage's directory and those above it, durably, and checks that it can be written.
pub(super) fn prepare(root: &Path) -> Result<()> {
    let failed = |action| move |error: io::Error| SegmentError::io(action, &root.to_string_lossy(), &error);
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
    let probe = root.join(PROBE);
    fs::write(&probe, b"KalamDB").map_err(failed("write into"))?;
    match fs::remove_file(&probe) {
        // Another server has just tried the same.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("write into")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
