//! Which columns a read gives, and where each comes from in a file: by column id, never by name.
//!
//! A column that the file does not have is younger than it, and reads as what it was added with
//! ([`ColumnDefinition::initial`](kalamdb_sql::ColumnDefinition)).

mod constant;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use kalamdb_commons::SystemColumn;
use kalamdb_sql::{ColumnType, TableSchema, Value};

pub(crate) use self::constant::constant;
use crate::error::{Result, SegmentError};
use crate::key::{KeyColumns, KeyLayout};
use crate::schema::{DELETED_FIELD_ID, SEQ_FIELD_ID, UPDATED_FIELD_ID, field_id, timestamp};

/// One column of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentColumn {
    /// A declared column, by its place in the schema version that is wanted.
    Declared(usize),
    /// `_seq`
    Seq,
    /// `_updated`
    Updated,
    /// `_deleted`
    Deleted,
    /// The encoded key, BINARY.
    Key,
    /// The row's place in the file, counted from 0, BIGINT: what delete marks name.
    Position,
}

/// Where the values come from, as far as the table says.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Stored { field_id: i32, data_type: DataType, initial: Option<(ColumnType, Value)> },
    Key,
    Position,
}

/// The columns of a read: made once per statement, for segments of every schema version of a table.
#[derive(Debug, Clone)]
pub struct SegmentProjection {
    wanted: Vec<Wanted>,
    schema: SchemaRef,
    layout: KeyLayout,
}

impl SegmentProjection {
    /// Columns of a version of a table's schema, in the order of the read.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] for a column that the schema does not have.
    pub fn new(table: &TableSchema, columns: &[SegmentColumn]) -> Result<Self> {
        let system = |field_id, data_type| Wanted::Stored { field_id, data_type, initial: None };
        let mut wanted = Vec::with_capacity(columns.len());
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let (source, field) = match column {
                SegmentColumn::Declared(at) => {
                    let column = table.columns.get(*at).ok_or_else(|| {
                        SegmentError::Misused(format!("column {at} of {} is read", table.columns.len()))
                    })?;
                    let data_type = column.column_type.to_arrow();
                    let initial = Some((column.column_type, column.initial.clone()));
                    let source = Wanted::Stored { field_id: field_id(column.id)?, data_type, initial };
                    (source, column.column_type.to_field(column.name.as_str(), column.nullable))
                }
                SegmentColumn::Seq => (
                    system(SEQ_FIELD_ID, DataType::Int64),
                    Field::new(SystemColumn::Seq.as_str(), DataType::Int64, false),
                ),
                SegmentColumn::Updated => (
                    system(UPDATED_FIELD_ID, timestamp()),
                    Field::new(SystemColumn::Updated.as_str(), timestamp(), false),
                ),
                SegmentColumn::Deleted => (
                    system(DELETED_FIELD_ID, DataType::Boolean),
                    Field::new(SystemColumn::Deleted.as_str(), DataType::Boolean, false),
                ),
                SegmentColumn::Key => (Wanted::Key, Field::new("key", DataType::Binary, false)),
                SegmentColumn::Position => (Wanted::Position, Field::new("position", DataType::Int64, false)),
            };
            wanted.push(source);
            fields.push(field);
        }
        Ok(Self { wanted, schema: Arc::new(Schema::new(fields)), layout: KeyLayout::new(table)? })
    }

    /// The columns of a key, in key order, for lookups.
    pub(crate) fn of_key(layout: &KeyLayout) -> Arc<Self> {
        let (wanted, fields): (Vec<Wanted>, Vec<Field>) = layout
            .parts()
            .iter()
            .map(|part| {
                let data_type = part.kind.to_arrow();
                let field = Field::new(part.field_id.to_string(), data_type.clone(), false);
                (Wanted::Stored { field_id: part.field_id, data_type, initial: None }, field)
            })
            .unzip();
        Arc::new(Self { wanted, schema: Arc::new(Schema::new(fields)), layout: layout.clone() })
    }

    /// `_deleted`, and with it `_updated`.
    pub(crate) fn of_deletion(layout: &KeyLayout, with_updated: bool) -> Arc<Self> {
        let deleted = (DELETED_FIELD_ID, DataType::Boolean, SystemColumn::Deleted);
        let updated = (UPDATED_FIELD_ID, timestamp(), SystemColumn::Updated);
        let columns = [deleted].into_iter().chain(with_updated.then_some(updated));
        let (wanted, fields): (Vec<Wanted>, Vec<Field>) = columns
            .map(|(field_id, data_type, column)| {
                let field = Field::new(column.as_str(), data_type.clone(), false);
                (Wanted::Stored { field_id, data_type, initial: None }, field)
            })
            .unzip();
        Arc::new(Self { wanted, schema: Arc::new(Schema::new(fields)), layout: layout.clone() })
    }

    /// The same columns under other names and metadata.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] when their types differ.
    pub fn with_schema(mut self, schema: SchemaRef) -> Result<Self> {
        let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&schema) != types(&self.schema) {
            return Err(SegmentError::Misused("a schema of other types for a read".to_owned()));
        }
        self.schema = schema;
        Ok(self)
    }

    /// The schema of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How the columns come from a file with these columns; `Err` says what is wrong with the file.
    pub(crate) fn bind(
        self: &Arc<Self>,
        leaves: &HashMap<i32, usize>,
        file: &Schema,
    ) -> std::result::Result<BoundProjection, String> {
        // Which leaves are decoded, in the file's order, which is the order of the decoded columns.
        let key_ids = self.layout.parts().iter().map(|part| part.field_id);
        let wanted_ids = self.wanted.iter().flat_map(|wanted| match wanted {
            Wanted::Stored { field_id, .. } => vec![*field_id],
            Wanted::Key => key_ids.clone().collect(),
            Wanted::Position => Vec::new(),
        });
        let mut decoded: Vec<usize> = wanted_ids.filter_map(|id| leaves.get(&id).copied()).collect();
        decoded.sort_unstable();
        decoded.dedup();
        let place = |id: i32| leaves.get(&id).and_then(|leaf| decoded.binary_search(leaf).ok());

        let mut sources = Vec::with_capacity(self.wanted.len());
        for wanted in &self.wanted {
            sources.push(match wanted {
                Wanted::Stored { field_id, data_type, initial } => match (leaves.get(field_id), place(*field_id)) {
                    (Some(leaf), Some(at)) => {
                        let found = file.fields().get(*leaf).map(|field| field.data_type());
                        if found != Some(data_type) {
                            return Err(format!("column {field_id} is of another type than the table's"));
                        }
                        Source::Decoded(at)
                    }
                    _ => match initial {
                        Some((column_type, value)) => Source::Constant(*column_type, value.clone()),
                        None => return Err(format!("it lacks system column {field_id}")),
                    },
                },
                Wanted::Key => {
                    let places: Option<Vec<usize>> = key_ids.clone().map(place).collect();
                    Source::Key(places.ok_or_else(|| "it lacks a key column".to_owned())?)
                }
                Wanted::Position => Source::Position,
            });
        }
        let has_position = sources.contains(&Source::Position);
        Ok(BoundProjection { projection: Arc::clone(self), decoded, sources, has_position })
    }
}

