//! What a scan is planned as, and what it becomes for one execution.
//!
//! A scan of one statement is bound to its snapshot and its partition when it is planned. One of a compiled plan holds
//! neither: both come with the task that executes it, and so do the values of the slots in its conditions, from
//! which the key range and the conditions on segments are made then.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, Result as DfResult, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use kalamdb_store::PartitionId;

use super::super::context::StatementContext;
use super::super::plans::{has_slots, slot_of, with_values};
use super::super::predicate::key_range;
use super::exec::{ScanArgs, ScanColumn};
use super::filter::ScanFilter;
use super::pushable::is_pushable;
use crate::catalog::TableEntry;

/// Where a scan gets snapshot and partition from.
#[derive(Debug, Clone)]
pub(crate) enum Binding {
    /// It is planned for one statement.
    Statement(Arc<StatementContext>, PartitionId),
    /// From the [`Execution`], whose partition at this place it is.
    Execution(usize),
}

/// What the scans of a compiled plan run with: an extension of the task's configuration.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) context: Arc<StatementContext>,
    /// Of the tables that the plan was compiled with, in their order.
    pub(crate) partitions: Vec<PartitionId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct ScanPlan {
    pub(super) binding: Binding,
    pub(super) entry: Arc<TableEntry>,
    /// All columns of the table as it was referred to.
    pub(super) table_columns: Vec<ScanColumn>,
    pub(super) table_schema: SchemaRef,
    /// Those that are asked for.
    pub(super) columns: Vec<ScanColumn>,
    pub(super) schema: SchemaRef,
    pub(super) filters: Vec<Expr>,
    pub(super) with_deleted: bool,
    pub(super) limit: Option<usize>,
}

impl ScanPlan {
    /// What is read, where that is known when it is planned.
    pub(super) fn args_now(&self) -> DfResult<Option<Arc<ScanArgs>>> {
        match &self.binding {
            Binding::Statement(context, partition) => {
                Ok(Some(Arc::new(self.args(context, partition.clone(), &self.filters)?)))
            }
            Binding::Execution(_) => Ok(None),
        }
    }

    /// What is read in one execution of a compiled plan.
    pub(super) fn args_of(&self, task: &TaskContext) -> DfResult<ScanArgs> {
        let lacking = || internal_datafusion_err!("a compiled plan is run without a statement");
        let Binding::Execution(place) = self.binding else { return Err(lacking()) };
        let execution = task.session_config().get_extension::<Execution>().ok_or_else(lacking)?;
        let partition = execution.partitions.get(place).ok_or_else(lacking)?;
        let filters = self.filters.iter().map(|filter| self.bound(filter)).collect::<DfResult<Vec<_>>>()?;
        self.args(&execution.context, partition.clone(), &filters)
    }

    /// A condition with the values of its slots: what it would have been, had they been literals.
    fn bound(&self, filter: &Expr) -> DfResult<Expr> {
        if !has_slots(filter) {
            return Ok(filter.clone());
        }
        let bound = with_values(filter.clone())?;
        if is_simple(filter) {
            return Ok(bound);
        }
        let schema = Arc::new(DFSchema::try_from(Arc::clone(&self.table_schema))?);
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(schema).build());
        // Whatever fails here is evaluated above the scan, on the rows that there are.
        Ok(simplifier.simplify(bound.clone()).unwrap_or(bound))
    }

    fn args(&self, context: &Arc<StatementContext>, partition: PartitionId, filters: &[Expr]) -> DfResult<ScanArgs> {
        let range = key_range(&self.entry.schema, &partition, filters);
        let taken: Vec<&Expr> = filters.iter().filter(|filter| is_pushable(filter, &self.table_schema)).collect();
        let filter = ScanFilter::new(&taken, &self.table_columns, &self.table_schema)?;
        Ok(ScanArgs {
            context: Arc::clone(context),
            entry: Arc::clone(&self.entry),
            partition,
            range,
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            with_deleted: self.with_deleted,
            filter,
            limit: self.limit,
        })
    }
}

/// Whether values in the places of the slots leave nothing to fold: each is compared with a column.
fn is_simple(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryExpr(binary) => match (binary.left.as_ref(), binary.right.as_ref()) {
            (Expr::Column(_), other) | (other, Expr::Column(_)) => slot_of(other).is_some(),
            (left, right) => {
                let is_done = |side: &Expr| !has_slots(side) || is_simple(side);
                is_done(left) && is_done(right) && slot_of(left).is_none() && slot_of(right).is_none()
            }
        },
        _ => false,
    }
}
