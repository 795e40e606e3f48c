//! The scan itself: chunks of a key range of the statement's snapshot, as Arrow batches.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use kalamdb_commons::Result;
use kalamdb_store::PartitionId;
use kalamdb_store::backend::{Direction, KeyRange, ScanRequest};

use super::super::context::StatementContext;
use super::super::predicate::RowRange;
use super::decode::{RowDecoder, Tombstones};
use super::segments::segment_batches;
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
    /// Of a table without primary key.
    RowNumber,
}

/// What is read.
#[derive(Debug, Clone)]
pub(super) struct ScanArgs {
    pub(super) context: Arc<StatementContext>,
    pub(super) entry: Arc<TableEntry>,
    pub(super) partition: PartitionId,
    pub(super) range: RowRange,
    pub(super) columns: Vec<ScanColumn>,
    /// Of those columns.
    pub(super) schema: SchemaRef,
    pub(super) with_deleted: bool,
    pub(super) limit: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionScan {
    args: ScanArgs,
    properties: Arc<PlanProperties>,
}

impl PartitionScan {
    pub(super) fn new(args: ScanArgs) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&args.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { args, properties: Arc::new(properties) }
    }
}

impl DisplayAs for PartitionScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionScan: table={}", self.args.entry.definition.name)?;
        if self.args.range.is_narrowed() {
            f.write_str(", key range")?;
        }
        if let Some(limit) = self.args.limit {
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
        let args = &self.args;
        let deleted =
            if args.with_deleted { Tombstones::Since(args.context.deleted_since()) } else { Tombstones::None };
        let decoder = RowDecoder::new(Arc::clone(&args.entry), args.columns.clone(), self.schema(), deleted);
        let state = ScanState {
            context: Arc::clone(&args.context),
            decoder,
            prefix_len: args.range.prefix_len,
            rest: args.range.range.clone(),
            chunk_rows: args.limit.unwrap_or(FIRST_CHUNK_ROWS).clamp(1, FIRST_CHUNK_ROWS),
            left: args.limit.unwrap_or(usize::MAX),
        };
        let segments = segment_batches(args.clone());
        let stream = futures::stream::try_unfold(state, ScanState::next)
            .chain(segments)
            .map_err(|error| DataFusionError::External(Box::new(error)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

struct ScanState {
    context: Arc<StatementContext>,
    decoder: RowDecoder,
    /// How many bytes of each key are the partition's.
    prefix_len: usize,
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
            let prefix_len = self.prefix_len;
            let rows =
                chunk.entries.iter().map(|(key, value)| (key.get(prefix_len..).unwrap_or_default(), value.as_ref()));
            let batch = self.decoder.decode(rows, self.left)?;
            self.left -= batch.num_rows();
            self.rest = chunk.rest;
            if batch.num_rows() > 0 {
                return Ok(Some((batch, self)));
            }
        }
    }
}
