//! INSERT: whole rows from VALUES, a query, or defaults alone.

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::{ColumnDefinition, Insert, InsertSource, Row, Value, ast};
use kalamdb_store::codec::keys::encode_primary_key;
use kalamdb_store::{RowChange, committer};
use kalamdb_wire::PlanCache;

use super::super::errors::from_datafusion;
use super::super::plans::{self, Part};
use super::super::query::{plan, run};
use super::super::rewrite::{expose_system_columns, name_outputs};
use super::super::values::array_to_values;
use super::cells::{check_not_null, check_size, constant, default_value, evaluate, writable};
use super::{Prepared, Target, conflict};

pub(super) async fn prepare(target: &Target<'_>, insert: &Insert) -> Result<Prepared> {
    let schema = target.schema();
    let places = match &insert.columns {
        None => (0..schema.columns.len()).collect(),
        Some(names) => names.iter().map(|name| writable(schema, name.as_str())).collect::<Result<Vec<_>>>()?,
    };
    let mut plan_cache = None;
    let rows = match &insert.source {
        InsertSource::DefaultValues => vec![complete(target, &[], Vec::new())?],
        InsertSource::Values(values) => from_values(target, &places, values, insert.columns.is_some()).await?,
        InsertSource::Query(query) => {
            let (rows, outcome) = Box::pin(from_query(target, &places, query, insert.columns.is_some())).await?;
            plan_cache = outcome;
            rows
        }
    };
    for row in &rows {
        check_not_null(schema, row)?;
    }
    let mut prepared = match &insert.on_conflict {
        Some(on_conflict) => Box::pin(conflict::resolve(target, insert, on_conflict, rows)).await?,
        None => {
            check_size(target.context, &rows)?;
            // Twice only where they are asked for.
            let returned = if insert.returning.is_some() { rows.clone() } else { Vec::new() };
            let changes = rows.into_iter().map(|row| Ok(RowChange::Insert { key: key_of(target, &row)?, row }));
            Prepared { changes: changes.collect::<Result<_>>()?, rows: returned, ..Prepared::default() }
        }
    };
    prepared.plan_cache = plan_cache;
    if target.context.reads(target.partition) {
        // The rows depend on what the partition held.
        prepared.base =
            Some(committer::last_seq(target.context.rows_of(target.entry.table_type())?, target.partition).await?);
    }
    Ok(prepared)
}

/// The key of a new row; none in a table without primary key.
pub(super) fn key_of(target: &Target<'_>, row: &Row) -> Result<Option<Vec<u8>>> {
    let schema = target.schema();
    if schema.primary_key.is_empty() { Ok(None) } else { Ok(Some(encode_primary_key(schema, row)?)) }
}

/// A row with the columns that the statement does not name.
fn complete(target: &Target<'_>, places: &[usize], values: Vec<Value>) -> Result<Row> {
    let mut given: Vec<Option<Value>> = vec![None; target.schema().columns.len()];
    for (place, value) in places.iter().zip(values) {
        if let Some(slot) = given.get_mut(*place) {
            *slot = Some(value);
        }
    }
    let cells = given.into_iter().zip(&target.schema().columns);
    cells.map(|(value, column)| value.map_or_else(|| default_value(target.context, column), Ok)).collect()
}

fn column_at<'t>(target: &'t Target<'_>, place: usize) -> Result<&'t ColumnDefinition> {
    target.schema().columns.get(place).ok_or_else(|| Error::internal("a column without a place"))
}

/// As in PostgreSQL, rows without a column list may be shorter than the table.
fn check_width(places: &[usize], width: usize, listed: bool) -> Result<()> {
    if width > places.len() {
        return Err(Error::new(
            ErrorCode::InvalidSql,
            format!("INSERT has {width} values for {} columns", places.len()),
        ));
    }
    if width < places.len() && listed {
        return Err(Error::new(
            ErrorCode::InvalidSql,
            format!("INSERT names {} columns and has {width} values", places.len()),
        ));
    }
    Ok(())
}

