//! A compiled query: what becomes of a statement's changes in its result.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{filter_record_batch, prep_null_mask_filter};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::common::cast::as_boolean_array;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use kalamdb_commons::{Error, QualifiedTableName, Result};
use kalamdb_store::PartitionId;
use kalamdb_store::codec::changelog::{LogChange, LogEntry};
use kalamdb_wire::{Column, JsonRows, RowChanges};

use crate::UsedColumns;

/// Stored rows to Arrow and Arrow to JSON, of one table: the engine's side of a [`LiveProgram`].
pub trait RowFormat: Send + Sync + fmt::Debug {
    /// Stored rows with their keys as the columns that the program's expressions read.
    ///
    /// # Errors
    /// When a row does not decode.
    fn decode(&self, rows: &[(&[u8], &[u8])]) -> Result<RecordBatch>;

    /// Appends the primary keys (or row numbers) of decoded rows.
    ///
    /// # Errors
    /// When a value cannot be shown.
    fn write_keys(&self, rows: &RecordBatch, out: &mut JsonRows) -> Result<()>;

    /// Appends result rows as objects.
    ///
    /// # Errors
    /// When a value cannot be shown.
    fn write_rows(&self, rows: &RecordBatch, out: &mut JsonRows) -> Result<()>;

    /// The engine's error for one of DataFusion.
    fn error(&self, error: DataFusionError) -> Error;
}

/// A query's condition and columns, compiled for the columns that the query [uses](UsedColumns). Parameters are part of it.
#[derive(Debug)]
pub struct LiveProgram {
    /// What a row has to meet; none for all rows.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The result's columns.
    pub outputs: Vec<Arc<dyn PhysicalExpr>>,
    /// Their names and types.
    pub schema: SchemaRef,
    /// How rows are read and written.
    pub format: Arc<dyn RowFormat>,
}

/// What somebody subscribed to.
#[derive(Debug, Clone)]
pub struct LiveQuery {
    /// The table.
    pub table: QualifiedTableName,
    /// Whose rows of it.
    pub partition: PartitionId,
    /// What it takes of the table's columns.
    pub uses: Arc<UsedColumns>,
    /// Queries of one partition with the same key are evaluated once for all: their text, parameters, version of the
    /// table, and what else their result depends on.
    pub key: Arc<str>,
    /// The text.
    pub sql: Arc<str>,
    /// The result's columns, for the client.
    pub columns: Arc<[Column]>,
    /// What is evaluated.
    pub program: Arc<LiveProgram>,
}

/// Which of the changes' old or new rows are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

impl Side {
    fn row(self, change: &LogChange) -> Option<&[u8]> {
        let row = match self {
            Self::Old => &change.old,
            Self::New => &change.new,
        };
        row.as_deref()
    }
}

/// The rows of one side and which of the statement's changes they belong to.
struct Rows {
    batch: RecordBatch,
    /// For each change, whether its row meets the condition; `false` where there is none.
    matches: Vec<bool>,
    /// For each change, whether there is such a row.
    present: Vec<bool>,
}

impl LiveProgram {
    /// A statement's changes as changes of the result: deletions, updates, insertions. A row that begins to meet the
    /// condition comes in, one that ceases to goes out.
    ///
    /// # Errors
    /// When the condition or a column fails on a row (a division by zero), or a row does not decode.
    pub fn changes(&self, entry: &LogEntry) -> Result<[RowChanges; 3]> {
        let old = self.rows(entry, Side::Old)?;
        let new = self.rows(entry, Side::New)?;
        let pairs = || old.matches.iter().zip(&new.matches);
        let deleted: Vec<bool> = pairs().map(|(old, new)| *old && !*new).collect();
        let updated: Vec<bool> = pairs().map(|(old, new)| *old && *new).collect();
        let inserted: Vec<bool> = pairs().map(|(old, new)| !*old && *new).collect();
        let mut changes: [RowChanges; 3] = Default::default();
        let [gone, other, come] = &mut changes;
        if deleted.contains(&true) {
            (gone.rows, gone.keys) = self.shown(&old, &deleted)?;
        }
        if updated.contains(&true) {
            (other.rows, other.keys) = self.shown(&new, &updated)?;
            (other.old_rows, other.old_keys) = self.shown(&old, &updated)?;
            // Mostly a row keeps its key, and then there is nothing to be told of it.
            if other.old_keys == other.keys {
                other.old_keys = JsonRows::default();
            }
        }
        if inserted.contains(&true) {
            (come.rows, come.keys) = self.shown(&new, &inserted)?;
        }
        Ok(changes)
    }

    fn rows(&self, entry: &LogEntry, side: Side) -> Result<Rows> {
        let stored: Vec<(&[u8], &[u8])> = entry
            .changes
            .iter()
            .filter_map(|change| side.row(change).map(|row| (change.key.as_slice(), row)))
            .collect();
        let present: Vec<bool> = entry.changes.iter().map(|change| side.row(change).is_some()).collect();
        let batch = self.format.decode(&stored)?;
        let found = self.filter(&batch)?;
        let mut at = 0;
        let matches = present
            .iter()
            .map(|present| {
                let matches = *present && found.as_ref().is_none_or(|found| found.value(at));
                at += usize::from(*present);
                matches
            })
            .collect();
        Ok(Rows { batch, matches, present })
    }

    /// Which rows meet the condition; none if there is no condition.
    fn filter(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(filter) = self.filter.as_ref().filter(|_| batch.num_rows() > 0) else { return Ok(None) };
        let value = filter.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        let array = value.map_err(|error| self.format.error(error))?;
        let found = as_boolean_array(&array).map_err(|error| self.format.error(error))?;
        // NULL is not true.
        Ok(Some(if found.null_count() > 0 { prep_null_mask_filter(found) } else { found.clone() }))
    }

    /// Result rows and keys of the chosen changes.
    fn shown(&self, rows: &Rows, chosen: &[bool]) -> Result<(JsonRows, JsonRows)> {
        let mask: BooleanArray =
            rows.present.iter().zip(chosen).filter(|(present, _)| **present).map(|(_, chosen)| Some(*chosen)).collect();
        let chosen = filter_record_batch(&rows.batch, &mask).map_err(Error::internal)?;
        self.show(&chosen)
    }

    /// Result rows and keys of decoded rows.
    fn show(&self, rows: &RecordBatch) -> Result<(JsonRows, JsonRows)> {
        let count = rows.num_rows();
        let arrays = self
            .outputs
            .iter()
            .map(|output| output.evaluate(rows).and_then(|value: ColumnarValue| value.into_array(count)))
            .collect::<Result<Vec<ArrayRef>, _>>()
            .map_err(|error| self.format.error(error))?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let result = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        let (mut shown, mut keys) = (JsonRows::default(), JsonRows::default());
        self.format.write_rows(&result.map_err(Error::internal)?, &mut shown)?;
        self.format.write_keys(rows, &mut keys)?;
        Ok((shown, keys))
    }
}
