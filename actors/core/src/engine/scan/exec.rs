//! The scan itself: hot rows, then segments, until there are enough.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use kalamdb_commons::{Error, Result};
use kalamdb_segments::{ReadCounters, SegmentColumn};
use kalamdb_store::PartitionId;
use parking_lot::Mutex;

use super::super::context::StatementContext;
use super::super::predicate::RowRange;
use super::filter::ScanFilter;
use super::hot::hot_batches;
use super::plan::ScanPlan;
use super::segments::segment_batches;
use crate::catalog::TableEntry;

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
    /// What rows have to meet; of the others nothing comes out.
    pub(super) filter: ScanFilter,
    /// Most rows.
    pub(super) limit: Option<usize>,
}

impl ScanArgs {
    /// The columns of the scan, of a batch that may have others behind them.
    pub(super) fn output(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns().get(..self.columns.len()).unwrap_or_default().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(Error::internal)
    }
}

/// How far an execution has come, and what it took.
#[derive(Debug, Default)]
pub(super) struct Progress {
    delivered: AtomicUsize,
    limit: Option<usize>,
    hot_rows: AtomicUsize,
    segments: AtomicUsize,
    /// What was read of segments.
    pub(super) counters: Arc<ReadCounters>,
}

impl Progress {
    /// Rows that are still wanted.
    pub(super) fn left(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.delivered.load(Ordering::Relaxed)))
    }

    pub(super) fn deliver(&self, rows: usize) {
        self.delivered.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn found_hot(&self, rows: usize) {
        self.hot_rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Stored rows that were looked at.
    pub(super) fn hot_rows(&self) -> usize {
        self.hot_rows.load(Ordering::Relaxed)
    }

    pub(super) fn opened_segment(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
    }
}

/// A column of a scan in segments.
pub(super) fn segment_column(column: ScanColumn) -> SegmentColumn {
    match column {
        ScanColumn::Declared(at) => SegmentColumn::Declared(at),
        ScanColumn::Seq => SegmentColumn::Seq,
        ScanColumn::Updated => SegmentColumn::Updated,
        ScanColumn::Deleted => SegmentColumn::Deleted,
        ScanColumn::Key | ScanColumn::RowNumber => SegmentColumn::Key,
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionScan {
    plan: ScanPlan,
    /// Where they are known already.
    args: Option<Arc<ScanArgs>>,
    properties: Arc<PlanProperties>,
    /// Of the last execution.
    progress: Mutex<Arc<Progress>>,
}

impl PartitionScan {
    pub(super) fn new(plan: ScanPlan) -> DfResult<Self> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&plan.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let args = plan.args_now()?;
        Ok(Self { plan, args, properties: Arc::new(properties), progress: Mutex::default() })
    }
}

impl DisplayAs for PartitionScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionScan: table={}", self.plan.entry.definition.name)?;
        if let Some(args) = &self.args {
            if args.range.is_narrowed() {
                f.write_str(if args.range.key.is_some() { ", key" } else { ", key range" })?;
            }
            if !args.filter.is_empty() {
                write!(f, ", {}", args.filter)?;
            }
        }
        if let Some(limit) = self.plan.limit {
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

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let args = match &self.args {
            Some(args) => Arc::clone(args),
            None => Arc::new(self.plan.args_of(&context)?),
        };
        let progress = Arc::new(Progress { limit: args.limit, ..Progress::default() });
        *self.progress.lock() = Arc::clone(&progress);
        let stream = hot_batches(Arc::clone(&args), Arc::clone(&progress))
            .chain(segment_batches(args, progress))
            .map_err(|error| DataFusionError::External(Box::new(error)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    /// What it took, for EXPLAIN ANALYZE and for tests.
    fn metrics(&self) -> Option<MetricsSet> {
        let progress = Arc::clone(&self.progress.lock());
        let metrics = ExecutionPlanMetricsSet::new();
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        for (name, count) in [
            ("hot_rows_read", progress.hot_rows()),
            ("segments_read", progress.segments.load(Ordering::Relaxed)),
            ("segment_rows_read", number(progress.counters.rows())),
            ("segment_reads", number(progress.counters.ranges())),
            ("segment_bytes_read", number(progress.counters.bytes())),
        ] {
            MetricBuilder::new(&metrics).counter(name, 0).add(count);
        }
        MetricBuilder::new(&metrics).output_rows(0).add(progress.delivered.load(Ordering::Relaxed));
        Some(metrics.clone_inner())
    }
}
