//! A column that has one value in all rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, StringViewBuilder, TimestampMicrosecondArray, new_null_array,
};
use kalamdb_sql::{ColumnType, Value};
use uuid::Uuid;

/// `Err` when the value is not of the type.
pub(crate) fn constant(column_type: ColumnType, value: &Value, rows: usize) -> Result<ArrayRef, String> {
    Ok(match (column_type, value) {
        (_, Value::Null) => new_null_array(&column_type.to_arrow(), rows),
        (ColumnType::Boolean, Value::Boolean(value)) => Arc::new(BooleanArray::from(vec![*value; rows])),
        (ColumnType::SmallInt, Value::SmallInt(number)) => Arc::new(Int16Array::from_value(*number, rows)),
        (ColumnType::Int, Value::Int(number)) => Arc::new(Int32Array::from_value(*number, rows)),
        (ColumnType::BigInt, Value::BigInt(number)) => Arc::new(Int64Array::from_value(*number, rows)),
        (ColumnType::Float, Value::Float(number)) => Arc::new(Float32Array::from_value(*number, rows)),
        (ColumnType::Double, Value::Double(number)) => Arc::new(Float64Array::from_value(*number, rows)),
        (ColumnType::Decimal { .. }, Value::Decimal(number)) => {
            let numbers = Decimal128Array::from_value(*number, rows).with_data_type(column_type.to_arrow());
            Arc::new(numbers)
        }
        (ColumnType::Text, Value::Text(text)) | (ColumnType::Json, Value::Json(text)) => repeated_text(text, rows)?,
        (ColumnType::Uuid, Value::Uuid(bytes)) => {
            repeated_text(Uuid::from_bytes(*bytes).as_hyphenated().encode_lower(&mut Uuid::encode_buffer()), rows)?
        }
        (ColumnType::Bytes, Value::Bytes(bytes)) => {
            let mut builder = BinaryViewBuilder::with_capacity(rows);
            let block = builder.append_block(bytes.as_slice().into());
            let length = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
            for _ in 0..rows {
                builder.try_append_view(block, 0, length).map_err(|error| error.to_string())?;
            }
            Arc::new(builder.finish())
        }
        (ColumnType::Date, Value::Date(days)) => Arc::new(Date32Array::from_value(*days, rows)),
        (ColumnType::Timestamp, Value::Timestamp(micros)) => {
            Arc::new(TimestampMicrosecondArray::from_value(*micros, rows))
        }
        (column_type, _) => return Err(format!("the initial value of a {column_type} column is of another type")),
    })
}

/// The text is there once, however many rows have it.
fn repeated_text(text: &str, rows: usize) -> Result<ArrayRef, String> {
    let mut builder = StringViewBuilder::with_capacity(rows);
    let block = builder.append_block(text.as_bytes().into());
    let length = u32::try_from(text.len()).map_err(|error| error.to_string())?;
    for _ in 0..rows {
        builder.try_append_view(block, 0, length).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(builder.finish()))
}
