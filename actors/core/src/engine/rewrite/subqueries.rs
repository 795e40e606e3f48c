//! Scalar subqueries over a column: see [`MAY_BE_NULL`](super::super::functions::MAY_BE_NULL).

use std::ops::ControlFlow;

use kalamdb_sql::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, SelectItem, SetExpr, VisitMut, VisitorMut,
};

use super::super::functions::MAY_BE_NULL;

/// Rewrites every scalar subquery of the query.
pub(crate) fn make_subqueries_nullable(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // EXISTS and IN are nodes of their own.
        if let Expr::Subquery(query) = expr
            && let SetExpr::Select(select) = query.body.as_mut()
            && let [item] = select.projection.as_mut_slice()
        {
            match item {
                SelectItem::UnnamedExpr(inner) | SelectItem::ExprWithAlias { expr: inner, .. }
                    if matches!(inner, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
                {
                    let column = std::mem::replace(inner, Expr::value(kalamdb_sql::ast::Value::Null));
                    *inner = call(MAY_BE_NULL, column);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// A call of one of the functions that only rewrites name.
pub(super) fn call(name: &str, argument: Expr) -> Expr {
    let name = Ident::with_quote('"', name);
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
