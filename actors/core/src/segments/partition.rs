//! One partition's segments, as one snapshot shows them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use kalamdb_commons::{Error, Result, Seq};
use kalamdb_segments::{Segment, SegmentColumn, SegmentProjection};
use kalamdb_sql::{Row, TableSchema, Value};
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::codec::row::{RowHeader, encode_row};
use kalamdb_store::manifest::SegmentMarks;
use kalamdb_store::{FlushedRow, PartitionId, RowState, Snapshot, manifest};
use tokio::sync::OnceCell;

use super::{KnownRanges, SegmentStores};
use crate::catalog::TableEntry;
use crate::engine::stored_values;

/// Entries of a manifest that are read one by one; for more it is read as a whole.
const MOST_GOT: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionSegments {
    /// The manifest's generation: a premise of what is written by what was found here.
    pub(crate) generation: u64,
    /// Oldest first.
    pub(crate) segments: Vec<SegmentRead>,
}

/// A segment with its delete marks, which are read when they are asked for.
#[derive(Debug)]
pub(crate) struct SegmentRead {
    pub(crate) manifest: ManifestEntry,
    marks: OnceCell<Option<Arc<SegmentMarks>>>,
}

/// A row that was found by its key, tombstones too.
#[derive(Debug)]
pub(crate) struct FoundRow {
    /// Its key, where it lies, and what it is.
    pub(crate) place: FlushedRow,
    pub(crate) seq: Seq,
    /// Its values in the current schema.
    pub(crate) row: Row,
    /// As it would be stored if it were hot.
    pub(crate) stored: Vec<u8>,
}

impl PartitionSegments {
    /// Reads the manifest.
    pub(crate) async fn read(snapshot: &dyn Snapshot, partition: &PartitionId) -> Result<Self> {
        let found = manifest::partition(snapshot, partition).await?;
        let segments = found.entries.into_iter().map(|manifest| SegmentRead { manifest, marks: OnceCell::new() });
        Ok(Self { generation: found.record.manifest_generation, segments: segments.collect() })
    }

    /// Those alone that may hold a key, where it is known which these are at the snapshot's manifest; none where it is not, and
    /// the manifest has to be read.
    pub(crate) async fn around(
        snapshot: &dyn Snapshot,
        partition: &PartitionId,
        key: &[u8],
        stores: &SegmentStores,
    ) -> Result<Option<Self>> {
        let Some(known) = stores.ranges().get(partition) else { return Ok(None) };
        if manifest::record(snapshot, partition).await?.manifest_generation != known.generation {
            return Ok(None);
        }
        let ids = stores.around(&known, key);
        if ids.len() > MOST_GOT {
            return Ok(None);
        }
        let mut segments = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(manifest) = manifest::entry(snapshot, partition, id).await? else { return Ok(None) };
            segments.push(SegmentRead { manifest, marks: OnceCell::new() });
        }
        Ok(Some(Self { generation: known.generation, segments }))
    }

    /// Has it remembered which keys these segments may hold.
    pub(crate) fn teach(&self, partition: &PartitionId, ranges: &KnownRanges) {
        ranges.learn(partition, self.generation, self.segments.iter().map(|read| &read.manifest));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether a key is within the range of any of them.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.segments.iter().any(|read| read.may_hold(key))
    }

    /// The rows under some keys, in no order; none for a key without a row. Each key has at most one row that is not marked.
    pub(crate) async fn find(&self, search: &Search<'_>, keys: &[&[u8]]) -> Result<Vec<FoundRow>> {
        let columns = search.entry.schema.columns.len();
        let mut wanted: Vec<SegmentColumn> = (0..columns).map(SegmentColumn::Declared).collect();
        wanted.extend([SegmentColumn::Seq, SegmentColumn::Updated, SegmentColumn::Deleted]);
        let projection = Arc::new(SegmentProjection::new(&search.entry.schema, &wanted)?);
        let mut found = Vec::new();
        for (segment, places) in self.places(search, keys).await? {
            let rows: Vec<u64> = places.keys().copied().collect();
            let batch = segment.fetch(&rows, &projection).await?;
            found.extend(rows_of(&batch, segment.id(), places, &search.entry.schema)?);
        }
        Ok(found)
    }

    /// Where the rows under some keys lie, and whether they are live.
    pub(crate) async fn locate(&self, search: &Search<'_>, keys: &[&[u8]]) -> Result<Vec<FlushedRow>> {
        let projection = Arc::new(SegmentProjection::new(&search.entry.schema, &[SegmentColumn::Deleted])?);
        let mut found = Vec::new();
        for (segment, places) in self.places(search, keys).await? {
            let rows: Vec<u64> = places.keys().copied().collect();
            let batch = segment.fetch(&rows, &projection).await?;
            let deleted = batch.column(0).as_boolean();
            for (at, (row, key)) in places.into_iter().enumerate() {
                let state = if deleted.value(at) { RowState::Deleted } else { RowState::Live };
                found.push(FlushedRow { key, segment: segment.id(), row, state });
            }
        }
        Ok(found)
    }

    /// The segments that have some of the keys, each with the places of their unmarked rows and those keys.
    async fn places(&self, search: &Search<'_>, keys: &[&[u8]]) -> Result<Vec<(Segment, BTreeMap<u64, Vec<u8>>)>> {
        let mut found = Vec::new();
        for read in &self.segments {
            let inside: Vec<&[u8]> = keys.iter().copied().filter(|key| read.may_hold(key)).collect();
            if inside.is_empty() {
                continue;
            }
            let segment = search.stores.segment(search.entry, search.partition, &read.manifest).await?;
            let lookup = segment.find(&inside).await?;
            let marks = read.marks(search.snapshot, search.partition).await?;
            let places: BTreeMap<u64, Vec<u8>> = lookup
                .positions
                .iter()
                .zip(&inside)
                .filter_map(|(position, key)| Some(((*position)?, key.to_vec())))
                .filter(|(position, _)| !marks.as_ref().is_some_and(|marks| marks.contains(*position)))
                .collect();
            if !places.is_empty() {
                found.push((segment, places));
            }
        }
        Ok(found)
    }
}

