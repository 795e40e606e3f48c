//! One segment to read from: a footer in memory, and the file behind it.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::manifest::SegmentMarks;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;

use crate::cache::LoadedSegment;
use crate::error::{Result, SegmentError};
use crate::filter::{DeletedRows, FileCondition, SegmentFilter, row_filter};
use crate::guard::{ExpectedRows, decoding, decoding_stream};
use crate::marks::{RowGroupSelection, RowRanges};
use crate::path::SegmentPath;
use crate::projection::{BoundProjection, SegmentProjection};
use crate::source::{ReadCounters, SegmentSource};
use crate::storage::SegmentStorage;

/// Most rows of a batch, where the caller does not say.
pub const DEFAULT_BATCH_ROWS: usize = 8192;

/// Of a read that ends at its limit, the rows that are looked at first; a page of most columns.
const FIRST_STEP_ROWS: u64 = 1024;

/// Batches of a read.
pub type SegmentStream = BoxStream<'static, Result<RecordBatch>>;

/// What to read of a segment.
#[derive(Debug, Clone)]
pub struct SegmentScan {
    /// The columns.
    pub projection: Arc<SegmentProjection>,
    /// Rows to leave out.
    pub marks: Option<Arc<SegmentMarks>>,
    /// Encoded keys, or first components of them: pages that hold none between are not read. Batches may hold rows outside;
    /// the caller's filter is what leaves them out.
    pub keys: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// What rows have to meet.
    pub filter: SegmentFilter,
    /// Which rows are left out for what they are.
    pub deleted: DeletedRows,
    /// Most rows, in key order, of those that marks and filter leave.
    pub limit: Option<usize>,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Where to count what is read, instead of anew.
    pub counters: Option<Arc<ReadCounters>>,
}

