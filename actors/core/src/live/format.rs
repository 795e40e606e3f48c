//! Stored rows of a table as a compiled query reads them, and results as JSON.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use kalamdb_commons::{Error, Result, TableId};
use kalamdb_live::{RowFormat, UsedColumns};
use kalamdb_sql::TableSchema;
use kalamdb_wire::JsonRows;
use parking_lot::Mutex;

use super::compile::changed_meanwhile;
use crate::catalog::TableEntry;
use crate::engine::{RowDecoder, RowJson, Runtime, ScanColumn, Tombstones, from_datafusion};

/// See the module.
pub(super) struct TableFormat {
    runtime: Arc<Runtime>,
    table: TableId,
    /// The columns that places are of.
    compiled_for: Arc<TableSchema>,
    uses: Arc<UsedColumns>,
    /// What is decoded.
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    /// Where among them the key's columns are.
    keys: Vec<usize>,
    rows: RowJson,
    /// For the table's entry as it was when this was used last: it may be altered while the columns that are used stay.
    decoder: Mutex<Option<(Arc<TableEntry>, RowDecoder)>>,
}

impl fmt::Debug for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableFormat")
            .field("table", &self.table)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// What a format is made of.
#[derive(Debug)]
pub(super) struct FormatArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) table: TableId,
    pub(super) compiled_for: Arc<TableSchema>,
    pub(super) uses: Arc<UsedColumns>,
    pub(super) columns: Vec<ScanColumn>,
    pub(super) schema: SchemaRef,
    pub(super) keys: Vec<usize>,
    /// Of the query's result.
    pub(super) result: SchemaRef,
}

impl TableFormat {
    pub(super) fn new(args: FormatArgs) -> Self {
        let FormatArgs { runtime, table, compiled_for, uses, columns, schema, keys, result } = args;
        Self {
            runtime,
            table,
            compiled_for,
            uses,
            columns,
            schema,
            keys,
            rows: RowJson::new(&result),
            decoder: Mutex::default(),
        }
    }
}

impl TableFormat {
    /// What is decoded, by the places of another version.
    fn columns_in(&self, now: &TableSchema) -> Result<Vec<ScanColumn>> {
        let place_now = |column: &ScanColumn| -> Result<ScanColumn> {
            let ScanColumn::Declared(place) = column else { return Ok(*column) };
            let id = self.compiled_for.columns.get(*place).map(|column| column.id);
            id.and_then(|id| now.position_of_id(id)).map(ScanColumn::Declared).ok_or_else(changed_meanwhile)
        };
        self.columns.iter().map(place_now).collect()
    }
}

impl RowFormat for TableFormat {
    fn decode(&self, rows: &[(&[u8], &[u8])]) -> Result<RecordBatch> {
        let catalog = self.runtime.catalog();
        let entry =
            catalog.table_of(self.table).ok_or_else(|| Error::internal("a live query of a table that is gone"))?;
        if !self.uses.are_in(&entry.schema) {
            // Whoever asked looks at the table, and ends.
            return Err(changed_meanwhile());
        }
        // Taken out: a large statement of one user must not keep the same query of others waiting.
        let known = self.decoder.lock().take();
        let mut decoder = match known {
            Some((of, decoder)) if Arc::ptr_eq(&of, entry) => decoder,
            _ => {
                let (columns, schema) = (self.columns_in(&entry.schema)?, Arc::clone(&self.schema));
                RowDecoder::new(Arc::clone(entry), columns, schema, Tombstones::All)
            }
        };
        let decoded = decoder.decode(rows.iter().copied(), usize::MAX);
        *self.decoder.lock() = Some((Arc::clone(entry), decoder));
        decoded
    }

    fn write_keys(&self, rows: &RecordBatch, out: &mut JsonRows) -> Result<()> {
        RowJson::write_keys(rows, &self.keys, out)
    }

    fn write_rows(&self, rows: &RecordBatch, out: &mut JsonRows) -> Result<()> {
        self.rows.write(rows, out)
    }

    fn error(&self, error: DataFusionError) -> Error {
        from_datafusion(error)
    }
}
