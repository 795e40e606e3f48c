//! Text compared with a TIMESTAMP, DATE, UUID, BYTES or BOOLEAN is read as one, as PostgreSQL reads an untyped literal; a number
//! with a point is exact beside a DECIMAL or BIGINT.
//!
//! DataFusion would make a nanosecond time of it, which ends in the year 2262, and compare UUIDs as they are
//! written. An analyzer rule, before types are coerced, puts the value in its place; text that is none
//! is an error even if no row is compared with it.

mod numbers;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use kalamdb_commons::{Error, ErrorCode};
use kalamdb_sql::ColumnType;

use self::numbers::{number_beside, number_of};
use super::analyzer::rewrite_expressions;
use super::result::column_type_of_field;
use super::values::{text_to_value, value_to_scalar};

/// The function that DataFusion makes of `(a, b)`.
const ROW: &str = "struct";
/// How many operators a time may be computed with.
const MOST_NESTED: usize = 4;

/// The rule.
#[derive(Debug)]
pub(crate) struct TypedLiterals;

impl AnalyzerRule for TypedLiterals {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, typed)
    }

    fn name(&self) -> &'static str {
        "typed_literals"
    }
}

fn typed(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left, right) = pair(*left, *right, schema)?;
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            alike(&mut expr, vec![&mut *low, &mut *high], schema)?;
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            alike(&mut expr, list.iter_mut().collect(), schema)?;
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::Case(Case { expr: Some(mut base), mut when_then_expr, else_expr }) => {
            alike(&mut base, when_then_expr.iter_mut().map(|(when, _)| &mut **when).collect(), schema)?;
            Transformed::yes(Expr::Case(Case { expr: Some(base), when_then_expr, else_expr }))
        }
        Expr::ScalarFunction(mut function) => {
            let is_changed = arguments(&mut function, schema)?;
            let expr = Expr::ScalarFunction(function);
            if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) }
        }
        other => Transformed::no(other),
    })
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The functions that compare their arguments; whether it is one.
fn arguments(function: &mut ScalarFunction, schema: &DFSchema) -> Result<bool> {
    match (function.func.name(), function.args.as_mut_slice()) {
        // `value = ANY(ARRAY[...])`
        ("array_has", [Expr::ScalarFunction(array), value]) if array.name() == "make_array" => {
            alike(value, array.args.iter_mut().collect(), schema)?;
        }
        ("greatest" | "least" | "nullif", args) => {
            // What they give is of the type of their arguments: numbers stay what they are.
            let base = args.iter().find(|arg| !matches!(arg, Expr::Literal(..))).cloned();
            let Some(base) = base else { return Ok(false) };
            for arg in args.iter_mut().filter(|arg| text_of(arg).is_some()) {
                // Text that is no such value is left to the function.
                if let Ok(Some(value)) = text_beside(&base, arg, schema) {
                    *arg = value;
                }
            }
            as_times(args.iter_mut().collect(), schema);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Two sides of a comparison.
fn pair(mut left: Expr, mut right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    if is_literal(&left) {
        alike(&mut right, vec![&mut left], schema)?;
    } else {
        alike(&mut left, vec![&mut right], schema)?;
    }
    Ok((left, right))
}

/// Values that are compared with one: literals become of its type, and it of theirs if it is the literal.
fn alike<'a>(base: &'a mut Expr, mut items: Vec<&'a mut Expr>, schema: &DFSchema) -> Result<()> {
    if let Expr::ScalarFunction(row) = base
        && row.name() == ROW
    {
        let rows: Vec<&mut Vec<Expr>> = items.into_iter().filter_map(row_values).collect();
        return rows_alike(&mut row.args, rows, schema);
    }
    if is_literal(base)
        && let Some((first, others)) = items.split_first()
        && let Ok(data_type) = first.get_type(schema)
        && others.iter().all(|other| other.get_type(schema).is_ok_and(|other| other == data_type))
        && let Some(value) = beside(first, base, schema)?
    {
        *base = value;
    }
    for item in &mut items {
        if let Some(value) = beside(base, item, schema)? {
            **item = value;
        }
    }
    items.push(base);
    as_times(items, schema);
    Ok(())
}

/// Each value of a row with those in its place.
fn rows_alike(base: &mut [Expr], mut rows: Vec<&mut Vec<Expr>>, schema: &DFSchema) -> Result<()> {
    rows.retain(|row| row.len() == base.len());
    for (place, value) in base.iter_mut().enumerate() {
        alike(value, rows.iter_mut().filter_map(|row| row.get_mut(place)).collect(), schema)?;
    }
    Ok(())
}

fn row_values(expr: &mut Expr) -> Option<&mut Vec<Expr>> {
    match expr {
        Expr::ScalarFunction(row) if row.name() == ROW => Some(&mut row.args),
        _ => None,
    }
}

/// A DATE beside a TIMESTAMP is midnight.
fn as_times(exprs: Vec<&mut Expr>, schema: &DFSchema) {
    let types: Vec<_> = exprs.iter().map(|expr| time_type(expr, schema)).collect();
    if !types.iter().flatten().any(|data_type| matches!(data_type, DataType::Timestamp(..))) {
        return;
    }
    for (expr, data_type) in exprs.into_iter().zip(types) {
        if data_type == Some(DataType::Date32) {
            let date = std::mem::take(expr);
            *expr = Expr::Cast(Cast::new(Box::new(date), DataType::Timestamp(TimeUnit::Microsecond, None)));
        }
    }
}

fn time_type(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    // Only what can be one: asking for the type of a long chain takes long.
    let data_type = may_be_time(expr, MOST_NESTED).then(|| expr.get_type(schema).ok()).flatten()?;
    matches!(data_type, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, None)).then_some(data_type)
}

fn may_be_time(expr: &Expr, nested: usize) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) | Expr::ScalarFunction(_) | Expr::ScalarSubquery(_) => true,
        // A time and an interval.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            nested > 0 && may_be_time(left, nested - 1) && may_be_time(right, nested - 1)
        }
        _ => false,
    }
}

/// `literal` as what it means beside `other`; none if it stays as it is.
fn beside(other: &Expr, literal: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Some(text) = number_of(literal) else { return text_beside(other, literal, schema) };
    let Ok(data_type) = other.get_type(schema) else { return Ok(None) };
    Ok(number_beside(&text, &data_type).map(|scalar| Expr::Literal(scalar, None)))
}

/// Text as a value of the type of what it is compared with.
fn text_beside(other: &Expr, literal: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Some(text) = text_of(literal) else { return Ok(None) };
    // A type that cannot be told (an outer reference) is left to DataFusion.
    let Ok((_, field)) = other.to_field(schema) else { return Ok(None) };
    use ColumnType::{Boolean, Bytes, Date, Timestamp, Uuid};
    let column_type = match column_type_of_field(&field) {
        Some(column_type @ (Timestamp | Date | Uuid | Bytes | Boolean)) => column_type,
        _ => return Ok(None),
    };
    let Some(value) = text_to_value(text, column_type) else {
        let shown: String = text.chars().take(40).collect();
        let error = Error::new(ErrorCode::EvaluationError, format!("'{shown}' is no {column_type}"));
        return Err(DataFusionError::External(Box::new(error)));
    };
    let scalar = value_to_scalar(&value, column_type).map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(Some(Expr::Literal(scalar, None)))
}

fn is_literal(expr: &Expr) -> bool {
    text_of(expr).is_some() || number_of(expr).is_some()
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text),
        _ => None,
    }
}
