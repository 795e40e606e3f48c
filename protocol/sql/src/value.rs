//! One SQL value, and a row of them.

use serde::{Deserialize, Serialize};

/// A value as the store keeps it. Which column type it may stand in is checked where rows are made
/// (one place for all table kinds); the store trusts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// NULL, of any type.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// SMALLINT.
    SmallInt(i16),
    /// INT.
    Int(i32),
    /// BIGINT.
    BigInt(i64),
    /// FLOAT; never -0.0, and one NaN only, once [`Value::normalized`].
    Float(f32),
    /// DOUBLE; as for FLOAT.
    Double(f64),
    /// DECIMAL: the unscaled number; precision and scale are the column's.
    Decimal(i128),
    /// TEXT.
    Text(String),
    /// BYTES.
    Bytes(Vec<u8>),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIMESTAMP: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// UUID, in the order of its text form (big-endian).
    Uuid([u8; 16]),
    /// JSON text, valid.
    Json(String),
}

/// Values in the order of the columns of one schema version.
pub type Row = Vec<Value>;

impl Value {
    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The same value with floats in the one form that keys need: `-0.0` is `0.0`, every NaN the
    /// canonical one (as PostgreSQL, NaN equals NaN and sorts last).
    #[must_use]
    pub fn normalized(self) -> Self {
        match self {
            Self::Float(0.0) => Self::Float(0.0),
            Self::Float(number) if number.is_nan() => Self::Float(f32::NAN),
            Self::Double(0.0) => Self::Double(0.0),
            Self::Double(number) if number.is_nan() => Self::Double(f64::NAN),
            other => other,
        }
    }
}
