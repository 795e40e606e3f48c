//! Names for the lists of nested queries, given as aliases: the query around them says such a name again, so it has to be
//! the one that a result would have.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut};
use sqlparser::keywords::Keyword;

use super::{keyword, list_of, split_items, written};
use crate::source::Source;
use crate::{InsertSource, OnConflictAction, Statement};

/// So many times a statement's tokens are read for names: once per query around them. What is nested deeper in its select
/// lists stays without.
const READINGS: usize = 16;

/// Gives every expression without alias in the lists of nested queries its text as alias. The outermost list is left as it
/// is: see [`super::result_column_names`].
pub(crate) fn name_nested_columns(source: &Source<'_>, statement: &mut Statement) {
    let outermost = usize::from(keyword(source, 0) == Keyword::SELECT);
    let selects = (0..source.len()).filter(|index| keyword(source, *index) == Keyword::SELECT);
    if selects.take(outermost + 1).count() > outermost {
        name_in(&mut Namer { source, depth: 0, tokens_left: READINGS * source.len() }, statement);
    }
}

fn name_in(namer: &mut Namer<'_>, statement: &mut Statement) {
    // Queries in expressions are all nested.
    let mut nested = Namer { depth: 1, ..*namer };
    match statement {
        Statement::Query(query) => visit(query, namer),
        Statement::Explain { statement, .. } => name_in(namer, statement),
        Statement::Insert(insert) => {
            match &mut insert.source {
                InsertSource::Query(query) => visit(query, namer),
                InsertSource::Values(rows) => visit(rows, &mut nested),
                InsertSource::DefaultValues => {}
            }
            if let Some(on_conflict) = &mut insert.on_conflict
                && let OnConflictAction::DoUpdate { assignments, selection } = &mut on_conflict.action
            {
                assignments.iter_mut().for_each(|(_, value)| visit(value, &mut nested));
                visit(selection, &mut nested);
            }
            visit(&mut insert.returning, &mut nested);
        }
        Statement::Update(update) => {
            update.assignments.iter_mut().for_each(|(_, value)| visit(value, &mut nested));
            visit(&mut update.selection, &mut nested);
            visit(&mut update.returning, &mut nested);
        }
        Statement::Delete(delete) => {
            visit(&mut delete.selection, &mut nested);
            visit(&mut delete.returning, &mut nested);
        }
        _ => {}
    }
}

fn visit(tree: &mut impl VisitMut, namer: &mut Namer<'_>) {
    let _ = VisitMut::visit(tree, namer);
}

struct Namer<'a> {
    source: &'a Source<'a>,
    depth: usize,
    tokens_left: usize,
}

impl VisitorMut for Namer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > 1
            && let Some(select) = leftmost_select(&mut query.body)
        {
            self.name(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Namer<'_> {
    fn name(&mut self, select: &mut Select) {
        if self.tokens_left == 0 || !select.projection.iter().any(takes_name) {
            return;
        }
        let Some(texts) = self.texts(select) else { return };
        // Names of a list are different; written without qualifiers, two expressions may not be.
        let mut given: HashSet<String> = select.projection.iter().filter_map(alias_of).collect();
        for (item, text) in select.projection.iter_mut().zip(texts) {
            if let SelectItem::UnnamedExpr(expr) = item
                && !is_column(expr)
            {
                let name = written(self.source, text);
                if !given.insert(name.clone()) {
                    continue;
                }
                let alias = Ident::with_quote('"', name);
                let expr = std::mem::replace(expr, Expr::value(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
    }

    /// Where the items of its list stand; none where the text cannot be matched with them.
    fn texts(&mut self, select: &Select) -> Option<Vec<Range<usize>>> {
        let start = select.select_token.0.span.start;
        let tokens = self.source.tokens();
        let place = |token: &sqlparser::tokenizer::TokenWithSpan| (token.span.start.line, token.span.start.column);
        let index = tokens.binary_search_by_key(&(start.line, start.column), place).ok()?;
        if keyword(self.source, index) != Keyword::SELECT {
            return None;
        }
        let begin = list_of(self.source, index)?;
        let texts = split_items(self.source, begin);
        let read = texts.last().map_or(0, |last| last.end.saturating_sub(begin));
        self.tokens_left = self.tokens_left.saturating_sub(read);
        (texts.len() == select.projection.len()).then_some(texts)
    }
}

fn takes_name(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(expr) if !is_column(expr))
}

/// Whether it has a column's name already.
fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_column(inner),
        _ => false,
    }
}

fn alias_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    }
}

/// The SELECT whose items a query's columns are named by: of a set operation that of its first query. None where the
/// columns are those of something else (VALUES).
pub fn leftmost_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => leftmost_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => leftmost_select(left),
        _ => None,
    }
}
