//! INSERT, UPDATE and DELETE: sqlparser reads them for many databases, the clauses that are ours are taken.

use std::collections::HashSet;

use kalamdb_commons::{ColumnName, Error, ErrorCode, Result};
use sqlparser::ast::{
    self, AssignmentTarget, ConflictTarget, FromTable, Ident, ObjectName, ObjectNamePart, OnInsert, SetExpr,
    TableFactor, TableObject, TableWithJoins,
};

use super::input::Input;
use super::{names, queries, refused};
use crate::limits::{MAX_COLUMNS, too_many_columns};
use crate::{Delete, Insert, InsertSource, OnConflict, OnConflictAction, Statement, TableRef, Update};

/// `INSERT INTO …`
pub(super) fn insert(input: &mut Input<'_>) -> Result<Statement> {
    if input.word_at(1).as_deref() != Some("INTO") {
        input.expect_word("INSERT")?;
        return Err(input.unexpected("INTO"));
    }
    let modified = queries::refuse_clauses(input, true)?;
    let parsed = input.parse(|parser| parser.parse_statement())?;
    queries::refuse_modifiers(input, modified, &parsed)?;
    let ast::Statement::Insert(insert) = parsed else { return Err(refused::never(input, "this form of INSERT")) };
    refuse_insert_clauses(input, &insert)?;
    let TableObject::TableName(table) = &insert.table else {
        return Err(refused::never(input, "INSERT into anything but a table"));
    };
    let table = names::table_ref(table)?;
    let columns = match insert.columns.as_slice() {
        [] => None,
        named => Some(distinct(input, named.iter().map(|name| written_column(input, name)))?),
    };
    Ok(Statement::Insert(Insert {
        table,
        alias: insert.table_alias.map(|alias| alias.alias),
        source: insert_source(input, insert.source, columns.as_deref())?,
        columns,
        on_conflict: insert.on.map(|on| on_conflict(input, on)).transpose()?,
        returning: checked_list(input, insert.returning)?,
    }))
}

fn refuse_insert_clauses(input: &Input<'_>, insert: &ast::Insert) -> Result<()> {
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || insert.has_table_keyword
        || insert.replace_into
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.output.is_some()
        || insert.priority.is_some()
        || insert.insert_alias.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || insert.multi_table_insert_type.is_some();
    if foreign { Err(refused::never(input, "this form of INSERT")) } else { Ok(()) }
}

fn insert_source(
    input: &Input<'_>,
    source: Option<Box<ast::Query>>,
    columns: Option<&[ColumnName]>,
) -> Result<InsertSource> {
    let Some(mut query) = source else { return Ok(InsertSource::DefaultValues) };
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    if !plain || !matches!(query.body.as_ref(), SetExpr::Values(_)) {
        queries::check(input, &query)?;
        return Ok(InsertSource::Query(query));
    }
    let SetExpr::Values(values) = query.body.as_mut() else { return Err(Error::internal("VALUES that are none")) };
    if values.explicit_row || values.value_keyword {
        return Err(refused::never(input, "VALUES ROW and VALUE"));
    }
    let rows: Vec<Vec<ast::Expr>> = std::mem::take(&mut values.rows).into_iter().map(|row| row.content).collect();
    let width = queries::check_rows(input, rows.iter().map(Vec::len))?;
    if let Some(columns) = columns
        && columns.len() != width
    {
        let message = format!("INSERT names {} columns and has rows of {width} values", columns.len());
        return Err(input.at_start(Error::new(ErrorCode::InvalidSql, message)));
    }
    Ok(InsertSource::Values(rows))
}

fn on_conflict(input: &Input<'_>, on: OnInsert) -> Result<OnConflict> {
    let OnInsert::OnConflict(on) = on else { return Err(refused::never(input, "ON DUPLICATE KEY: use ON CONFLICT")) };
    let target = match on.conflict_target {
        None => Vec::new(),
        Some(ConflictTarget::Columns(columns)) => distinct(input, columns.iter().map(names::written_column))?,
        Some(ConflictTarget::OnConstraint(_)) => {
            return Err(refused::never(input, "ON CONFLICT ON CONSTRAINT: name the key's columns"));
        }
    };
    let action = match on.action {
        ast::OnConflictAction::DoNothing => OnConflictAction::DoNothing,
        ast::OnConflictAction::DoUpdate(_) if target.is_empty() => {
            let message = "ON CONFLICT DO UPDATE names the key's columns: ON CONFLICT (…) DO UPDATE";
            return Err(input.at_start(Error::new(ErrorCode::InvalidSql, message)));
        }
        ast::OnConflictAction::DoUpdate(update) => OnConflictAction::DoUpdate {
            assignments: assignments(input, update.assignments)?,
            selection: update.selection,
        },
    };
    Ok(OnConflict { target, action })
}

