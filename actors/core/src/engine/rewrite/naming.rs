//! Names of result columns (CONTRACT 3.2): an expression without alias is named as it was written; a name
//! that would stand twice gets a suffix behind [`MARK`], which keeps DataFusion content and is cut off again
//! when the result is shown.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use kalamdb_sql::ast::{Expr, Ident, Query, SelectItem, VisitMut, VisitorMut};
use kalamdb_sql::leftmost_select;

use super::{MARK, folded};

/// Gives every unnamed expression of every block a name; the outermost list gets `written`, the texts of
/// its items, where the parser could tell them.
pub(crate) fn name_outputs(query: &mut Query, written: Option<&[String]>) {
    let _ = VisitMut::visit(query, &mut Namer::default());
    if let Some(select) = leftmost_select(&mut query.body) {
        name_items(&mut select.projection, written);
    }
}

/// What a client reads of a plan's column name.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(shown, _)| shown)
}

/// The client's names of a result's columns: a repeated one gets `_2`, `_3`, …, skipping names taken.
pub(crate) fn unique_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let shown: Vec<&str> = names.map(shown_name).collect();
    let mut taken: BTreeSet<String> = shown.iter().map(|name| (*name).to_owned()).collect();
    // Where to go on for each name: thousands of columns may share one.
    let mut next: HashMap<&str, u64> = HashMap::new();
    shown
        .iter()
        .map(|name| {
            let Some(number) = next.get_mut(name) else {
                next.insert(name, 2);
                return (*name).to_owned();
            };
            loop {
                let candidate = format!("{name}_{number}");
                *number += 1;
                if taken.insert(candidate.clone()) {
                    return candidate;
                }
            }
        })
        .collect()
}

/// Names the lists of nested blocks; the outermost is named from its text.
#[derive(Default)]
struct Namer {
    depth: usize,
}

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > 1
            && let Some(select) = leftmost_select(&mut query.body)
        {
            name_items(&mut select.projection, None);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Aliases the items of a list, each with the text at its place in `written` or, without it, its normal form.
fn name_items(items: &mut [SelectItem], written: Option<&[String]>) {
    let written = written.filter(|texts| texts.len() == items.len());
    let has_wildcard =
        items.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut taken: HashSet<String> = HashSet::new();
    for (at, item) in items.iter_mut().enumerate() {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = folded(alias);
                if !taken.insert(name.clone()) {
                    *alias = Ident::with_quote('"', format!("{name}{MARK}{at}"));
                }
            }
            SelectItem::UnnamedExpr(expr) => {
                let plain = plain_name(expr);
                let name = plain
                    .clone()
                    .or_else(|| written.and_then(|texts| texts.get(at)).cloned())
                    .unwrap_or_else(|| expr.to_string());
                let fresh = taken.insert(name.clone());
                if plain.is_some() && fresh && !has_wildcard {
                    continue;
                }
                let alias = if fresh && plain.is_none() { name } else { format!("{name}{MARK}{at}") };
                let expr = std::mem::replace(expr, Expr::value(kalamdb_sql::ast::Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
            }
            _ => {}
        }
    }
}

/// The column's name, where the expression is nothing but one.
fn plain_name(expr: &Expr) -> Option<String> {
    let ident = match expr {
        Expr::Identifier(ident) => ident,
        Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    Some(folded(ident))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_skip_those_taken() {
        let names = ["a", "a", "a_2", "a", "b\u{1f}4"];
        assert_eq!(unique_names(names.into_iter()), ["a", "a_3", "a_2", "a_4", "b"]);
    }
}
