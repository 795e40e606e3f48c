//! `LIMIT $1` and `OFFSET $2`: counts that are known when a plan runs.
//!
//! DataFusion plans literal counts only. What is below such a limit is planned by itself and hidden from the rules that
//! move sorts and limits around, which know nothing of this node.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result as DfResult, ScalarValue, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Cast, Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, EmptyRecordBatchStream, ExecutionPlan,
    ExecutionPlanProperties as _, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use kalamdb_commons::Result;

use super::super::errors::from_datafusion;
use super::slots::{Slots, has_slots, with_slots, with_values};

/// A limit whose counts are slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct SlotLimit {
    skip: Option<Expr>,
    fetch: Option<Expr>,
    input: LogicalPlan,
}

impl UserDefinedLogicalNodeCore for SlotLimit {
    fn name(&self) -> &'static str {
        "SlotLimit"
    }

    /// None: DataFusion plans inputs before it asks for the node's plan, which is to be made of the whole input at once.
    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.skip.iter().chain(&self.fetch).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotLimit")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let mut exprs = exprs.into_iter();
        let skip = self.skip.as_ref().and_then(|_| exprs.next());
        let fetch = self.fetch.as_ref().and_then(|_| exprs.next());
        Ok(Self { skip, fetch, input: self.input.clone() })
    }
}

/// The plan with nodes of ours in the places of limits whose counts are slots; after it was optimised.
pub(super) fn open_limits(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_open = |count: &Option<Box<Expr>>| count.as_deref().is_some_and(has_slots);
    let opened = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) if is_open(&limit.skip) || is_open(&limit.fetch) => {
            let node = SlotLimit {
                skip: limit.skip.map(|skip| *skip),
                fetch: limit.fetch.map(|fetch| *fetch),
                input: Arc::unwrap_or_clone(limit.input),
            };
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(opened.map_err(from_datafusion)?.data)
}

/// A plan, limits and what is below them included, with the slots of another.
pub(super) fn with_slots_in(plan: LogicalPlan, slots: &Arc<Slots>) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = match &node {
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<SlotLimit>() {
                Some(limit) => {
                    let input = with_slots_in(limit.input.clone(), slots)?;
                    let node = Arc::new(SlotLimit { input, ..limit.clone() });
                    LogicalPlan::Extension(Extension { node })
                }
                None => node,
            },
            _ => node,
        };
        node.map_expressions(|expr| with_slots(expr, slots))
    });
    plan.data()
}

/// Whether no part of a plan runs beside another: when its rows have all been read, none of its tasks is left.
pub(in crate::engine) fn is_one_task(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(limit) = plan.downcast_ref::<SlotLimitExec>() {
        return is_one_task(&limit.input);
    }
    plan.output_partitioning().partition_count() == 1 && plan.children().into_iter().all(is_one_task)
}

/// Plans those nodes.
#[derive(Debug)]
pub(super) struct LimitPlanner;

#[async_trait]
impl ExtensionPlanner for LimitPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(limit) = node.as_any().downcast_ref::<SlotLimit>() else { return Ok(None) };
        let mut input = planner.create_physical_plan(&limit.input, session).await?;
        if input.output_partitioning().partition_count() > 1 {
            input = Arc::new(CoalescePartitionsExec::new(input));
        }
        Ok(Some(Arc::new(SlotLimitExec { skip: limit.skip.clone(), fetch: limit.fetch.clone(), input })))
    }
}

/// See the module. It has no children to those who ask: its input is its own.
#[derive(Debug)]
struct SlotLimitExec {
    skip: Option<Expr>,
    fetch: Option<Expr>,
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for SlotLimitExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotLimitExec")
    }
}

impl ExecutionPlan for SlotLimitExec {
    fn name(&self) -> &'static str {
        "SlotLimitExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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

    fn reset_state(self: Arc<Self>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = reset_plan_states(Arc::clone(&self.input))?;
        Ok(Arc::new(Self { skip: self.skip.clone(), fetch: self.fetch.clone(), input }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let skip = self.skip.as_ref().map(count).transpose()?.flatten().unwrap_or(0);
        let fetch = self.fetch.as_ref().map(count).transpose()?.flatten();
        let input = match fetch {
            // A sort for no rows is none to DataFusion.
            Some(0) => return Ok(Box::pin(EmptyRecordBatchStream::new(self.schema()))),
            Some(fetch) => with_fetch(&self.input, skip.saturating_add(fetch))?,
            None => Arc::clone(&self.input),
        };
        GlobalLimitExec::new(input, skip, fetch).execute(partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.input.metrics()
    }
}

/// The plan, where a sort that is all that counts need not keep more rows than are asked for, and a filter does not gather a whole
/// batch of them.
fn with_fetch(plan: &Arc<dyn ExecutionPlan>, fetch: usize) -> DfResult<Arc<dyn ExecutionPlan>> {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let fetch = sort.fetch().map_or(fetch, |own| own.min(fetch));
        return Ok(Arc::new(sort.with_fetch(Some(fetch))));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let fetch = filter.fetch().map_or(fetch, |own| own.min(fetch));
        return Ok(filter.with_fetch(Some(fetch)).unwrap_or_else(|| Arc::clone(plan)));
    }
    match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => {
            let input = with_fetch(projection.input(), fetch)?;
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Arc::clone(plan).replace_children(vec![input], options)
        }
        None => Ok(Arc::clone(plan)),
    }
}

/// What a count is once the slots are bound; none for NULL, which is no bound.
fn count(expr: &Expr) -> DfResult<Option<usize>> {
    let bad = || internal_datafusion_err!("a limit that is no whole number");
    match with_values(expr.clone())? {
        Expr::Literal(ScalarValue::Int64(None) | ScalarValue::Null, _) => Ok(None),
        Expr::Literal(ScalarValue::Int64(Some(count)), _) => Ok(Some(usize::try_from(count).map_err(|_| bad())?)),
        Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Int64 => count(&expr),
        _ => Err(bad()),
    }
}
