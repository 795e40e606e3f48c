//! A hot row: `[format][schema version][seq][updated][flags][null bitmap][fixed part][variable part]`.
//!
//! The header has one width for all rows, so `_seq`, `_updated` and `_deleted` are read without knowing
//! the schema (FR-047). The fixed part has a slot per column, NULL or not, so a column's place depends
//! on the schema alone and a scan reads the columns it needs and no others ([`RowReader`]). The slot of
//! a text or bytes column holds where its content ends in the variable part; it begins where the one
//! before it ends. Every column of the schema is in the row, key columns too.

mod encode;
mod project;
mod reader;
#[cfg(test)]
pub(super) mod tests;

use kalamdb_commons::{SchemaVersion, Seq};
use kalamdb_sql::{ColumnType, Row, TableSchema, Value};

use super::bytes::Reader;
use crate::StoreError;

pub use encode::{encode_row, encode_row_into};
pub use project::{Projection, project_row};
pub use reader::{RowReader, RowValues};

const WHAT: &str = "row";
const FORMAT: u8 = 1;
const FLAG_DELETED: u8 = 1;
/// Bytes before the null bitmap.
pub const HEADER_BYTES: usize = 1 + 4 + 8 + 8 + 1;

/// What every row has, whatever its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHeader {
    /// The schema version the row was written with.
    pub schema_version: SchemaVersion,
    /// `_seq`
    pub seq: Seq,
    /// `_updated`: microseconds since the epoch.
    pub updated: i64,
    /// `_deleted`: the row is a tombstone, with the last values the row had.
    pub deleted: bool,
}

/// A stored row whose header has been read.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    header: RowHeader,
    body: &'a [u8],
}

impl<'a> RowView<'a> {
    /// Reads the header, and looks at nothing behind it.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format(WHAT, bytes, FORMAT)?;
        let schema_version = SchemaVersion(reader.u32()?);
        let seq = reader.seq()?;
        let updated = reader.i64()?;
        let flags = reader.u8()?;
        if flags & !FLAG_DELETED != 0 {
            return Err(reader.error(format!("unknown flags {flags:#04x}")));
        }
        let header = RowHeader { schema_version, seq, updated, deleted: flags & FLAG_DELETED != 0 };
        Ok(Self { header, body: bytes.get(HEADER_BYTES..).unwrap_or_default() })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> RowHeader {
        self.header
    }

    /// Null bitmap, fixed part and variable part.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// A value of a stored row, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
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
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL: the unscaled number.
    Decimal(i128),
    /// TEXT.
    Text(&'a str),
    /// BYTES.
    Bytes(&'a [u8]),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIMESTAMP: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// UUID.
    Uuid([u8; 16]),
    /// JSON text.
    Json(&'a str),
}

impl ValueRef<'_> {
    /// A copy that owns its text or bytes.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(value),
            Self::SmallInt(number) => Value::SmallInt(number),
            Self::Int(number) => Value::Int(number),
            Self::BigInt(number) => Value::BigInt(number),
            Self::Float(number) => Value::Float(number),
            Self::Double(number) => Value::Double(number),
            Self::Decimal(number) => Value::Decimal(number),
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Self::Date(days) => Value::Date(days),
            Self::Timestamp(micros) => Value::Timestamp(micros),
            Self::Uuid(bytes) => Value::Uuid(bytes),
            Self::Json(text) => Value::Json(text.to_owned()),
        }
    }
}

/// Reads a whole row. For many rows of one version make one [`RowReader`].
///
/// # Errors
/// [`StoreError::Corrupted`] when it is no row of this schema version.
pub fn decode_row(bytes: &[u8], written: &TableSchema) -> Result<(RowHeader, Row), StoreError> {
    let reader = RowReader::new(written);
    let values = reader.row(bytes)?;
    Ok((values.header(), values.to_row()?))
}

/// Bytes of a column's slot in the fixed part.
fn slot_bytes(column_type: ColumnType) -> usize {
    match column_type {
        ColumnType::Boolean => 1,
        ColumnType::SmallInt => 2,
        ColumnType::Int
        | ColumnType::Float
        | ColumnType::Date
        | ColumnType::Text
        | ColumnType::Bytes
        | ColumnType::Json => 4,
        ColumnType::BigInt | ColumnType::Double | ColumnType::Timestamp => 8,
        ColumnType::Decimal { .. } | ColumnType::Uuid => 16,
    }
}

/// Whether the slot holds an end in the variable part.
fn is_variable(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Text | ColumnType::Bytes | ColumnType::Json)
}
