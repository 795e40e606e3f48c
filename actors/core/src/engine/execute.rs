//! A request's statements, one after the other, up to the first that fails.

use std::sync::Arc;
use std::time::Instant;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::{ColumnType, ParsedStatement, Statement, Value};
use kalamdb_wire::StatementResult;
use tokio::time::Instant as Deadline;
use tokio_util::sync::CancellationToken;

use super::ddl::{self, Ddl};
use super::dml::{self, Dml, Explained};
use super::params::Params;
use super::parsed::{Keeping, plans_nothing};
use super::query::{Explain, explained, run_query};
use super::rows::{RowColumn, result_of};
use super::scope::{Caller, Scope, while_reopening};
use super::stream::{self, RunningStream};
use super::{Runtime, SessionCache, flush, show, storages};
use crate::tree::Clients;
use crate::{AnswerFormat, AnswerMemory, AnswerStream, SqlOutcome, SqlRequest, StatementError};

/// Statements that one request may hold: their results are in memory until the last is done.
const MOST_STATEMENTS: usize = 10_000;

/// Runs the request; `cancel` calls off what is not yet committing, and so does `deadline` for its first statement,
/// whose time began when the request came. Each later one has `server.request_timeout` from the end of the one before.
/// A single SELECT that is asked for in a format of its own is left running behind its first chunk.
pub(crate) async fn run_request(
    runtime: &Arc<Runtime>,
    clients: &Clients,
    session: Option<&Arc<SessionCache>>,
    request: &SqlRequest,
    format: Option<AnswerFormat>,
    deadline: Deadline,
    cancel: &CancellationToken,
) -> (SqlOutcome, Option<RunningStream>) {
    let refused = |error| (SqlOutcome::refused(error), None);
    let begun = Instant::now();
    let mut results = Vec::new();
    let mut failed = None;
    let SqlRequest { identity, header_user, sql, params, namespace, request_id } = request;
    let mut statements = runtime.parsed().read(sql);
    if statements.len() > MOST_STATEMENTS {
        return refused(Error::new(
            ErrorCode::InvalidSql,
            format!("{} statements in one request: {MOST_STATEMENTS} are allowed", statements.len()),
        ));
    }
    if statements.len() > 1 && !params.is_empty() {
        return refused(Error::new(
            ErrorCode::ParamsWithBatch,
            "parameters go with a single statement: send the statements one by one",
        ));
    }
    let format = format.filter(|_| statements.len() == 1);
    let caller =
        Caller::new(runtime, identity.clone(), header_user.clone(), namespace.clone(), cancel).in_session(session);
    let mut at = 0;
    while let Some(parsed) = statements.next() {
        let (keeping, was_known) = (statements.keeping(), statements.was_known());
        let statement_begun = Instant::now();
        let result = async {
            let parsed = parsed?;
            let params = Params::new(params, parsed.parameters)?;
            let deadline = if at == 0 { deadline } else { Deadline::now() + runtime.settings().server.request_timeout };
            let mut scope = Scope::new(runtime, &caller, &parsed, deadline);
            if let (Some(format), Statement::Query(query)) = (format, &parsed.statement) {
                let (query, names) = (query.as_ref().clone(), parsed.column_names.as_deref());
                let (stream, running) = Box::pin(stream::begin(scope, query, names, &params, format)).await?;
                return Ok(Done::Streaming(stream, Box::new(running)));
            }
            scope = match keeping {
                Keeping::Never => scope,
                Keeping::NextTime => scope.of_first_use(),
                Keeping::Now => scope.keeping_plans(&parsed.text),
            };
            let mut result = run_statement(&scope, clients, &parsed, &params).await?;
            if keeping != Keeping::Never && plans_nothing(&parsed.statement) {
                // There is nothing to plan: what is kept of it is what was read.
                result.plan_cache = Some(runtime.plans().note(was_known));
            }
            Ok(Done::Whole(result))
        }
        .await;
        match result {
            Ok(Done::Streaming(stream, running)) => {
                let outcome = SqlOutcome { stream: Some(stream), took: begun.elapsed(), ..SqlOutcome::default() };
                return (outcome, Some(*running));
            }
            Ok(Done::Whole(mut result)) => {
                if runtime.settings().query.report_timing {
                    result.took_ms = Some(crate::milliseconds(statement_begun.elapsed()));
                }
                results.push(result);
                at += 1;
            }
            Err(error) => {
                let error = while_reopening(runtime, cancel, error);
                // Without its message: that quotes the statement, and a CREATE STORAGE has credentials in it.
                tracing::debug!(request_id, statement = at, code = %error.code, position = ?error.position, "statement failed");
                failed = Some(StatementError { error, statement: Some(at) });
                break;
            }
        }
    }
    let memory = AnswerMemory::new(caller.results);
    (SqlOutcome { results, error: failed, took: begun.elapsed(), memory, stream: None }, None)
}

