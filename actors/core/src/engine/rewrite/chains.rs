//! Long chains of AND or OR as balanced trees.
//!
//! The parser nests `a OR b OR c` to the left. The planner walks and prints what lies below every level, so a
//! chain of thousands costs the square of its length; a balanced tree of the same operands has few levels.

use std::ops::ControlFlow;

use kalamdb_sql::ast::{BinaryOperator, Expr, Query, Value, VisitMut, VisitorMut};

/// Chains up to this long stay as they are, so that EXPLAIN shows what was written.
const LONG: usize = 32;

/// Balances the chains of every expression in the query.
pub(crate) fn balance_chains(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Balancer);
}

struct Balancer;

impl VisitorMut for Balancer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op, .. } = expr
            && matches!(op, BinaryOperator::And | BinaryOperator::Or)
        {
            let op = op.clone();
            if spine_len(expr, &op) > LONG {
                let chain = std::mem::replace(expr, Expr::value(Value::Null));
                *expr = balanced(operands(chain, &op), &op);
            }
        }
        ControlFlow::Continue(())
    }
}

/// How many operators of one kind lie along the left side.
fn spine_len(mut expr: &Expr, chained: &BinaryOperator) -> usize {
    let mut length = 0;
    while let Expr::BinaryOp { left, op, .. } = expr {
        if op != chained {
            break;
        }
        length += 1;
        expr = left;
    }
    length
}

fn operands(mut expr: Expr, chained: &BinaryOperator) -> Vec<Expr> {
    let mut reversed = Vec::new();
    loop {
        match expr {
            Expr::BinaryOp { left, op, right } if op == *chained => {
                reversed.push(*right);
                expr = *left;
            }
            first => {
                reversed.push(first);
                break;
            }
        }
    }
    reversed.reverse();
    reversed
}

fn balanced(mut level: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while level.len() > 1 {
        let mut pairs = level.into_iter();
        let mut next = Vec::with_capacity(pairs.len().div_ceil(2));
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        level = next;
    }
    level.pop().unwrap_or_else(|| Expr::value(Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Query {
        let statement = kalamdb_sql::statements(sql).next().expect("one").expect("it parses").statement;
        match statement {
            kalamdb_sql::Statement::Query(query) => *query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn operands_keep_their_order_and_levels_are_few() {
        let terms: Vec<String> = (0..1000).map(|number| format!("x = {number}")).collect();
        let mut query = parsed(&format!("SELECT {}", terms.join(" OR ")));
        balance_chains(&mut query);
        assert_eq!(query.to_string(), format!("SELECT {}", terms.join(" OR ")));
        assert!(spine_len_of(&query) < 12);
    }

    fn spine_len_of(query: &Query) -> usize {
        let kalamdb_sql::ast::SetExpr::Select(select) = query.body.as_ref() else { panic!("a SELECT") };
        match &select.projection[0] {
            kalamdb_sql::ast::SelectItem::UnnamedExpr(expr) => spine_len(expr, &BinaryOperator::Or),
            other => panic!("{other:?}"),
        }
    }
}
