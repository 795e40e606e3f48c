//! Reading single columns of many rows.

use kalamdb_commons::SchemaVersion;
use kalamdb_sql::{ColumnType, Row, TableSchema};

use super::{HEADER_BYTES, RowHeader, RowView, ValueRef, WHAT, is_variable, slot_bytes};
use crate::StoreError;
use crate::codec::corrupted;

/// Where a column is in the body of a row.
#[derive(Debug, Clone, Copy)]
struct Slot {
    column_type: ColumnType,
    /// From the body's begin.
    at: usize,
    /// The slot of the variable column before this one, whose end is this one's begin.
    previous: Option<usize>,
}

/// Reads rows of one schema version; made once per scan and version.
#[derive(Debug, Clone)]
pub struct RowReader {
    version: SchemaVersion,
    slots: Vec<Slot>,
    /// Where the variable part begins in the body.
    variable_at: usize,
    last_variable: Option<usize>,
}

impl RowReader {
    /// Precomputes where the columns of a schema version are.
    #[must_use]
    pub fn new(written: &TableSchema) -> Self {
        let mut at = written.columns.len().div_ceil(8);
        let mut last_variable = None;
        let mut slots = Vec::with_capacity(written.columns.len());
        for column in &written.columns {
            let column_type = column.column_type;
            slots.push(Slot { column_type, at, previous: last_variable });
            if is_variable(column_type) {
                last_variable = Some(at);
            }
            at += slot_bytes(column_type);
        }
        Self { version: written.version, slots, variable_at: at, last_variable }
    }

    /// The schema version it reads.
    #[must_use]
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    /// A row to read columns of; checks the header and the row's length.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is no row of this schema version.
    pub fn row<'a>(&'a self, bytes: &'a [u8]) -> Result<RowValues<'a>, StoreError> {
        self.row_of(RowView::parse(bytes)?)
    }

    /// As [`row`](Self::row), of a row whose header has been read already.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn row_of<'a>(&'a self, view: RowView<'a>) -> Result<RowValues<'a>, StoreError> {
        let header = view.header();
        if header.schema_version != self.version {
            return Err(corrupted(
                WHAT,
                format!("of schema version {}, read as version {}", header.schema_version, self.version),
            ));
        }
        let body = view.body();
        let variable = match self.last_variable {
            Some(slot) => end_at(body, slot)?,
            None => 0,
        };
        if self.variable_at.checked_add(variable) != Some(body.len()) {
            return Err(corrupted(
                WHAT,
                format!(
                    "{} bytes where {} expected",
                    HEADER_BYTES + body.len(),
                    HEADER_BYTES + self.variable_at + variable
                ),
            ));
        }
        Ok(RowValues { reader: self, header, body })
    }

    /// One column, by its place in the schema, of a row that [`row_of`](Self::row_of) accepts.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when the value does not decode or there is no such column.
    pub fn column<'a>(&self, row: RowView<'a>, column: usize) -> Result<ValueRef<'a>, StoreError> {
        self.value_in(row.body(), column)
    }

    /// One column of one row, by its place in the schema. For several columns of a row ask
    /// [`row`](Self::row) once.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is no row of this schema version, or has no such column.
    pub fn value<'a>(&self, bytes: &'a [u8], column: usize) -> Result<ValueRef<'a>, StoreError> {
        let header = self.row(bytes)?.header;
        debug_assert_eq!(header.schema_version, self.version);
        self.value_in(bytes.get(HEADER_BYTES..).unwrap_or_default(), column)
    }

    fn value_in<'a>(&self, body: &'a [u8], column: usize) -> Result<ValueRef<'a>, StoreError> {
        let slot = self.slots.get(column).ok_or_else(|| corrupted(WHAT, format!("no column {column}")))?;
        let nulls = body.get(column / 8).ok_or_else(too_short)?;
        if nulls >> (column % 8) & 1 != 0 {
            // Its end is also where the next text begins: one that steps back would let texts overlap, and
            // a short row read as a long one.
            if is_variable(slot.column_type) && !self.variable(body, *slot)?.is_empty() {
                return Err(corrupted(WHAT, format!("NULL in column {column} has content")));
            }
            return Ok(ValueRef::Null);
        }
        let at = slot.at;
        Ok(match slot.column_type {
            ColumnType::Boolean => match fixed::<1>(body, at)? {
                [0] => ValueRef::Boolean(false),
                [1] => ValueRef::Boolean(true),
                [other] => return Err(corrupted(WHAT, format!("boolean {other}"))),
            },
            ColumnType::SmallInt => ValueRef::SmallInt(i16::from_le_bytes(fixed(body, at)?)),
            ColumnType::Int => ValueRef::Int(i32::from_le_bytes(fixed(body, at)?)),
            ColumnType::BigInt => ValueRef::BigInt(i64::from_le_bytes(fixed(body, at)?)),
            ColumnType::Float => ValueRef::Float(f32::from_le_bytes(fixed(body, at)?)),
            ColumnType::Double => ValueRef::Double(f64::from_le_bytes(fixed(body, at)?)),
            ColumnType::Decimal { .. } => ValueRef::Decimal(i128::from_le_bytes(fixed(body, at)?)),
            ColumnType::Date => ValueRef::Date(i32::from_le_bytes(fixed(body, at)?)),
            ColumnType::Timestamp => ValueRef::Timestamp(i64::from_le_bytes(fixed(body, at)?)),
            ColumnType::Uuid => ValueRef::Uuid(fixed(body, at)?),
            ColumnType::Bytes => ValueRef::Bytes(self.variable(body, *slot)?),
            ColumnType::Text => ValueRef::Text(text(self.variable(body, *slot)?)?),
            ColumnType::Json => ValueRef::Json(text(self.variable(body, *slot)?)?),
        })
    }

    fn variable<'a>(&self, body: &'a [u8], slot: Slot) -> Result<&'a [u8], StoreError> {
        let start = match slot.previous {
            Some(previous) => end_at(body, previous)?,
            None => 0,
        };
        let end = end_at(body, slot.at)?;
        let part = body.get(self.variable_at..).unwrap_or_default();
        part.get(start..end).ok_or_else(|| corrupted(WHAT, format!("text from {start} to {end} of {}", part.len())))
    }
}

/// A row whose header and length have been checked.
#[derive(Debug, Clone, Copy)]
pub struct RowValues<'a> {
    reader: &'a RowReader,
    header: RowHeader,
    body: &'a [u8],
}

impl<'a> RowValues<'a> {
    /// The header.
    #[must_use]
    pub fn header(&self) -> RowHeader {
        self.header
    }

    /// A column, by its place in the schema.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when the value does not decode or there is no such column.
    pub fn value(&self, column: usize) -> Result<ValueRef<'a>, StoreError> {
        self.reader.value_in(self.body, column)
    }

    /// All columns.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when a value does not decode.
    pub fn to_row(&self) -> Result<Row, StoreError> {
        (0..self.reader.slots.len()).map(|column| self.value(column).map(ValueRef::to_value)).collect()
    }
}

fn too_short() -> StoreError {
    corrupted(WHAT, "shorter than its fixed part")
}

fn fixed<const N: usize>(body: &[u8], at: usize) -> Result<[u8; N], StoreError> {
    body.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(too_short)
}

fn end_at(body: &[u8], slot: usize) -> Result<usize, StoreError> {
    Ok(usize::try_from(u32::from_le_bytes(fixed(body, slot)?)).unwrap_or(usize::MAX))
}

fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| corrupted(WHAT, error.to_string()))
}
