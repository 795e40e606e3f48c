//! SELECT and EXPLAIN, and running plans.

use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray as _;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, Result};
use kalamdb_sql::{ColumnType, ast};
use kalamdb_wire::StatementResult;

use super::context::StatementContext;
use super::errors::{from_arrow, from_datafusion, shown_plan};
use super::long::Moving;
use super::params::Params;
use super::plans::{self, Part, Prepared, Way};
use super::result::RowWriter;
use super::rewrite::{expose_system_columns, name_outputs};
use super::scope::{Limits, Scope, on_behalf, still_wanted};

/// Rows that are written before it is looked whether anybody waits for them still.
const ROWS_AT_ONCE: usize = 8192;

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
                if let Some(how) = explain {
                    return explained(&context, query.clone(), params, how).await;
                }
                match select_kept(&context, query, names, params).await? {
                    Some(answer) => Ok(answer),
                    None => {
                        let answer = select(&context, query.clone(), names, params).await?;
                        let rewritten = || Ok(rewritten(query.clone(), names));
                        Ok(StatementResult { plan_cache: plans::first_use(&context, rewritten, params), ..answer })
                    }
                }
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
) -> Result<StatementResult> {
    let stream = open(context, query, names, params).await?;
    let mut rows = Rows::of(context, &stream.schema());
    rows.take_all(stream).await?;
    rows.finish()
}

/// What EXPLAIN says of a query: its plan, and which way it takes if it is run without EXPLAIN.
pub(crate) async fn explained(
    context: &Arc<StatementContext>,
    query: ast::Query,
    params: &Params,
    explain: Explain,
) -> Result<StatementResult> {
    let query = rewritten(query, None);
    let way = plans::way(context, query.clone(), params);
    let plan = plan(context, query, params, &[], Some(explain)).await?;
    let mut stream = run(context, plan)?;
    let schema = stream.schema();
    let mut rows = Rows::of(context, &schema);
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        rows.take(&shown(&batch)?)?;
    }
    if !explain.analyze {
        rows.take(&way_row(&schema, way)?)?;
    }
    rows.finish()
}

/// Rows of EXPLAIN, with the names in them as users know them.
fn shown(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| {
        let texts = cast(column, &DataType::Utf8)?;
        let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(shown_plan)).collect();
        cast(&texts, column.data_type())
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(from_arrow)?;
    RecordBatch::try_new(batch.schema(), columns).map_err(from_arrow)
}

/// The last row of EXPLAIN.
fn way_row(schema: &SchemaRef, way: Way) -> Result<RecordBatch> {
    let texts = ["execution", way.as_str()];
    let columns = schema.fields().iter().zip(texts).map(|(field, text)| {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        cast(&column, field.data_type())
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(from_arrow)?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(from_arrow)
}

/// Rows that are there already as an answer.
pub(super) fn answer(context: &StatementContext, batch: &RecordBatch) -> Result<StatementResult> {
    let mut rows = Rows::of(context, &batch.schema());
    // Once: parts of a batch say that they take what the whole takes.
    context.results.try_grow(2 * batch.get_array_memory_size()).map_err(from_datafusion)?;
    for start in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
        still_wanted()?;
        rows.writer.write(&batch.slice(start, ROWS_AT_ONCE.min(batch.num_rows() - start)))?;
    }
    rows.finish()
}

/// Plans and starts a query as clients ask it; the caller sees to visibility.
pub(super) async fn open(
    context: &Arc<StatementContext>,
    query: ast::Query,
    names: Option<&[String]>,
    params: &Params,
) -> Result<SendableRecordBatchStream> {
    let plan = plan(context, rewritten(query, names), params, &[], None).await?;
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
    begin(context, plan, context.runtime.state().task_ctx())
}

/// Starts a plan for a task of it; it goes on elsewhere if it takes long.
pub(super) fn begin(
    context: &StatementContext,
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let threads = context.runtime.long_queries();
    // Parts that run beside one another begin at once, in tasks of their own: those are where they may take long.
    let apart = !plans::is_one_task(&plan) || plan.is::<AnalyzeExec>();
    let entered = apart.then(|| threads.enter());
    let stream = execute_stream(plan, task).map_err(from_datafusion)?;
    drop(entered);
    if context.holds_partition() {
        // Writers of the partition wait for it: it waits for nobody's long query.
        return Ok(stream);
    }
    Ok(Box::pin(Moving::new(stream, threads.clone())))
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

    async fn take_all(&mut self, mut stream: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
            self.take(&batch)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<StatementResult> {
        let (columns, rows, row_count) = self.writer.finish()?;
        Ok(StatementResult { columns, rows, row_count, ..StatementResult::default() })
    }
}
