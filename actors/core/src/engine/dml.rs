//! INSERT, UPDATE, DELETE, planned by us: DataFusion reads and computes, the committer writes.
//!
//! A statement reads at a snapshot without any lock and prepares its changes, RETURNING included; nothing
//! has been changed so far, so it may fail or be called off. Then it takes the partition, and commits if
//! what it read still holds; if not it begins anew, from the third try with the partition held while it
//! reads. A commit that has begun is never given up.

mod cells;
mod change;
mod conflict;
mod insert;
mod returning;
mod stored;

use std::ops::ControlFlow;
use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result, Seq};
use kalamdb_sql::{Delete, Insert, InsertSource, Row, TableRef, TableSchema, Update, ast};
use kalamdb_store::{Changes, CommitError, RowChange, SegmentsRead};
use kalamdb_wire::{PlanCache, StatementResult};

use super::context::{Action, StatementContext};
use super::params::Params;
use super::runtime::now_micros;
use super::scope::Scope;
use crate::catalog::TableEntry;
use returning::Returning;
pub(crate) use returning::{CHANGED_ROWS, ChangedRows};

/// From this try on the partition is held while the statement reads.
const HELD_FROM_TRY: usize = 2;
/// No premise can fail with the partition held; more tries than this are a defect.
const MOST_TRIES: usize = 8;

/// A statement that changes rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dml<'a> {
    Insert(&'a Insert),
    Update(&'a Update),
    Delete(&'a Delete),
}

impl Dml<'_> {
    fn table(&self) -> &TableRef {
        match self {
            Self::Insert(insert) => &insert.table,
            Self::Update(update) => &update.table,
            Self::Delete(delete) => &delete.table,
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::Insert(insert) => match &insert.on_conflict {
                Some(conflict) if matches!(conflict.action, kalamdb_sql::OnConflictAction::DoUpdate { .. }) => {
                    Action::Change
                }
                _ => Action::Insert,
            },
            Self::Update(_) | Self::Delete(_) => Action::Change,
        }
    }

    fn alias(&self) -> ast::Ident {
        let alias = match self {
            Self::Insert(insert) => &insert.alias,
            Self::Update(update) => &update.alias,
            Self::Delete(delete) => &delete.alias,
        };
        alias.clone().unwrap_or_else(|| ast::Ident::with_quote('"', self.table().table.as_str()))
    }

    fn returning(&self) -> Option<&[ast::SelectItem]> {
        match self {
            Self::Insert(insert) => insert.returning.as_deref(),
            Self::Update(update) => update.returning.as_deref(),
            Self::Delete(delete) => delete.returning.as_deref(),
        }
    }

    /// Whether a key that turns up between reading and committing is a reason to read again.
    fn resolves_conflicts(&self) -> bool {
        matches!(self, Self::Insert(insert) if insert.on_conflict.is_some())
    }

    /// Whether it is an INSERT that asks for no rows: a duplicate key is found when it commits.
    fn reads_no_rows(&self) -> bool {
        let Self::Insert(Insert { source, on_conflict: None, returning: None, .. }) = self else { return false };
        match source {
            InsertSource::DefaultValues => true,
            InsertSource::Values(rows) => ast::Visit::visit(rows, &mut FindsQuery).is_continue(),
            InsertSource::Query(_) => false,
        }
    }

    /// One that reads no rows does without a snapshot, unless it was found in its first try that its keys have to be
    /// looked up in segments.
    async fn begin(&self, scope: &Scope, now: i64, attempt: usize) -> Result<Arc<StatementContext>> {
        if attempt == 0 && self.reads_no_rows() {
            return scope.begin_unseeing(Some(now)).await;
        }
        scope.begin(Some(now)).await
    }

    fn done(&self, rows: u64) -> String {
        let noun = if rows == 1 { "row" } else { "rows" };
        let verb = match self {
            Self::Insert(_) => "inserted",
            Self::Update(_) => "updated",
            Self::Delete(_) => "deleted",
        };
        format!("{rows} {noun} {verb}")
    }
}

/// Stops at a query within an expression.
struct FindsQuery;

impl ast::Visitor for FindsQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// What a statement wants to write.
#[derive(Debug, Default)]
struct Prepared {
    /// The changes in order.
    changes: Vec<RowChange>,
    /// The rows RETURNING is about, in the same order; an INSERT without one has none.
    rows: Vec<Row>,
    /// The partition's last `_seq` when it was read; none where the keys say it all.
    base: Option<Seq>,
    /// Which of the rows lie in segments.
    segments: SegmentsRead,
    /// Whether the plan that found the rows was there already.
    plan_cache: Option<PlanCache>,
}

/// A table and what is being done to it.
#[derive(Debug)]
struct Target<'a> {
    context: &'a Arc<StatementContext>,
    entry: &'a Arc<TableEntry>,
    partition: &'a kalamdb_store::PartitionId,
    dml: Dml<'a>,
    params: &'a Params,
}

