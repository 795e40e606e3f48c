//! What a live query may look like: `SELECT columns FROM one table [WHERE condition]`.

use std::ops::ControlFlow;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::ast::{Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, TableFactor, Visit, Visitor};

fn unsupported(what: &str) -> Error {
    Error::new(
        ErrorCode::Unsupported,
        format!(
            "a live query is SELECT columns FROM one user or stream table [WHERE condition]: {what} is not offered"
        ),
    )
}

/// The query's one block.
///
/// # Errors
/// [`ErrorCode::Unsupported`] naming what is too much.
pub(super) fn check(query: &Query) -> Result<&Select> {
    if query.with.is_some() {
        return Err(unsupported("WITH"));
    }
    if query.order_by.is_some() {
        return Err(unsupported("ORDER BY"));
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(unsupported("LIMIT, OFFSET or FETCH"));
    }
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select.as_ref(),
        SetExpr::SetOperation { .. } => return Err(unsupported("UNION, INTERSECT or EXCEPT")),
        _ => return Err(unsupported("anything but SELECT")),
    };
    if select.distinct.is_some() {
        return Err(unsupported("DISTINCT"));
    }
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
    };
    if grouped || select.having.is_some() {
        return Err(unsupported("GROUP BY or HAVING"));
    }
    if select.qualify.is_some() || !select.named_window.is_empty() {
        return Err(unsupported("a window"));
    }
    match select.from.as_slice() {
        [one] if !one.joins.is_empty() => return Err(unsupported("a join")),
        [one] if matches!(one.relation, TableFactor::Table { args: None, .. }) => {}
        [_] => return Err(unsupported("a subquery or function in FROM")),
        [] => return Err(unsupported("a query without a table")),
        [..] => return Err(unsupported("a join")),
    }
    let mut finder = Finder(None);
    let _ = select.visit(&mut finder);
    match finder.0 {
        Some(what) => Err(unsupported(what)),
        None => Ok(select),
    }
}

/// Whether a block's columns are all that its table has.
pub(super) fn has_wildcard(select: &Select) -> bool {
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    select.projection.iter().any(is_wildcard)
}

/// Finds what a condition or column may not have.
struct Finder(Option<&'static str>);

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.0 = Some("a subquery");
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let what = match expr {
            Expr::Function(function) if function.over.is_some() => "a window function",
            Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case("_deleted") => "the column _deleted",
            Expr::CompoundIdentifier(parts)
                if parts.last().is_some_and(|ident| ident.value.eq_ignore_ascii_case("_deleted")) =>
            {
                "the column _deleted"
            }
            _ => return ControlFlow::Continue(()),
        };
        self.0 = Some(what);
        ControlFlow::Break(())
    }
}

/// The error for a function that may give something else for the same row.
pub(super) fn not_immutable(name: &str) -> Error {
    unsupported(&format!(
        "{name}() (functions are to give the same for the same row; CURRENT_USER() is the only other one)"
    ))
}

/// The error for what is made of several rows.
pub(super) fn of_many_rows() -> Error {
    unsupported("an aggregate, a window function or another expression over several rows")
}

/// The error for a table that has no partitions of users.
pub(super) fn shared(name: &str) -> Error {
    Error::new(
        ErrorCode::SharedTableSubscription,
        format!(
            "'{name}' is a shared table: live queries are for user and stream tables, which have a partition per user"
        ),
    )
}

/// The error for a table that the server makes.
pub(super) fn made_by_server() -> Error {
    unsupported("a table made by the server")
}
