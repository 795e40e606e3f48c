//! The border to a storage engine: ordered byte keys, atomic batches from one writer, snapshots.
//!
//! Nothing here names an engine. A backend is asynchronous and speaks in batches, so that one over a
//! network or an object store fits without a thread per request. [`BackendRegistry`] finds one by its
//! name; one conformance suite (`tests/it/conformance`) is what every one of them has to pass.

pub mod directory;
mod entries;
mod memory;
mod registry;
#[cfg(feature = "rocksdb")]
mod rocksdb;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::Family;

pub use entries::{Entries, Entry};
pub use memory::MemoryBackend;
pub use registry::{BackendOptions, BackendRegistry, IfMissing, OpenedBackend};
#[cfg(feature = "rocksdb")]
pub use rocksdb::{RocksDbBackend, RocksDbOptions};

use crate::StoreError;
use crate::codec::meta::Home;

/// The unit of space: every key of one family that begins with `prefix`.
///
/// A table's and a user's data are prefixes, not families: ten thousand tables cost no memory each,
/// and dropping one is a range delete.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The key space.
    pub family: Family,
    /// What every key begins with; prefix-free among partitions of one family.
    pub prefix: Bytes,
}

impl Partition {
    /// All keys of the partition.
    #[must_use]
    pub fn range(&self) -> KeyRange {
        KeyRange::prefix(self.family, &self.prefix)
    }
}

/// A half-open range of keys of one family: `start <= key < end`; no `end` means to the family's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The key space.
    pub family: Family,
    /// First key.
    pub start: Bytes,
    /// First key beyond.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(family: Family, prefix: &[u8]) -> Self {
        Self { family, start: Bytes::copy_from_slice(prefix), end: prefix_end(prefix) }
    }

    /// Whether a key of the family is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && self.end.as_ref().is_none_or(|end| key < end)
    }
}

/// The smallest key greater than every key beginning with `prefix`; none if there is no such key.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(Bytes::from(end))
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// What to read next: at most `limit` entries (and about `max_bytes` of them, one at least) of a range.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// The keys.
    pub range: KeyRange,
    /// The order.
    pub direction: Direction,
    /// Most entries in the answer; at least 1.
    pub limit: usize,
    /// About how many bytes of keys and values the answer may hold.
    pub max_bytes: usize,
}

impl ScanRequest {
    /// For backends: whether an answer that holds `entries` takes no further one.
    #[must_use]
    pub fn is_full(&self, entries: &Entries) -> bool {
        !entries.is_empty() && (entries.len() >= self.limit || entries.bytes() >= self.max_bytes)
    }

    /// For backends: what is left when `next` is the first key that did not fit behind `entries`.
    #[must_use]
    pub fn rest(&self, next: &[u8], entries: &Entries) -> Option<KeyRange> {
        let (last, _) = entries.last()?;
        let KeyRange { family, start, end } = self.range.clone();
        Some(match self.direction {
            Direction::Forward => KeyRange { family, start: Bytes::copy_from_slice(next), end },
            Direction::Backward => KeyRange { family, start, end: Some(Bytes::copy_from_slice(last)) },
        })
    }
}

/// One part of a scan.
#[derive(Debug, Clone, Default)]
pub struct ScanChunk {
    /// The entries, in the order asked for.
    pub entries: Entries,
    /// What is left of the range, to be asked for next; none at its end.
    pub rest: Option<KeyRange>,
}

/// One change in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The key space.
        family: Family,
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes a key, present or not.
    Delete {
        /// The key space.
        family: Family,
        /// The key.
        key: Bytes,
    },
    /// Removes every key of a range.
    DeleteRange(KeyRange),
}

