//! The backend on RocksDB; its types are named nowhere else.
//!
//! - One column family per [`Family`], all made at the first open; `default` stays empty.
//! - The log is always on, and recovery stops at its first damaged record, so what survives a power cut
//!   is a prefix of what was written; atomic flushes keep that true across families.
//! - The log is written when a write asks for it or at a sync, not with every write.
//! - Short reads and short writes without a sync run on the calling thread; everything that may wait for a disk runs
//!   on a bounded number of blocking threads ([`threads`]). What does not fit waits for its turn.
//! - After a failed write or sync every later one is refused as [`StoreError::Poisoned`]: what the files
//!   hold is known again only after they were opened anew. Reads go on.

mod database;
mod options;
mod read;
mod shared;
mod snapshot;
mod threads;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::rocksdb::ErrorKind;
use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::Family;

use self::database::Database;
use self::shared::Shared;
use self::snapshot::RocksDbSnapshot;
use self::threads::Threads;
use super::{Batch, Durability, FoundHome, IfMissing, Snapshot, StorageBackend};
use crate::StoreError;

/// The most keys or entries that are read on the calling thread.
const SHORT_READ: usize = 256;

/// The largest batch that is written on the calling thread.
const SHORT_WRITE_BYTES: usize = 256 * 1024;

/// How to open a [`RocksDbBackend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocksDbOptions {
    /// Where its files are, or will be.
    pub directory: PathBuf,
    /// Block cache and write buffers together; taken as it is needed, not at start.
    pub memory_bytes: u64,
    /// What to do in a directory without a database.
    pub missing: IfMissing,
}

/// An open RocksDB.
#[derive(Debug)]
pub struct RocksDbBackend {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

impl RocksDbBackend {
    /// As `storage.backend` names it.
    pub const NAME: &'static str = "rocksdb";

    /// The newest on-disk format it reads, and the one it writes.
    pub const FORMAT: u32 = 1;

    /// Opens a directory, making it at first.
    ///
    /// # Errors
    /// [`StoreError::Directory`], with nothing touched, for a directory that is in use, was written by
    /// another backend or a newer format, or is not ours; [`StoreError::Backend`] when RocksDB fails.
    ///
    /// # Cancel safety
    /// Safe: the database that a dropped call opens is closed again.
    pub async fn open(options: RocksDbOptions) -> Result<Self, StoreError> {
        let threads = Arc::new(Threads::new());
        let open = move || Ok(Arc::new(Shared::new(Database::open(&options)?)));
        let shared = threads.upkeep("open", open).await?;
        Ok(Self { shared, threads })
    }
}

#[async_trait]
impl StorageBackend for RocksDbBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let pinned = self.shared.pin()?;
        Ok(Arc::new(RocksDbSnapshot::new(Arc::clone(&self.shared), Arc::clone(&self.threads), pinned)))
    }

    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if keys.len() <= SHORT_READ {
            return self.shared.with(|database| read::get_many(database, None, family, keys));
        }
        let (shared, keys) = (Arc::clone(&self.shared), keys.to_vec());
        let get = move || shared.with(|database| read::get_many(database, None, family, &keys));
        self.threads.read("read", get).await
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if durability != Durability::Synced && batch.bytes() <= SHORT_WRITE_BYTES {
            let written = self.shared.with(|database| write::try_write(database, &batch, durability))?;
            if written == write::Attempt::Done {
                return Ok(());
            }
        }
        let shared = Arc::clone(&self.shared);
        let write = move || shared.with(|database| write::write(database, &batch, durability));
        self.threads.write("write", write).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.threads.write("sync", move || shared.with(write::sync)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.threads.closing("try its disk", move || shared.with(Database::probe)).await
    }

    async fn home(&self) -> Result<Option<FoundHome>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let home = move || shared.with(|database| database.directory.home());
        self.threads.upkeep("know its directory", home).await.map(Some)
    }

    async fn tidy(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.threads.upkeep("write its buffers", move || shared.with(write::tidy)).await
    }

    async fn size_on_disk(&self) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.threads.upkeep("measure its directory", move || shared.with(|database| database.directory.size())).await
    }

    async fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        let (shared, directory) = (Arc::clone(&self.shared), directory.to_owned());
        let checkpoint = move || shared.with(|database| database.checkpoint(&directory));
        self.threads.upkeep("write a checkpoint", checkpoint).await
    }

    /// Waits for the operations that have begun; those that wait for a thread end as
    /// [`StoreError::Closed`]. Goes on to its end if the call is dropped.
    async fn close(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.threads.closing("close", move || shared.close()).await
    }
}

fn failed(action: &'static str) -> impl Fn(::rocksdb::Error) -> StoreError {
    move |error| match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupted { what: "database file", message: error.into_string() },
        _ => StoreError::Backend { action, message: error.into_string() },
    }
}

/// Entries that a read has looked at.
type KeysRead = AtomicU64;

#[cfg(test)]
mod tests;
