//! Walks over the records and segments of a table, or of all: in key order, a chunk in memory at a time.

use bytes::Bytes;
use kalamdb_commons::{Family, Result, TableId};

use crate::backend::{KeyRange, Snapshot, prefix_end};
use crate::codec::keys::{self, ManifestKey};
use crate::codec::manifest::ManifestEntry;
use crate::codec::partition::PartitionRecord;
use crate::committer::PartitionId;
use crate::read::Chunks;

/// One thing of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestItem {
    /// A partition's record; before its segments.
    Record(PartitionId, PartitionRecord),
    /// A segment of a partition.
    Entry(PartitionId, ManifestEntry),
}

/// Everything but delete marks, in key order: partition by partition, the record first, then the segments,
/// oldest first.
#[derive(Debug)]
pub struct ManifestWalk<'a> {
    chunks: Chunks<'a>,
    /// Keys before it are of no interest.
    from: Bytes,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Records,
    RecordsAndEntries,
}

impl<'a> ManifestWalk<'a> {
    /// Over one table.
    #[must_use]
    pub fn of_table(snapshot: &'a dyn Snapshot, table: TableId) -> Self {
        Self::new(snapshot, keys::manifest_table(table).range(), Wanted::RecordsAndEntries)
    }

    /// Over all tables.
    #[must_use]
    pub fn of_everything(snapshot: &'a dyn Snapshot) -> Self {
        Self::new(snapshot, KeyRange::prefix(Family::Manifest, &[]), Wanted::RecordsAndEntries)
    }

    /// Over the records of all tables, those of partitions behind `after` where it is given.
    #[must_use]
    pub fn of_records_after(snapshot: &'a dyn Snapshot, after: Option<&PartitionId>) -> Self {
        let mut walk = Self::new(snapshot, KeyRange::prefix(Family::Manifest, &[]), Wanted::Records);
        if let Some(partition) = after {
            walk.skip(partition);
        }
        walk
    }

    fn new(snapshot: &'a dyn Snapshot, range: KeyRange, wanted: Wanted) -> Self {
        Self { chunks: Chunks::new(snapshot, range), from: Bytes::new(), wanted }
    }

    /// The next part; none at the end.
    ///
    /// # Errors
    /// When the backend cannot be read, or a key or value does not decode.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<ManifestItem>>> {
        loop {
            self.chunks.skip_to(&self.from);
            let Some(chunk) = self.chunks.next().await? else { return Ok(None) };
            let mut items = Vec::new();
            for (key, value) in chunk.iter() {
                if *key < *self.from {
                    continue;
                }
                match keys::parse_manifest_key(key)? {
                    ManifestKey::Record { table, user } => {
                        let partition = PartitionId { table, user };
                        if self.wanted == Wanted::Records {
                            self.skip(&partition);
                        }
                        items.push(ManifestItem::Record(partition, PartitionRecord::decode(value)?));
                    }
                    ManifestKey::Entry { table, user, .. } if self.wanted == Wanted::RecordsAndEntries => {
                        items.push(ManifestItem::Entry(PartitionId { table, user }, ManifestEntry::decode(value)?));
                    }
                    // Marks may be many times as large as all the rest, and nothing but marks follows.
                    ManifestKey::Entry { table, user, .. } | ManifestKey::Marks { table, user, .. } => {
                        self.skip(&PartitionId { table, user });
                    }
                }
            }
            if !items.is_empty() {
                return Ok(Some(items));
            }
        }
    }

    /// Goes on behind a partition.
    fn skip(&mut self, partition: &PartitionId) {
        let space = keys::manifest_partition(partition.table, partition.user.as_ref());
        if let Some(end) = prefix_end(&space.prefix) {
            self.from = end;
        }
    }
}

/// The partitions of a table with their records, in key order.
#[derive(Debug)]
pub struct PartitionWalk<'a>(ManifestWalk<'a>);

impl<'a> PartitionWalk<'a> {
    /// All that were ever written to.
    #[must_use]
    pub fn new(snapshot: &'a dyn Snapshot, table: TableId) -> Self {
        Self(ManifestWalk::new(snapshot, keys::manifest_table(table).range(), Wanted::Records))
    }

    /// The next part; none at the end.
    ///
    /// # Errors
    /// When the backend cannot be read, or a key or record does not decode.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<(PartitionId, PartitionRecord)>>> {
        let Some(items) = self.0.next_chunk().await? else { return Ok(None) };
        let records = items.into_iter().filter_map(|item| match item {
            ManifestItem::Record(partition, record) => Some((partition, record)),
            ManifestItem::Entry(..) => None,
        });
        Ok(Some(records.collect()))
    }
}
