//! ON CONFLICT: which rows are there already, and what becomes of them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::Int64Type;
use kalamdb_commons::{ColumnName, Error, ErrorCode, Result};
use kalamdb_sql::{ColumnDefinition, ColumnType, Insert, OnConflict, OnConflictAction, Row, Value, ast};
use kalamdb_store::RowChange;
use kalamdb_store::codec::keys::encode_primary_key;

use super::super::template::{column, item, quoted, select};
use super::super::values::array_to_values;
use super::cells::{NewCells, batches, bytes_of_new, check_not_null, constant, for_each_row, writable};
use super::insert::key_of;
use super::returning::{ChangedRows, changed_rows_as, declared_columns};
use super::stored::{StoredRow, fetch};
use super::{Prepared, Target};
use crate::engine::rewrite::{expose_system_columns, folded};
use crate::engine::rows::RowColumn;

/// The name of a column of `excluded` in the table that the expressions are planned over.
fn excluded_column(name: &str) -> String {
    format!("excluded {name}")
}
/// Which pair a row of that table is.
const PAIR: &str = "number of the pair";

/// A row that is there and the one that was to be inserted.
struct Pair {
    key: Vec<u8>,
    stored: StoredRow,
    excluded: Row,
}

/// Makes changes of the rows to be inserted.
pub(super) async fn resolve(
    target: &Target<'_>,
    insert: &Insert,
    on_conflict: &OnConflict,
    rows: Vec<Row>,
) -> Result<Prepared> {
    check_target(target, on_conflict)?;
    let mut keyed = Vec::with_capacity(rows.len());
    for row in rows {
        match key_of(target, &row)? {
            Some(key) => keyed.push((key, row)),
            // Rows with numbers of their own never meet.
            None => keyed.push((Vec::new(), row)),
        }
    }
    if target.schema().primary_key.is_empty() {
        let changes = keyed.iter().map(|(_, row)| RowChange::Insert { key: None, row: row.clone() }).collect();
        return Ok(Prepared { changes, rows: keyed.into_iter().map(|(_, row)| row).collect(), ..Prepared::default() });
    }
    let lookups: Vec<Vec<u8>> = keyed.iter().map(|(key, _)| key.clone()).collect();
    let stored = fetch(target, &lookups).await?;
    // Old and new row, each once as values and once as bytes.
    target.context.reserve_more_rows(4 * stored.iter().flatten().map(|row| row.stored.len() as u64).sum::<u64>())?;
    match &on_conflict.action {
        OnConflictAction::DoNothing => Ok(leave(keyed, stored)),
        OnConflictAction::DoUpdate { assignments, selection } => {
            update(target, insert, keyed, stored, assignments, selection.as_ref()).await
        }
    }
}

/// The columns named have to be those of the key: there is no other rule that a row could break.
fn check_target(target: &Target<'_>, on_conflict: &OnConflict) -> Result<()> {
    let schema = target.schema();
    if on_conflict.target.is_empty() {
        return Ok(());
    }
    let mut named =
        on_conflict.target.iter().map(|name| writable(schema, name.as_str())).collect::<Result<Vec<_>>>()?;
    let mut key = schema.key_positions();
    named.sort_unstable();
    key.sort_unstable();
    if named == key {
        return Ok(());
    }
    Err(Error::new(ErrorCode::InvalidSql, "ON CONFLICT has to name the columns of the primary key"))
}

fn leave(keyed: Vec<(Vec<u8>, Row)>, stored: Vec<Option<StoredRow>>) -> Prepared {
    let mut prepared = Prepared::default();
    let mut seen = std::collections::HashSet::new();
    for ((key, row), stored) in keyed.into_iter().zip(stored) {
        if stored.is_none() && seen.insert(key.clone()) {
            prepared.rows.push(row.clone());
            prepared.changes.push(RowChange::Insert { key: Some(key), row });
        }
    }
    prepared
}

