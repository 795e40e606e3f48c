//! A compiled plan, and its instances: physical plans with slots of their own, each for one execution at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use futures::StreamExt as _;
use kalamdb_commons::{Error, NamespaceId, Result};
use kalamdb_store::PartitionId;
use parking_lot::Mutex;

use super::super::context::{Action, StatementContext};
use super::super::errors::from_datafusion;
use super::super::functions::statement_constant;
use super::super::params::{Occurrence, Params};
use super::super::query::begin;
use super::super::scan::Execution;
use super::super::scope::Limits;
use super::compile::{Shape, TableUse};
use super::limit::{LimitPlanner, is_one_task, with_slots_in};
use super::point::PointRead;
use super::slots::{SlotName, Slots};
use crate::catalog::CatalogSnapshot;

/// Instances of one plan that are kept while nobody runs them; more are made as they are needed.
const MOST_IDLE: usize = 8;

tokio::task_local! {
    /// The slots of the plan that this task makes, for rules that are run on it.
    static PLANNED_WITH: Arc<Slots>;
}

/// The slots of the plan that is being made, if it is an instance of a compiled one.
pub(in crate::engine) fn slots_of_plan() -> Option<Arc<Slots>> {
    PLANNED_WITH.try_with(Arc::clone).ok()
}

/// A physical plan that is run again and again.
#[derive(Debug)]
struct Instance {
    plan: Arc<dyn ExecutionPlan>,
    slots: Arc<Slots>,
    /// One whose tasks may outlive its rows is run once.
    is_kept: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Template {
    plan: LogicalPlan,
    point: Option<PointRead>,
    tables: Vec<TableUse>,
    constants: BTreeSet<String>,
    occurrences: Vec<Occurrence>,
    shape: Shape,
    idle: Mutex<Vec<Instance>>,
    bytes: u64,
}

impl Template {
    pub(super) fn new(
        plan: LogicalPlan,
        point: Option<PointRead>,
        tables: Vec<TableUse>,
        constants: BTreeSet<String>,
        occurrences: Vec<Occurrence>,
        shape: Shape,
        bytes: u64,
    ) -> Self {
        Self { plan, point, tables, constants, occurrences, shape, idle: Mutex::default(), bytes }
    }

    /// About what it takes with all its idle instances.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes * (1 + MOST_IDLE as u64)
    }

    /// Whether it is for parameters like these.
    pub(super) fn fits(&self, params: &Params) -> bool {
        self.shape.fits(params)
    }

    /// Whether it is a lookup of one row.
    pub(super) fn is_point(&self) -> bool {
        self.point.is_some()
    }

    /// The schema versions of the tables that it reads.
    pub(super) fn schema_versions(&self) -> impl Iterator<Item = String> {
        self.tables.iter().map(|one| format!("{}:{}", one.entry.definition.name, one.entry.schema.version.0))
    }

    /// Whether the catalog still has the tables that it was compiled for.
    pub(super) fn is_of(&self, catalog: &CatalogSnapshot, namespace: &NamespaceId) -> bool {
        self.tables
            .iter()
            .all(|one| catalog.table(&one.table.resolve(namespace)).is_ok_and(|entry| Arc::ptr_eq(entry, &one.entry)))
    }

    /// The partitions that it reads for this caller.
    ///
    /// # Errors
    /// Those of [`StatementContext::resolve`].
    pub(super) fn partitions(&self, context: &StatementContext) -> Result<Vec<PartitionId>> {
        self.tables.iter().map(|one| Ok(context.resolve(&one.table, Action::Read)?.1)).collect()
    }

    /// What its slots are bound to for this statement.
    ///
    /// # Errors
    /// [`ErrorCode::ParamTypeMismatch`](kalamdb_commons::ErrorCode::ParamTypeMismatch).
    pub(super) fn values(
        &self,
        context: &StatementContext,
        params: &Params,
    ) -> Result<BTreeMap<SlotName, ScalarValue>> {
        let mut values = BTreeMap::new();
        // Counts first, as a plan for the statement alone has it.
        for counts in [true, false] {
            for (at, occurrence) in self.occurrences.iter().enumerate().filter(|(_, one)| one.is_limit == counts) {
                let scalar = params.scalar(occurrence)?;
                if !scalar.is_null() {
                    values.insert(SlotName::Param(at + 1), scalar);
                }
            }
        }
        for name in &self.constants {
            if let Some(value) = statement_constant(name, context.now, &context.identity.user_id) {
                values.insert(SlotName::Constant(name.clone()), value);
            }
        }
        Ok(values)
    }

