//! Keys of a segment's rows: from Arrow columns to the encoded keys by which rows are sorted, found and told apart.
//!
//! What always holds: the encoding is that of `kalamdb_store::codec::keys`, the same as of hot rows, so a key that was
//! taken from a hot row, from the manifest or from a segment compares bytewise with any other.

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use kalamdb_sql::{ColumnType, TableSchema, Value};
use kalamdb_store::codec::keys::{decode_key_prefix, decode_row_number, encode_key_value, encode_row_number};
use uuid::Uuid;

use crate::error::{Result, SegmentError};
use crate::schema::{ROW_NUMBER_FIELD_ID, field_id};

/// What one component of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A column of the primary key.
    Column(ColumnType),
    /// The row's number, in a table without primary key.
    RowNumber,
}

/// One component of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPart {
    pub(crate) field_id: i32,
    pub(crate) kind: KeyKind,
}

/// Which columns make up a table's key, in key order. The same for every schema version of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLayout {
    parts: Vec<KeyPart>,
}

impl KeyLayout {
    /// The primary key of a table, or its row number.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] when the schema contradicts itself.
    pub fn new(table: &TableSchema) -> Result<Self> {
        if table.primary_key.is_empty() {
            return Ok(Self { parts: vec![KeyPart { field_id: ROW_NUMBER_FIELD_ID, kind: KeyKind::RowNumber }] });
        }
        let part = |id| {
            let column = table.position_of_id(id).and_then(|at| table.columns.get(at));
            let column =
                column.ok_or_else(|| SegmentError::Misused(format!("key column {id} is not in the schema")))?;
            Ok(KeyPart { field_id: field_id(id)?, kind: KeyKind::Column(column.column_type) })
        };
        Ok(Self { parts: table.primary_key.iter().map(|id| part(*id)).collect::<Result<_>>()? })
    }

    pub(crate) fn parts(&self) -> &[KeyPart] {
        &self.parts
    }

    /// The values of a key, one per component; a row number as BIGINT.
    pub(crate) fn values(&self, key: &[u8]) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(self.parts.len());
        let mut rest = key;
        for part in &self.parts {
            match part.kind {
                KeyKind::RowNumber => {
                    let number = decode_row_number(rest).map_err(|error| SegmentError::Misused(error.to_string()))?;
                    let number = i64::try_from(number)
                        .map_err(|_| SegmentError::Misused(format!("row number {number} is none")))?;
                    values.push(Value::BigInt(number));
                    rest = &[];
                }
                KeyKind::Column(column_type) => {
                    let (mut value, after) = decode_key_prefix(rest, &[column_type])
                        .map_err(|error| SegmentError::Misused(error.to_string()))?;
                    values.append(&mut value);
                    rest = after;
                }
            }
        }
        if rest.is_empty() {
            Ok(values)
        } else {
            Err(SegmentError::Misused("a key is longer than its table's".to_owned()))
        }
    }
}

impl KeyKind {
    /// How values look in Arrow.
    pub(crate) fn to_arrow(self) -> arrow::datatypes::DataType {
        match self {
            Self::Column(column_type) => column_type.to_arrow(),
            Self::RowNumber => ColumnType::BigInt.to_arrow(),
        }
    }
}

/// Appends one component; `Err` says what is wrong with the value.
pub(crate) fn encode_component(out: &mut Vec<u8>, kind: KeyKind, value: &Value) -> std::result::Result<(), String> {
    match (kind, value) {
        (_, Value::Null) => Err("a key holds NULL".to_owned()),
        (KeyKind::RowNumber, Value::BigInt(number)) => {
            let number = u64::try_from(*number).map_err(|_| format!("row number {number} is negative"))?;
            out.extend_from_slice(&encode_row_number(number));
            Ok(())
        }
        (KeyKind::RowNumber, _) => Err("a row number is no BIGINT".to_owned()),
        (KeyKind::Column(_), value) => {
            encode_key_value(out, value);
            Ok(())
        }
    }
}

/// One key column of a batch.
#[derive(Debug, Clone)]
enum KeyColumn {
    Boolean(BooleanArray),
    SmallInt(Int16Array),
    Int(Int32Array),
    BigInt(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array),
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    Uuid(StringViewArray),
    Json(StringViewArray),
    RowNumber(Int64Array),
}

/// The key columns of a batch, to encode the keys of single rows.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumns {
    columns: Vec<KeyColumn>,
    rows: usize,
}