/// The columns of a read with those of the key behind them, to find a row among others and give its columns alone.
#[derive(Debug, Clone)]
pub struct KeyedProjection {
    own: Arc<SegmentProjection>,
    with_key: Arc<SegmentProjection>,
}

impl KeyedProjection {
    /// Adds the key to the columns of a read.
    #[must_use]
    pub fn new(own: Arc<SegmentProjection>) -> Self {
        let key = SegmentProjection::of_key(&own.layout);
        let wanted = own.wanted.iter().chain(&key.wanted).cloned().collect();
        let fields: Vec<_> = own.schema.fields().iter().chain(key.schema.fields()).cloned().collect();
        let with_key = SegmentProjection { wanted, schema: Arc::new(Schema::new(fields)), layout: own.layout.clone() };
        Self { own, with_key: Arc::new(with_key) }
    }

    /// Without the key.
    pub(crate) fn own(&self) -> &Arc<SegmentProjection> {
        &self.own
    }

    pub(crate) fn with_key(&self) -> &Arc<SegmentProjection> {
        &self.with_key
    }

    /// The columns of the read, and those of the key, of a batch of both.
    pub(crate) fn split<'b>(&self, batch: &'b RecordBatch) -> (&'b [ArrayRef], &'b [ArrayRef]) {
        batch.columns().split_at(self.own.wanted.len().min(batch.num_columns()))
    }
}

/// Where a column of a read comes from in one file.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// This decoded column.
    Decoded(usize),
    /// The file is older than the column.
    Constant(ColumnType, Value),
    /// Encoded from these decoded columns.
    Key(Vec<usize>),
    /// The decoded column behind all others.
    Position,
}

/// A projection on one file.
#[derive(Debug, Clone)]
pub(crate) struct BoundProjection {
    projection: Arc<SegmentProjection>,
    /// The file's columns to decode, ascending.
    pub(crate) decoded: Vec<usize>,
    sources: Vec<Source>,
    /// Whether the row's position is wanted.
    pub(crate) has_position: bool,
}

/// Where a column's values come from, as far as it matters to what is known of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ColumnOrigin<'a> {
    /// This column of the file.
    Leaf(usize),
    /// The file is older than the column.
    Constant(ColumnType, &'a Value),
    /// Made of others.
    Made,
}

impl BoundProjection {
    /// The columns with their origins.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (ColumnOrigin<'_>, &Field)> {
        self.sources.iter().zip(self.projection.schema.fields()).map(|(source, field)| {
            let origin = match source {
                Source::Decoded(at) => self.decoded.get(*at).copied().map_or(ColumnOrigin::Made, ColumnOrigin::Leaf),
                Source::Constant(column_type, value) => ColumnOrigin::Constant(*column_type, value),
                Source::Key(_) | Source::Position => ColumnOrigin::Made,
            };
            (origin, field.as_ref())
        })
    }

    /// The batch of a decoded one; `Err` says what is wrong with it.
    pub(crate) fn apply(&self, decoded: &RecordBatch) -> std::result::Result<RecordBatch, String> {
        let rows = decoded.num_rows();
        let column =
            |at: usize| decoded.columns().get(at).cloned().ok_or_else(|| format!("column {at} was not decoded"));
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            columns.push(match source {
                Source::Decoded(at) => column(*at)?,
                Source::Constant(column_type, value) => constant(*column_type, value, rows)?,
                Source::Position => column(self.decoded.len())?,
                Source::Key(places) => {
                    let arrays = places.iter().map(|at| column(*at)).collect::<std::result::Result<Vec<_>, _>>()?;
                    encoded_keys(&self.projection.layout, &arrays)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.projection.schema), columns, &options)
            .map_err(|error| error.to_string())
    }
}

fn encoded_keys(layout: &KeyLayout, arrays: &[ArrayRef]) -> std::result::Result<ArrayRef, String> {
    let keys = KeyColumns::new(layout, arrays)?;
    let mut builder = BinaryBuilder::with_capacity(keys.rows(), keys.rows() * 9);
    let mut key = Vec::new();
    for row in 0..keys.rows() {
        key.clear();
        keys.encode(row, &mut key)?;
        builder.append_value(&key);
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests;
