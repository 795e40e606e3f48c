//! Rows into a segment's file: a plain encoder into any [`io::Write`], off the async threads.
//!
//! What always holds:
//! - SE-1: the rows of a file ascend strictly by encoded key. A batch that breaks this is refused; the file must then
//!   be given up.
//! - Memory is bounded by one row group ([`properties::ROW_GROUP_ROWS`], [`properties::ROW_GROUP_BYTES`]),
//!   encoded and compressed, one batch, and the bloom filters of one file.
//! - Floats in key columns are normalised, as in keys: a point lookup compares bits.

mod order;
mod properties;
mod tracked;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::Int64Type;
use kalamdb_commons::{SchemaVersion, Seq};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;

use self::order::{check_order, normalised};
pub(crate) use self::properties::PAGE_ROWS;
use self::tracked::{Failure, Tracked};
use crate::error::{Result, SegmentError};
use crate::key::{KeyColumns, KeyLayout};
use crate::metadata::{self, PartitionName, Totals};
use crate::schema::SegmentSchema;

/// What a [`SegmentWriter`] needs to know.
#[derive(Debug, Clone)]
pub struct SegmentWriterArgs {
    /// The columns.
    pub schema: SegmentSchema,
    /// Whose rows they are.
    pub partition: PartitionName,
    /// How many rows will come, about: sizes the bloom filters. Fewer cost nothing; many more make filters of the first row
    /// groups less selective.
    pub expected_rows: u64,
}

/// What was written: most of a manifest entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenSegment {
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The schema version.
    pub schema_version: SchemaVersion,
    /// Smallest `_seq`.
    pub min_seq: Seq,
    /// Largest `_seq`.
    pub max_seq: Seq,
    /// Encoded key of the first row.
    pub min_key: Vec<u8>,
    /// Encoded key of the last row.
    pub max_key: Vec<u8>,
}

/// Encodes one segment.
pub struct SegmentWriter<W: Write + Send> {
    encoder: ArrowWriter<Tracked<W>>,
    failure: Failure,
    schema: SegmentSchema,
    layout: KeyLayout,
    key_positions: Vec<usize>,
    rows: u64,
    seqs: Option<(i64, i64)>,
    min_key: Vec<u8>,
    max_key: Vec<u8>,
}

