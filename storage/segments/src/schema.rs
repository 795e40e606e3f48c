//! What columns a segment's file has: the declared ones of a schema version under their column ids, then the system
//! columns under reserved ids.
//!
//! Readers go by these ids (Parquet's `field_id`), never by names: a column that was renamed keeps its values, one
//! that was dropped and added anew has another id.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use kalamdb_commons::{ColumnId, SystemColumn};
use kalamdb_sql::{ColumnType, TableSchema};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::{Result, SegmentError};

/// Every column id of a table is below this; the ids from here on are the system's.
pub const FIRST_RESERVED_FIELD_ID: i32 = 2_000_000_000;
/// `field_id` of `_seq`.
pub const SEQ_FIELD_ID: i32 = 2_000_000_001;
/// `field_id` of `_updated`.
pub const UPDATED_FIELD_ID: i32 = 2_000_000_002;
/// `field_id` of `_deleted`.
pub const DELETED_FIELD_ID: i32 = 2_000_000_003;
/// `field_id` of the row's number in a table without primary key.
pub const ROW_NUMBER_FIELD_ID: i32 = 2_000_000_004;

/// Name of the row's number in files; see [`row_number_name`].
const ROW_NUMBER_NAME: &str = "_row";

/// The columns of a segment's file, in order.
#[derive(Debug, Clone)]
pub struct SegmentSchema {
    table: Arc<TableSchema>,
    arrow: SchemaRef,
}

impl SegmentSchema {
    /// The columns of segments that are written with a version of a table's schema.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] when the table ran out of column ids.
    pub fn new(table: Arc<TableSchema>) -> Result<Self> {
        let mut fields = Vec::with_capacity(table.columns.len() + 4);
        for column in &table.columns {
            let field = Field::new(column.name.as_str(), column.column_type.to_arrow(), column.nullable);
            fields.push(with_field_id(field, field_id(column.id)?));
        }
        fields.push(with_field_id(Field::new(SystemColumn::Seq.as_str(), DataType::Int64, false), SEQ_FIELD_ID));
        fields.push(with_field_id(Field::new(SystemColumn::Updated.as_str(), timestamp(), false), UPDATED_FIELD_ID));
        fields.push(with_field_id(
            Field::new(SystemColumn::Deleted.as_str(), DataType::Boolean, false),
            DELETED_FIELD_ID,
        ));
        if table.primary_key.is_empty() {
            fields
                .push(with_field_id(Field::new(row_number_name(&table), DataType::Int64, false), ROW_NUMBER_FIELD_ID));
        }
        Ok(Self { arrow: Arc::new(Schema::new(fields)), table })
    }

    /// The schema version.
    #[must_use]
    pub fn table(&self) -> &Arc<TableSchema> {
        &self.table
    }

    /// The columns as batches for [`SegmentWriter`](crate::SegmentWriter) have them: the declared ones, `_seq`, `_updated`,
    /// `_deleted`, and for a table without primary key the row's number.
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The place of `_seq`.
    #[must_use]
    pub fn seq_position(&self) -> usize {
        self.table.columns.len()
    }
}

/// The name of the row's number in files of a table without primary key: `_row`, with as many further underscores as
/// it takes to be no declared column's name, in upper or lower case. Readers of ours go by the id.
#[must_use]
pub fn row_number_name(table: &TableSchema) -> String {
    let mut name = ROW_NUMBER_NAME.to_owned();
    while table.columns.iter().any(|column| column.name.as_str().eq_ignore_ascii_case(&name)) {
        name.push('_');
    }
    name
}

/// Parquet's `field_id` of a declared column.
///
/// # Errors
/// [`SegmentError::Misused`] for an id that is reserved.
pub fn field_id(column: ColumnId) -> Result<i32> {
    i32::try_from(column.0)
        .ok()
        .filter(|id| *id < FIRST_RESERVED_FIELD_ID)
        .ok_or_else(|| SegmentError::Misused(format!("column id {column} is not below {FIRST_RESERVED_FIELD_ID}")))
}

/// TIMESTAMP in Arrow.
pub(crate) fn timestamp() -> DataType {
    ColumnType::Timestamp.to_arrow()
}

fn with_field_id(field: Field, id: i32) -> Field {
    field.with_metadata([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())].into())
}

/// How values of a file's column look in Arrow, whatever the file says of it: text and bytes as views, timestamps as
/// microseconds without a zone.
pub(crate) fn in_memory(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Timestamp(TimeUnit::Microsecond, _) => timestamp(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
