//! A partition's segments as batches of a scan.

use std::ops::Bound;
use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kalamdb_commons::{Error, Result};
use kalamdb_segments::{DEFAULT_BATCH_ROWS, SegmentColumn, SegmentProjection, SegmentScan};
use kalamdb_store::failpoint;

use super::super::predicate::RowRange;
use super::exec::{ScanArgs, ScanColumn};
use crate::segments::PartitionSegments;

/// The rows, segment by segment.
pub(super) fn segment_batches(scan: ScanArgs) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let begin = async move {
        if scan.range.range.is_none() {
            return Ok(stream::empty().boxed());
        }
        let segments = scan.context.segments(&scan.partition).await?;
        if segments.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let projection = Arc::new(scan.segment_projection()?);
        let scan = Arc::new(scan);
        let places = 0..segments.segments.len();
        let batches = stream::iter(places)
            .then(move |at| {
                let (scan, segments, projection) = (Arc::clone(&scan), Arc::clone(&segments), Arc::clone(&projection));
                async move { scan.segment(&segments, at, projection).await }
            })
            .try_flatten();
        Ok::<_, Error>(batches.boxed())
    };
    stream::once(begin).try_flatten()
}

impl ScanArgs {
    /// The columns of the scan, then `_deleted` and `_updated`, by which rows are left out.
    fn segment_projection(&self) -> Result<SegmentProjection> {
        let columns = self.columns.iter().map(|column| match column {
            ScanColumn::Declared(at) => SegmentColumn::Declared(*at),
            ScanColumn::Seq => SegmentColumn::Seq,
            ScanColumn::Updated => SegmentColumn::Updated,
            ScanColumn::Deleted => SegmentColumn::Deleted,
            ScanColumn::Key | ScanColumn::RowNumber => SegmentColumn::Key,
        });
        let mut columns: Vec<SegmentColumn> = columns.collect();
        columns.push(SegmentColumn::Deleted);
        if self.with_deleted {
            columns.push(SegmentColumn::Updated);
        }
        Ok(SegmentProjection::new(&self.entry.schema, &columns)?)
    }

    async fn segment(
        self: Arc<Self>,
        segments: &PartitionSegments,
        at: usize,
        projection: Arc<SegmentProjection>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let keys = self.range.keys();
        let bounds = (keys.0.as_ref().map(Vec::as_slice), keys.1.as_ref().map(Vec::as_slice));
        let Some(read) = segments.segments.get(at).filter(|read| read.overlaps(bounds)) else {
            return Ok(stream::empty().boxed());
        };
        self.context.store.committer.reach(failpoint::BEFORE_SEGMENT).await;
        let segment = self.context.runtime.segments().segment(&self.entry, &self.partition, &read.manifest).await?;
        let marks = read.marks(self.context.snapshot()?, &self.partition).await?;
        let batch_rows = self.limit.unwrap_or(DEFAULT_BATCH_ROWS).clamp(1, DEFAULT_BATCH_ROWS);
        let (batches, _) = segment.scan(&SegmentScan { marks, keys, batch_rows, ..SegmentScan::new(projection) })?;
        Ok(batches.map(move |batch| self.visible(&batch?)).boxed())
    }

    /// The rows of a batch that the scan shows, in its columns.
    fn visible(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column =
            |at: usize| batch.columns().get(at).ok_or_else(|| Error::internal("a batch of a segment lacks a column"));
        let deleted = column(self.columns.len())?.as_boolean();
        let rows = if deleted.true_count() == 0 {
            batch.clone()
        } else if self.with_deleted {
            let since = self.context.deleted_since();
            let updated = column(self.columns.len() + 1)?.as_primitive::<TimestampMicrosecondType>();
            let shown = (0..deleted.len()).map(|at| Some(!deleted.value(at) || updated.value(at) >= since));
            filter_record_batch(batch, &shown.collect::<BooleanArray>()).map_err(Error::internal)?
        } else {
            let shown = (0..deleted.len()).map(|at| Some(!deleted.value(at)));
            filter_record_batch(batch, &shown.collect::<BooleanArray>()).map_err(Error::internal)?
        };
        let columns = rows.columns().get(..self.columns.len()).unwrap_or_default().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(Error::internal)
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
