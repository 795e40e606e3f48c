//! UPDATE and DELETE: a SELECT of the keys (and of the new values that take computing), then the rows.

use std::collections::HashSet;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::cast::AsArray;
use kalamdb_commons::{ColumnName, Error, ErrorCode, Result};
use kalamdb_sql::ast;
use kalamdb_store::codec::keys::encode_primary_key;
use kalamdb_store::{RowChange, committer};

use super::super::context::Action;
use super::super::plans::Part;
use super::super::rewrite::{KEY_COLUMN, expose_system_columns};
use super::super::scope::still_wanted;
use super::super::template::{column, item, select, table_name};
use super::super::values::array_to_values;
use super::cells::{NewCells, bytes_of_new, check_not_null, constant, for_each_row, kept_batches, writable};
use super::stored::fetch;
use super::{Dml, Prepared, Target};
use crate::catalog::TableEntry;

/// What a column is set to.
enum NewValue<'e> {
    /// What takes no planner.
    Constant(&'e ast::Expr),
    /// This column of the reading query.
    Computed(usize),
}

/// The SELECT that finds the rows: their keys, then `computed`.
pub(super) fn reading_query<'e>(
    dml: Dml<'_>,
    entry: &TableEntry,
    selection: Option<&ast::Expr>,
    computed: impl Iterator<Item = &'e ast::Expr>,
) -> Result<ast::Query> {
    let mut items = vec![item(column(KEY_COLUMN), "key of the row")];
    items.extend(computed.enumerate().map(|(at, expr)| item(expr.clone(), format!("value {at}"))));
    let from = (table_name(&entry.definition.name, dml.table().user_qualifier), dml.alias());
    let mut query = select(items, Some(from), selection.cloned())?;
    expose_system_columns(&mut query);
    Ok(query)
}

/// Reads the rows and makes their changes; no assignments: they are deleted.
pub(super) async fn prepare(
    target: &Target<'_>,
    selection: Option<&ast::Expr>,
    assignments: Option<&[(ColumnName, ast::Expr)]>,
) -> Result<Prepared> {
    let (context, schema) = (target.context, target.schema());
    let mut computed = Vec::new();
    let mut new_values = Vec::new();
    for (name, expr) in assignments.unwrap_or_default() {
        let place = writable(schema, name.as_str())?;
        let definition = schema.columns.get(place).ok_or_else(|| Error::internal("a column without a place"))?;
        let value = match constant(target, expr, definition)? {
            Some(_) => NewValue::Constant(expr),
            None => {
                computed.push(expr);
                NewValue::Computed(computed.len())
            }
        };
        new_values.push((place, definition, value));
    }
    // Both are needed for a row to be changed: the right to change was checked, this one is to read.
    context.resolve(target.dml.table(), Action::Read)?;
    let base = committer::last_seq(context.snapshot()?, target.partition).await?;
    let query = || reading_query(target.dml, target.entry, selection, computed.iter().copied());
    let (batches, plan_cache) = kept_batches(context, Part::Change, query, target.params).await?;

    let mut prepared = Prepared { base: Some(base), plan_cache, ..Prepared::default() };
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for batch in &batches {
        let mut columns: Vec<(usize, NewCells)> = Vec::with_capacity(new_values.len());
        for (place, definition, value) in &new_values {
            let values = match value {
                NewValue::Constant(expr) => for_each_row(target, expr, definition, batch.num_rows())?,
                NewValue::Computed(at) => {
                    let array = batch.column(*at);
                    NewCells::Each(array_to_values(array, definition.column_type, definition.name.as_str())?)
                }
            };
            columns.push((*place, values));
        }
        let found = batch.column(0).as_binary::<i32>();
        let row_keys: Vec<Vec<u8>> = (0..found.len()).map(|at| found.value(at).to_vec()).collect();
        // Before the rows are read: keys alone say how many they are.
        still_wanted()?;
        for (at, (key, stored)) in row_keys.iter().zip(fetch(target, &row_keys).await?).enumerate() {
            let stored = stored.ok_or_else(|| Error::internal("a row of the snapshot that is not in it"))?;
            if !seen.insert(key.clone()) {
                return Err(Error::new(
                    ErrorCode::InvalidSql,
                    "the statement gives one row several new values: functions that make rows do not stand in SET",
                ));
            }
            // Old and new row, each once as values and once as bytes.
            let added = bytes_of_new(columns.iter().map(|(_, cells)| cells), at);
            context.reserve_more_rows(4 * stored.stored.len() as u64 + added)?;
            if assignments.is_none() {
                prepared.rows.push(stored.row.clone());
                prepared.changes.push(RowChange::Delete {
                    key: key.clone(),
                    read_seq: stored.seq,
                    old_stored: stored.stored,
                    old_row: stored.row,
                });
                continue;
            }
            let mut row = stored.row.clone();
            for (place, values) in &columns {
                if let (Some(cell), Some(value)) = (row.get_mut(*place), values.get(at)) {
                    *cell = value.clone();
                }
            }
            check_not_null(schema, &row)?;
            let new_key = if schema.primary_key.is_empty() { key.clone() } else { encode_primary_key(schema, &row)? };
            prepared.rows.push(row.clone());
            prepared.changes.push(RowChange::Update {
                old_key: key.clone(),
                read_seq: stored.seq,
                old_stored: stored.stored,
                old_row: stored.row,
                new_key,
                row,
            });
        }
    }
    if !reads_more_than_keys(target, selection, assignments) {
        prepared.base = None;
    }
    Ok(prepared)
}

