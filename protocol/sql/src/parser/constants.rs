//! DEFAULT clauses: literals of the column's type and the five functions are understood here; other
//! constant expressions are left to the engine, once nothing in them varies.

use std::ops::ControlFlow;

use kalamdb_commons::{ColumnName, Error, ErrorCode, Result};
use sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectNamePart, Query, UnaryOperator, Value as SqlValue, Visit, Visitor,
};

use super::names::folded;
use crate::{ColumnDefault, ColumnType, DefaultClause, DefaultFunction, DefaultSpec, Value};

/// Functions whose answer changes by itself; as a constant they would be frozen when the table is made.
const VARYING: [&str; 14] = [
    "clock_timestamp",
    "current_date",
    "current_time",
    "current_timestamp",
    "gen_random_uuid",
    "localtime",
    "localtimestamp",
    "rand",
    "random",
    "statement_timestamp",
    "today",
    "transaction_timestamp",
    "uuid",
    "version",
];

/// A column's DEFAULT.
///
/// # Errors
/// [`ErrorCode::TypeMismatch`] where it does not fit the column, [`ErrorCode::InvalidSql`] and
/// [`ErrorCode::Unsupported`] where it is not constant.
pub(super) fn default_clause(
    expr: Expr,
    text: &str,
    column: &ColumnName,
    column_type: ColumnType,
) -> Result<DefaultClause> {
    let known = match known_function(&expr) {
        Some(function) => {
            check_function(function, text, column, column_type)?;
            Some(ColumnDefault::Function(function))
        }
        None => literal(&expr, column, column_type)?.map(ColumnDefault::Constant),
    };
    let value = match known {
        Some(known) => DefaultSpec::Known(known),
        None => {
            check_constant(&expr, column)?;
            DefaultSpec::Expr(Box::new(expr))
        }
    };
    Ok(DefaultClause { value, text: text.to_owned() })
}

/// One of the five functions, called by itself.
fn known_function(expr: &Expr) -> Option<DefaultFunction> {
    match expr {
        Expr::Nested(inner) => known_function(inner),
        Expr::Function(function) if is_plain_call(function) => match function_name(function).as_deref() {
            Some("now" | "current_timestamp") => Some(DefaultFunction::Now),
            Some(name) => function_named(name),
            None => None,
        },
        _ => None,
    }
}

fn function_named(name: &str) -> Option<DefaultFunction> {
    match name {
        "now" => Some(DefaultFunction::Now),
        "current_user" => Some(DefaultFunction::CurrentUser),
        "snowflake_id" => Some(DefaultFunction::SnowflakeId),
        "uuid_v7" => Some(DefaultFunction::UuidV7),
        "ulid" => Some(DefaultFunction::Ulid),
        _ => None,
    }
}

fn is_plain_call(function: &Function) -> bool {
    let no_arguments = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => {
            list.args.is_empty() && list.clauses.is_empty() && list.duplicate_treatment.is_none()
        }
        FunctionArguments::Subquery(_) => false,
    };
    no_arguments
        && function.filter.is_none()
        && function.over.is_none()
        && function.within_group.is_empty()
        && function.null_treatment.is_none()
}

fn function_name(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(folded(ident)),
        _ => None,
    }
}

fn check_function(function: DefaultFunction, text: &str, column: &ColumnName, column_type: ColumnType) -> Result<()> {
    let result = match function {
        DefaultFunction::Now => ColumnType::Timestamp,
        DefaultFunction::CurrentUser | DefaultFunction::Ulid => ColumnType::Text,
        DefaultFunction::SnowflakeId => ColumnType::BigInt,
        DefaultFunction::UuidV7 => ColumnType::Uuid,
    };
    // A UUID in TEXT is its text, as where the function stands in VALUES.
    let as_text = function == DefaultFunction::UuidV7 && column_type == ColumnType::Text;
    if result == column_type || as_text {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TypeMismatch, format!("column '{column}' is {column_type}: DEFAULT {text} is {result}")))
}

