//! Expressions with parameters that stand more than once in a query block, as those of GROUP BY do in the select list.
//!
//! To the planner they are one only if their parameters are: it compares what it has planned. So the places of a repeated
//! expression are marked as the same, and get the same numbers. A parameter alone is not marked: each of its places has a
//! type of its own, while one within an expression has the type that the expression gives it.

use std::ops::ControlFlow;

use kalamdb_sql::ast::{
    Distinct, Expr, GroupByExpr, OrderBy, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

/// Between a parameter's name and what tells its repeated place from others.
pub(super) const SHARED: char = '\u{1e}';

/// Marks the parameters of repeated expressions, in every block of the query that has a GROUP BY or a DISTINCT.
pub(super) fn mark_repeated(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Marker { groups: 0 });
}

struct Marker {
    groups: usize,
}

impl VisitorMut for Marker {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            self.mark(select, query.order_by.as_mut());
            return ControlFlow::Continue(());
        }
        // ORDER BY of a set operation names its columns, not what they are made of.
        let mut bodies = vec![query.body.as_mut()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(select) => self.mark(select, None),
                SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_mut(), right.as_mut()]),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

impl Marker {
    fn mark(&mut self, select: &mut Select, mut order_by: Option<&mut OrderBy>) {
        let mut repeated = repeated(select);
        // What is part of another comes before it, so it is marked within that one too.
        repeated.sort_by_cached_key(|expr| std::cmp::Reverse(expr.to_string().len()));
        while let Some(expr) = repeated.pop() {
            self.groups += 1;
            let mut places = Places { expr: &expr, group: self.groups, depth: 0 };
            let _ = VisitMut::visit(&mut repeated, &mut places);
            let _ = VisitMut::visit(&mut select.distinct, &mut places);
            let _ = VisitMut::visit(&mut select.projection, &mut places);
            let _ = VisitMut::visit(&mut select.group_by, &mut places);
            let _ = VisitMut::visit(&mut select.having, &mut places);
            let _ = VisitMut::visit(&mut select.qualify, &mut places);
            if let Some(order_by) = order_by.as_deref_mut() {
                let _ = VisitMut::visit(order_by, &mut places);
            }
        }
    }
}

/// What a block's other clauses may repeat. Nothing where it has grouping sets: those have other names once their parameters
/// are values.
fn repeated(select: &Select) -> Vec<Expr> {
    let (groups, is_grouped): (&[Expr], bool) = match &select.group_by {
        GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => (exprs, !exprs.is_empty()),
        GroupByExpr::All(modifiers) if modifiers.is_empty() => (&[], true),
        _ => return Vec::new(),
    };
    if groups.iter().any(|expr| matches!(expr, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))) {
        return Vec::new();
    }
    let (on, is_distinct): (&[Expr], bool) = match &select.distinct {
        Some(Distinct::On(exprs)) => (exprs, true),
        Some(Distinct::Distinct) => (&[], true),
        Some(Distinct::All) | None => (&[], false),
    };
    if !is_grouped && !is_distinct {
        return Vec::new();
    }
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    let mut found: Vec<Expr> = Vec::new();
    for mut expr in groups.iter().chain(on).chain(items) {
        while let Expr::Nested(inner) = expr {
            expr = inner;
        }
        let is_one = !matches!(expr, Expr::Value(_)) && Visit::visit(expr, &mut FindsParameter).is_break();
        if is_one && !found.contains(expr) {
            found.push(expr.clone());
        }
    }
    found
}

struct FindsParameter;

impl Visitor for FindsParameter {
    type Break = ();

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        match &value.value {
            Value::Placeholder(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Finds the places of one expression. In a query within the block the same text may mean other columns.
struct Places<'a> {
    expr: &'a Expr,
    group: usize,
    depth: usize,
}

impl VisitorMut for Places<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0 && expr == self.expr {
            let _ = VisitMut::visit(expr, &mut Names { group: self.group, next: 0 });
        }
        ControlFlow::Continue(())
    }
}

/// Marks the parameters of one expression, each by its place in it.
struct Names {
    group: usize,
    next: usize,
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &mut value.value {
            if !name.contains(SHARED) {
                name.push_str(&format!("{SHARED}{}.{}", self.group, self.next));
            }
            self.next += 1;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_sql::{Statement, statements};

    use super::*;

    fn marked(sql: &str) -> String {
        let statement = statements(sql).next().expect("one").expect("it parses");
        let Statement::Query(mut query) = statement.statement else { panic!("{sql} is no query") };
        mark_repeated(&mut query);
        query.to_string().replace(SHARED, "#")
    }

    #[test]
    fn what_group_by_has_is_the_same_wherever_it_stands() {
        assert_eq!(
            marked(
                "SELECT f(b + $1) FROM t WHERE b + $1 > 0 GROUP BY b + $1 HAVING (b + $1) > $1 ORDER BY f(b + $1), $1"
            ),
            "SELECT f(b + $1#1.0) FROM t WHERE b + $1 > 0 GROUP BY b + $1#1.0 HAVING (b + $1#1.0) > $1 ORDER BY f(b + $1#1.0), $1"
        );
        assert_eq!(
            marked("SELECT DISTINCT g($1, c, $1) FROM t ORDER BY g($1, c, $1)"),
            "SELECT DISTINCT g($1#1.0, c, $1#1.1) FROM t ORDER BY g($1#1.0, c, $1#1.1)"
        );
    }

    #[test]
    fn other_blocks_and_grouping_sets_stay_as_they_are() {
        for sql in [
            "SELECT b + $1 FROM t ORDER BY b + $1",
            "SELECT $1 FROM t GROUP BY $1",
            "SELECT b + $1 FROM t GROUP BY ROLLUP (b + $1)",
        ] {
            assert_eq!(marked(sql), sql);
        }
        // The one within is another expression, of other columns.
        assert_eq!(
            marked("SELECT (SELECT max(b + $1) AS m FROM u) FROM t GROUP BY b + $1"),
            "SELECT (SELECT max(b + $1#2.0) AS m FROM u) FROM t GROUP BY b + $1#1.0"
        );
    }
}