/// What became of a statement.
enum Done {
    Whole(StatementResult),
    Streaming(AnswerStream, Box<RunningStream>),
}

/// `KILL LIVE QUERY 'id'`
fn kill_live_query(scope: &Scope, live_id: &str) -> Result<StatementResult> {
    let hub = scope.runtime.live_hub().ok_or_else(|| Error::internal("live queries are not there"))?;
    hub.kill(&scope.identity, live_id)?;
    Ok(StatementResult::message(0, format!("live query '{live_id}' ended")))
}

async fn run_statement(
    scope: &Scope,
    clients: &Clients,
    parsed: &ParsedStatement,
    params: &Params,
) -> Result<StatementResult> {
    let names = parsed.column_names.as_deref();
    match &parsed.statement {
        // Each in a box of its own size: a task is moved as a whole, with room for the largest of them.
        Statement::Query(query) => Box::pin(run_query(scope, query, names, params, None)).await,
        Statement::Insert(insert) => Box::pin(dml::run(scope, Dml::Insert(insert), names, params)).await,
        Statement::Update(update) => Box::pin(dml::run(scope, Dml::Update(update), names, params)).await,
        Statement::Delete(delete) => Box::pin(dml::run(scope, Dml::Delete(delete), names, params)).await,
        Statement::Explain { analyze, verbose, statement } => {
            let explain = Explain { analyze: *analyze, verbose: *verbose };
            Box::pin(run_explain(scope, statement, params, explain)).await
        }
        Statement::ShowNamespaces => show::show_namespaces(&*scope.begin(None).await?),
        Statement::ShowTables { namespace } => show::show_tables(&*scope.begin(None).await?, namespace.as_ref()),
        Statement::ShowStorages => show::show_storages(&*scope.begin(None).await?),
        Statement::Describe { table } => show::describe(&*scope.begin(None).await?, table),
        Statement::FlushTable { table } => Box::pin(flush::flush_table(scope, &clients.flushes, table)).await,
        Statement::FlushAllTables => Box::pin(flush::flush_all_tables(scope, &clients.flushes)).await,
        Statement::KillLiveQuery { live_id } => kill_live_query(scope, live_id),
        Statement::ClearPlanCache => {
            ddl::check_role(scope.identity.role)?;
            let count = Box::pin(scope.bound(clients.plans.clear())).await?;
            let noun = if count == 1 { "statement" } else { "statements" };
            Ok(StatementResult::message(0, format!("plan cache cleared: plans of {count} {noun}")))
        }
        Statement::ClearSessionCache { user } => {
            ddl::check_role(scope.identity.role)?;
            let count = scope.runtime.sessions().clear(user.as_ref());
            let noun = if count == 1 { "registration" } else { "registrations" };
            Ok(StatementResult::message(0, format!("session cache cleared: {count} {noun}")))
        }
        Statement::ShowTableStats { table } => {
            flush::table_stats(&*scope.begin_unseeing(None).await?, &clients.flushes, table)
        }
        Statement::CreateNamespace { .. }
        | Statement::DropNamespace { .. }
        | Statement::CreateTable(_)
        | Statement::AlterTable { .. }
        | Statement::DropTable { .. }
        | Statement::CreateUser { .. }
        | Statement::AlterUser { .. }
        | Statement::DropUser { .. }
        | Statement::CreateStorage { .. }
        | Statement::AlterStorage { .. }
        | Statement::DropStorage { .. } => {
            ddl::check_role(scope.identity.role)?;
            let apply = async {
                let ddl = ddl_of(scope, &parsed.statement).await?;
                clients.catalog.apply(ddl, scope.limits()).await
            };
            let message = Box::pin(apply).await?;
            Ok(StatementResult::message(0, message))
        }
    }
}

