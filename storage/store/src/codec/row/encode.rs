//! Writing rows.

use kalamdb_sql::{ColumnType, TableSchema, Value};

use super::{FLAG_DELETED, FORMAT, HEADER_BYTES, RowHeader, is_variable, slot_bytes};
use crate::codec::bytes::length;

/// A row as it is stored; `schema` is the version that `header` names, `values` are in its order.
///
/// # Panics
/// When `values` are not of the schema's columns, or have 4 GiB or more. Rows are checked where they
/// are made; a wrong one must not reach the disk.
#[must_use]
pub fn encode_row(header: &RowHeader, schema: &TableSchema, values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_row_into(&mut out, header, schema, values);
    out
}

/// As [`encode_row`], appended to `out`.
///
/// # Panics
/// As [`encode_row`].
pub fn encode_row_into(out: &mut Vec<u8>, header: &RowHeader, schema: &TableSchema, values: &[Value]) {
    assert_eq!(schema.columns.len(), values.len(), "values of a row and columns of its schema");
    assert_eq!(schema.version, header.schema_version, "version of a row's header and of its schema");
    let bitmap_bytes = values.len().div_ceil(8);
    let fixed: usize = schema.columns.iter().map(|column| slot_bytes(column.column_type)).sum();
    let variable: usize = values.iter().map(|value| variable_part(value).len()).sum();
    out.reserve(HEADER_BYTES + bitmap_bytes + fixed + variable);

    out.push(FORMAT);
    out.extend_from_slice(&header.schema_version.0.to_le_bytes());
    out.extend_from_slice(&header.seq.0.to_le_bytes());
    out.extend_from_slice(&header.updated.to_le_bytes());
    out.push(if header.deleted { FLAG_DELETED } else { 0 });
    for chunk in values.chunks(8) {
        out.push(chunk.iter().rev().fold(0, |bits, value| bits << 1 | u8::from(value.is_null())));
    }
    let mut end = 0;
    for (column, value) in schema.columns.iter().zip(values) {
        end += variable_part(value).len();
        put_slot(out, column.column_type, value, end);
    }
    for value in values {
        out.extend_from_slice(variable_part(value));
    }
}

fn variable_part(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) | Value::Json(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        Value::Null
        | Value::Boolean(_)
        | Value::SmallInt(_)
        | Value::Int(_)
        | Value::BigInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Uuid(_) => &[],
    }
}

fn put_slot(out: &mut Vec<u8>, column_type: ColumnType, value: &Value, end: usize) {
    match (column_type, value) {
        (ColumnType::Text, Value::Text(_) | Value::Null)
        | (ColumnType::Json, Value::Json(_) | Value::Null)
        | (ColumnType::Bytes, Value::Bytes(_) | Value::Null) => out.extend_from_slice(&length(end)),
        (_, Value::Null) if !is_variable(column_type) => out.resize(out.len() + slot_bytes(column_type), 0),
        (ColumnType::Boolean, Value::Boolean(value)) => out.push(u8::from(*value)),
        (ColumnType::SmallInt, Value::SmallInt(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (ColumnType::Int, Value::Int(number)) | (ColumnType::Date, Value::Date(number)) => {
            out.extend_from_slice(&number.to_le_bytes());
        }
        (ColumnType::BigInt, Value::BigInt(number)) | (ColumnType::Timestamp, Value::Timestamp(number)) => {
            out.extend_from_slice(&number.to_le_bytes());
        }
        (ColumnType::Float, Value::Float(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (ColumnType::Double, Value::Double(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (ColumnType::Decimal { .. }, Value::Decimal(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (ColumnType::Uuid, Value::Uuid(bytes)) => out.extend_from_slice(bytes),
        (column_type, _) => panic!("a value of another type in a column of type {column_type}"),
    }
}