async fn update(
    target: &Target<'_>,
    insert: &Insert,
    keyed: Vec<(Vec<u8>, Row)>,
    stored: Vec<Option<StoredRow>>,
    assignments: &[(ColumnName, ast::Expr)],
    selection: Option<&ast::Expr>,
) -> Result<Prepared> {
    let mut seen = std::collections::HashSet::new();
    let mut pairs = Vec::new();
    // The order of the statement's rows is kept: an index into the pairs, or the row itself.
    let mut order: Vec<Result<RowChange, usize>> = Vec::with_capacity(keyed.len());
    for ((key, row), stored) in keyed.into_iter().zip(stored) {
        if !seen.insert(key.clone()) {
            return Err(Error::new(
                ErrorCode::Conflict,
                "ON CONFLICT DO UPDATE cannot change one row twice: two rows of the statement have the same key",
            ));
        }
        match stored {
            None => order.push(Ok(RowChange::Insert { key: Some(key), row })),
            Some(stored) => {
                order.push(Err(pairs.len()));
                pairs.push(Pair { key, stored, excluded: row });
            }
        }
    }
    let mut updated = new_rows(target, insert, &pairs, assignments, selection).await?;
    let mut prepared = Prepared::default();
    for change in order {
        match change {
            Ok(change) => {
                if let RowChange::Insert { row, .. } = &change {
                    prepared.rows.push(row.clone());
                }
                prepared.changes.push(change);
            }
            Err(at) => {
                let (Some(pair), Some(row)) = (pairs.get(at), updated.remove(&at)) else { continue };
                check_not_null(target.schema(), &row)?;
                prepared.rows.push(row.clone());
                prepared.changes.push(RowChange::Update {
                    old_key: pair.key.clone(),
                    read_seq: pair.stored.seq,
                    old_stored: pair.stored.stored.clone(),
                    old_row: pair.stored.row.clone(),
                    new_key: encode_primary_key(target.schema(), &row)?,
                    row,
                });
            }
        }
    }
    Ok(prepared)
}

/// The new rows by the number of their pair; a pair that the condition leaves out has none.
async fn new_rows(
    target: &Target<'_>,
    insert: &Insert,
    pairs: &[Pair],
    assignments: &[(ColumnName, ast::Expr)],
    selection: Option<&ast::Expr>,
) -> Result<HashMap<usize, Row>> {
    if selection.is_none()
        && let Some(rows) = taken_rows(target, insert, pairs, assignments)?
    {
        return Ok(rows);
    }
    let schema = target.schema();
    let mut items = vec![item(column(PAIR), "pair")];
    if let Some(condition) = selection {
        items.push(item(over_pairs(target, insert, condition)?, "condition"));
    }
    let first_value = items.len();
    let mut values = Vec::new();
    for (name, expr) in assignments {
        let place = writable(schema, name.as_str())?;
        let definition = schema.columns.get(place).ok_or_else(|| Error::internal("a column without a place"))?;
        let constant = constant(target, expr, definition)?;
        if constant.is_none() {
            items.push(item(over_pairs(target, insert, expr)?, format!("value {}", items.len())));
        }
        values.push((place, definition, constant.map(|_| expr)));
    }
    set_pairs(target, pairs);
    let mut query = select(items, Some(changed_rows_as(target.dml.alias())), None)?;
    expose_system_columns(&mut query);
    let mut rows = HashMap::new();
    for batch in &batches(target.context, query, target.params).await? {
        let numbers = batch.column(0).as_primitive::<Int64Type>();
        let condition = selection.map(|_| batch.column(1).as_boolean_opt().ok_or_else(not_boolean)).transpose()?;
        let mut next = first_value;
        let mut columns = Vec::new();
        for (place, definition, constant) in &values {
            columns.push((
                *place,
                match constant {
                    Some(expr) => for_each_row(target, expr, definition, batch.num_rows())?,
                    None => {
                        next += 1;
                        let array = batch.column(next - 1);
                        NewCells::Each(array_to_values(array, definition.column_type, definition.name.as_str())?)
                    }
                },
            ));
        }
        for at in 0..batch.num_rows() {
            if condition.is_some_and(|condition| condition.is_null(at) || !condition.value(at)) {
                continue;
            }
            let number = usize::try_from(numbers.value(at)).map_err(Error::internal)?;
            let Some(pair) = pairs.get(number) else { continue };
            target.context.reserve_more_rows(bytes_of_new(columns.iter().map(|(_, cells)| cells), at))?;
            let mut row = pair.stored.row.clone();
            for (place, values) in &columns {
                if let (Some(cell), Some(value)) = (row.get_mut(*place), values.get(at)) {
                    *cell = value.clone();
                }
            }
            rows.insert(number, row);
        }
    }
    Ok(rows)
}

/// What a column is set to, where that takes no planner.
enum Taken<'e> {
    /// This expression, which [`constant`] knows.
    Constant(&'e ast::Expr, &'e ColumnDefinition),
    /// This column of the row that is there.
    Stored(usize),
    /// This column of the row that was to be inserted.
    Excluded(usize),
}