async fn from_values(
    target: &Target<'_>,
    places: &[usize],
    values: &[Vec<ast::Expr>],
    listed: bool,
) -> Result<Vec<Row>> {
    // Before they are made: a row of the text may be a small part of what the table makes of it.
    let cells = values.len().saturating_mul(target.schema().columns.len());
    target.context.reserve_rows((cells.saturating_mul(std::mem::size_of::<Value>())) as u64)?;
    // What takes computing is computed together, and then put in its place.
    let mut computed: Vec<ast::Expr> = Vec::new();
    let mut computed_at: Vec<(usize, usize)> = Vec::new();
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(values.len());
    for (at_row, cells) in values.iter().enumerate() {
        check_width(places, cells.len(), listed)?;
        let mut row = Vec::with_capacity(cells.len());
        for (at_cell, (expr, place)) in cells.iter().zip(places).enumerate() {
            let value = constant(target, expr, column_at(target, *place)?)?;
            if value.is_none() {
                computed.push(expr.clone());
                computed_at.push((at_row, at_cell));
            }
            row.push(value.unwrap_or(Value::Null));
        }
        rows.push(row);
    }
    // Mostly there is nothing to compute.
    let arrays: Vec<ArrayRef> = match computed.as_slice() {
        [] => Vec::new(),
        computed => Box::pin(evaluate(target.context, computed, target.params)).await?,
    };
    for ((at_row, at_cell), array) in computed_at.into_iter().zip(arrays) {
        let place = places.get(at_cell).copied().unwrap_or_default();
        let column = column_at(target, place)?;
        let value = array_to_values(&array, column.column_type, column.name.as_str())?;
        if let (Some(cell), Some(value)) =
            (rows.get_mut(at_row).and_then(|row| row.get_mut(at_cell)), value.into_iter().next())
        {
            *cell = value;
        }
    }
    rows.into_iter().map(|row| complete(target, places, row)).collect()
}

/// The rows of a query, whose plan is kept with the statement's text.
async fn from_query(
    target: &Target<'_>,
    places: &[usize],
    query: &ast::Query,
    listed: bool,
) -> Result<(Vec<Row>, Option<PlanCache>)> {
    let (context, params) = (target.context, target.params);
    let rewritten = || {
        let mut query = query.clone();
        name_outputs(&mut query, None);
        expose_system_columns(&mut query);
        Ok(query)
    };
    let outputs = places.iter().map(|place| Ok(column_at(target, *place)?.column_type)).collect::<Result<Vec<_>>>()?;
    let part = Part::Insert { table: target.entry.id(), version: target.schema().version };
    let mut rows = Vec::new();
    if let Some(prepared) = plans::prepare(context, part, rewritten, params, &outputs).await? {
        check_width(places, prepared.run.schema().fields().len(), listed)?;
        prepared.run.each(|batch| take(target, places, &batch, &mut rows)).await?;
        return Ok((rows, Some(prepared.outcome)));
    }
    let plan = plan(context, rewritten()?, params, &outputs, None).await?;
    check_width(places, plan.schema().fields().len(), listed)?;
    let mut stream = run(context, plan)?;
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        take(target, places, &batch, &mut rows)?;
    }
    Ok((rows, plans::first_use(context, rewritten, params)))
}

/// Makes rows of a batch whose columns are for the first of `places`.
fn take(target: &Target<'_>, places: &[usize], batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<()> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (array, place) in batch.columns().iter().zip(places) {
        let column = column_at(target, *place)?;
        columns.push(array_to_values(array, column.column_type, column.name.as_str())?.into_iter());
    }
    let places = places.get(..batch.num_columns()).unwrap_or_default();
    for _ in 0..batch.num_rows() {
        let row = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null)).collect();
        rows.push(complete(target, places, row)?);
    }
    // Now and not only at the end: a query may give any number of rows.
    check_size(target.context, rows)
}
