//! ORDER BY of a SELECT DISTINCT: what is in the select list is that column, by its position.
//!
//! DataFusion looks for the columns that such an expression is made of, which the list does not have.

use std::ops::ControlFlow;

use kalamdb_sql::ast::{Distinct, Expr, OrderBy, OrderByKind, Query, SelectItem, SetExpr, Value, VisitMut, VisitorMut};

/// Rewrites every block of the query that is a SELECT DISTINCT.
pub(crate) fn order_distinct_by_items(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_ref()
            && matches!(select.distinct, Some(Distinct::Distinct))
            && let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = &mut query.order_by
        {
            for order in orders {
                if matches!(order.expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
                    continue;
                }
                // How many columns a star is, the text does not say.
                let items = select.projection.iter().map_while(|item| match item {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                    _ => None,
                });
                if let Some((position, _)) = (1..).zip(items).find(|(_, item)| **item == order.expr) {
                    let position: usize = position;
                    order.expr = Expr::value(Value::Number(position.to_string(), false));
                }
            }
        }
        ControlFlow::Continue(())
    }
}
