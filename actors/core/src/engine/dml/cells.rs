//! Values for columns: literals, parameters and defaults by ourselves, everything else by one SELECT.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, ErrorCode, Result, SystemColumn};
use kalamdb_sql::{ColumnDefault, ColumnDefinition, ColumnType, DefaultFunction, Row, TableSchema, Value, ast};
use kalamdb_wire::PlanCache;

use super::super::context::StatementContext;
use super::super::errors::from_datafusion;
use super::super::functions::{new_ulid, new_uuid_v7};
use super::super::params::Params;
use super::super::plans::{self, Part, Prepared};
use super::super::query::{plan, run};
use super::super::rewrite::expose_system_columns;
use super::super::template::{item, select};
use super::super::values::{array_to_values, literal_to_value, text_to_value, value_to_scalar};
use super::Target;

/// Expressions evaluated in one SELECT: planning costs more than linearly.
const EXPRESSIONS_PER_SELECT: usize = 256;

/// The place of a column that a statement names for writing.
pub(super) fn writable(schema: &TableSchema, name: &str) -> Result<usize> {
    if SystemColumn::from_name(name).is_some() {
        return Err(Error::new(ErrorCode::InvalidSql, format!("'{name}' is a system column: it cannot be written")));
    }
    schema
        .position_of(name)
        .ok_or_else(|| Error::new(ErrorCode::ColumnNotFound, format!("Column '{name}' does not exist.")))
}

/// The value of a cell, where it takes no planner: a literal, a parameter, DEFAULT, a function that stands
/// alone and gives just the column's type.
pub(super) fn constant(target: &Target<'_>, expr: &ast::Expr, column: &ColumnDefinition) -> Result<Option<Value>> {
    if kalamdb_sql::is_default_keyword(expr) {
        return default_value(target.context, column).map(Some);
    }
    match expr {
        ast::Expr::Nested(inner) => return constant(target, inner, column),
        ast::Expr::Value(value) => {
            if let ast::Value::Placeholder(name) = &value.value {
                return target.params.value(name, column.column_type).map(Some);
            }
        }
        ast::Expr::Function(function) => {
            return Ok(
                known_function(function).and_then(|function| exact(target.context, function, column.column_type))
            );
        }
        _ => {}
    }
    literal_to_value(expr, column.column_type, column.name.as_str()).transpose()
}

/// What a column is set to in some rows. One value for all of them is there once: they may be many, and it large.
#[derive(Debug)]
pub(super) enum NewCells {
    Same(Value),
    Each(Vec<Value>),
}

impl NewCells {
    /// That of a row, by its place.
    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        match self {
            Self::Same(value) => Some(value),
            Self::Each(values) => values.get(at),
        }
    }
}

/// About what a row's new cells take, as values and as bytes.
pub(super) fn bytes_of_new<'c>(cells: impl Iterator<Item = &'c NewCells>, at: usize) -> u64 {
    2 * cells.filter_map(|cells| cells.get(at)).map(size_of).sum::<u64>()
}

/// What an expression that [`constant`] knows sets `count` rows to: functions that make ids make one for each.
pub(super) fn for_each_row(
    target: &Target<'_>,
    expr: &ast::Expr,
    column: &ColumnDefinition,
    count: usize,
) -> Result<NewCells> {
    let makes_ids = |function| match function {
        DefaultFunction::SnowflakeId | DefaultFunction::UuidV7 | DefaultFunction::Ulid => true,
        DefaultFunction::Now | DefaultFunction::CurrentUser => false,
    };
    let mut innermost = expr;
    while let ast::Expr::Nested(inner) = innermost {
        innermost = inner;
    }
    let is_new_each_time = match (innermost, &column.default) {
        (ast::Expr::Function(function), _) => known_function(function).is_some_and(makes_ids),
        (expr, Some(ColumnDefault::Function(function))) => {
            kalamdb_sql::is_default_keyword(expr) && makes_ids(*function)
        }
        _ => false,
    };
    let value = || {
        let value = constant(target, expr, column)?;
        value.ok_or_else(|| Error::internal("a constant that is none any more"))
    };
    Ok(if is_new_each_time {
        NewCells::Each((0..count).map(|_| value()).collect::<Result<_>>()?)
    } else {
        NewCells::Same(value()?)
    })
}

fn known_function(function: &ast::Function) -> Option<DefaultFunction> {
    let no_arguments = match &function.args {
        ast::FunctionArguments::None => true,
        ast::FunctionArguments::List(list) => list.args.is_empty() && list.clauses.is_empty(),
        ast::FunctionArguments::Subquery(_) => false,
    };
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    if !no_arguments || function.over.is_some() || function.filter.is_some() || name.quote_style.is_some() {
        return None;
    }
    Some(match name.value.to_ascii_lowercase().as_str() {
        "now" | "current_timestamp" => DefaultFunction::Now,
        "current_user" => DefaultFunction::CurrentUser,
        "snowflake_id" => DefaultFunction::SnowflakeId,
        "uuid_v7" => DefaultFunction::UuidV7,
        "ulid" => DefaultFunction::Ulid,
        _ => return None,
    })
}