/// The new rows, where each assignment is a constant, or a column of one of the two rows as it is; none where something has to be
/// computed.
fn taken_rows(
    target: &Target<'_>,
    insert: &Insert,
    pairs: &[Pair],
    assignments: &[(ColumnName, ast::Expr)],
) -> Result<Option<HashMap<usize, Row>>> {
    let schema = target.schema();
    let mut taken = Vec::with_capacity(assignments.len());
    for (name, expr) in assignments {
        let place = writable(schema, name.as_str())?;
        let definition = schema.columns.get(place).ok_or_else(|| Error::internal("a column without a place"))?;
        if constant(target, expr, definition)?.is_some() {
            taken.push((place, Taken::Constant(expr, definition)));
            continue;
        }
        let column = if is_excluded(insert) { None } else { column_of(target, expr) };
        let is_same = |at: &usize| schema.columns.get(*at).is_some_and(|one| one.column_type == definition.column_type);
        match column {
            Some(Taken::Stored(at)) if is_same(&at) => taken.push((place, Taken::Stored(at))),
            Some(Taken::Excluded(at)) if is_same(&at) => taken.push((place, Taken::Excluded(at))),
            _ => return Ok(None),
        }
    }
    let mut constants: HashMap<usize, NewCells> = HashMap::new();
    for (place, taken) in &taken {
        if let Taken::Constant(expr, definition) = taken {
            constants.insert(*place, for_each_row(target, expr, definition, pairs.len())?);
        }
    }
    let mut rows = HashMap::with_capacity(pairs.len());
    for (number, pair) in pairs.iter().enumerate() {
        target.context.reserve_more_rows(bytes_of_new(constants.values(), number))?;
        let mut row = pair.stored.row.clone();
        for (place, taken) in &taken {
            let value = match taken {
                Taken::Constant(..) => constants.get(place).and_then(|cells| cells.get(number)),
                Taken::Stored(at) => pair.stored.row.get(*at),
                Taken::Excluded(at) => pair.excluded.get(*at),
            };
            if let (Some(cell), Some(value)) = (row.get_mut(*place), value) {
                *cell = value.clone();
            }
        }
        rows.insert(number, row);
    }
    Ok(Some(rows))
}

/// The column that an expression is, if it is nothing else.
fn column_of(target: &Target<'_>, expr: &ast::Expr) -> Option<Taken<'static>> {
    let place = |ident: &ast::Ident| target.schema().position_of(&folded(ident));
    match expr {
        ast::Expr::Nested(inner) => column_of(target, inner),
        ast::Expr::Identifier(ident) => place(ident).map(Taken::Stored),
        ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [qualifier, ident] if qualifier.value.eq_ignore_ascii_case("excluded") => place(ident).map(Taken::Excluded),
            [qualifier, ident] if folded(qualifier) == folded(&target.dml.alias()) => place(ident).map(Taken::Stored),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the table goes by the name of the other row.
fn is_excluded(insert: &Insert) -> bool {
    insert.alias.as_ref().is_some_and(|alias| alias.value.eq_ignore_ascii_case("excluded"))
}

fn not_boolean() -> Error {
    Error::new(ErrorCode::TypeMismatch, "the condition of ON CONFLICT DO UPDATE has to be BOOLEAN")
}

/// The table of pairs: the row that is there, then the other, then the pair's number.
fn set_pairs(target: &Target<'_>, pairs: &[Pair]) {
    let mut columns = declared_columns(target);
    let excluded: Vec<RowColumn> = columns
        .iter()
        .map(|column| RowColumn::new(excluded_column(&column.name), column.column_type, column.nullable))
        .collect();
    columns.extend(excluded);
    columns.push(RowColumn::new(PAIR, ColumnType::BigInt, false));
    let rows = pairs.iter().enumerate().map(|(at, pair)| {
        let number = Value::BigInt(i64::try_from(at).unwrap_or(i64::MAX));
        pair.stored.row.iter().chain(&pair.excluded).cloned().chain([number]).collect()
    });
    target.context.set_changed_rows(ChangedRows {
        columns,
        rows: rows.collect(),
        seqs: pairs.iter().map(|pair| pair.stored.seq).collect(),
        updated: target.context.now,
        deleted: false,
    });
}

/// The expression with `excluded.c` as the table's own column.
fn over_pairs(target: &Target<'_>, insert: &Insert, expr: &ast::Expr) -> Result<ast::Expr> {
    let mut expr = expr.clone();
    if is_excluded(insert) {
        return Err(Error::new(ErrorCode::InvalidSql, "'excluded' stands for the row that was to be inserted"));
    }
    let mut renamer = ExcludedRenamer { target, error: None };
    let _ = ast::VisitMut::visit(&mut expr, &mut renamer);
    renamer.error.map_or(Ok(expr), Err)
}

struct ExcludedRenamer<'a, 't> {
    target: &'a Target<'t>,
    error: Option<Error>,
}

impl ast::VisitorMut for ExcludedRenamer<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::CompoundIdentifier(parts) = expr
            && let [qualifier, ident] = parts.as_slice()
            && qualifier.value.eq_ignore_ascii_case("excluded")
        {
            let name = folded(ident);
            if let Err(error) = writable(self.target.schema(), &name) {
                self.error.get_or_insert(error);
                return ControlFlow::Break(());
            }
            *expr = ast::Expr::Identifier(quoted(excluded_column(&name)));
        }
        ControlFlow::Continue(())
    }
}
