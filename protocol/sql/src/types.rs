//! Column types: the dialect's names, and Arrow's.

mod sql;

use std::fmt;

use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

pub use self::sql::column_type_of;

/// Largest precision of DECIMAL, that of Arrow's 128-bit decimals.
pub const MAX_DECIMAL_PRECISION: u8 = 38;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// true or false.
    Boolean,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    BigInt,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// Exact number of `precision` digits, `scale` of them after the point (1..=38, 0..=precision).
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// 128-bit identifier; lower-case text in Arrow, 16 bytes on disk.
    Uuid,
    /// Validated JSON text.
    Json,
}

impl ColumnType {
    /// Key of the Arrow field metadata that tells UUID and JSON from TEXT; its value is the type's name.
    pub const METADATA_KEY: &'static str = "kalamdb.type";

    /// How values of this type look in Arrow.
    #[must_use]
    pub fn to_arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
            }
            Self::Text | Self::Uuid | Self::Json => DataType::Utf8View,
            Self::Bytes => DataType::BinaryView,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    /// An Arrow field of this type, with the metadata that tells UUID and JSON from TEXT.
    #[must_use]
    pub fn to_field(self, name: &str, nullable: bool) -> arrow_schema::Field {
        let field = arrow_schema::Field::new(name, self.to_arrow(), nullable);
        match self {
            Self::Uuid | Self::Json => field.with_metadata([(Self::METADATA_KEY.to_owned(), self.to_string())].into()),
            _ => field,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Boolean => "BOOLEAN",
            Self::SmallInt => "SMALLINT",
            Self::Int => "INT",
            Self::BigInt => "BIGINT",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::Decimal { precision, scale } => return write!(f, "DECIMAL({precision},{scale})"),
            Self::Text => "TEXT",
            Self::Bytes => "BYTES",
            Self::Date => "DATE",
            Self::Timestamp => "TIMESTAMP",
            Self::Uuid => "UUID",
            Self::Json => "JSON",
        };
        f.write_str(name)
    }
}
