//! Arrow batches as the rows of CONTRACT 3.2.

mod cell;
mod encode;
mod interval;
mod live;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use kalamdb_commons::Result;
use kalamdb_sql::ColumnType;
use kalamdb_wire::{Column, RawRows};

use super::rewrite::unique_names;
use cell::CellWriter;
pub(crate) use cell::timestamp;
pub(crate) use encode::{CHUNK_BYTES, Encoder};
pub(crate) use live::RowJson;

/// The type of a column, where the dialect has one that is exactly this Arrow field's.
pub(crate) fn column_type_of_field(field: &Field) -> Option<ColumnType> {
    Some(match field.data_type() {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int16 => ColumnType::SmallInt,
        DataType::Int32 => ColumnType::Int,
        DataType::Int64 => ColumnType::BigInt,
        DataType::Float32 => ColumnType::Float,
        DataType::Float64 => ColumnType::Double,
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).ok().filter(|scale| scale <= precision)?;
            ColumnType::Decimal { precision: *precision, scale }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            match field.metadata().get(ColumnType::METADATA_KEY).map(String::as_str) {
                Some("UUID") => ColumnType::Uuid,
                Some("JSON") => ColumnType::Json,
                _ => ColumnType::Text,
            }
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ColumnType::Bytes,
        DataType::Date32 => ColumnType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => ColumnType::Timestamp,
        _ => return None,
    })
}

/// The name of the type as a client reads it.
fn type_name(field: &Field) -> String {
    if let Some(column_type) = column_type_of_field(field) {
        return column_type.to_string();
    }
    match field.data_type() {
        DataType::Int8 => "SMALLINT".to_owned(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => "BIGINT".to_owned(),
        DataType::UInt64 => "DECIMAL(20,0)".to_owned(),
        DataType::Float16 => "FLOAT".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Date64 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::FixedSizeBinary(_) => "BYTES".to_owned(),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => "ARRAY".to_owned(),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => "OBJECT".to_owned(),
        DataType::Dictionary(_, values) => type_name(&Field::new("", values.as_ref().clone(), true)),
        DataType::RunEndEncoded(_, values) => type_name(values),
        // NULL alone has no type; text is what PostgreSQL makes of it.
        _ => "TEXT".to_owned(),
    }
}

/// The columns a client reads.
pub(crate) fn columns_of(schema: &Schema) -> Vec<Column> {
    let names = unique_names(schema.fields().iter().map(|field| field.name().as_str()));
    let describe = |(name, field): (String, &std::sync::Arc<Field>)| Column {
        name,
        data_type: type_name(field),
        nullable: field.is_nullable(),
    };
    names.into_iter().zip(schema.fields()).map(describe).collect()
}

/// Each column's name as JSON, with the colon.
fn keys_of(columns: &[Column]) -> Vec<Vec<u8>> {
    let key = |column: &Column| {
        let mut key = Vec::new();
        cell::write_text(&mut key, &column.name);
        key.push(b':');
        key
    };
    columns.iter().map(key).collect()
}

/// Row objects, written batch by batch.
#[derive(Debug)]
pub(crate) struct RowWriter {
    columns: Vec<Column>,
    /// Each column's name as JSON, with the colon.
    keys: Vec<Vec<u8>>,
    out: Vec<u8>,
    rows: u64,
}

impl RowWriter {
    pub(crate) fn new(schema: &Schema) -> Self {
        let columns = columns_of(schema);
        Self { keys: keys_of(&columns), columns, out: vec![b'['], rows: 0 }
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let cells = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| CellWriter::new(field, array))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            self.out.extend_from_slice(if self.rows == 0 { b"{" } else { b",{" });
            for (at, (key, cell)) in self.keys.iter().zip(&cells).enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                self.out.extend_from_slice(key);
                cell.write(&mut self.out, row)?;
            }
            self.out.push(b'}');
            self.rows += 1;
        }
        Ok(())
    }

    /// Columns, rows and how many they are.
    pub(crate) fn finish(mut self) -> Result<(Vec<Column>, RawRows, u64)> {
        self.out.push(b']');
        let text = String::from_utf8(self.out).map_err(kalamdb_commons::Error::internal)?;
        Ok((self.columns, RawRows::from_json(text), self.rows))
    }
}
