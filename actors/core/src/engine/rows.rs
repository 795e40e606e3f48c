//! Rows in memory as Arrow batches, and tables over them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::TableSource;
use kalamdb_commons::{Error, Result};
use kalamdb_sql::{ColumnType, Row, Value};
use kalamdb_wire::StatementResult;

use super::errors::from_datafusion;
use super::result::RowWriter;
use super::scan::ColumnBuilder;

/// One column of such a table.
#[derive(Debug, Clone)]
pub(crate) struct RowColumn {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) nullable: bool,
}

impl RowColumn {
    pub(crate) fn new(name: impl Into<String>, column_type: ColumnType, nullable: bool) -> Self {
        Self { name: name.into(), column_type, nullable }
    }

    fn field(&self) -> Field {
        self.column_type.to_field(&self.name, self.nullable)
    }
}

/// The rows as one batch.
pub(crate) fn batch_of(columns: &[RowColumn], rows: &[Row]) -> Result<RecordBatch> {
    let mut builders: Vec<ColumnBuilder> =
        columns.iter().map(|column| ColumnBuilder::new(column.column_type)).collect();
    for row in rows {
        for (at, builder) in builders.iter_mut().enumerate() {
            builder.append_value(row.get(at).unwrap_or(&Value::Null))?;
        }
    }
    let arrays = builders.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<ArrayRef>>>()?;
    let schema = Arc::new(Schema::new(columns.iter().map(RowColumn::field).collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(Error::internal)
}

/// The rows as a table for a plan.
pub(crate) fn table_of(columns: &[RowColumn], rows: &[Row]) -> Result<Arc<dyn TableSource>> {
    let batch = batch_of(columns, rows)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(from_datafusion)?;
    Ok(provider_as_source(Arc::new(table)))
}

/// The rows as a statement's answer.
pub(crate) fn result_of(columns: &[RowColumn], rows: &[Row]) -> Result<StatementResult> {
    let batch = batch_of(columns, rows)?;
    let mut writer = RowWriter::new(&batch.schema());
    writer.write(&batch)?;
    let (columns, rows, row_count) = writer.finish()?;
    Ok(StatementResult { columns, rows, row_count, ..StatementResult::default() })
}