impl SegmentScan {
    /// All rows.
    #[must_use]
    pub fn new(projection: Arc<SegmentProjection>) -> Self {
        let keys = (Bound::Unbounded, Bound::Unbounded);
        Self {
            projection,
            marks: None,
            keys,
            filter: SegmentFilter::default(),
            deleted: DeletedRows::Shown,
            limit: None,
            batch_rows: DEFAULT_BATCH_ROWS,
            counters: None,
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Segment {
    pub(crate) storage: Arc<dyn SegmentStorage>,
    pub(crate) path: SegmentPath,
    pub(crate) loaded: Arc<LoadedSegment>,
    segment_id: u128,
    rows: u64,
}

impl Segment {
    pub(crate) fn new(
        storage: Arc<dyn SegmentStorage>,
        path: SegmentPath,
        loaded: Arc<LoadedSegment>,
        manifest: &ManifestEntry,
    ) -> Self {
        Self { storage, path, loaded, segment_id: manifest.segment_id, rows: manifest.rows }
    }

    /// Its ULID.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.segment_id
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &SegmentPath {
        &self.path
    }

    /// Rows in the file, marked ones too.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The footer with its page indexes.
    #[must_use]
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.loaded.metadata
    }

    /// The columns as they are read: text and bytes as views, names as in the file, ids as metadata of the fields.
    #[must_use]
    pub fn reader_metadata(&self) -> &ArrowReaderMetadata {
        &self.loaded.columns
    }

    /// The same with the row's position as last column.
    #[must_use]
    pub fn reader_metadata_with_position(&self) -> &ArrowReaderMetadata {
        &self.loaded.columns_and_position
    }

    /// The file's bytes, each checked against its checksum, for readers of the Parquet crate and of the query engine.
    #[must_use]
    pub fn source(&self) -> SegmentSource {
        SegmentSource::new(
            Arc::clone(&self.storage),
            self.path.clone(),
            Arc::clone(&self.loaded.metadata),
            Arc::clone(&self.loaded.checksums),
        )
    }

    /// The rows that a scan of these keys without these marks reads.
    ///
    /// # Errors
    /// [`SegmentError::Misused`], should there be more rows than memory has bytes.
    pub fn selection(
        &self,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        marks: Option<&SegmentMarks>,
    ) -> Result<RowGroupSelection> {
        RowGroupSelection::new(&self.ranges(keys, marks), &self.loaded.row_group_starts)
    }

    /// Reads rows, in key order. What is read of the storage is counted in the second value.
    ///
    /// A row group's columns (or their selected pages) are read at once and decoded on the task that polls the stream; where
    /// conditions and a limit end the read, in steps that begin small.
    ///
    /// # Errors
    /// [`SegmentError::Misused`], or [`SegmentError::Damaged`] for columns that the table cannot have; the stream ends with
    /// [`Missing`](SegmentError::Missing), [`Damaged`](SegmentError::Damaged) or [`Unavailable`](SegmentError::Unavailable) when the file
    /// cannot be read, and gives nothing after that.
    pub fn scan(&self, scan: &SegmentScan) -> Result<(SegmentStream, Arc<ReadCounters>)> {
        let keys = (scan.keys.0.as_ref().map(Vec::as_slice), scan.keys.1.as_ref().map(Vec::as_slice));
        let ranges = self.pruned(self.ranges(keys, scan.marks.as_deref()), &scan.filter)?;
        let counters = scan.counters.clone().unwrap_or_default();
        counters.add_rows(ranges.rows());
        let read = RowRead {
            projection: self.bind(&scan.projection)?,
            conditions: self.conditions(&scan.filter, scan.deleted)?.into(),
            batch_rows: scan.batch_rows,
            counters: Arc::clone(&counters),
            is_scan: true,
        };
        if read.projection.has_position && !read.conditions.is_empty() {
            return Err(SegmentError::Misused("positions of rows that meet conditions".to_owned()));
        }
        let stream = match scan.limit {
            Some(limit) if !read.conditions.is_empty() => self.clone().read_in_steps(&ranges, read, limit),
            limit => self.read_rows(&ranges, &read, limit)?,
        };
        Ok((stream, counters))
    }

    /// Reads until there are enough rows, or no more.
    fn read_in_steps(self, ranges: &RowRanges, read: RowRead, limit: usize) -> SegmentStream {
        let steps = ranges.steps(FIRST_STEP_ROWS).into_iter();
        let left = Arc::new(AtomicU64::new(limit as u64));
        let streams = stream::try_unfold((self, steps, read, left), |(segment, mut steps, read, left)| async move {
            let most = usize::try_from(left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(ranges) = steps.next().filter(|_| most > 0) else { return Ok::<_, SegmentError>(None) };
            let counted = Arc::clone(&left);
            let batches = segment.read_rows(&ranges, &read, Some(most))?.inspect_ok(move |batch| {
                counted.fetch_sub(batch.num_rows() as u64, Ordering::Relaxed);
            });
            Ok(Some((batches, (segment, steps, read, left))))
        });
        until_error(streams.try_flatten()).boxed()
    }

    fn ranges(&self, keys: (Bound<&[u8]>, Bound<&[u8]>), marks: Option<&SegmentMarks>) -> RowRanges {
        let all = matches!(keys, (Bound::Unbounded, Bound::Unbounded));
        let rows = if all { 0..self.rows } else { self.loaded.zones.rows_between(keys.0, keys.1) };
        let ranges = RowRanges::new(vec![rows]);
        match marks.filter(|marks| !marks.is_empty()) {
            Some(marks) => ranges.without(marks),
            None => ranges,
        }
    }

    pub(crate) fn bind(&self, projection: &Arc<SegmentProjection>) -> Result<BoundProjection> {
        let bound = projection.bind(&self.loaded.leaves, self.loaded.columns.schema());
        bound.map_err(|message| self.damaged(message))
    }

    pub(crate) fn damaged(&self, message: String) -> SegmentError {
        SegmentError::Damaged { path: self.path.to_string(), message }
    }

    /// Reads rows by their places.
    pub(crate) fn read_rows(&self, ranges: &RowRanges, read: &RowRead, limit: Option<usize>) -> Result<SegmentStream> {
        let RowRead { projection, conditions, batch_rows, counters, is_scan } = read;
        let selection = RowGroupSelection::new(ranges, &self.loaded.row_group_starts)?;
        if selection.row_groups.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let source = self.source().with_counters(Arc::clone(counters));
        let source = if *is_scan { source } else { source.for_few() };
        let columns = if projection.has_position { &self.loaded.columns_and_position } else { &self.loaded.columns };
        let mask = ProjectionMask::leaves(columns.parquet_schema(), projection.decoded.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(source, columns.clone())
            .with_row_groups(selection.row_groups)
            .with_projection(mask)
            .with_batch_size((*batch_rows).max(1));
        if let Some(rows) = selection.selection {
            builder = builder.with_row_selection(rows);
        }
        if let Some(limit) = limit {
            builder = builder.with_limit(limit);
        }
        let tested = Arc::new(AtomicU64::new(0));
        if !conditions.is_empty() {
            builder = builder.with_row_filter(row_filter(conditions, columns.parquet_schema(), &tested));
        }
        let stream = decoding(&self.path, || builder.build())?;
        let expected = match (conditions.is_empty(), limit) {
            (true, limit) => ExpectedRows::Given(limit.map_or(ranges.rows(), |limit| ranges.rows().min(limit as u64))),
            (false, None) => ExpectedRows::Tested { rows: ranges.rows(), tested },
            (false, Some(limit)) => ExpectedRows::AtMost(ranges.rows().min(limit as u64)),
        };
        let (segment, projection) = (self.clone(), projection.clone());
        let batches = decoding_stream(self.path.clone(), stream, expected)
            .map(move |batch| projection.apply(&batch?).map_err(|message| segment.damaged(message)));
        Ok(until_error(batches).boxed())
    }
}

/// How rows are read, whichever they are.
pub(crate) struct RowRead {
    projection: BoundProjection,
    conditions: Arc<[FileCondition]>,
    batch_rows: usize,
    pub(crate) counters: Arc<ReadCounters>,
    /// Of any number of rows.
    is_scan: bool,
}

impl RowRead {
    /// Without conditions, counted anew.
    pub(crate) fn of(projection: BoundProjection, is_few: bool) -> Self {
        let conditions = Arc::from(Vec::new());
        Self { projection, conditions, batch_rows: DEFAULT_BATCH_ROWS, counters: Arc::default(), is_scan: !is_few }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// A stream that gives nothing after its first error.
fn until_error(
    stream: impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static {
    stream.scan(false, |failed, batch| {
        let over = std::mem::replace(failed, batch.is_err());
        futures::future::ready((!over).then_some(batch))
    })
}

#[cfg(test)]
mod tests;
