//! Rows fetched by key from the statement's snapshot, hot ones and flushed ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::{Error, Family, Result, SchemaVersion, Seq};
use kalamdb_sql::Row;
use kalamdb_store::codec::keys;
use kalamdb_store::codec::row::{Projection, RowReader, RowView};
use kalamdb_store::{FlushedRow, RowChange, RowState, SegmentsRead};
use tokio_util::task::AbortOnDropHandle;

use super::super::scope::{Limits, on_behalf};
use super::Target;
use crate::segments::PartitionSegments;

/// Keys looked up at a time.
const LOOKUP_ROWS: usize = 1024;

/// A live row as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredRow {
    pub(super) seq: Seq,
    pub(super) stored: Bytes,
    /// Its values in the current schema.
    pub(super) row: Row,
}

/// The live rows under these keys, in their order; none for a key without one.
pub(super) async fn fetch(target: &Target<'_>, row_keys: &[Vec<u8>]) -> Result<Vec<Option<StoredRow>>> {
    let space = keys::rows_partition(target.partition.table, target.partition.user.as_ref());
    let mut readers: HashMap<SchemaVersion, (RowReader, Projection)> = HashMap::new();
    let expired_before = target.context.expired_before(target.entry);
    let mut rows = Vec::with_capacity(row_keys.len());
    // Keys without anything hot; what is hot, a tombstone too, is newer than any segment.
    let mut not_hot: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at_chunk, chunk) in row_keys.chunks(LOOKUP_ROWS).enumerate() {
        let full: Vec<Bytes> = chunk.iter().map(|key| keys::row_key(&space, key)).collect();
        let found = target.context.rows_of(target.entry.table_type())?.get_many(Family::Rows, &full).await?;
        for (at, (key, stored)) in chunk.iter().zip(found).enumerate() {
            let Some(stored) = stored else {
                // A key may be asked for more than once.
                not_hot.entry(key).or_default().push(at_chunk * LOOKUP_ROWS + at);
                rows.push(None);
                continue;
            };
            let header = RowView::parse(&stored)?.header();
            if header.deleted || expired_before.is_some_and(|moment| header.updated < moment) {
                rows.push(None);
                continue;
            }
            let (reader, projection) = match readers.entry(header.schema_version) {
                std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let written = target.entry.versions.get(&header.schema_version).ok_or_else(|| {
                        Error::corrupted(format!(
                            "a row of '{}' names schema version {}, which does not exist",
                            target.entry.definition.name, header.schema_version
                        ))
                    })?;
                    place.insert((RowReader::new(written), Projection::new(written, target.schema())))
                }
            };
            let row = projection.apply(reader.row(&stored)?.to_row()?);
            rows.push(Some(StoredRow { seq: header.seq, stored, row }));
        }
    }
    if not_hot.is_empty() {
        return Ok(rows);
    }
    let segments = target.context.segments(target.partition).await?;
    if segments.is_empty() {
        return Ok(rows);
    }
    let mut keys: Vec<&[u8]> = not_hot.keys().copied().collect();
    keys.sort_unstable();
    for found in segments.find(&target.context.search(target.entry, target.partition)?, &keys).await? {
        if found.place.state != RowState::Live {
            continue;
        }
        let row = StoredRow { seq: found.seq, stored: found.stored.into(), row: found.row };
        for at in not_hot.get(found.place.key.as_slice()).into_iter().flatten() {
            if let Some(place) = rows.get_mut(*at) {
                *place = Some(row.clone());
            }
        }
    }
    Ok(rows)
}

/// What lies in segments under the keys that changes leave or put rows under: a premise of their commit. None where it
/// would have to look, and was begun as a statement that reads nothing.
pub(super) async fn segments_read(target: &Target<'_>, changes: &[RowChange]) -> Result<Option<SegmentsRead>> {
    if !target.context.sees_rows() {
        return Ok(without_looking(target, changes));
    }
    let segments = target.context.segments(target.partition).await?;
    let mut read = SegmentsRead { generation: segments.generation, rows: Vec::new() };
    if segments.is_empty() {
        return Ok(Some(read));
    }
    let mut keys: BTreeSet<&[u8]> = BTreeSet::new();
    for change in changes {
        match change {
            RowChange::Insert { key, .. } => keys.extend(key.as_deref()),
            RowChange::Update { old_key, new_key, .. } => keys.extend([old_key.as_slice(), new_key.as_slice()]),
            RowChange::Delete { key, .. } => {
                keys.insert(key);
            }
        }
    }
    let keys: Vec<&[u8]> = keys.into_iter().filter(|key| segments.may_hold(key)).collect();
    if keys.is_empty() {
        return Ok(Some(read));
    }
    read.rows = if target.dml.reads_no_rows() {
        locate_apart(target, segments, &keys).await?
    } else {
        segments.locate(&target.context.search(target.entry, target.partition)?, &keys).await?
    };
    Ok(Some(read))
}

/// Where rows lie, on the threads for statements: an INSERT that plans nothing may run on those of connections and actors,
/// which decode a few pages at most.
async fn locate_apart(
    target: &Target<'_>,
    segments: Arc<PartitionSegments>,
    keys: &[&[u8]],
) -> Result<Vec<FlushedRow>> {
    let (context, entry, partition) = (Arc::clone(target.context), Arc::clone(target.entry), target.partition.clone());
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let threads = context.runtime.statements().clone();
    let work = async move {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        segments.locate(&context.search(&entry, &partition)?, &keys).await
    };
    // Given up with the statement.
    let task = AbortOnDropHandle::new(threads.spawn(on_behalf(Limits::of_task(), work)));
    task.await.map_err(Error::internal)?
}

/// For an INSERT: nothing, where no segment can have one of its keys, as far as is known. The committer finds out where
/// that is out of date, or where nothing is known of a partition that has segments.
fn without_looking(target: &Target<'_>, changes: &[RowChange]) -> Option<SegmentsRead> {
    let segments = target.context.runtime.segments();
    let Some(known) = segments.ranges().get(target.partition) else { return Some(SegmentsRead::default()) };
    let may_be_there = |change: &RowChange| match change {
        RowChange::Insert { key, .. } => key.as_deref().is_some_and(|key| segments.may_hold(&known, key)),
        RowChange::Update { .. } | RowChange::Delete { .. } => true,
    };
    if changes.iter().any(may_be_there) {
        return None;
    }
    Some(SegmentsRead { generation: known.generation, rows: Vec::new() })
}
