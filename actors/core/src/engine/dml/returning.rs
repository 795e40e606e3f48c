//! RETURNING: a SELECT over the rows that the statement changed.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::logical_expr::TableSource;
use kalamdb_commons::{Error, ErrorCode, Result, Seq, SystemColumn};
use kalamdb_sql::{ColumnType, Row, Value, ast};
use kalamdb_wire::StatementResult;

use super::super::aggregates::{OverRows, functions_over_rows};
use super::super::query;
use super::super::rewrite::{ExposedColumns, folded};
use super::super::rows::{RowColumn, batch_of, table_of};
use super::super::runtime::Runtime;
use super::super::template::{quoted, select};
use super::{Dml, Target};

/// The table of changed rows in a plan. No table of a user can have this name.
pub(crate) const CHANGED_ROWS: &str = "changed rows";

/// Rows that a statement changes, as a table for its own plans.
#[derive(Debug)]
pub(crate) struct ChangedRows {
    /// Columns that every reference has.
    pub(super) columns: Vec<RowColumn>,
    pub(super) rows: Vec<Row>,
    /// `_seq` of each row (read as 1 while it has none), then what `_updated` and `_deleted` are for all.
    pub(super) seqs: Vec<Seq>,
    pub(super) updated: i64,
    pub(super) deleted: bool,
}

impl ChangedRows {
    /// The table with the system columns that a reference has.
    pub(crate) fn source(&self, exposed: ExposedColumns) -> Result<Arc<dyn TableSource>> {
        let mut columns = self.columns.clone();
        for name in exposed.names() {
            let Some(column) = SystemColumn::from_name(name) else { continue };
            columns.push(RowColumn::new(name, type_of(column), false));
        }
        let system = |at: usize| {
            let seq = self.seqs.get(at).map_or(1, |seq| seq.as_i64());
            [
                exposed.seq.then_some(Value::BigInt(seq)),
                exposed.updated.then_some(Value::Timestamp(self.updated)),
                exposed.deleted.then_some(Value::Boolean(self.deleted)),
            ]
        };
        let rows: Vec<Row> = self
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| row.iter().cloned().chain(system(at).into_iter().flatten()).collect())
            .collect();
        table_of(&columns, &rows)
    }
}

/// The declared columns of a target.
pub(super) fn declared_columns(target: &Target<'_>) -> Vec<RowColumn> {
    let columns = target.schema().columns.iter();
    columns.map(|column| RowColumn::new(column.name.as_str(), column.column_type, column.nullable)).collect()
}

/// `FROM "changed rows" AS alias`
pub(super) fn changed_rows_as(alias: ast::Ident) -> (ast::ObjectName, ast::Ident) {
    (ast::ObjectName(vec![ast::ObjectNamePart::Identifier(quoted(CHANGED_ROWS))]), alias)
}

/// A statement's RETURNING clause, if it has one.
#[derive(Debug)]
pub(super) struct Returning<'a> {
    target: &'a Target<'a>,
    names: Option<&'a [String]>,
}

impl<'a> Returning<'a> {
    pub(super) fn new(target: &'a Target<'a>, names: Option<&'a [String]>) -> Self {
        Self { target, names }
    }

    /// Refuses aggregates: the clause is about each changed row by itself.
    pub(super) fn check(runtime: &Runtime, dml: Dml<'_>) -> Result<()> {
        let Some(items) = dml.returning() else { return Ok(()) };
        let mut found = items.iter().flat_map(|item| functions_over_rows(runtime.state(), item));
        if found.any(|function| function == OverRows::Aggregate) {
            return Err(Error::new(ErrorCode::InvalidSql, "aggregate functions do not stand in RETURNING"));
        }
        Ok(())
    }

    /// Whether it shows what only the commit decides.
    pub(super) fn names_seq(&self) -> bool {
        let Some(items) = self.target.dml.returning() else { return false };
        let mut finder = SeqFinder(false);
        for item in items {
            let _ = ast::Visit::visit(item, &mut finder);
        }
        finder.0
    }