/// Changes that happen together or not at all, applied in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    pub fn put(&mut self, family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.writes.push(Write::Put { family, key, value });
    }

    /// Removes a key.
    pub fn delete(&mut self, family: Family, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.writes.push(Write::Delete { family, key });
    }

    /// Removes a range.
    pub fn delete_range(&mut self, range: KeyRange) {
        self.writes.push(Write::DeleteRange(range));
    }

    /// The changes in order.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// What a write promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Readable, and in its place in the order; lost with the process, or by a power cut, before the next
    /// [`StorageBackend::sync`].
    Deferred,
    /// In the log and readable; lost by a power cut before the next [`StorageBackend::sync`], not by
    /// the end of the process.
    Logged,
    /// As `Logged`, and survives a power cut.
    Synced,
}

/// Reading, at one instant.
#[async_trait]
pub trait Snapshot: Send + Sync + fmt::Debug {
    /// The values of keys, in their order; `None` for an absent one.
    ///
    /// # Errors
    /// [`StoreError`] when the engine cannot read.
    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// The next part of a range.
    ///
    /// # Errors
    /// [`StoreError`] when the engine cannot read.
    ///
    /// # Cancel safety
    /// Safe: nothing is kept between calls.
    async fn scan(&self, request: ScanRequest) -> Result<ScanChunk, StoreError>;

    /// Entries looked at by scans and gets of this snapshot so far: what a query pays for.
    fn keys_read(&self) -> u64;
}

/// What a backend's files are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHome {
    /// As it is now.
    pub home: Home,
    /// Whether the mark was missing, and was made just now.
    pub is_new: bool,
}

/// A storage engine.
///
/// Reads see every batch whose [`write`](Self::write) returned before they began. Batches are atomic,
/// a crash included, and survive a crash in the order they were written: if one is there, all before
/// it are. What a backend shows when it was just opened is durable: a power cut takes none of it back.
#[async_trait]
pub trait StorageBackend: Send + Sync + fmt::Debug {
    /// The backend's name as in `storage.backend`; written into the data directory.
    fn name(&self) -> &'static str;

    /// An unchanging view of now.
    ///
    /// # Errors
    /// [`StoreError`] when the engine is closed or broken.
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Values as of now; see [`Snapshot::get_many`].
    ///
    /// # Errors
    /// [`StoreError`] when the engine cannot read.
    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Applies a batch; on return it is readable and as durable as asked.
    ///
    /// # Errors
    /// [`StoreError::Closed`] and [`StoreError::Poisoned`]: nothing was changed. After any other error the
    /// outcome is unknown until the backend is opened again.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have written. Callers run it in a task that ends.
    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;

    /// Makes every batch whose write returned before this call survive a power cut.
    ///
    /// # Errors
    /// [`StoreError`]: never retry over it; the backend has to be opened again.
    async fn sync(&self) -> Result<(), StoreError>;

    /// Whether a backend that failed could write again if it were opened anew. Asked before it is closed, so
    /// that what it still answers is not given up for nothing. Changes no data.
    ///
    /// # Errors
    /// [`StoreError`] with what is in the way: no room, a file system that is read-only, files that are gone.
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What tells the backend's files from a copy of them, for [`crate::home`]; none for a backend without files.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be found out.
    async fn home(&self) -> Result<Option<FoundHome>, StoreError> {
        Ok(None)
    }

    /// Told after many keys were deleted, in whatever way: does what keeps later scans from stepping over what is left
    /// of them. Changes no data. May take long, and nothing else waits for it.
    ///
    /// # Errors
    /// [`StoreError`] when the engine cannot write.
    async fn tidy(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Bytes the backend's own files take.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be counted.
    async fn size_on_disk(&self) -> Result<u64, StoreError>;

    /// Writes a complete, openable copy as of now into `directory`, which must not exist.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unsupported`] for a backend without files.
    async fn checkpoint(&self, directory: &Path) -> Result<(), StoreError>;

    /// Syncs and closes; later calls, those of older snapshots too, are [`StoreError::Closed`]. Waits
    /// for running ones. On return, with an error too, the backend's files can be opened again.
    ///
    /// # Errors
    /// [`StoreError`] when the last sync failed.
    async fn close(&self) -> Result<(), StoreError>;
}
