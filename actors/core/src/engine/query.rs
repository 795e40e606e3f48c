//! SELECT and EXPLAIN, and running plans.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, Result};
use kalamdb_sql::{ColumnType, ast};
use kalamdb_wire::StatementResult;

use super::context::StatementContext;
use super::errors::from_datafusion;
use super::params::Params;
use super::plans::{self, Part, Prepared};
use super::result::RowWriter;
use super::rewrite::{expose_system_columns, name_outputs};
use super::scope::{Limits, Scope, on_behalf, still_wanted};

/// How an EXPLAIN was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explain {
    pub(crate) analyze: bool,
    pub(crate) verbose: bool,
}

/// Answers a query.
pub(crate) async fn run_query(
    scope: &Scope,
    query: &ast::Query,
    names: Option<&[String]>,
    params: &Params,
    explain: Option<Explain>,
) -> Result<StatementResult> {
    let context = scope.begin(None).await?;
    scope
        .bound(async {
            let answer = async {
                if explain.is_none()
                    && let Some(answer) = select_kept(&context, query, names, params).await?
                {
                    return Ok(answer);
                }
                select(&context, query.clone(), names, params, explain).await
            };
            let result = answer.await;
            // An error, too, may say what the rows are.
            context.wait_visible().await?;
            result
        })
        .await
}

/// The same by the plan that is kept with the statement's text; none where there is none.
async fn select_kept(
    context: &Arc<StatementContext>,
    query: &ast::Query,
    names: Option<&[String]>,
    params: &Params,
) -> Result<Option<StatementResult>> {
    let prepared = plans::prepare(context, Part::Query, || Ok(rewritten(query.clone(), names)), params, &[]).await?;
    let Some(Prepared { run, outcome }) = prepared else { return Ok(None) };
    let mut rows = Rows::of(context, run.schema());
    run.each(|batch| rows.take(&batch)).await?;
    Ok(Some(StatementResult { plan_cache: Some(outcome), ..rows.finish()? }))
}

/// The same at a context that is there already, planned for it alone; the caller sees to visibility.
pub(crate) async fn select(
    context: &Arc<StatementContext>,
    query: ast::Query,
    names: Option<&[String]>,
    params: &Params,
    explain: Option<Explain>,
) -> Result<StatementResult> {
    let mut stream = open(context, query, names, params, explain).await?;
    let mut rows = Rows::of(context, &stream.schema());
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        rows.take(&batch)?;
    }
    rows.finish()
}

/// Plans and starts a query as clients ask it; the caller sees to visibility.
pub(super) async fn open(
    context: &Arc<StatementContext>,
    query: ast::Query,
    names: Option<&[String]>,
    params: &Params,
    explain: Option<Explain>,
) -> Result<SendableRecordBatchStream> {
    let plan = plan(context, rewritten(query, names), params, &[], explain).await?;
    run(context, plan)
}

fn rewritten(mut query: ast::Query, names: Option<&[String]>) -> ast::Query {
    name_outputs(&mut query, names);
    expose_system_columns(&mut query);
    query
}

/// Plans a query; `outputs` as for [`Params::plan`]. What may take long (planning is not called off, and costs the square of some lengths) goes
/// to a thread of its own, few at a time, so that it delays nobody else and its answer can be
/// [`ErrorCode::Timeout`](kalamdb_commons::ErrorCode::Timeout).
pub(crate) async fn plan(
    context: &Arc<StatementContext>,
    query: ast::Query,
    params: &Params,
    outputs: &[ColumnType],
    explain: Option<Explain>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if !context.is_heavy {
        return plan_here(context, query, params, outputs, explain).await;
    }
    let runtime = &context.runtime;
    let permit = Arc::clone(runtime.heavy_plans()).acquire_owned().await.map_err(Error::internal)?;
    let (context, params, threads) = (Arc::clone(context), params.clone(), runtime.statements().clone());
    let outputs = outputs.to_vec();
    let limits = Limits::of_task();
    let work = move || {
        let _permit = permit;
        threads.block_on(on_behalf(limits, plan_here(&context, query, &params, &outputs, explain)))
    };
    runtime.statements().spawn_blocking(work).await.map_err(Error::internal)?
}

async fn plan_here(
    context: &Arc<StatementContext>,
    query: ast::Query,
    params: &Params,
    outputs: &[ColumnType],
    explain: Option<Explain>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut plan = params.plan(context, query, outputs)?;
    if let Some(Explain { analyze, verbose }) = explain {
        plan = LogicalPlanBuilder::from(plan)
            .explain(verbose, analyze)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
    }
    context.runtime.state().create_physical_plan(&plan).await.map_err(from_datafusion)
}

/// Starts a plan.
pub(crate) fn run(context: &StatementContext, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
    execute_stream(plan, context.runtime.state().task_ctx()).map_err(from_datafusion)
}

/// Rows as JSON; what they take counts against `query.memory_limit` until the request is answered.
struct Rows<'a> {
    context: &'a StatementContext,
    writer: RowWriter,
}

impl<'a> Rows<'a> {
    fn of(context: &'a StatementContext, schema: &SchemaRef) -> Self {
        Self { context, writer: RowWriter::new(schema) }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        still_wanted()?;
        // Twice: the answer's body is a copy. Before it is written, and known only roughly until then.
        self.context.results.try_grow(2 * batch.get_array_memory_size()).map_err(from_datafusion)?;
        self.writer.write(batch)
    }

    fn finish(self) -> Result<StatementResult> {
        let (columns, rows, row_count) = self.writer.finish()?;
        Ok(StatementResult { columns, rows, row_count, ..StatementResult::default() })
    }
}