    /// The clause's answer over the rows; none without a clause.
    pub(super) async fn evaluate(&self, rows: &[Row], seqs: &[Seq]) -> Result<Option<StatementResult>> {
        let Some(items) = self.target.dml.returning() else { return Ok(None) };
        let context = self.target.context;
        if let Some(columns) = plain_columns(self.target, items) {
            return query::answer(context, &columns.of(self.target, rows, seqs)?).map(Some);
        }
        context.set_changed_rows(ChangedRows {
            columns: declared_columns(self.target),
            rows: rows.to_vec(),
            seqs: seqs.to_vec(),
            updated: context.now,
            deleted: matches!(self.target.dml, Dml::Delete(_)),
        });
        let query = select(items.to_vec(), Some(changed_rows_as(self.target.dml.alias())), None)?;
        Box::pin(query::select(context, query, self.names, self.target.params)).await.map(Some)
    }
}

/// The columns of a clause that names nothing but columns.
struct PlainColumns {
    columns: Vec<RowColumn>,
    sources: Vec<Source>,
}

/// Where such a column comes from.
enum Source {
    Declared(usize),
    System(SystemColumn),
}

impl PlainColumns {
    fn push_declared(&mut self, target: &Target<'_>, place: usize, name: Option<String>) -> Option<()> {
        let column = target.schema().columns.get(place)?;
        let name = name.unwrap_or_else(|| column.name.as_str().to_owned());
        self.columns.push(RowColumn::new(name, column.column_type, column.nullable));
        self.sources.push(Source::Declared(place));
        Some(())
    }

    /// The rows; `seqs` as in [`ChangedRows`].
    fn of(&self, target: &Target<'_>, rows: &[Row], seqs: &[Seq]) -> Result<RecordBatch> {
        let is_deleted = matches!(target.dml, Dml::Delete(_));
        let row = |(at, row): (usize, &Row)| {
            let sources = self.sources.iter();
            let cells = sources.map(|source| match source {
                Source::Declared(place) => row.get(*place).cloned().unwrap_or(Value::Null),
                Source::System(SystemColumn::Seq) => Value::BigInt(seqs.get(at).map_or(1, |seq| seq.as_i64())),
                Source::System(SystemColumn::Updated) => Value::Timestamp(target.context.now),
                Source::System(SystemColumn::Deleted) => Value::Boolean(is_deleted),
            });
            cells.collect()
        };
        let rows: Vec<Row> = rows.iter().enumerate().map(row).collect();
        batch_of(&self.columns, &rows)
    }
}

/// What the clause names, where that takes no planner: columns by their names, with or without others in their places, or `*` and
/// nothing else. None for anything else, what is wrong too: whoever plans it says so.
fn plain_columns(target: &Target<'_>, items: &[ast::SelectItem]) -> Option<PlainColumns> {
    let mut plain = PlainColumns { columns: Vec::new(), sources: Vec::new() };
    if let [ast::SelectItem::Wildcard(options)] = items {
        if *options != ast::WildcardAdditionalOptions::default() {
            return None;
        }
        for place in 0..target.schema().columns.len() {
            plain.push_declared(target, place, None)?;
        }
        return Some(plain);
    }
    let alias = target.dml.alias();
    for item in items {
        let (expr, name) = match item {
            ast::SelectItem::UnnamedExpr(expr) => (expr, None),
            ast::SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
            _ => return None,
        };
        let ident = match expr {
            ast::Expr::Identifier(ident) => ident,
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [qualifier, ident] if folded(qualifier) == folded(&alias) => ident,
                _ => return None,
            },
            _ => return None,
        };
        let column = folded(ident);
        match SystemColumn::from_name(&column) {
            Some(system) => {
                plain.columns.push(RowColumn::new(name.unwrap_or(column), type_of(system), false));
                plain.sources.push(Source::System(system));
            }
            None => plain.push_declared(target, target.schema().position_of(&column)?, name)?,
        }
    }
    Some(plain)
}

fn type_of(column: SystemColumn) -> ColumnType {
    match column {
        SystemColumn::Seq => ColumnType::BigInt,
        SystemColumn::Updated => ColumnType::Timestamp,
        SystemColumn::Deleted => ColumnType::Boolean,
    }
}

struct SeqFinder(bool);

impl ast::Visitor for SeqFinder {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> std::ops::ControlFlow<()> {
        let ident = match expr {
            ast::Expr::Identifier(ident) => Some(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        self.0 |= ident.is_some_and(|ident| ident.value.eq_ignore_ascii_case(SystemColumn::Seq.as_str()));
        std::ops::ControlFlow::Continue(())
    }
}
