//! The scan itself: chunks of a key range of the statement's snapshot, as Arrow batches.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, Result, SchemaVersion};
use kalamdb_sql::{ColumnType, TableSchema};
use kalamdb_store::backend::{Direction, KeyRange, ScanChunk, ScanRequest};
use kalamdb_store::codec::row::{Projection, RowReader};

use super::super::context::StatementContext;
use super::super::predicate::RowRange;
use super::columns::{ColumnBuilder, value_ref};
use crate::catalog::TableEntry;

/// The first chunk is small: most reads want few rows, and so many are read on the calling thread.
const FIRST_CHUNK_ROWS: usize = 256;
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 4 << 20;

/// What one output column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanColumn {
    /// By its place in the current schema.
    Declared(usize),
    Seq,
    Updated,
    Deleted,
    Key,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionScan {
    context: Arc<StatementContext>,
    entry: Arc<TableEntry>,
    range: RowRange,
    columns: Vec<ScanColumn>,
    with_deleted: bool,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl PartitionScan {
    pub(crate) fn new(
        context: Arc<StatementContext>,
        entry: Arc<TableEntry>,
        range: RowRange,
        columns: Vec<ScanColumn>,
        schema: SchemaRef,
        with_deleted: bool,
        limit: Option<usize>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { context, entry, range, columns, with_deleted, limit, properties: Arc::new(properties) }
    }
}

impl DisplayAs for PartitionScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionScan: table={}", self.entry.definition.name)?;
        if self.range.is_narrowed() {
            f.write_str(", key range")?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for PartitionScan {
    fn name(&self) -> &'static str {
        "PartitionScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let decoder = Decoder {
            entry: Arc::clone(&self.entry),
            columns: self.columns.clone(),
            schema: self.schema(),
            with_deleted: self.with_deleted,
            deleted_since: self.context.deleted_since(),
            prefix_len: self.range.prefix_len,
            readers: HashMap::new(),
        };
        let state = ScanState {
            context: Arc::clone(&self.context),
            decoder,
            rest: self.range.range.clone(),
            chunk_rows: self.limit.unwrap_or(FIRST_CHUNK_ROWS).clamp(1, FIRST_CHUNK_ROWS),
            left: self.limit.unwrap_or(usize::MAX),
        };
        let stream = futures::stream::try_unfold(state, ScanState::next)
            .map_err(|error| DataFusionError::External(Box::new(error)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

struct ScanState {
    context: Arc<StatementContext>,
    decoder: Decoder,
    rest: Option<KeyRange>,
    chunk_rows: usize,
    left: usize,
}

impl ScanState {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            let Some(range) = self.rest.take().filter(|_| self.left > 0) else { return Ok(None) };
            let request =
                ScanRequest { range, direction: Direction::Forward, limit: self.chunk_rows, max_bytes: CHUNK_BYTES };
            let chunk = self.context.snapshot()?.scan(request).await?;
            self.chunk_rows = CHUNK_ROWS;
            let batch = self.decoder.decode(&chunk, self.left)?;
            self.left -= batch.num_rows();
            self.rest = chunk.rest;
            if batch.num_rows() > 0 {
                return Ok(Some((batch, self)));
            }
        }
    }
}

/// How rows of one schema version are read.
struct VersionReader {
    rows: RowReader,
    projection: Projection,
}

struct Decoder {
    entry: Arc<TableEntry>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    with_deleted: bool,
    /// Deletions before this moment are past their retention.
    deleted_since: i64,
    prefix_len: usize,
    readers: HashMap<SchemaVersion, VersionReader>,
}

impl Decoder {
    fn decode(&mut self, chunk: &ScanChunk, most: usize) -> Result<RecordBatch> {
        let current: &TableSchema = &self.entry.schema;
        let mut builders: Vec<ColumnBuilder> = self
            .columns
            .iter()
            .map(|column| match column {
                ScanColumn::Declared(at) => {
                    ColumnBuilder::new(current.columns.get(*at).map_or(ColumnType::Text, |column| column.column_type))
                }
                ScanColumn::Seq => ColumnBuilder::new(ColumnType::BigInt),
                ScanColumn::Updated => ColumnBuilder::new(ColumnType::Timestamp),
                ScanColumn::Deleted => ColumnBuilder::new(ColumnType::Boolean),
                ScanColumn::Key => ColumnBuilder::Key(BinaryBuilder::new()),
            })
            .collect();
        let mut rows = 0;
        for (key, value) in &chunk.entries {
            if rows == most {
                break;
            }
            let header = kalamdb_store::codec::row::RowView::parse(value)?.header();
            if header.deleted && !(self.with_deleted && header.updated >= self.deleted_since) {
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
                        builder.append(kalamdb_store::codec::row::ValueRef::BigInt(header.seq.as_i64()))?;
                    }
                    ScanColumn::Updated => {
                        builder.append(kalamdb_store::codec::row::ValueRef::Timestamp(header.updated))?;
                    }
                    ScanColumn::Deleted => {
                        builder.append(kalamdb_store::codec::row::ValueRef::Boolean(header.deleted))?;
                    }
                    ScanColumn::Key => builder.append_key(key.get(self.prefix_len..).unwrap_or_default()),
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