impl Target<'_> {
    fn schema(&self) -> &Arc<TableSchema> {
        &self.entry.schema
    }

    /// None for an INSERT whose keys have to be looked up, which it was not begun for.
    async fn prepare(&self) -> Result<Option<Prepared>> {
        let mut prepared = match self.dml {
            Dml::Insert(insert) => insert::prepare(self, insert).await?,
            Dml::Update(update) => {
                let assignments = Some(update.assignments.as_slice());
                Box::pin(change::prepare(self, update.selection.as_ref(), assignments)).await?
            }
            Dml::Delete(delete) => Box::pin(change::prepare(self, delete.selection.as_ref(), None)).await?,
        };
        cells::check_size(self.context, &prepared.rows)?;
        let Some(segments) = stored::segments_read(self, &prepared.changes).await? else { return Ok(None) };
        prepared.segments = segments;
        Ok(Some(prepared))
    }
}

/// Runs the statement.
pub(crate) async fn run(
    scope: &Scope,
    dml: Dml<'_>,
    names: Option<&[String]>,
    params: &Params,
) -> Result<StatementResult> {
    let now = now_micros();
    let runtime = &scope.runtime;
    Returning::check(runtime, dml)?;
    for attempt in 0..MOST_TRIES {
        let mut context = dml.begin(scope, now, attempt).await?;
        // Of the store that was read: one that failed meanwhile refuses, whatever has taken its place.
        let store = Arc::clone(&context.store);
        let (mut entry, partition) = context.resolve(dml.table(), dml.action())?;
        let committer = store.committer_of(entry.table_type());
        let mut guard = None;
        if attempt >= HELD_FROM_TRY {
            guard = Some(scope.bound(async { Ok(committer.begin(partition.clone()).await) }).await?);
            context = dml.begin(scope, now, attempt).await?;
            context.hold_partition();
            if !Arc::ptr_eq(&context.store, &store) {
                continue;
            }
            let (entry_now, partition_now) = context.resolve(dml.table(), dml.action())?;
            if partition_now != partition {
                continue;
            }
            entry = entry_now;
        }
        let target = Target { context: &context, entry: &entry, partition: &partition, dml, params };
        let returning = Returning::new(&target, names);
        let prepared = scope
            .bound(async {
                let prepared = async {
                    let Some(prepared) = target.prepare().await? else { return Ok(None) };
                    let answer = returning.evaluate(&prepared.rows, &[]).await?;
                    Ok(Some((prepared, answer)))
                };
                match prepared.await {
                    Ok(prepared) => Ok(prepared),
                    // It may say what the rows were.
                    Err(error) => context.wait_visible().await.and(Err(error)),
                }
            })
            .await?;
        let Some((prepared, mut answer)) = prepared else { continue };
        let bounds = entry.stream_bounds(runtime.settings());
        if bounds.is_some() {
            // It is acknowledged at once: what its rows were made of must not be taken back.
            scope.bound(context.wait_visible()).await?;
        }
        let mut guard = match guard {
            Some(guard) => guard,
            None => scope.bound(async { Ok(committer.begin(partition.clone()).await) }).await?,
        };
        // With the gate held no DDL runs on the table: what the catalog says now, it says until the end.
        let present = runtime.catalog().tables.get(&entry.definition.name).cloned();
        if !present.is_some_and(|present| Arc::ptr_eq(&present, &entry)) {
            continue;
        }
        let affected = prepared.changes.len() as u64;
        let changes = Changes {
            schema: Arc::clone(&entry.schema),
            base: prepared.base,
            segments: prepared.segments,
            log: entry.table_type().is_per_user(),
            now,
            rows: prepared.changes,
        };
        let committed = match bounds {
            Some(bounds) => guard.commit_stream(changes, bounds, now_micros()).await,
            None => guard.commit(changes).await,
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(CommitError::Stale) => continue,
            Err(CommitError::Refused(error))
                if error.code == ErrorCode::DuplicateKey && dml.resolves_conflicts() && attempt < HELD_FROM_TRY =>
            {
                continue;
            }
            Err(CommitError::Refused(error)) => {
                drop(guard);
                if error.code == ErrorCode::DuplicateKey {
                    // The row that was in the way is part of the answer: it must not be taken back.
                    scope.bound(committer.wait_visible(&partition, committer.newest())).await?;
                }
                return Err(error);
            }
        };
        drop(guard);
        match committed.acknowledgement {
            Some(acknowledgement) => acknowledgement.wait().await?,
            // What it saw must not be taken back either.
            None => scope.bound(context.wait_visible()).await?,
        }
        if returning.names_seq() {
            // The rows are there: whoever gets an error here must not take them for absent.
            drop(answer);
            let evaluate = returning.evaluate(&prepared.rows, &committed.seqs);
            answer = scope.bound(evaluate).await.map_err(|error| committed_without_answer(&error))?;
        }
        let mut result = answer.unwrap_or_default();
        result.row_count = affected;
        result.plan_cache = prepared.plan_cache;
        result.message = Some(dml.done(affected));
        return Ok(result);
    }
    Err(Error::internal("a statement found its premises changed while it held the partition"))
}

