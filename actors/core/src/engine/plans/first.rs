//! What is said of a text without parameters when it comes for the first time: it was planned for its statement alone, and
//! whether a plan of it will be kept the next time is to be known without making one.

use std::ops::ControlFlow;
use std::sync::Arc;

use kalamdb_commons::Result;
use kalamdb_sql::ast;
use kalamdb_wire::PlanCache as Outcome;

use super::super::context::StatementContext;
use super::super::functions::statement_constant;
use super::super::params::Params;
use super::super::show::is_virtual;
use super::compile::{Way, way};

/// A miss, which is counted, where the plan of a query that was answered would be kept if its text came again; else none.
pub(crate) fn first_use(
    context: &Arc<StatementContext>,
    query: impl FnOnce() -> Result<ast::Query>,
    params: &Params,
) -> Option<Outcome> {
    if !context.is_first_use || context.is_heavy {
        return None;
    }
    let query = query().ok()?;
    let mut found = Finder { context, has_virtual_tables: false, is_open: false };
    let _ = ast::Visit::visit(&query, &mut found);
    let is_kept = match found {
        Finder { has_virtual_tables: true, .. } => false,
        // Rare, and only compiling it tells.
        Finder { is_open: true, .. } => way(context, query, params) != Way::Alone,
        Finder { .. } => true,
    };
    is_kept.then(|| context.runtime.plans().note(false))
}

/// Looks for what keeps plans from being kept: of a text without parameters it is little.
struct Finder<'a> {
    context: &'a StatementContext,
    /// Their rows are those of one moment.
    has_virtual_tables: bool,
    /// Whether it recurses, or something in it has a value only when it is run.
    is_open: bool,
}

impl ast::Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        self.is_open |= query.with.as_ref().is_some_and(|with| with.recursive);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        match relation.0.as_slice() {
            // It may be the name of a part of the query, too.
            [_] => self.is_open |= self.context.virtual_namespace().is_some(),
            [.., ast::ObjectNamePart::Identifier(namespace), _] => {
                self.has_virtual_tables |= is_virtual(&namespace.value.to_ascii_lowercase());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        // Rows that a function makes.
        self.is_open |=
            matches!(factor, ast::TableFactor::Table { args: Some(_), .. } | ast::TableFactor::Function { .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice()
        {
            let (name, user) = (name.value.to_ascii_lowercase(), &self.context.identity.user_id);
            self.is_open |= statement_constant(&name, self.context.now, user).is_some();
        }
        ControlFlow::Continue(())
    }
}
