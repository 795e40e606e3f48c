//! An open database with the claim on its directory.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use kalamdb_commons::Family;
use parking_lot::RwLock;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamily, DB, Options};

use super::options::{Setup, UNUSED_FAMILY};
use super::{RocksDbBackend, RocksDbOptions, failed};
use crate::StoreError;
use crate::backend::IfMissing;
use crate::backend::directory::{self, Claim, DataDirectory};

const CLAIM: Claim = Claim { backend: RocksDbBackend::NAME, format: RocksDbBackend::FORMAT };

/// What an open writes beside the data it recovers, generously.
const ROOM_TO_OPEN: u64 = 4 << 20;

/// Fields are dropped in order: the directory is given up after the database is closed.
pub(super) struct Database {
    pub(super) db: DB,
    pub(super) directory: DataDirectory,
    /// Shared by all writes but those that have to know the last key there is.
    pub(super) appending: RwLock<()>,
    poisoned: AtomicBool,
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn open(options: &RocksDbOptions) -> Result<Self, StoreError> {
        match options.missing {
            IfMissing::Create => {}
            IfMissing::Refuse => check_is_there(&options.directory)?,
        }
        let directory = DataDirectory::claim(&options.directory, CLAIM, has_our_families)?;
        let path = directory.path();
        let files = Files::of(path)?;
        if !files.current && files.data {
            return Err(StoreError::Directory(format!(
                "data directory {} is damaged: it has data files but no file CURRENT",
                path.display()
            )));
        }
        let setup = Setup::new(options.memory_bytes);
        let db = DB::open_cf_descriptors(&setup.database, path, setup.families)
            .map_err(|error| if is_lock_failure(&error) { directory::in_use(path) } else { failed("open")(error) })?;
        tracing::info!(
            directory = %path.display(),
            sequence = db.latest_sequence_number(),
            recovered_log_bytes = files.log_bytes,
            "storage backend opened"
        );
        Ok(Self { db, directory, appending: RwLock::new(()), poisoned: AtomicBool::new(false) })
    }

    pub(super) fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(family.as_str()).ok_or_else(|| StoreError::Backend {
            action: "find a family",
            message: format!("{} was never made", family.as_str()),
        })
    }

    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    /// Keeps the result of a write or sync; its failure is the last one that is tried.
    pub(super) fn note<T>(&self, action: &'static str, result: Result<T, rocksdb::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.poisoned.store(true, Ordering::Release);
            failed(action)(error)
        })
    }

    /// The next open replays the logs into new files: there has to be room for as much again, and then some.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        check_is_there(self.directory.path())?;
        let files = Files::of(self.directory.path())?;
        self.directory.probe(files.log_bytes + ROOM_TO_OPEN)
    }

    /// RocksDB writes the copy under a name of its own, syncs and renames it. A copy that a crash left
    /// without its marker is recognised by its families.
    pub(super) fn checkpoint(&self, copy: &Path) -> Result<(), StoreError> {
        let taken = copy.try_exists().map_err(|error| directory_error(copy, &error.to_string()))?;
        if taken {
            return Err(directory_error(copy, "exists already"));
        }
        let checkpoint = Checkpoint::new(&self.db).map_err(failed("begin a checkpoint"))?;
        checkpoint.create_checkpoint(copy).map_err(failed("write a checkpoint"))?;
        directory::write_marker(copy, CLAIM)?;
        directory::sync_directory(directory::parent(copy)).map_err(|error| directory_error(copy, &error.to_string()))
    }
}

/// That a directory still holds the database that was open in it.
fn check_is_there(path: &Path) -> Result<(), StoreError> {
    if Files::of(path)?.current {
        return Ok(());
    }
    Err(StoreError::Directory(format!("data directory {} has lost its database", path.display())))
}

/// RocksDB's own lock, held by another process or by this one: what remains where directories cannot be locked.
fn is_lock_failure(error: &rocksdb::Error) -> bool {
    let message = error.to_string();
    ["IO error: While lock file", "IO error: lock hold by current process"]
        .iter()
        .any(|beginning| message.starts_with(beginning))
}

fn directory_error(path: &Path, reason: &str) -> StoreError {
    StoreError::Directory(format!("checkpoint directory {}: {reason}", path.display()))
}

/// Whether files without a marker are a database made by this backend and no other.
fn has_our_families(path: &Path) -> Result<bool, StoreError> {
    if !Files::of(path)?.current {
        return Ok(false);
    }
    let Ok(names) = DB::list_cf(&Options::default(), path) else {
        return Ok(false);
    };
    let known = |name: &String| name == UNUSED_FAMILY || Family::from_name(name).is_some();
    Ok(names.iter().any(|name| name == Family::System.as_str()) && names.iter().all(known))
}

/// What a directory holds, by names alone.
#[derive(Debug, Default)]
struct Files {
    /// The file by which RocksDB knows its database; without it, it would begin a new one over the data.
    current: bool,
    /// Tables or logs.
    data: bool,
    /// What the open has to replay.
    log_bytes: u64,
}

impl Files {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let list = || -> std::io::Result<Self> {
            let mut files = Self::default();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = Path::new(&name);
                if name == Path::new("CURRENT") {
                    files.current = true;
                } else if name.extension() == Some(OsStr::new("sst")) {
                    files.data = true;
                } else if name.extension() == Some(OsStr::new("log")) {
                    files.data = true;
                    files.log_bytes += entry.metadata()?.len();
                }
            }
            Ok(files)
        };
        list().map_err(|error| {
            StoreError::Directory(format!("data directory {} cannot be read: {error}", path.display()))
        })
    }
}
