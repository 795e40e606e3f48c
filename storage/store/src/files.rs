//! The lists of files on their way in and out: pending ones and garbage, read at a snapshot.
//!
//! They are written by the committer: a file is recorded before it exists, and the record goes with the batch by
//! which a manifest, or the other list, names the file.

use kalamdb_commons::{Family, Result, TableId};

use crate::backend::{Batch, Snapshot};
use crate::codec::files::{GarbageEntry, PendingFiles};
use crate::codec::system;
use crate::read::Chunks;

/// Files that were about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRecord {
    /// For which table.
    pub table: TableId,
    /// Which of the records made under its lease.
    pub number: u32,
    /// Under which lease, and which files.
    pub pending: PendingFiles,
}

/// A file that no manifest names any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageRecord {
    /// The first manifest generation that does not name it.
    pub generation: u64,
    /// The segment it was.
    pub segment: u128,
    /// The file.
    pub entry: GarbageEntry,
}

/// All pending files, table by table.
///
/// # Errors
/// When the backend cannot be read, or a record does not decode.
pub async fn pending(snapshot: &dyn Snapshot) -> Result<Vec<PendingRecord>> {
    let mut records = Vec::new();
    let mut chunks = Chunks::new(snapshot, system::all_pending_files().range());
    while let Some(chunk) = chunks.next().await? {
        for (key, value) in chunk.iter() {
            let (table, _, number) = system::split_pending_key(key)?;
            records.push(PendingRecord { table, number, pending: PendingFiles::decode(value)? });
        }
    }
    Ok(records)
}

/// Where a file stands on the garbage list: its generation and its segment.
pub type GarbagePlace = (u64, u128);

impl GarbageRecord {
    /// Where it stands on the list.
    #[must_use]
    pub fn place(&self) -> GarbagePlace {
        (self.generation, self.segment)
    }
}

/// Where a file stands on the pending list: its table, its lease's generation, its number.
pub type PendingPlace = (TableId, u64, u32);

impl PendingRecord {
    /// Where it stands on the list.
    #[must_use]
    pub fn place(&self) -> PendingPlace {
        (self.table, self.pending.lease_generation, self.number)
    }
}

/// The oldest garbage, at most so many entries; of that behind a place, if one is given.
///
/// # Errors
/// When the backend cannot be read, or an entry does not decode.
pub async fn garbage(snapshot: &dyn Snapshot, after: Option<GarbagePlace>, limit: usize) -> Result<Vec<GarbageRecord>> {
    let mut records = Vec::new();
    let mut range = system::all_garbage().range();
    if let Some((generation, segment)) = after {
        // The least key behind it.
        range.start = [system::garbage(generation, segment).as_ref(), &[0]].concat().into();
    }
    let mut chunks = Chunks::new(snapshot, range);
    while records.len() < limit
        && let Some(chunk) = chunks.next().await?
    {
        for (key, value) in chunk.iter().take(limit - records.len()) {
            let (generation, segment) = system::split_garbage_key(key)?;
            records.push(GarbageRecord { generation, segment, entry: GarbageEntry::decode(value)? });
        }
    }
    Ok(records)
}

/// How many files of a storage are being written, or to be deleted.
///
/// # Errors
/// When the backend cannot be read, or an entry does not decode.
pub async fn unneeded_in(snapshot: &dyn Snapshot, storage: &str) -> Result<usize> {
    let mut count = 0;
    let mut chunks = Chunks::new(snapshot, system::all_pending_files().range());
    while let Some(chunk) = chunks.next().await? {
        for (_, value) in chunk.iter() {
            count += PendingFiles::decode(value)?.files.iter().filter(|file| file.storage == storage).count();
        }
    }
    let mut chunks = Chunks::new(snapshot, system::all_garbage().range());
    while let Some(chunk) = chunks.next().await? {
        for (_, value) in chunk.iter() {
            count += usize::from(GarbageEntry::decode(value)?.file.storage == storage);
        }
    }
    Ok(count)
}

pub(crate) fn put_pending(batch: &mut Batch, record: &PendingRecord) {
    let key = system::pending_files(record.table, record.pending.lease_generation, record.number);
    batch.put(Family::System, key, record.pending.encode());
}

pub(crate) fn delete_pending(batch: &mut Batch, record: &PendingRecord) {
    let key = system::pending_files(record.table, record.pending.lease_generation, record.number);
    batch.delete(Family::System, key);
}

pub(crate) fn put_garbage(batch: &mut Batch, generation: u64, segment: u128, encoded: Vec<u8>) {
    batch.put(Family::System, system::garbage(generation, segment), encoded);
}

pub(crate) fn delete_garbage(batch: &mut Batch, record: &GarbageRecord) {
    batch.delete(Family::System, system::garbage(record.generation, record.segment));
}