/// Whether the answer depends on more of the partition than rows whose keys the condition spells out; the
/// committer checks those by their versions.
fn reads_more_than_keys(
    target: &Target<'_>,
    selection: Option<&ast::Expr>,
    assignments: Option<&[(ColumnName, ast::Expr)]>,
) -> bool {
    let schema = target.schema();
    let key_columns: Vec<&str> = schema
        .key_positions()
        .into_iter()
        .filter_map(|place| schema.columns.get(place))
        .map(|column| column.name.as_str())
        .collect();
    let mut spelled: HashSet<String> = HashSet::new();
    if let Some(condition) = selection {
        equalities(condition, &mut spelled);
    }
    let has_subquery = |expr: &ast::Expr| {
        let mut finder = SubqueryFinder(false);
        let _ = ast::Visit::visit(expr, &mut finder);
        finder.0
    };
    key_columns.is_empty()
        || !key_columns.iter().all(|name| spelled.contains(*name))
        || selection.is_some_and(has_subquery)
        || assignments.unwrap_or_default().iter().any(|(_, expr)| has_subquery(expr))
}

/// Columns that every row of the answer has equal to a literal or parameter.
fn equalities(condition: &ast::Expr, columns: &mut HashSet<String>) {
    match condition {
        ast::Expr::Nested(inner) => equalities(inner, columns),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            equalities(left, columns);
            equalities(right, columns);
        }
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => {
            let ident = match (left.as_ref(), right.as_ref()) {
                (ast::Expr::Identifier(ident), ast::Expr::Value(_))
                | (ast::Expr::Value(_), ast::Expr::Identifier(ident)) => Some(ident),
                (ast::Expr::CompoundIdentifier(parts), ast::Expr::Value(_))
                | (ast::Expr::Value(_), ast::Expr::CompoundIdentifier(parts)) => parts.last(),
                _ => None,
            };
            if let Some(ident) = ident {
                let quoted = ident.quote_style.is_some();
                columns.insert(if quoted { ident.value.clone() } else { ident.value.to_ascii_lowercase() });
            }
        }
        _ => {}
    }
}

struct SubqueryFinder(bool);

impl ast::Visitor for SubqueryFinder {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &ast::Query) -> std::ops::ControlFlow<()> {
        self.0 = true;
        std::ops::ControlFlow::Break(())
    }
}
