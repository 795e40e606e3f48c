//! Rows of segments that a statement changes: what must still hold of them, and the marks they get.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use kalamdb_commons::{Error, Family};

use super::PartitionId;
use super::changes::{CommitError, FlushedRow};
use crate::backend::{Batch, StorageBackend};
use crate::codec::keys;
use crate::codec::manifest::ManifestEntry;
use crate::codec::marks::DeleteMarks;

/// Entries and containers as they will be.
#[derive(Debug, Default)]
pub(super) struct Marking {
    entries: BTreeMap<u128, ManifestEntry>,
    containers: BTreeMap<(u128, u32), DeleteMarks>,
    /// Rows that were not marked before.
    pub(super) marked: u64,
}

/// How a row of a segment was found when it was to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Unmarked,
    Marked,
}

impl Marking {
    /// Reads the entries and containers that the rows are in.
    ///
    /// A segment that is not in the manifest is [`CommitError::Stale`].
    pub(super) async fn read(
        backend: &dyn StorageBackend,
        partition: &PartitionId,
        rows: &[FlushedRow],
    ) -> Result<Self, CommitError> {
        let (table, user) = (partition.table, partition.user.as_ref());
        let mut segments = HashSet::new();
        let mut containers = HashSet::new();
        for row in rows {
            let (container, _) = locate(row)?;
            segments.insert(row.segment);
            containers.insert((row.segment, container));
        }
        let (segments, containers): (Vec<_>, Vec<_>) =
            (segments.into_iter().collect(), containers.into_iter().collect());
        let entry_keys = segments.iter().map(|segment| keys::manifest_entry_key(table, user, *segment));
        let mark_keys = containers.iter().map(|(segment, at)| keys::delete_mark_key(table, user, *segment, *at));
        let wanted: Vec<Bytes> = entry_keys.chain(mark_keys).collect();
        let mut values = backend.get_many(Family::Manifest, &wanted).await?.into_iter();

        let mut marking = Self::default();
        for (segment, value) in segments.into_iter().zip(values.by_ref()) {
            let entry = ManifestEntry::decode(&value.ok_or(CommitError::Stale)?)?;
            marking.entries.insert(segment, entry);
        }
        for (container, value) in containers.into_iter().zip(values) {
            let marks = value.map(|bytes| DeleteMarks::decode(&bytes)).transpose()?.unwrap_or_default();
            marking.containers.insert(container, marks);
        }
        Ok(marking)
    }

    /// Marks one of the rows that this was read for.
    pub(super) fn mark(&mut self, row: &FlushedRow) -> Result<Before, CommitError> {
        let (container, place) = locate(row)?;
        let entry = self.entries.get_mut(&row.segment).filter(|entry| row.row < entry.rows);
        let marks = self.containers.get_mut(&(row.segment, container));
        let (Some(entry), Some(marks)) = (entry, marks) else { return Err(no_such_row().into()) };
        if !marks.insert(place) {
            return Ok(Before::Marked);
        }
        entry.deleted_rows += 1;
        self.marked += 1;
        Ok(Before::Unmarked)
    }

    /// Adds the marks to a statement's batch.
    pub(super) fn put(&self, batch: &mut Batch, partition: &PartitionId) {
        if self.marked == 0 {
            return;
        }
        let (table, user) = (partition.table, partition.user.as_ref());
        for (segment, entry) in &self.entries {
            batch.put(Family::Manifest, keys::manifest_entry_key(table, user, *segment), entry.encode());
        }
        for ((segment, container), marks) in self.containers.iter().filter(|(_, marks)| !marks.is_empty()) {
            batch.put(Family::Manifest, keys::delete_mark_key(table, user, *segment, *container), marks.encode());
        }
    }
}

fn locate(row: &FlushedRow) -> Result<(u32, u16), Error> {
    DeleteMarks::locate(row.row).ok_or_else(no_such_row)
}

fn no_such_row() -> Error {
    Error::internal("a statement names a row that its segment does not have")
}