/// An error of what RETURNING says of `_seq`: by its own code it would read as if nothing had been written.
fn committed_without_answer(error: &Error) -> Error {
    let detail = error.detail.clone().unwrap_or_else(|| error.message.clone());
    let message = format!("the rows were written, but RETURNING could not be answered: {}", error.message);
    Error { detail: Some(detail), ..Error::new(ErrorCode::Internal, message).outcome_unknown() }
}

/// How a statement goes about it.
pub(crate) enum Explained {
    /// It reads this first.
    Query(Box<ast::Query>),
    /// It plans nothing.
    Text(String),
}

/// How the statement reads, for EXPLAIN.
pub(crate) fn explained_query(dml: Dml<'_>, context: &Arc<StatementContext>) -> Result<Explained> {
    let (entry, _) = context.resolve(dml.table(), dml.action())?;
    let query = match dml {
        Dml::Insert(insert) => {
            let rows = match &insert.source {
                InsertSource::Query(query) => return Ok(Explained::Query(query.clone())),
                InsertSource::Values(rows) => rows.len(),
                InsertSource::DefaultValues => 1,
            };
            return Ok(Explained::Text(format!("InsertRows: table={}, rows={rows}\n", entry.definition.name)));
        }
        Dml::Update(update) => {
            // Values need not be read.
            let computed = update.assignments.iter().map(|(_, expr)| expr).filter(|expr| !is_value(expr));
            change::reading_query(dml, &entry, update.selection.as_ref(), computed)
        }
        Dml::Delete(delete) => change::reading_query(dml, &entry, delete.selection.as_ref(), std::iter::empty()),
    };
    query.map(|query| Explained::Query(Box::new(query)))
}

/// Whether an assignment is a value as it stands.
fn is_value(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(_) => true,
        ast::Expr::Nested(inner) | ast::Expr::UnaryOp { expr: inner, .. } => is_value(inner),
        other => kalamdb_sql::is_default_keyword(other),
    }
}

/// A constant expression as a value of a column.
pub(crate) async fn evaluate_constant(
    context: &Arc<StatementContext>,
    expr: &ast::Expr,
    column_type: kalamdb_sql::ColumnType,
    column: &str,
) -> Result<kalamdb_sql::Value> {
    if let Some(value) = super::values::literal_to_value(expr, column_type, column) {
        return value;
    }
    let arrays = cells::evaluate(context, std::slice::from_ref(expr), &Params::none()).await?;
    let array = arrays.first().ok_or_else(|| Error::internal("an expression without a value"))?;
    let values = super::values::array_to_values(array, column_type, column)?;
    values.into_iter().next().ok_or_else(|| Error::internal("an expression without a value"))
}