/// What a search in segments is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    pub(crate) stores: &'a SegmentStores,
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) entry: &'a TableEntry,
    pub(crate) partition: &'a PartitionId,
}

impl SegmentRead {
    /// Whether a key lies between the first and the last of the segment.
    fn may_hold(&self, key: &[u8]) -> bool {
        self.manifest.min_key.as_slice() <= key && key <= self.manifest.max_key.as_slice()
    }

    /// Whether the segment may have a key between two bounds.
    pub(crate) fn overlaps(&self, (start, end): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
        let begins = match start {
            Bound::Included(start) => self.manifest.max_key.as_slice() >= start,
            Bound::Excluded(start) => self.manifest.max_key.as_slice() > start,
            Bound::Unbounded => true,
        };
        let ends = match end {
            Bound::Included(end) => self.manifest.min_key.as_slice() <= end,
            Bound::Excluded(end) => self.manifest.min_key.as_slice() < end,
            Bound::Unbounded => true,
        };
        begins && ends
    }

    /// Its delete marks at the snapshot; none where no row is marked.
    pub(crate) async fn marks(
        &self,
        snapshot: &dyn Snapshot,
        partition: &PartitionId,
    ) -> Result<Option<Arc<SegmentMarks>>> {
        let read = async {
            if self.manifest.deleted_rows == 0 {
                return Ok(None);
            }
            let marks = manifest::marks(snapshot, partition, self.manifest.segment_id).await?;
            Ok::<_, Error>(Some(Arc::new(marks)))
        };
        self.marks.get_or_try_init(|| read).await.cloned()
    }
}

/// A batch's rows: its columns are the declared ones, then `_seq`, `_updated`, `_deleted`.
fn rows_of(
    batch: &RecordBatch,
    segment: u128,
    places: BTreeMap<u64, Vec<u8>>,
    schema: &TableSchema,
) -> Result<Vec<FoundRow>> {
    let mut columns = Vec::with_capacity(schema.columns.len());
    for (column, array) in schema.columns.iter().zip(batch.columns()) {
        columns.push(stored_values(array, column.column_type, column.name.as_str())?.into_iter());
    }
    let system = |at: usize| {
        batch.columns().get(schema.columns.len() + at).ok_or_else(|| Error::internal("a batch without system columns"))
    };
    let seqs = system(0)?.as_primitive::<Int64Type>();
    let updated = system(1)?.as_primitive::<TimestampMicrosecondType>();
    let deleted = system(2)?.as_boolean();
    let mut rows = Vec::with_capacity(places.len());
    for (at, (row, key)) in places.into_iter().enumerate() {
        let values: Row = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null)).collect();
        let seq = Seq(u64::try_from(seqs.value(at)).map_err(Error::internal)?);
        let deleted = deleted.value(at);
        let header = RowHeader { schema_version: schema.version, seq, updated: updated.value(at), deleted };
        let stored = encode_row(&header, schema, &values);
        let state = if deleted { RowState::Deleted } else { RowState::Live };
        rows.push(FoundRow { place: FlushedRow { key, segment, row, state }, seq, row: values, stored });
    }
    Ok(rows)
}
