//! Bloom filters of key columns: what a filter is asked for, and the filters of one segment.

use kalamdb_sql::{ColumnType, Value};
use parquet::basic::Type;
use parquet::bloom_filter::Sbbf;

use crate::key::KeyKind;

/// A value as the file holds it, for its filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Probe {
    Int32(i32),
    Int64(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
}

impl Probe {
    /// How a column of a physical type holds a value; none where that is not known.
    pub(crate) fn new(kind: KeyKind, value: &Value, physical: Type, type_length: i32) -> Option<Self> {
        Some(match (physical, value) {
            (Type::INT32, Value::SmallInt(number)) => Self::Int32((*number).into()),
            (Type::INT32, Value::Int(number) | Value::Date(number)) => Self::Int32(*number),
            (Type::INT32, Value::Decimal(number)) => Self::Int32(i32::try_from(*number).ok()?),
            (Type::INT64, Value::BigInt(number) | Value::Timestamp(number)) => Self::Int64(*number),
            (Type::INT64, Value::Decimal(number)) => Self::Int64(i64::try_from(*number).ok()?),
            (Type::FLOAT, Value::Float(number)) => Self::Float(*number),
            (Type::DOUBLE, Value::Double(number)) => Self::Double(*number),
            (Type::BYTE_ARRAY, Value::Text(text) | Value::Json(text)) => Self::Bytes(text.as_bytes().to_vec()),
            (Type::BYTE_ARRAY, Value::Bytes(bytes)) => Self::Bytes(bytes.clone()),
            (Type::BYTE_ARRAY, Value::Uuid(bytes)) if kind == KeyKind::Column(ColumnType::Uuid) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                let text = uuid::Uuid::from_bytes(*bytes).as_hyphenated().encode_lower(&mut buffer);
                Self::Bytes(text.as_bytes().to_vec())
            }
            (Type::FIXED_LEN_BYTE_ARRAY, Value::Decimal(number)) => {
                let length = usize::try_from(type_length).ok()?;
                Self::Bytes(number.to_be_bytes().get(16_usize.checked_sub(length)?..)?.to_vec())
            }
            _ => return None,
        })
    }

    pub(crate) fn may_be_in(&self, filter: &Sbbf) -> bool {
        match self {
            Self::Int32(number) => filter.check(number),
            Self::Int64(number) => filter.check(number),
            Self::Float(number) => filter.check(number),
            Self::Double(number) => filter.check(number),
            Self::Bytes(bytes) => filter.check(bytes.as_slice()),
        }
    }
}

/// The filters of one row group, per key column; none where the column has none.
pub(crate) type RowGroupBlooms = Vec<Option<Sbbf>>;

/// Bytes that a filter takes in memory.
pub(crate) fn memory_bytes(filter: &Sbbf) -> usize {
    filter.num_blocks() * 32
}