impl KeyColumns {
    /// Takes the columns in key order; `Err` says what is wrong with them.
    pub(crate) fn new(layout: &KeyLayout, arrays: &[ArrayRef]) -> std::result::Result<Self, String> {
        let mut columns = Vec::with_capacity(arrays.len());
        let rows = arrays.first().map_or(0, |array| array.len());
        if arrays.len() != layout.parts.len() {
            return Err(format!("{} key columns where the table has {}", arrays.len(), layout.parts.len()));
        }
        for (part, array) in layout.parts.iter().zip(arrays) {
            if array.data_type() != &part.kind.to_arrow() {
                return Err(format!("a key column is {}, not {}", array.data_type(), part.kind.to_arrow()));
            }
            if array.null_count() > 0 {
                return Err("a key holds NULL".to_owned());
            }
            columns.push(match part.kind {
                KeyKind::RowNumber => KeyColumn::RowNumber(array.as_primitive::<Int64Type>().clone()),
                KeyKind::Column(column_type) => match column_type {
                    ColumnType::Boolean => KeyColumn::Boolean(array.as_boolean().clone()),
                    ColumnType::SmallInt => KeyColumn::SmallInt(array.as_primitive::<Int16Type>().clone()),
                    ColumnType::Int => KeyColumn::Int(array.as_primitive::<Int32Type>().clone()),
                    ColumnType::BigInt => KeyColumn::BigInt(array.as_primitive::<Int64Type>().clone()),
                    ColumnType::Float => KeyColumn::Float(array.as_primitive::<Float32Type>().clone()),
                    ColumnType::Double => KeyColumn::Double(array.as_primitive::<Float64Type>().clone()),
                    ColumnType::Decimal { .. } => KeyColumn::Decimal(array.as_primitive::<Decimal128Type>().clone()),
                    ColumnType::Text => KeyColumn::Text(array.as_string_view().clone()),
                    ColumnType::Bytes => KeyColumn::Bytes(array.as_binary_view().clone()),
                    ColumnType::Date => KeyColumn::Date(array.as_primitive::<Date32Type>().clone()),
                    ColumnType::Timestamp => {
                        KeyColumn::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone())
                    }
                    ColumnType::Uuid => KeyColumn::Uuid(array.as_string_view().clone()),
                    ColumnType::Json => KeyColumn::Json(array.as_string_view().clone()),
                },
            });
        }
        Ok(Self { columns, rows })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the encoded key of a row below [`Self::rows`]; `Err` says what is wrong with it.
    pub(crate) fn encode(&self, row: usize, out: &mut Vec<u8>) -> std::result::Result<(), String> {
        for column in &self.columns {
            let value = match column {
                KeyColumn::Boolean(array) => Value::Boolean(array.value(row)),
                KeyColumn::SmallInt(array) => Value::SmallInt(array.value(row)),
                KeyColumn::Int(array) => Value::Int(array.value(row)),
                KeyColumn::BigInt(array) => Value::BigInt(array.value(row)),
                KeyColumn::Float(array) => Value::Float(array.value(row)),
                KeyColumn::Double(array) => Value::Double(array.value(row)),
                KeyColumn::Decimal(array) => Value::Decimal(array.value(row)),
                KeyColumn::Text(array) => Value::Text(array.value(row).to_owned()),
                KeyColumn::Bytes(array) => Value::Bytes(array.value(row).to_owned()),
                KeyColumn::Date(array) => Value::Date(array.value(row)),
                KeyColumn::Timestamp(array) => Value::Timestamp(array.value(row)),
                KeyColumn::Uuid(array) => Value::Uuid(parse_uuid(array.value(row))?),
                KeyColumn::Json(array) => Value::Json(array.value(row).to_owned()),
                KeyColumn::RowNumber(array) => {
                    encode_component(out, KeyKind::RowNumber, &Value::BigInt(array.value(row)))?;
                    continue;
                }
            };
            encode_key_value(out, &value);
        }
        Ok(())
    }
}

/// The bytes of a UUID in its canonical form, the only one that is stored.
pub(crate) fn parse_uuid(text: &str) -> std::result::Result<[u8; 16], String> {
    let uuid = Uuid::try_parse(text).map_err(|error| format!("a UUID does not parse: {error}"))?;
    let mut buffer = Uuid::encode_buffer();
    if uuid.as_hyphenated().encode_lower(&mut buffer) == text {
        Ok(uuid.into_bytes())
    } else {
        Err("a UUID is not in its canonical form".to_owned())
    }
}

#[cfg(test)]
mod tests;