async fn ddl_of(scope: &Scope, statement: &Statement) -> Result<Ddl> {
    Ok(match statement {
        Statement::CreateNamespace { name, if_not_exists } => {
            Ddl::CreateNamespace { name: name.clone(), if_not_exists: *if_not_exists }
        }
        Statement::DropNamespace { name, if_exists, cascade } => {
            Ddl::DropNamespace { name: name.clone(), if_exists: *if_exists, cascade: *cascade }
        }
        Statement::CreateTable(create) => {
            let context = scope.begin(None).await?;
            let table = scope.bound(ddl::new_table(&context, create)).await?;
            Ddl::CreateTable { table: Box::new(table), if_not_exists: create.if_not_exists }
        }
        Statement::AlterTable { table, change } => {
            let context = scope.begin_unseeing(None).await?;
            let change = scope.bound(ddl::alteration(&context, change)).await?;
            Ddl::AlterTable { name: table.resolve(&scope.namespace), change: Box::new(change) }
        }
        Statement::DropTable { table, table_type, if_exists } => {
            Ddl::DropTable { name: table.resolve(&scope.namespace), table_type: *table_type, if_exists: *if_exists }
        }
        Statement::CreateUser { user, if_not_exists, options } => {
            ddl::check_user(&scope.runtime.settings().auth, user, options)?;
            Ddl::CreateUser { user: user.clone(), if_not_exists: *if_not_exists, options: options.clone() }
        }
        Statement::AlterUser { user, changes } => {
            ddl::check_user(&scope.runtime.settings().auth, user, changes)?;
            Ddl::AlterUser { user: user.clone(), changes: changes.clone() }
        }
        Statement::CreateStorage { name, if_not_exists, options } => {
            storages::create(scope, name, options, *if_not_exists).await?
        }
        Statement::AlterStorage { name, changes } => storages::alter(scope, name, changes).await?,
        Statement::DropStorage { name, if_exists } => storages::drop_storage(scope, name, *if_exists).await?,
        Statement::DropUser { user, if_exists } => Ddl::DropUser { user: user.clone(), if_exists: *if_exists },
        _ => return Err(Error::internal("a statement that is no DDL was taken for one")),
    })
}

/// A plan that is ours alone, in the shape of the others.
fn plan_text(text: String) -> Result<StatementResult> {
    let columns =
        [RowColumn::new("plan_type", ColumnType::Text, false), RowColumn::new("plan", ColumnType::Text, false)];
    result_of(&columns, &[vec![Value::Text("physical_plan".to_owned()), Value::Text(text)]])
}

async fn run_explain(
    scope: &Scope,
    statement: &Statement,
    params: &Params,
    explain: Explain,
) -> Result<StatementResult> {
    let dml = match statement {
        Statement::Query(query) => return run_query(scope, query, None, params, Some(explain)).await,
        Statement::Insert(insert) => Dml::Insert(insert),
        Statement::Update(update) => Dml::Update(update),
        Statement::Delete(delete) => Dml::Delete(delete),
        _ => return Err(Error::new(ErrorCode::Unsupported, "EXPLAIN is for SELECT, INSERT, UPDATE and DELETE")),
    };
    if explain.analyze {
        return Err(Error::new(ErrorCode::Unsupported, "EXPLAIN ANALYZE runs its statement: it is for SELECT only"));
    }
    let context = scope.begin(None).await?;
    let query = match dml::explained_query(dml, &context)? {
        Explained::Query(query) => *query,
        Explained::Text(text) => return plan_text(text),
    };
    // Parameters of parts that are not read (VALUES, constants) have no place in the query.
    scope.bound(explained(&context, query, params, explain)).await
}