impl<W: Write + Send> SegmentWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What the sink says, or [`SegmentError::Misused`].
    pub fn new(sink: W, args: SegmentWriterArgs) -> Result<Self> {
        let SegmentWriterArgs { schema, partition, expected_rows } = args;
        let layout = KeyLayout::new(schema.table())?;
        let key_positions = match schema.table().key_positions() {
            positions if positions.is_empty() => vec![schema.arrow().fields().len() - 1],
            positions => positions,
        };
        let header = metadata::header(&partition, schema.table().version);
        let properties = properties::writer_properties(&schema, &key_positions, header, expected_rows);
        // Types come from field ids and the table's schema, not from a second schema in the footer.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let failure = Failure::default();
        let sink = Tracked::new(sink, failure.clone());
        let encoder = ArrowWriter::try_new_with_options(sink, Arc::clone(schema.arrow()), options)
            .map_err(|error| encode_error(&failure, &error))?;
        Ok(Self {
            encoder,
            failure,
            schema,
            layout,
            key_positions,
            rows: 0,
            seqs: None,
            min_key: Vec::new(),
            max_key: Vec::new(),
        })
    }

    /// Appends rows: columns as in [`SegmentSchema::arrow`] (names do not matter), sorted by key, all keys greater than
    /// those before.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] for anything else, or what the sink says. The file is to be given up then.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.checked(batch)?;
        let arrays: Vec<ArrayRef> = self.key_positions.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let keys = KeyColumns::new(&self.layout, &arrays).map_err(SegmentError::Misused)?;
        let mut first = Vec::new();
        keys.encode(0, &mut first).map_err(SegmentError::Misused)?;
        if self.rows > 0 && first <= self.max_key {
            return Err(SegmentError::Misused("a batch does not follow the rows before it by key".to_owned()));
        }
        check_order(&arrays)?;
        self.max_key.clear();
        keys.encode(keys.rows() - 1, &mut self.max_key).map_err(SegmentError::Misused)?;
        let seqs = batch.column(self.schema.seq_position()).as_primitive::<Int64Type>();
        if let (Some(least), Some(most)) = (min(seqs), max(seqs)) {
            let (before_least, before_most) = self.seqs.unwrap_or((least, most));
            self.seqs = Some((before_least.min(least), before_most.max(most)));
        }
        if self.rows == 0 {
            self.min_key = first;
        }
        self.rows += batch.num_rows() as u64;
        // The encoder ends pages where its own steps end, and begins those anew with each batch: the first step of this one
        // is what is missing of a page.
        let missing = PAGE_ROWS - self.encoder.in_progress_rows() % PAGE_ROWS;
        if missing < batch.num_rows() {
            self.encode(&batch.slice(0, missing))?;
            return self.encode(&batch.slice(missing, batch.num_rows() - missing));
        }
        self.encode(&batch)
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        self.encoder.write(batch).map_err(|error| encode_error(&self.failure, &error))
    }

    /// Ends the file; also returns the sink, which has all of it.
    ///
    /// # Errors
    /// What the sink says; [`SegmentError::Misused`] when there was no row.
    pub fn finish(mut self) -> Result<(WrittenSegment, W)> {
        let Some((least, most)) = self.seqs else {
            return Err(SegmentError::Misused("a segment has at least one row".to_owned()));
        };
        let written = WrittenSegment {
            rows: self.rows,
            bytes: 0,
            schema_version: self.schema.table().version,
            min_seq: seq(least)?,
            max_seq: seq(most)?,
            min_key: std::mem::take(&mut self.min_key),
            max_key: std::mem::take(&mut self.max_key),
        };
        // All rows, in the sink: what follows are the indexes and the footer, which holds the checksums.
        let failure = self.failure;
        let flushed = self.encoder.flush().and_then(|()| Ok(self.encoder.sync()?));
        flushed.map_err(|error| encode_error(&failure, &error))?;
        self.encoder.append_key_value_metadata(metadata::checksums(&self.encoder.inner().checksums.checksums()));
        let totals = Totals { rows: written.rows, min_seq: written.min_seq, max_seq: written.max_seq };
        for entry in metadata::trailer(totals) {
            self.encoder.append_key_value_metadata(entry);
        }
        self.encoder.append_key_value_metadata(metadata::tail_checksum());
        self.encoder.inner_mut().hold();
        // This writes them.
        let mut tracked = self.encoder.into_inner().map_err(|error| encode_error(&failure, &error))?;
        tracked.release()?;
        let Tracked { sink, checksums, .. } = tracked;
        Ok((WrittenSegment { bytes: checksums.bytes(), ..written }, sink))
    }

    /// Bytes that are encoded and not yet with the sink.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.encoder.memory_size()
    }

    /// The batch under this file's names, with key floats normalised.
    fn checked(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        for at in &self.key_positions {
            if let Some(column) = columns.get_mut(*at) {
                *column = normalised(column);
            }
        }
        Ok(RecordBatch::try_new(Arc::clone(self.schema.arrow()), columns)?)
    }
}

impl<W: Write + Send> fmt::Debug for SegmentWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Rows that could not be encoded: the sink's error stays what it was, everything else is ours.
fn encode_error(failure: &Failure, error: &ParquetError) -> SegmentError {
    failure.get().unwrap_or_else(|| SegmentError::Misused(format!("rows could not be encoded: {error}")))
}

fn seq(number: i64) -> Result<Seq> {
    u64::try_from(number)
        .ok()
        .filter(|number| *number < Seq::LIMIT)
        .map(Seq)
        .ok_or_else(|| SegmentError::Misused(format!("_seq {number} is none")))
}

#[cfg(test)]
mod tests;