/// A literal that is of the column's type without a cast; none for anything else.
fn literal(expr: &Expr, column: &ColumnName, column_type: ColumnType) -> Result<Option<Value>> {
    let mismatch = |given: &str| {
        let given: String = given.chars().take(60).collect();
        Error::new(ErrorCode::TypeMismatch, format!("column '{column}' is {column_type}: DEFAULT {given} does not fit"))
    };
    match expr {
        Expr::Nested(inner) => literal(inner, column, column_type),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match inner.as_ref() {
            Expr::Value(value) => match &value.value {
                SqlValue::Number(digits, _) => number(&format!("-{digits}"), column_type, mismatch),
                _ => Ok(None),
            },
            _ => Ok(None),
        },
        Expr::Value(value) => match &value.value {
            SqlValue::Null => Ok(Some(Value::Null)),
            SqlValue::Boolean(truth) if column_type == ColumnType::Boolean => Ok(Some(Value::Boolean(*truth))),
            SqlValue::Number(digits, _) => number(digits, column_type, mismatch),
            SqlValue::SingleQuotedString(text) | SqlValue::EscapedStringLiteral(text) => match column_type {
                ColumnType::Text => Ok(Some(Value::Text(text.clone()))),
                ColumnType::Json => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    Ok(_) => Ok(Some(Value::Json(text.clone()))),
                    Err(_) => Err(mismatch(text)),
                },
                _ => Ok(None),
            },
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Numbers written as plain integers for integer columns, any for floating ones; the rest needs a cast.
fn number(digits: &str, column_type: ColumnType, mismatch: impl Fn(&str) -> Error) -> Result<Option<Value>> {
    let is_integer = digits.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    let value = match column_type {
        ColumnType::SmallInt if is_integer => digits.parse().map(Value::SmallInt).ok(),
        ColumnType::Int if is_integer => digits.parse().map(Value::Int).ok(),
        ColumnType::BigInt if is_integer => digits.parse().map(Value::BigInt).ok(),
        ColumnType::Float => digits.parse().ok().filter(|number: &f32| number.is_finite()).map(Value::Float),
        ColumnType::Double => digits.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double),
        _ => return Ok(None),
    };
    value.map(|value| Some(value.normalized())).ok_or_else(|| mismatch(digits))
}

/// Refuses what is not the same in every row and at every time.
fn check_constant(expr: &Expr, column: &ColumnName) -> Result<()> {
    let mut varying = Varying(None);
    let _ = Visit::visit(expr, &mut varying);
    match varying.0 {
        None => Ok(()),
        Some((code, what)) => Err(Error::new(code, format!("DEFAULT of column '{column}' is not constant: {what}"))),
    }
}

/// The first thing found that varies.
struct Varying(Option<(ErrorCode, String)>);

impl Varying {
    fn found(&mut self, code: ErrorCode, what: impl Into<String>) -> ControlFlow<()> {
        self.0 = Some((code, what.into()));
        ControlFlow::Break(())
    }

    fn name(&mut self, ident: &Ident) -> ControlFlow<()> {
        let name: String = ident.value.chars().take(80).collect();
        self.found(ErrorCode::InvalidSql, format!("it names '{name}'"))
    }
}

impl Visitor for Varying {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.found(ErrorCode::Unsupported, "it has a subquery")
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.name(ident),
            Expr::CompoundIdentifier(parts) => match parts.last() {
                Some(ident) => self.name(ident),
                None => ControlFlow::Continue(()),
            },
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => self.found(ErrorCode::InvalidSql, "it has a '*'"),
            Expr::Function(function) => match function_name(function) {
                Some(name) if name == "current_timestamp" || function_named(&name).is_some() => {
                    self.found(ErrorCode::Unsupported, format!("{name}() stands by itself in a DEFAULT"))
                }
                Some(name) if VARYING.contains(&name.as_str()) => {
                    self.found(ErrorCode::Unsupported, format!("{name} varies"))
                }
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}
