//! One segment to read from: a footer in memory, and the file behind it.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::manifest::SegmentMarks;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;

use crate::cache::LoadedSegment;
use crate::error::{Result, SegmentError};
use crate::guard::{decoding, decoding_stream};
use crate::marks::{RowGroupSelection, RowRanges};
use crate::path::SegmentPath;
use crate::projection::{BoundProjection, SegmentProjection};
use crate::source::{ReadCounters, SegmentSource};
use crate::storage::SegmentStorage;

/// Most rows of a batch, where the caller does not say.
pub const DEFAULT_BATCH_ROWS: usize = 8192;

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
    /// Most rows, in key order, of those that the marks leave.
    pub limit: Option<usize>,
    /// Most rows of a batch.
    pub batch_rows: usize,
}

impl SegmentScan {
    /// All rows.
    #[must_use]
    pub fn new(projection: Arc<SegmentProjection>) -> Self {
        let keys = (Bound::Unbounded, Bound::Unbounded);
        Self { projection, marks: None, keys, limit: None, batch_rows: DEFAULT_BATCH_ROWS }
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
    /// A row group's columns (or their selected pages) are read at once and decoded on the task that polls the stream.
    ///
    /// # Errors
    /// [`SegmentError::Misused`], or [`SegmentError::Damaged`] for columns that the table cannot have; the stream ends with
    /// [`Missing`](SegmentError::Missing), [`Damaged`](SegmentError::Damaged) or [`Unavailable`](SegmentError::Unavailable) when the file
    /// cannot be read, and gives nothing after that.
    pub fn scan(&self, scan: &SegmentScan) -> Result<(SegmentStream, Arc<ReadCounters>)> {
        let keys = (scan.keys.0.as_ref().map(Vec::as_slice), scan.keys.1.as_ref().map(Vec::as_slice));
        let ranges = self.ranges(keys, scan.marks.as_deref());
        self.read_rows(&ranges, &self.bind(&scan.projection)?, scan.batch_rows, scan.limit)
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
    pub(crate) fn read_rows(
        &self,
        ranges: &RowRanges,
        projection: &BoundProjection,
        batch_rows: usize,
        limit: Option<usize>,
    ) -> Result<(SegmentStream, Arc<ReadCounters>)> {
        let selection = RowGroupSelection::new(ranges, &self.loaded.row_group_starts)?;
        let source = self.source();
        let counters = Arc::clone(source.counters());
        if selection.row_groups.is_empty() {
            return Ok((futures::stream::empty().boxed(), counters));
        }
        let columns = if projection.has_position { &self.loaded.columns_and_position } else { &self.loaded.columns };
        let mask = ProjectionMask::leaves(columns.parquet_schema(), projection.decoded.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(source, columns.clone())
            .with_row_groups(selection.row_groups)
            .with_projection(mask)
            .with_batch_size(batch_rows.max(1));
        if let Some(rows) = selection.selection {
            builder = builder.with_row_selection(rows);
        }
        if let Some(limit) = limit {
            builder = builder.with_limit(limit);
        }
        let stream = decoding(&self.path, || builder.build())?;
        let expected = limit.map_or(ranges.rows(), |limit| ranges.rows().min(limit as u64));
        let (segment, projection) = (self.clone(), projection.clone());
        let batches = decoding_stream(self.path.clone(), stream, expected)
            .map(move |batch| projection.apply(&batch?).map_err(|message| segment.damaged(message)));
        Ok((until_error(batches).boxed(), counters))
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
