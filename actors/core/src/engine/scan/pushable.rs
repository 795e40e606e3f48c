//! Which conditions a scan takes on itself: those of which nothing but their answer is ever seen.
//!
//! What always holds (RD-1): a condition that is taken can be evaluated on any row without an error, so it makes no
//! difference which rows it is evaluated on, before or after others, or not at all where a file says that none matches. Both sides
//! of a comparison have one type already. Everything else is evaluated above the scan
//! alone; what is taken is evaluated there once more, since DataFusion may rewrite it after it has asked.

use std::cell::Cell;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::{Between, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator};

use super::super::rewrite::KEY_COLUMN;

/// Parts of a condition; larger ones cost more to look through than they can save.
const MOST_PARTS: usize = 2000;
/// Bytes of a pattern: it may be compiled, which fails for very long ones.
const MOST_PATTERN_BYTES: usize = 256;

/// Whether a scan with these columns can take a condition.
pub(super) fn is_pushable(condition: &Expr, schema: &Schema) -> bool {
    Walk { schema, parts: Cell::new(0) }.is_condition(condition)
}

struct Walk<'a> {
    schema: &'a Schema,
    parts: Cell<usize>,
}

impl Walk<'_> {
    fn is_small(&self, parts: usize) -> bool {
        self.parts.set(self.parts.get().saturating_add(parts));
        self.parts.get() <= MOST_PARTS
    }

    fn is_condition(&self, expr: &Expr) -> bool {
        if !self.is_small(1) {
            return false;
        }
        match expr {
            Expr::Column(_) | Expr::Literal(..) => self.operand(expr) == Some(DataType::Boolean),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                self.is_condition(left) && self.is_condition(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => self.are_comparable(left, right),
            Expr::Not(inner)
            | Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsNotUnknown(inner) => self.is_condition(inner),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => self.operand(inner).is_some() || self.is_condition(inner),
            Expr::Between(Between { expr, low, high, .. }) => {
                self.are_comparable(expr, low) && self.are_comparable(expr, high)
            }
            Expr::InList(InList { expr, list, .. }) => {
                self.is_small(list.len())
                    && list.iter().all(|item| matches!(item, Expr::Literal(..)) && self.are_comparable(expr, item))
            }
            Expr::Like(Like { expr, pattern, escape_char: None, .. }) => {
                let Expr::Literal(text, _) = pattern.as_ref() else { return false };
                let is_plain = text.try_as_str().flatten().is_some_and(|text| {
                    // What an escape at the end means is an error's business.
                    text.len() <= MOST_PATTERN_BYTES && !text.contains('\\')
                });
                is_plain && self.operand(expr).is_some_and(|of| of.is_string()) && self.are_comparable(expr, pattern)
            }
            _ => false,
        }
    }

    fn are_comparable(&self, left: &Expr, right: &Expr) -> bool {
        self.operand(left).is_some_and(|left| self.operand(right) == Some(left))
    }

    /// The type of a column, a literal, or a column as another type that has all of its values.
    fn operand(&self, expr: &Expr) -> Option<DataType> {
        match expr {
            Expr::Column(column) if column.name() != KEY_COLUMN => {
                Some(self.schema.field_with_name(column.name()).ok()?.data_type().clone())
            }
            Expr::Literal(value, _) => Some(value.data_type()),
            Expr::Cast(Cast { expr, field }) if matches!(expr.as_ref(), Expr::Column(_)) => {
                let from = self.operand(expr)?;
                has_all_values_of(field.data_type(), &from).then(|| field.data_type().clone())
            }
            _ => None,
        }
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Whether every value of a type becomes one of another without an error, in the same order.
fn has_all_values_of(to: &DataType, from: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64, LargeUtf8, Utf8, Utf8View};
    let whole_digits = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    match (from, to) {
        (from, to) if from == to => true,
        (Int16, Int32 | Int64 | Float32 | Float64)
        | (Int32, Int64 | Float32 | Float64)
        | (Int64 | Float32, Float64)
        | (Utf8 | Utf8View | LargeUtf8, Utf8 | Utf8View | LargeUtf8) => true,
        (Int16, Decimal128(precision, scale)) => *scale >= 0 && whole_digits(*precision, *scale) >= 5,
        (Int32, Decimal128(precision, scale)) => *scale >= 0 && whole_digits(*precision, *scale) >= 10,
        (Int64, Decimal128(precision, scale)) => *scale >= 0 && whole_digits(*precision, *scale) >= 19,
        (Decimal128(from_precision, from_scale), Decimal128(precision, scale)) => {
            scale >= from_scale && whole_digits(*precision, *scale) >= whole_digits(*from_precision, *from_scale)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
