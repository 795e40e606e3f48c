//! Numbers without a detour: the planner would read them as DOUBLE first, which has no 1.005 for
//! `CAST(1.005 AS DECIMAL(5,2))`, and about 16 digits of `d = 12345678901234567890.1234567891`.

use std::ops::ControlFlow;

use kalamdb_sql::ast::{BinaryOperator, DataType, Expr, Query, UnaryOperator, Value, VisitMut, VisitorMut};

use super::super::functions::EXACT_NUMBER;
use super::subqueries::call;

/// A DOUBLE gives so many digits back as they were written.
const DIGITS_OF_DOUBLE: usize = 15;

/// Hands numbers that are cast to DECIMAL, or compared and longer than a DOUBLE, over as they are written.
pub(crate) fn keep_decimals_exact(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast {
                expr: inner,
                data_type: DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_),
                ..
            } => {
                if let Expr::Value(value) = inner.as_mut()
                    && let Value::Number(digits, _) = &value.value
                {
                    value.value = Value::SingleQuotedString(digits.clone());
                }
            }
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                keep(left);
                keep(right);
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                keep(left);
                keep(right);
            }
            Expr::Between { expr, low, high, .. } => [expr, low, high].into_iter().for_each(|operand| keep(operand)),
            Expr::InList { expr, list, .. } => {
                keep(expr);
                list.iter_mut().for_each(keep);
            }
            Expr::Case { operand: Some(operand), conditions, .. } => {
                keep(operand);
                conditions.iter_mut().for_each(|when| keep(&mut when.condition));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// An operand that is a number of many digits becomes a call of the function that keeps them.
fn keep(operand: &mut Expr) {
    match operand {
        Expr::Nested(inner) => return keep(inner),
        // What is left of a tuple without its first value is none that the planner takes.
        Expr::Tuple(values) => return values.iter_mut().skip(1).for_each(keep),
        _ => {}
    }
    if let Some(text) = long_number(operand) {
        *operand = call(EXACT_NUMBER, Expr::value(Value::SingleQuotedString(text)));
    }
}

fn long_number(operand: &Expr) -> Option<String> {
    let (value, sign) = match operand {
        Expr::Value(value) => (value, ""),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => (value, "-"),
            _ => return None,
        },
        _ => return None,
    };
    let Value::Number(digits, _) = &value.value else { return None };
    let text = format!("{sign}{}", digits.replace('_', ""));
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let is_long = mantissa.bytes().filter(u8::is_ascii_digit).count() > DIGITS_OF_DOUBLE;
    let is_integer = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    // What is no number is the planner's to refuse.
    (is_long && !is_integer && text.parse::<f64>().is_ok()).then_some(text)
}
