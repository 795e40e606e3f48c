//! Parameters in the syntax: those that count rows, a number for each place, and NULL for those that are that.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use kalamdb_commons::Error;
use kalamdb_sql::ast;

use super::repeated::SHARED;
use super::{Occurrence, Params, count_in};

/// Before the name of a parameter that counts rows.
const LIMIT: &str = "\u{1f}";

/// Gives every place of a parameter a number of its own, and those that are one place repeated the same.
pub(super) struct Renumberer<'a> {
    params: &'a Params,
    pub(super) occurrences: Vec<Occurrence>,
    /// The numbers of repeated places, by their marked names.
    shared: HashMap<String, usize>,
    pub(super) error: Option<Error>,
}

impl<'a> Renumberer<'a> {
    pub(super) fn new(params: &'a Params) -> Self {
        Self { params, occurrences: Vec::new(), shared: HashMap::new(), error: None }
    }
}

impl ast::VisitorMut for Renumberer<'_> {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ast::ValueWithSpan) -> ControlFlow<()> {
        if let ast::Value::Placeholder(name) = &mut value.value {
            if let Some(place) = self.shared.get(name) {
                *name = format!("${place}");
                return ControlFlow::Continue(());
            }
            let is_limit = name.starts_with(LIMIT);
            let own = name.strip_prefix(LIMIT).unwrap_or(name);
            let (own, is_shared) = own.split_once(SHARED).map_or((own, false), |(own, _)| (own, true));
            match self.params.get(own) {
                Ok((number, _)) => {
                    self.occurrences.push(Occurrence { number, field: None, is_by_json: false, is_limit });
                    let place = self.occurrences.len();
                    let marked = std::mem::replace(name, format!("${place}"));
                    if is_shared {
                        self.shared.insert(marked, place);
                    }
                }
                Err(error) => {
                    self.error = Some(error);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Binds what counts rows.
pub(super) struct LimitBinder<'a> {
    params: &'a Params,
    /// Leaves them for the plan, where they are not NULL.
    keep: bool,
    /// Those that are NULL.
    pub(super) unbounded: Vec<usize>,
    pub(super) error: Option<Error>,
}

impl<'a> LimitBinder<'a> {
    pub(super) fn new(params: &'a Params, keep: bool) -> Self {
        Self { params, keep, unbounded: Vec::new(), error: None }
    }

    /// The bound expression; none for "no limit".
    fn bind(&mut self, expr: ast::Expr) -> Option<ast::Expr> {
        let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. }) = &expr else {
            return Some(expr);
        };
        let bound = self.params.get(name).and_then(|(number, json)| {
            let count = count_in(number, json)?;
            if count.is_none() {
                self.unbounded.push(number);
            }
            Ok(count)
        });
        if let (true, Ok(Some(_))) = (self.keep, &bound) {
            let marked = ast::Value::Placeholder(format!("{LIMIT}{name}"));
            return Some(ast::Expr::value(marked));
        }
        match bound {
            Ok(count) => count.map(|count| ast::Expr::value(ast::Value::Number(count.to_string(), false))),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

impl ast::VisitorMut for LimitBinder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            *limit = limit.take().and_then(|expr| self.bind(expr));
            *offset = offset.take().and_then(|offset| {
                let rows = offset.rows;
                self.bind(offset.value).map(|value| ast::Offset { value, rows })
            });
        }
        if let Some(fetch) = &mut query.fetch
            && let Some(quantity) = fetch.quantity.take()
        {
            fetch.quantity = self.bind(quantity);
            if fetch.quantity.is_none() {
                query.fetch = None;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Puts NULL in the places of some numbered parameters.
pub(super) fn put_nulls(query: &mut ast::Query, places: &BTreeSet<String>) {
    if !places.is_empty() {
        let _ = ast::VisitMut::visit(query, &mut Nulls { places });
    }
}

struct Nulls<'a> {
    places: &'a BTreeSet<String>,
}

impl ast::VisitorMut for Nulls<'_> {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ast::ValueWithSpan) -> ControlFlow<()> {
        if matches!(&value.value, ast::Value::Placeholder(name) if self.places.contains(name)) {
            value.value = ast::Value::Null;
        }
        ControlFlow::Continue(())
    }
}
