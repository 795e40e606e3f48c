//! Aggregate functions where an expression is about one row, or about none.

use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use kalamdb_sql::ast::{Expr, Function, ObjectNamePart, Query, Visit, Visitor};

/// Where a function over several rows stands outside any subquery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverRows {
    /// `sum(a)`
    Aggregate,
    /// `sum(a) OVER ()`
    Window,
}

/// Finds the functions over several rows in a part of a statement, subqueries left out.
pub(crate) fn functions_over_rows(state: &SessionState, part: &impl Visit) -> Vec<OverRows> {
    let mut finder = Finder { state, subqueries: 0, found: Vec::new() };
    let _ = part.visit(&mut finder);
    finder.found
}

struct Finder<'s> {
    state: &'s SessionState,
    /// How many of them are open.
    subqueries: usize,
    found: Vec<OverRows>,
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.subqueries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.subqueries = self.subqueries.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.subqueries == 0
            && let Expr::Function(function) = expr
        {
            if function.over.is_some() {
                self.found.push(OverRows::Window);
            } else if is_aggregate(self.state, function) {
                self.found.push(OverRows::Aggregate);
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_aggregate(state: &SessionState, function: &Function) -> bool {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return false };
    let folded = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_ascii_lowercase() };
    state.aggregate_functions().contains_key(&folded)
}
