//! The flushed part of a scan: the partition's segments, oldest first, each read as a stream, so that one row group's
//! columns at most are in memory.
//!
//! What always holds: a segment is opened only when its rows are asked for, and only if its keys are within the scan's.
//! Its marked rows are left out while it is read, its tombstones and the rows that do not meet the conditions too. A
//! scan of one key looks it up instead, in the newest segments first, since one row at most is not marked.

use std::ops::Bound;
use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kalamdb_commons::{Error, Result};
use kalamdb_segments::{
    DEFAULT_BATCH_ROWS, DeletedRows, KeyedProjection, Segment, SegmentColumn, SegmentFilter, SegmentProjection,
    SegmentScan,
};
use kalamdb_store::failpoint;
use kalamdb_store::manifest::SegmentMarks;

use super::super::predicate::RowRange;
use super::exec::{Progress, ScanArgs, segment_column};
use crate::segments::{PartitionSegments, SegmentRead};

/// The rows, segment by segment.
pub(super) fn segment_batches(
    args: Arc<ScanArgs>,
    progress: Arc<Progress>,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let begin = async move {
        // A key that is hot is in no segment, or marked there.
        let is_found = args.range.key.is_some() && progress.hot_rows() > 0;
        if args.range.range.is_none() || is_found || progress.left() == 0 {
            return Ok(stream::empty().boxed());
        }
        if let Some(key) = &args.range.key {
            let segments = args.context.segments_around(&args.partition, key).await?;
            let found = args.row_of_key(&segments, key, &progress).await?;
            return Ok(stream::iter(found.map(Ok)).boxed());
        }
        let segments = args.context.segments(&args.partition).await?;
        if segments.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let columns: Vec<SegmentColumn> = args.columns.iter().map(|column| segment_column(*column)).collect();
        let projection = SegmentProjection::new(&args.entry.schema, &columns)?.with_schema(Arc::clone(&args.schema))?;
        let filter = args.filter.on_segments(&args.entry.schema)?;
        let read = Arc::new(FlushedRows { projection: Arc::new(projection), filter, args, progress });
        let places = 0..segments.segments.len();
        let batches = stream::iter(places)
            .then(move |at| {
                let (read, segments) = (Arc::clone(&read), Arc::clone(&segments));
                async move { read.segment(&segments, at).await }
            })
            .try_flatten();
        Ok::<_, Error>(batches.boxed())
    };
    stream::once(begin).try_flatten()
}

/// What is the same for all segments of a scan.
struct FlushedRows {
    args: Arc<ScanArgs>,
    progress: Arc<Progress>,
    projection: Arc<SegmentProjection>,
    filter: SegmentFilter,
}

impl FlushedRows {
    async fn segment(
        self: Arc<Self>,
        segments: &PartitionSegments,
        at: usize,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let args = &self.args;
        let left = self.progress.left();
        let keys = args.range.keys();
        let bounds = (keys.0.as_ref().map(Vec::as_slice), keys.1.as_ref().map(Vec::as_slice));
        let read = segments.segments.get(at).filter(|read| left > 0 && read.overlaps(bounds));
        let Some(read) = read else { return Ok(stream::empty().boxed()) };
        let (segment, marks) = args.open(read, &self.progress).await?;
        let scan = SegmentScan {
            marks,
            keys,
            filter: self.filter.clone(),
            deleted: args.deleted_rows(),
            limit: args.limit.is_some().then_some(left),
            // Batches are what conditions are evaluated on, too.
            batch_rows: if args.filter.is_empty() { left.clamp(1, DEFAULT_BATCH_ROWS) } else { DEFAULT_BATCH_ROWS },
            counters: Some(Arc::clone(&self.progress.counters)),
            ..SegmentScan::new(Arc::clone(&self.projection))
        };
        let (batches, _) = segment.scan(&scan)?;
        let progress = Arc::clone(&self.progress);
        Ok(batches.map_err(Error::from).inspect_ok(move |batch| progress.deliver(batch.num_rows())).boxed())
    }
}

