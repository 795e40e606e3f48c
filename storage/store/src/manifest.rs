//! Which partitions there are, which segments they have, which rows of these are deleted: read at a snapshot.
//!
//! Written only by the committer, together with the rows it is about. A statement that reads segments reads
//! them here, from the snapshot that it reads hot rows from, and with its generation pinned
//! ([`Committer::pin`](crate::Committer::pin)), or a file may go while it is being read.

mod marks;
mod walk;

use kalamdb_commons::{Family, Result};

use crate::backend::{KeyRange, Snapshot};
use crate::codec::keys;
use crate::codec::manifest::ManifestEntry;
use crate::codec::marks::DeleteMarks;
use crate::codec::partition::PartitionRecord;
use crate::committer::{PartitionId, read_record};
use crate::read::{Chunks, get};

pub use marks::SegmentMarks;
pub use walk::{ManifestItem, ManifestWalk, PartitionWalk};

/// A partition's record and its segments, as one snapshot shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionManifest {
    /// The record; that of a partition never written to is the default one.
    pub record: PartitionRecord,
    /// The segments, oldest first.
    pub entries: Vec<ManifestEntry>,
}

/// A partition's record.
///
/// # Errors
/// When the backend cannot be read, or the record does not decode.
pub async fn record(snapshot: &dyn Snapshot, partition: &PartitionId) -> Result<PartitionRecord> {
    let key = keys::partition_record_key(partition.table, partition.user.as_ref());
    read_record(get(snapshot, Family::Manifest, key).await?.as_ref())
}

/// A partition's record and all of its segments. A partition that never had one costs a single get.
///
/// # Errors
/// When the backend cannot be read, or a value does not decode.
pub async fn partition(snapshot: &dyn Snapshot, partition: &PartitionId) -> Result<PartitionManifest> {
    let record = record(snapshot, partition).await?;
    let entries = if record.manifest_generation == 0 { Vec::new() } else { entries(snapshot, partition).await? };
    Ok(PartitionManifest { record, entries })
}

/// A partition's segments, oldest first.
///
/// # Errors
/// When the backend cannot be read, or an entry does not decode.
pub async fn entries(snapshot: &dyn Snapshot, partition: &PartitionId) -> Result<Vec<ManifestEntry>> {
    let mut found = Vec::new();
    let mut chunks = Chunks::new(snapshot, keys::manifest_entries(partition.table, partition.user.as_ref()));
    while let Some(chunk) = chunks.next_few().await? {
        for (_, value) in chunk.iter() {
            found.push(ManifestEntry::decode(value)?);
        }
    }
    Ok(found)
}

/// One segment of a partition; none if it has gone.
///
/// # Errors
/// When the backend cannot be read, or the entry does not decode.
pub async fn entry(snapshot: &dyn Snapshot, partition: &PartitionId, segment: u128) -> Result<Option<ManifestEntry>> {
    let key = keys::manifest_entry_key(partition.table, partition.user.as_ref(), segment);
    let value = get(snapshot, Family::Manifest, key).await?;
    Ok(value.map(|bytes| ManifestEntry::decode(&bytes)).transpose()?)
}

/// The deleted rows of a segment. Not worth asking for where its entry counts none.
///
/// # Errors
/// When the backend cannot be read, or a container does not decode.
pub async fn marks(snapshot: &dyn Snapshot, partition: &PartitionId, segment: u128) -> Result<SegmentMarks> {
    let range = keys::delete_marks_of(partition.table, partition.user.as_ref(), segment);
    read_marks(snapshot, range).await
}

/// Whether one row of a segment is deleted: reads the one container that would say so.
///
/// # Errors
/// When the backend cannot be read, or the container does not decode.
pub async fn is_marked(snapshot: &dyn Snapshot, partition: &PartitionId, segment: u128, row: u64) -> Result<bool> {
    let Some((container, row)) = DeleteMarks::locate(row) else { return Ok(false) };
    let key = keys::delete_mark_key(partition.table, partition.user.as_ref(), segment, container);
    let value = get(snapshot, Family::Manifest, key).await?;
    let marks = value.map(|bytes| DeleteMarks::decode(&bytes)).transpose()?;
    Ok(marks.is_some_and(|marks| marks.contains(row)))
}

async fn read_marks(snapshot: &dyn Snapshot, range: KeyRange) -> Result<SegmentMarks> {
    let mut marks = SegmentMarks::default();
    let mut chunks = Chunks::new(snapshot, range);
    while let Some(chunk) = chunks.next_few().await? {
        for (key, value) in chunk.iter() {
            match keys::parse_manifest_key(key)? {
                keys::ManifestKey::Marks { container, .. } => marks.put(container, DeleteMarks::decode(value)?),
                keys::ManifestKey::Record { .. } | keys::ManifestKey::Entry { .. } => {}
            }
        }
    }
    Ok(marks)
}
