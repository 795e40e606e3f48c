//! Stored rows to Arrow: rows of every schema version as the table is now.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use kalamdb_commons::{Error, Result, SchemaVersion};
use kalamdb_sql::{ColumnType, TableSchema};
use kalamdb_store::codec::keys::decode_row_number;
use kalamdb_store::codec::row::{Projection, RowReader, RowView, ValueRef};

use super::columns::{ColumnBuilder, value_ref};
use super::exec::ScanColumn;
use crate::catalog::TableEntry;

/// Which deleted rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tombstones {
    /// None.
    None,
    /// Those deleted at this moment (microseconds since the epoch) or later.
    Since(i64),
    /// All there are.
    All,
}

impl Tombstones {
    fn wants(self, deleted_at: i64) -> bool {
        match self {
            Self::None => false,
            Self::Since(moment) => deleted_at >= moment,
            Self::All => true,
        }
    }
}

/// How rows of one schema version are read.
struct VersionReader {
    rows: RowReader,
    projection: Projection,
}

/// The readers of the versions that were met; most rows are of the version of the row before.
#[derive(Default)]
struct VersionReaders {
    readers: Vec<VersionReader>,
    places: HashMap<SchemaVersion, usize>,
    /// The place of the row before.
    last: usize,
}

impl VersionReaders {
    fn place_of(&mut self, entry: &TableEntry, version: SchemaVersion) -> Result<usize> {
        let is_last = self.readers.get(self.last).is_some_and(|reader| reader.rows.version() == version);
        if is_last {
            return Ok(self.last);
        }
        self.last = match self.places.entry(version) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(place) => {
                let written = entry.versions.get(&version).ok_or_else(|| {
                    Error::corrupted(format!(
                        "a row of '{}' names schema version {version}, which does not exist",
                        entry.definition.name
                    ))
                })?;
                let projection = Projection::new(written, &entry.schema);
                self.readers.push(VersionReader { rows: RowReader::new(written), projection });
                *place.insert(self.readers.len() - 1)
            }
        };
        Ok(self.last)
    }

    fn at(&self, place: usize) -> Result<&VersionReader> {
        self.readers.get(place).ok_or_else(|| Error::internal("a schema version's reader is not where it was put"))
    }
}

/// A row that is to be shown: its header and its length have been checked.
#[derive(Clone, Copy)]
pub(super) struct StoredRow<'r> {
    key: &'r [u8],
    row: RowView<'r>,
    /// The place of its version's reader.
    reader: usize,
}

/// See the module.
pub(crate) struct RowDecoder {
    entry: Arc<TableEntry>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    deleted: Tombstones,
    /// Rows of a stream table from before are left out.
    expired_before: Option<i64>,
    readers: VersionReaders,
}

impl RowDecoder {
    /// For columns of the current schema; `schema` has their types.
    pub(crate) fn new(
        entry: Arc<TableEntry>,
        columns: Vec<ScanColumn>,
        schema: SchemaRef,
        deleted: Tombstones,
    ) -> Self {
        Self { entry, columns, schema, deleted, expired_before: None, readers: VersionReaders::default() }
    }

    /// Leaves out rows from before a moment (microseconds since the epoch).
    pub(crate) fn younger_than(mut self, moment: Option<i64>) -> Self {
        self.expired_before = moment;
        self
    }

    /// Keys without their partition's prefix, with the stored rows; at most `most` rows of them.
    pub(crate) fn decode<'r>(
        &mut self,
        stored: impl Iterator<Item = (&'r [u8], &'r [u8])>,
        most: usize,
    ) -> Result<RecordBatch> {
        let rows = self.shown(stored, most)?;
        self.batch(&rows)
    }

    /// Of keys without their partition's prefix and the stored rows those that are to be shown, `most` at most.
    pub(super) fn shown<'r>(
        &mut self,
        stored: impl Iterator<Item = (&'r [u8], &'r [u8])>,
        most: usize,
    ) -> Result<Vec<StoredRow<'r>>> {
        let mut rows = Vec::with_capacity(stored.size_hint().0.min(most));
        for (key, value) in stored {
            if rows.len() == most {
                break;
            }
            let row = RowView::parse(value)?;
            let header = row.header();
            let is_old = self.expired_before.is_some_and(|moment| header.updated < moment);
            if is_old || (header.deleted && !self.deleted.wants(header.updated)) {
                continue;
            }
            let reader = self.readers.place_of(&self.entry, header.schema_version)?;
            self.readers.at(reader)?.rows.row_of(row)?;
            rows.push(StoredRow { key, row, reader });
        }
        Ok(rows)
    }

    /// The columns of these rows.
    pub(super) fn batch(&self, rows: &[StoredRow<'_>]) -> Result<RecordBatch> {
        self.batch_of(&self.columns, &self.schema, rows)
    }

    /// Other columns of these rows; `schema` has their types.
    pub(super) fn batch_of(
        &self,
        columns: &[ScanColumn],
        schema: &SchemaRef,
        rows: &[StoredRow<'_>],
    ) -> Result<RecordBatch> {
        let arrays = columns.iter().map(|column| self.column(*column, rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(Error::internal)
    }

    fn column(&self, column: ScanColumn, rows: &[StoredRow<'_>]) -> Result<ArrayRef> {
        let current: &TableSchema = &self.entry.schema;
        let mut builder = match column {
            ScanColumn::Declared(at) => {
                ColumnBuilder::new(current.columns.get(at).map_or(ColumnType::Text, |column| column.column_type))
            }
            ScanColumn::Seq | ScanColumn::RowNumber => ColumnBuilder::new(ColumnType::BigInt),
            ScanColumn::Updated => ColumnBuilder::new(ColumnType::Timestamp),
            ScanColumn::Deleted => ColumnBuilder::new(ColumnType::Boolean),
            ScanColumn::Key => ColumnBuilder::Key(BinaryBuilder::new()),
        };
        for StoredRow { key, row, reader } in rows {
            let header = row.header();
            match column {
                ScanColumn::Declared(at) => {
                    let reader = self.readers.at(*reader)?;
                    match reader.projection.position(at) {
                        Some(place) => builder.append(reader.rows.column(*row, place)?)?,
                        None => match reader.projection.initial(at) {
                            Some(value) => builder.append(value_ref(value))?,
                            None => return Err(Error::internal("a projection has no source for a column")),
                        },
                    }
                }
                ScanColumn::Seq => builder.append(ValueRef::BigInt(header.seq.as_i64()))?,
                ScanColumn::Updated => builder.append(ValueRef::Timestamp(header.updated))?,
                ScanColumn::Deleted => builder.append(ValueRef::Boolean(header.deleted))?,
                ScanColumn::Key => builder.append_key(key),
                ScanColumn::RowNumber => {
                    let number = i64::try_from(decode_row_number(key)?).map_err(Error::internal)?;
                    builder.append(ValueRef::BigInt(number))?;
                }
            }
        }
        builder.finish()
    }
}
