//! Stored rows to Arrow: rows of every schema version as the table is now.

use std::collections::HashMap;
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

/// See the module.
pub(crate) struct RowDecoder {
    entry: Arc<TableEntry>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    deleted: Tombstones,
    /// Rows of a stream table from before are left out.
    expired_before: Option<i64>,
    readers: HashMap<SchemaVersion, VersionReader>,
}

impl RowDecoder {
    /// For columns of the current schema; `schema` has their types.
    pub(crate) fn new(
        entry: Arc<TableEntry>,
        columns: Vec<ScanColumn>,
        schema: SchemaRef,
        deleted: Tombstones,
    ) -> Self {
        Self { entry, columns, schema, deleted, expired_before: None, readers: HashMap::new() }
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
        let current: &TableSchema = &self.entry.schema;
        let mut builders: Vec<ColumnBuilder> = self
            .columns
            .iter()
            .map(|column| match column {
                ScanColumn::Declared(at) => {
                    ColumnBuilder::new(current.columns.get(*at).map_or(ColumnType::Text, |column| column.column_type))
                }
                ScanColumn::Seq | ScanColumn::RowNumber => ColumnBuilder::new(ColumnType::BigInt),
                ScanColumn::Updated => ColumnBuilder::new(ColumnType::Timestamp),
                ScanColumn::Deleted => ColumnBuilder::new(ColumnType::Boolean),
                ScanColumn::Key => ColumnBuilder::Key(BinaryBuilder::new()),
            })
            .collect();
        let mut rows = 0;
        for (key, value) in stored {
            if rows == most {
                break;
            }
            let header = RowView::parse(value)?.header();
            let is_old = self.expired_before.is_some_and(|moment| header.updated < moment);
            if is_old || (header.deleted && !self.deleted.wants(header.updated)) {
                continue;
            }
            let reader = reader_of(&mut self.readers, &self.entry, header.schema_version)?;
            let row = reader.rows.row(value)?;
            for (column, builder) in self.columns.iter().zip(&mut builders) {
                match column {
                    ScanColumn::Declared(at) => match reader.projection.position(*at) {
                        Some(place) => builder.append(row.value(place)?)?,
                        None => match reader.projection.initial(*at) {
                            Some(value) => builder.append(value_ref(value))?,
                            None => return Err(Error::internal("a projection has no source for a column")),
                        },
                    },
                    ScanColumn::Seq => {
                        builder.append(ValueRef::BigInt(header.seq.as_i64()))?;
                    }
                    ScanColumn::Updated => {
                        builder.append(ValueRef::Timestamp(header.updated))?;
                    }
                    ScanColumn::Deleted => {
                        builder.append(ValueRef::Boolean(header.deleted))?;
                    }
                    ScanColumn::Key => builder.append_key(key),
                    ScanColumn::RowNumber => {
                        let number = i64::try_from(decode_row_number(key)?).map_err(Error::internal)?;
                        builder.append(ValueRef::BigInt(number))?;
                    }
                }
            }
            rows += 1;
        }
        let arrays = builders.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(Error::internal)
    }
}

fn reader_of<'a>(
    readers: &'a mut HashMap<SchemaVersion, VersionReader>,
    entry: &TableEntry,
    version: SchemaVersion,
) -> Result<&'a VersionReader> {
    use std::collections::hash_map::Entry;
    match readers.entry(version) {
        Entry::Occupied(found) => Ok(found.into_mut()),
        Entry::Vacant(place) => {
            let written = entry.versions.get(&version).ok_or_else(|| {
                Error::corrupted(format!(
                    "a row of '{}' names schema version {version}, which does not exist",
                    entry.definition.name
                ))
            })?;
            Ok(place.insert(VersionReader {
                rows: RowReader::new(written),
                projection: Projection::new(written, &entry.schema),
            }))
        }
    }
}
