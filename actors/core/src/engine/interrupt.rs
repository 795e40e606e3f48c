//! Calling off a query in the middle of a join.
//!
//! DataFusion's operators give way after some batches, and a statement is called off where they do. A join
//! whose filter drops everything never gets there: it looks at pair after pair within one poll. So every
//! join's filter first asks whether the statement is still wanted, and its output counts as work done. It knows the
//! statement's limits from when it was planned, or from the slots of a plan that is run again and again: a plan spreads over
//! tasks that do not know whose they are.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};

use super::plans::{Slots, slots_of_plan};
use super::scope::Limits;

/// The rule that prepares joins; to be run last.
#[derive(Debug)]
pub(crate) struct InterruptibleJoins;

impl PhysicalOptimizerRule for InterruptibleJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = match slots_of_plan() {
            Some(slots) => Wanted::ByRun(slots),
            None => Wanted::ByStatement(Limits::of_task()),
        };
        let interruptible = |filter: &JoinFilter| interruptible(filter, &wanted);
        plan.transform_up(|node| {
            let join: Option<Arc<dyn ExecutionPlan>> = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
                let filter = join.filter().map(interruptible);
                Some(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?))
            } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                let filter = join.filter().map(interruptible);
                Some(Arc::new(HashJoinExecBuilder::from(join).with_filter(filter).build()?))
            } else if node.downcast_ref::<CrossJoinExec>().is_some() {
                Some(Arc::clone(&node))
            } else {
                None
            };
            Ok(match join {
                Some(join) => Transformed::yes(Arc::new(CooperativeExec::new(join))),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "interruptible_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Who says whether a plan is still wanted.
#[derive(Debug, Clone)]
enum Wanted {
    /// The statement it was planned for; none outside of one, where nothing is limited.
    ByStatement(Option<Limits>),
    /// The statement that runs it.
    ByRun(Arc<Slots>),
}

impl Wanted {
    fn check(&self) -> kalamdb_commons::Result<()> {
        match self {
            Self::ByStatement(limits) => limits.as_ref().map_or(Ok(()), Limits::check),
            Self::ByRun(slots) => slots.still_wanted(),
        }
    }
}

fn interruptible(filter: &JoinFilter, wanted: &Wanted) -> JoinFilter {
    let expression = Arc::new(IfWanted { inner: Arc::clone(filter.expression()), wanted: wanted.clone() });
    JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// An expression that fails once its statement is called off or out of time.
#[derive(Debug)]
struct IfWanted {
    inner: Arc<dyn PhysicalExpr>,
    wanted: Wanted,
}

// Derived, the comparison would move the trait object out.
impl PartialEq for IfWanted {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for IfWanted {}

impl std::hash::Hash for IfWanted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for IfWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for IfWanted {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.wanted.check().map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.into_iter().next() {
            Some(inner) => Ok(Arc::new(Self { inner, wanted: self.wanted.clone() })),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