/// A function's value for a column of its own type; none where it would have to be cast.
fn exact(context: &StatementContext, function: DefaultFunction, column_type: ColumnType) -> Option<Value> {
    Some(match (function, column_type) {
        (DefaultFunction::Now, ColumnType::Timestamp) => Value::Timestamp(context.now),
        (DefaultFunction::CurrentUser, ColumnType::Text) => Value::Text(context.identity.user_id.as_str().to_owned()),
        (DefaultFunction::SnowflakeId, ColumnType::BigInt) => Value::BigInt(context.runtime.snowflakes().next_id()),
        (DefaultFunction::UuidV7, ColumnType::Uuid) => Value::Uuid(new_uuid_v7().into_bytes()),
        (DefaultFunction::UuidV7, ColumnType::Text) => Value::Text(new_uuid_v7().to_string()),
        (DefaultFunction::Ulid, ColumnType::Text) => Value::Text(new_ulid()),
        _ => return None,
    })
}

/// What a column gets when an INSERT does not name it.
pub(super) fn default_value(context: &StatementContext, column: &ColumnDefinition) -> Result<Value> {
    let function = match &column.default {
        None => return Ok(Value::Null),
        Some(ColumnDefault::Constant(value)) => return Ok(value.clone()),
        Some(ColumnDefault::Function(function)) => *function,
    };
    if let Some(value) = exact(context, function, column.column_type) {
        return Ok(value);
    }
    // By its own type first, then cast as an assignment is.
    let own_type = match function {
        DefaultFunction::Now => ColumnType::Timestamp,
        DefaultFunction::SnowflakeId => ColumnType::BigInt,
        DefaultFunction::CurrentUser | DefaultFunction::UuidV7 | DefaultFunction::Ulid => ColumnType::Text,
    };
    let value = exact(context, function, own_type).unwrap_or(Value::Null);
    if let Value::Text(text) = &value
        && let Some(value) = text_to_value(text, column.column_type)
    {
        return Ok(value);
    }
    let array = value_to_scalar(&value, own_type)?.to_array().map_err(from_datafusion)?;
    let values = array_to_values(&array, column.column_type, column.name.as_str())?;
    Ok(values.into_iter().next().unwrap_or(Value::Null))
}

/// Evaluates expressions that name no table, each to one value, as an array of one.
pub(super) async fn evaluate(
    context: &Arc<StatementContext>,
    exprs: &[ast::Expr],
    params: &Params,
) -> Result<Vec<ArrayRef>> {
    let mut values = Vec::with_capacity(exprs.len());
    for part in exprs.chunks(EXPRESSIONS_PER_SELECT) {
        let items = part.iter().enumerate().map(|(at, expr)| item(expr.clone(), format!("value {at}"))).collect();
        let mut query = select(items, None, None)?;
        expose_system_columns(&mut query);
        let batches = batches(context, query, params).await?;
        let row = batches
            .iter()
            .find(|batch| batch.num_rows() > 0)
            .ok_or_else(|| Error::internal("expressions without a row"))?;
        values.extend(row.columns().iter().map(|column| column.slice(0, 1)));
    }
    Ok(values)
}

/// All batches of a query of the statement, whose plan is kept with the statement's text.
pub(super) async fn kept_batches(
    context: &Arc<StatementContext>,
    part: Part,
    query: impl Fn() -> Result<ast::Query>,
    params: &Params,
) -> Result<(Vec<RecordBatch>, Option<PlanCache>)> {
    let Some(Prepared { run, outcome }) = plans::prepare(context, part, &query, params, &[]).await? else {
        let batches = batches(context, query()?, params).await?;
        return Ok((batches, plans::first_use(context, &query, params)));
    };
    let mut all = Vec::new();
    run.each(|batch| {
        all.push(batch);
        Ok(())
    })
    .await?;
    Ok((all, Some(outcome)))
}

/// All batches of a query.
pub(super) async fn batches(
    context: &Arc<StatementContext>,
    query: ast::Query,
    params: &Params,
) -> Result<Vec<RecordBatch>> {
    let plan = plan(context, query, params, &[], None).await?;
    run(context, plan)?.try_collect().await.map_err(from_datafusion)
}

/// NOT NULL, on a whole row.
pub(super) fn check_not_null(schema: &TableSchema, row: &Row) -> Result<()> {
    for (column, value) in schema.columns.iter().zip(row) {
        if value.is_null() && !column.nullable {
            return Err(Error::new(
                ErrorCode::ConstraintViolation,
                format!("column '{}' does not take NULL", column.name),
            ));
        }
    }
    Ok(())
}

/// `query.max_write_bytes`, and the rows' share of `query.memory_limit`.
pub(super) fn check_size(context: &StatementContext, rows: &[Row]) -> Result<()> {
    let bytes: u64 = rows.iter().flatten().map(size_of).sum();
    let most = context.runtime.settings().query.max_write_bytes;
    if bytes <= most {
        let cells = rows.iter().map(Vec::len).sum::<usize>() as u64;
        // Twice: the batch that is written is a copy.
        return context.reserve_rows(2 * (bytes + cells * std::mem::size_of::<Value>() as u64));
    }
    Err(Error::new(
        ErrorCode::ResourcesExhausted,
        format!("the statement writes {bytes} bytes of rows, query.max_write_bytes is {most}; nothing was written"),
    ))
}

/// About what a value takes in a row.
fn size_of(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Boolean(_) => 1,
        Value::SmallInt(_) => 2,
        Value::Int(_) | Value::Float(_) | Value::Date(_) => 4,
        Value::BigInt(_) | Value::Double(_) | Value::Timestamp(_) => 8,
        Value::Decimal(_) | Value::Uuid(_) => 16,
        Value::Text(text) | Value::Json(text) => 4 + text.len() as u64,
        Value::Bytes(bytes) => 4 + bytes.len() as u64,
    }
}
