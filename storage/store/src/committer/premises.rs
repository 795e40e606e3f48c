//! What must still hold when a statement commits, checked under the partition's lock.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use kalamdb_commons::{Error, ErrorCode, Family, Result, Seq};

use super::PartitionId;
use super::changes::{Changes, CommitError, FlushedRow, RowChange, RowState};
use super::flushed::{Before, Marking};
use crate::backend::StorageBackend;
use crate::codec::keys;
use crate::codec::row::RowView;

/// What lies under a key now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) seq: Seq,
    pub(super) deleted: bool,
    /// Bytes of the value.
    pub(super) bytes: u64,
}

/// A statement's keys, as they were found.
#[derive(Debug)]
pub(super) struct Premises<'a> {
    /// Keys that a row is put under.
    pub(super) coming: HashSet<&'a [u8]>,
    /// What those keys, and those that rows leave, hold now.
    pub(super) stored: HashMap<&'a [u8], Stored>,
    /// What the statement marks in segments.
    pub(super) marking: Marking,
}

/// Checks that the rows read are still those versions, and that no live row has a key that comes in.
/// Keys are compared as the statement leaves them, so it may swap two. `generation` is the partition's manifest
/// generation now.
pub(super) async fn check<'a>(
    backend: &dyn StorageBackend,
    partition: &PartitionId,
    changes: &'a Changes,
    generation: u64,
) -> Result<Premises<'a>, CommitError> {
    let mut leaving: HashMap<&[u8], Seq> = HashMap::new();
    let mut coming: HashSet<&[u8]> = HashSet::new();
    for change in &changes.rows {
        let (left, taken) = match change {
            RowChange::Insert { key, .. } => (None, key.as_deref()),
            RowChange::Update { old_key, read_seq, new_key, .. } => {
                (Some((old_key.as_slice(), *read_seq)), Some(new_key.as_slice()))
            }
            RowChange::Delete { key, read_seq, .. } => (Some((key.as_slice(), *read_seq)), None),
        };
        if let Some((key, read_seq)) = left
            && leaving.insert(key, read_seq).is_some()
        {
            return Err(Error::internal("a statement changes one row twice").into());
        }
        if let Some(key) = taken
            && !coming.insert(key)
        {
            return Err(duplicate_key().into());
        }
    }

    let arrives = |key: &[u8]| coming.contains(key) && !leaving.contains_key(key);
    let arrivals = coming.iter().copied().filter(|key| arrives(key));
    let flushed = by_key(&changes.segments.rows)?;
    // A flush since then may have put any of the keys into a segment.
    let looks_up = !flushed.is_empty() || coming.iter().any(|key| arrives(key));
    if looks_up && changes.segments.generation != generation {
        return Err(CommitError::Stale);
    }
    let keys: Vec<&[u8]> = leaving.keys().copied().chain(arrivals).collect();
    let stored = read_versions(backend, partition, &keys).await?;
    // A row that moved on comes first: read again, the statement may not meet the duplicate at all.
    let live = |key: &[u8]| stored.get(key).filter(|version| !version.deleted);
    for (key, read_seq) in &leaving {
        let holds = if flushed.contains_key(key) {
            // A hot version, a tombstone too, came after the one in the segment.
            !stored.contains_key(key)
        } else {
            live(key).map(|version| version.seq) == Some(*read_seq)
        };
        if !holds {
            return Err(CommitError::Stale);
        }
    }
    let mut marking = Marking::default();
    let mut duplicate = coming.iter().any(|key| arrives(key) && live(key).is_some());
    if !flushed.is_empty() {
        marking = Marking::read(backend, partition, &changes.segments.rows).await?;
        for row in &changes.segments.rows {
            let key = row.key.as_slice();
            let before = marking.mark(row)?;
            match (leaving.contains_key(key), row.state, before) {
                (true, RowState::Live, Before::Unmarked) => {}
                (true, RowState::Live, Before::Marked) => return Err(CommitError::Stale),
                (true, RowState::Deleted, _) => {
                    return Err(Error::internal("a statement changes a deleted row").into());
                }
                (false, _, _) if !coming.contains(key) => {
                    return Err(Error::internal("a statement names a flushed row that it does not change").into());
                }
                (false, RowState::Live, Before::Unmarked) => duplicate = true,
                // It was deleted, or taken by a row that is hot now.
                (false, RowState::Live, Before::Marked) | (false, RowState::Deleted, _) => {}
            }
        }
    }
    if duplicate {
        return Err(duplicate_key().into());
    }
    Ok(Premises { coming, stored, marking })
}

fn by_key(rows: &[FlushedRow]) -> Result<HashMap<&[u8], &FlushedRow>, Error> {
    let by_key: HashMap<&[u8], &FlushedRow> = rows.iter().map(|row| (row.key.as_slice(), row)).collect();
    if by_key.len() == rows.len() {
        Ok(by_key)
    } else {
        Err(Error::internal("a statement finds one key in two places of its segments"))
    }
}

fn duplicate_key() -> Error {
    Error::new(ErrorCode::DuplicateKey, "a row with this primary key exists already")
}

async fn read_versions<'a>(
    backend: &dyn StorageBackend,
    partition: &PartitionId,
    row_keys: &[&'a [u8]],
) -> Result<HashMap<&'a [u8], Stored>, CommitError> {
    let space = keys::rows_partition(partition.table, partition.user.as_ref());
    let full_keys: Vec<Bytes> = row_keys.iter().map(|key| keys::row_key(&space, key)).collect();
    let values = backend.get_many(Family::Rows, &full_keys).await?;
    let mut stored = HashMap::with_capacity(row_keys.len());
    for (key, value) in row_keys.iter().zip(&values) {
        if let Some(value) = value {
            let header = RowView::parse(value)?.header();
            stored.insert(*key, Stored { seq: header.seq, deleted: header.deleted, bytes: value.len() as u64 });
        }
    }
    Ok(stored)
}
