//! `CAST(1.005 AS DECIMAL(5,2))` without a detour: the planner would read the number as a DOUBLE first, which
//! has no 1.005.

use std::ops::ControlFlow;

use kalamdb_sql::ast::{DataType, Expr, Query, Value, VisitMut, VisitorMut};

/// Hands numbers that are cast to DECIMAL over as they are written.
pub(crate) fn keep_decimals_exact(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast {
            expr: inner, data_type: DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_), ..
        } = expr
            && let Expr::Value(value) = inner.as_mut()
            && let Value::Number(digits, _) = &value.value
        {
            value.value = Value::SingleQuotedString(digits.clone());
        }
        ControlFlow::Continue(())
    }
}
