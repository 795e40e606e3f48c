//! Text compared with a TIMESTAMP, DATE, UUID, BYTES or BOOLEAN is read as one, as PostgreSQL reads an untyped literal.
//!
//! DataFusion would make a nanosecond time of it, which ends in the year 2262, and compare UUIDs as they are
//! written. An analyzer rule, before types are coerced, puts the value in its place; text that is none
//! is an error even if no row is compared with it.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use kalamdb_commons::{Error, ErrorCode};
use kalamdb_sql::ColumnType;

use super::analyzer::rewrite_expressions;
use super::result::column_type_of_field;
use super::values::{text_to_value, value_to_scalar};

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
            let (left, right) = pair(left, right, schema)?;
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let low = beside(&expr, low, schema)?;
            let high = beside(&expr, high, schema)?;
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let list =
                list.into_iter().map(|item| Ok(*beside(&expr, Box::new(item), schema)?)).collect::<Result<Vec<_>>>()?;
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        other => Transformed::no(other),
    })
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn pair(left: Box<Expr>, right: Box<Expr>, schema: &DFSchema) -> Result<(Box<Expr>, Box<Expr>)> {
    let (left, right) = if text_of(&left).is_some() {
        (beside(&right, left, schema)?, right)
    } else {
        let right = beside(&left, right, schema)?;
        (left, right)
    };
    Ok(match (time_type(&left, schema), time_type(&right, schema)) {
        (Some(DataType::Date32), Some(DataType::Timestamp(..))) => (as_timestamp(left), right),
        (Some(DataType::Timestamp(..)), Some(DataType::Date32)) => (left, as_timestamp(right)),
        _ => (left, right),
    })
}

fn time_type(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    // Only what can be one: asking for the type of a long chain takes long.
    let asked = matches!(expr, Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) | Expr::ScalarFunction(_));
    let data_type = asked.then(|| expr.get_type(schema).ok()).flatten()?;
    matches!(data_type, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, None)).then_some(data_type)
}

/// A DATE beside a TIMESTAMP: midnight.
fn as_timestamp(expr: Box<Expr>) -> Box<Expr> {
    Box::new(Expr::Cast(Cast::new(expr, DataType::Timestamp(TimeUnit::Microsecond, None))))
}

/// `literal` as a value of the type of what it is compared with.
fn beside(other: &Expr, literal: Box<Expr>, schema: &DFSchema) -> Result<Box<Expr>> {
    let Some(text) = text_of(&literal) else { return Ok(literal) };
    // A type that cannot be told (an outer reference) is left to DataFusion.
    let Ok((_, field)) = other.to_field(schema) else { return Ok(literal) };
    use ColumnType::{Boolean, Bytes, Date, Timestamp, Uuid};
    let column_type = match column_type_of_field(&field) {
        Some(column_type @ (Timestamp | Date | Uuid | Bytes | Boolean)) => column_type,
        _ => return Ok(literal),
    };
    // A DATE is compared with a time as a time.
    let as_time = || {
        let value = text_to_value(text, ColumnType::Timestamp).filter(|_| column_type == ColumnType::Date);
        value.map(|value| (value, ColumnType::Timestamp))
    };
    let value = text_to_value(text, column_type).map(|value| (value, column_type)).or_else(as_time);
    let Some((value, column_type)) = value else {
        let shown: String = text.chars().take(40).collect();
        let error = Error::new(ErrorCode::EvaluationError, format!("'{shown}' is no {column_type}"));
        return Err(DataFusionError::External(Box::new(error)));
    };
    let scalar = value_to_scalar(&value, column_type).map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(Box::new(Expr::Literal(scalar, None)))
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