impl ScanArgs {
    async fn open(&self, read: &SegmentRead, progress: &Progress) -> Result<(Segment, Option<Arc<SegmentMarks>>)> {
        self.context.store.committer.reach(failpoint::BEFORE_SEGMENT).await;
        progress.opened_segment();
        let segment = self.context.runtime.segments().segment(&self.entry, &self.partition, &read.manifest).await?;
        Ok((segment, read.marks(self.context.snapshot()?, &self.partition).await?))
    }

    fn deleted_rows(&self) -> DeletedRows {
        if self.with_deleted { DeletedRows::ShownSince(self.context.deleted_since()) } else { DeletedRows::Hidden }
    }

    /// The row under a key, if it is to be shown.
    pub(super) async fn row_of_key(
        &self,
        segments: &PartitionSegments,
        key: &[u8],
        progress: &Progress,
    ) -> Result<Option<RecordBatch>> {
        let bounds = (Bound::Included(key), Bound::Included(key));
        // One row: to read its columns and look at them is less than to read some of them first.
        let (columns, schema) = self.filter.read_columns(&self.columns, &self.schema);
        let wanted: Vec<SegmentColumn> = columns.iter().map(|column| segment_column(*column)).collect();
        let keyed = |columns: &[SegmentColumn]| -> Result<KeyedProjection> {
            Ok(KeyedProjection::new(Arc::new(SegmentProjection::new(&self.entry.schema, columns)?)))
        };
        let live = keyed(&wanted)?;
        for read in segments.segments.iter().rev().filter(|read| read.overlaps(bounds)) {
            let (segment, marks) = self.open(read, progress).await?;
            let is_surely_live = !segment.may_have_deleted_rows();
            let found = if is_surely_live {
                segment.find_row(key, &live).await?
            } else {
                let with_deletion = [wanted.as_slice(), &[SegmentColumn::Deleted, SegmentColumn::Updated]].concat();
                segment.find_row(key, &keyed(&with_deletion)?).await?
            };
            let Some((position, batch)) = found else { continue };
            if marks.is_some_and(|marks| marks.contains(position)) {
                continue;
            }
            let batch = if is_surely_live { batch } else { self.shown(&batch)? };
            let batch = self.filter.on_batches(&schema).map_err(Error::internal)?.apply(batch)?;
            progress.deliver(batch.num_rows());
            return Ok(Some(self.output(&batch)?).filter(|batch| batch.num_rows() > 0));
        }
        Ok(None)
    }

    /// The rows of a batch, whose last columns are `_deleted` and `_updated`, that were not deleted too long ago.
    fn shown(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let lacking = || Error::internal("a row of a segment lacks a system column");
        let [.., deleted, updated] = batch.columns() else { return Err(lacking()) };
        let (deleted, updated) = (deleted.as_boolean(), updated.as_primitive::<TimestampMicrosecondType>());
        let shown: BooleanArray = (0..batch.num_rows())
            .map(|at| {
                let is_shown = match self.deleted_rows() {
                    DeletedRows::Shown => true,
                    DeletedRows::Hidden => !deleted.value(at),
                    DeletedRows::ShownSince(since) => !deleted.value(at) || updated.value(at) >= since,
                };
                Some(is_shown)
            })
            .collect();
        filter_record_batch(batch, &shown).map_err(Error::internal)
    }
}

/// The bounds of the keys in a partition, without its prefix.
impl RowRange {
    fn keys(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let Some(range) = &self.range else { return (Bound::Unbounded, Bound::Unbounded) };
        let prefix = range.start.get(..self.prefix_len).unwrap_or_default();
        let start = match range.start.get(self.prefix_len..) {
            Some(key) if !key.is_empty() => Bound::Included(key.to_vec()),
            Some(_) | None => Bound::Unbounded,
        };
        // The partition's own end is behind every key.
        let end = range.end.as_ref().and_then(|end| end.strip_prefix(prefix));
        (start, end.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec())))
    }
}