    /// Runs it with these [`values`](Self::values).
    ///
    /// # Errors
    /// What its planning and its start give.
    pub(super) async fn run(
        self: Arc<Self>,
        context: &Arc<StatementContext>,
        partitions: Vec<PartitionId>,
        values: BTreeMap<SlotName, ScalarValue>,
    ) -> Result<Run> {
        if let Some(point) = &self.point {
            let partition =
                partitions.get(point.table).ok_or_else(|| Error::internal("a lookup without a partition"))?;
            let row = point.run(context, partition, &values).await?;
            return Ok(Run { schema: Arc::clone(point.schema()), rows: Rows::Found(row) });
        }
        let idle = self.idle.lock().pop();
        let instance = match idle {
            Some(instance) => instance,
            None => self.instance(context).await?,
        };
        instance.slots.bind(values, Limits::of_task());
        let task = task(context, Execution { context: Arc::clone(context), partitions });
        let stream = begin(context, Arc::clone(&instance.plan), task)?;
        let lease = Lease { template: self, instance };
        Ok(Run { schema: stream.schema(), rows: Rows::Stream(stream, lease) })
    }

    /// Plans the first instance, where rows are not looked up.
    ///
    /// # Errors
    /// When what was compiled cannot be planned with values that come later.
    pub(super) async fn make_ready(&self, context: &StatementContext) -> Result<()> {
        if self.point.is_none() {
            let instance = self.instance(context).await?;
            self.idle.lock().push(instance);
        }
        Ok(())
    }

    /// Plans an instance.
    async fn instance(&self, context: &StatementContext) -> Result<Instance> {
        let slots: Arc<Slots> = Arc::default();
        let plan = with_slots_in(self.plan.clone(), &slots).map_err(from_datafusion)?;
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(LimitPlanner)]);
        let planning = planner.create_physical_plan(&plan, context.runtime.state());
        let plan = PLANNED_WITH.scope(Arc::clone(&slots), planning).await.map_err(from_datafusion)?;
        Ok(Instance { is_kept: is_one_task(&plan), plan, slots })
    }
}

/// A task for one execution. Functions are in the plan: it needs no registry of them, which would be copied each time.
fn task(context: &StatementContext, execution: Execution) -> Arc<TaskContext> {
    let state = context.runtime.state();
    let config = state.config().clone().with_extension(Arc::new(execution));
    let (scalar, higher_order, aggregate, window) = Default::default();
    let environment = Arc::clone(state.runtime_env());
    Arc::new(TaskContext::new(None, String::new(), config, scalar, higher_order, aggregate, window, environment))
}

/// An instance that is being run. It goes back only when all of its rows were read: one that was given up may still be at work.
#[derive(Debug)]
struct Lease {
    template: Arc<Template>,
    instance: Instance,
}

impl Lease {
    fn give_back(self) {
        let Self { template, mut instance } = self;
        if !instance.is_kept {
            return;
        }
        // What was bound is the caller's alone, and what it has gathered (the hash table of a join, its share of memory, a
        // snapshot) goes now, not with the next run.
        instance.slots.clear();
        match reset_plan_states(Arc::clone(&instance.plan)) {
            Ok(plan) => instance.plan = plan,
            Err(error) => {
                tracing::debug!(%error, "a plan is not kept");
                return;
            }
        }
        let mut idle = template.idle.lock();
        if idle.len() < MOST_IDLE {
            idle.push(instance);
        }
    }
}

enum Rows {
    Found(Option<RecordBatch>),
    Stream(SendableRecordBatchStream, Lease),
}

/// One execution.
pub(crate) struct Run {
    schema: SchemaRef,
    rows: Rows,
}

impl Run {
    /// The columns of its rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows, each batch to `take`.
    ///
    /// # Errors
    /// Those of the plan, and of `take`.
    pub(crate) async fn each(self, mut take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        match self.rows {
            Rows::Found(row) => row.map_or(Ok(()), take),
            Rows::Stream(mut stream, lease) => {
                while let Some(batch) = stream.next().await {
                    take(batch.map_err(from_datafusion)?)?;
                }
                drop(stream);
                lease.give_back();
                Ok(())
            }
        }
    }
}