/// `UPDATE … SET …`
pub(super) fn update(input: &mut Input<'_>) -> Result<Statement> {
    let modified = queries::refuse_clauses(input, false)?;
    let parsed = input.parse(|parser| parser.parse_statement())?;
    queries::refuse_modifiers(input, modified, &parsed)?;
    let ast::Statement::Update(update) = parsed else { return Err(refused::never(input, "this form of UPDATE")) };
    if update.from.is_some() {
        return Err(refused::never(input, "UPDATE … FROM: use a subquery"));
    }
    if update.or.is_some() || update.output.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
        return Err(refused::never(input, "this form of UPDATE"));
    }
    let (table, alias) = single_table(input, update.table)?;
    Ok(Statement::Update(Update {
        table,
        alias,
        assignments: assignments(input, update.assignments)?,
        selection: update.selection,
        returning: checked_list(input, update.returning)?,
    }))
}

/// `DELETE FROM …`
pub(super) fn delete(input: &mut Input<'_>) -> Result<Statement> {
    if input.word_at(1).as_deref() != Some("FROM") {
        input.expect_word("DELETE")?;
        return Err(input.unexpected("FROM"));
    }
    let modified = queries::refuse_clauses(input, false)?;
    let parsed = input.parse(|parser| parser.parse_statement())?;
    queries::refuse_modifiers(input, modified, &parsed)?;
    let ast::Statement::Delete(delete) = parsed else { return Err(refused::never(input, "this form of DELETE")) };
    if delete.using.is_some() {
        return Err(refused::never(input, "DELETE … USING: use a subquery"));
    }
    let foreign =
        !delete.tables.is_empty() || delete.output.is_some() || !delete.order_by.is_empty() || delete.limit.is_some();
    let (FromTable::WithFromKeyword(mut from), false) = (delete.from, foreign) else {
        return Err(refused::never(input, "this form of DELETE"));
    };
    let (Some(table), true) = (from.pop(), from.is_empty()) else {
        return Err(refused::never(input, "DELETE from several tables"));
    };
    let (table, alias) = single_table(input, table)?;
    let returning = checked_list(input, delete.returning)?;
    Ok(Statement::Delete(Delete { table, alias, selection: delete.selection, returning }))
}

fn single_table(input: &Input<'_>, table: TableWithJoins) -> Result<(TableRef, Option<Ident>)> {
    let refuse = || refused::never(input, "changing anything but one table by its name");
    if !table.joins.is_empty() {
        return Err(refuse());
    }
    match table.relation {
        TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
            if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty() || alias.at.is_some()) {
                return Err(refuse());
            }
            Ok((names::table_ref(&name)?, alias.map(|alias| alias.name)))
        }
        _ => Err(refuse()),
    }
}

fn assignments(input: &Input<'_>, assignments: Vec<ast::Assignment>) -> Result<Vec<(ColumnName, ast::Expr)>> {
    let mut columns = Vec::with_capacity(assignments.len());
    let mut values = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        match assignment.target {
            AssignmentTarget::ColumnName(name) => columns.push(written_column(input, &name)),
            AssignmentTarget::Tuple(_) => {
                return Err(refused::never(input, "SET (a, b) = …: set each column by itself"));
            }
        }
        values.push(assignment.value);
    }
    Ok(distinct(input, columns.into_iter())?.into_iter().zip(values).collect())
}

/// A column that is written: a name without qualifier.
fn written_column(input: &Input<'_>, name: &ObjectName) -> Result<ColumnName> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => names::written_column(ident),
        _ => {
            let message = format!("a column that is written has no qualifier: {name}");
            Err(input.at_start(Error::new(ErrorCode::InvalidSql, message)))
        }
    }
}

fn distinct(input: &Input<'_>, columns: impl Iterator<Item = Result<ColumnName>>) -> Result<Vec<ColumnName>> {
    let columns: Vec<ColumnName> = columns.collect::<Result<_>>()?;
    if columns.len() > MAX_COLUMNS {
        return Err(input.at_start(too_many_columns()));
    }
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(column.as_str())) {
        None => Ok(columns),
        Some(twice) => {
            Err(input.at_start(Error::new(ErrorCode::InvalidSql, format!("column '{twice}' is named twice"))))
        }
    }
}

fn checked_list(input: &Input<'_>, items: Option<Vec<ast::SelectItem>>) -> Result<Option<Vec<ast::SelectItem>>> {
    match items {
        Some(items) if items.len() > MAX_COLUMNS => Err(input.at_start(too_many_columns())),
        items => Ok(items),
    }
}
