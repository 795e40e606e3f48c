//! Which table references get which system columns.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use kalamdb_commons::SystemColumn;
use kalamdb_sql::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut,
    Visitor, VisitorMut, WildcardAdditionalOptions,
};

use super::ExposedColumns;

/// Rewrites every query block of the statement.
pub(crate) fn expose_system_columns(query: &mut Query) {
    let mut ctes = CteNames::default();
    let _ = Visit::visit(query, &mut ctes);
    let _ = VisitMut::visit(query, &mut Rewriter { ctes: ctes.names });
}

/// Names that stand for CTEs, not tables.
#[derive(Default)]
struct CteNames {
    names: HashSet<String>,
}

impl Visitor for CteNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(folded(&cte.alias.name));
        }
        ControlFlow::Continue(())
    }
}

struct Rewriter {
    ctes: HashSet<String>,
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut named = NamedColumns::default();
        if let Some(order_by) = &query.order_by {
            named.aliases = output_aliases(&query.body);
            let _ = order_by.visit(&mut named);
            named.aliases.clear();
        }
        self.rewrite_set(&mut query.body, &named);
        ControlFlow::Continue(())
    }
}

impl Rewriter {
    fn rewrite_set(&self, body: &mut SetExpr, outer: &NamedColumns) {
        match body {
            SetExpr::Select(select) => self.rewrite_select(select, outer),
            SetExpr::SetOperation { left, right, .. } => {
                self.rewrite_set(left, &NamedColumns::default());
                self.rewrite_set(right, &NamedColumns::default());
            }
            // A nested query is visited by itself; the rest has no tables.
            _ => {}
        }
    }

    fn rewrite_select(&self, select: &mut Select, outer: &NamedColumns) {
        let mut named = outer.clone();
        let _ = Visit::visit(&*select, &mut named);
        if named.is_empty() {
            return;
        }
        let mut exposed = BTreeMap::new();
        for item in &mut select.from {
            self.rewrite_joined(item, &named, &mut exposed);
        }
        if exposed.is_empty() {
            return;
        }
        hide_from_wildcards(select, &exposed);
    }

    fn rewrite_joined(
        &self,
        item: &mut TableWithJoins,
        named: &NamedColumns,
        exposed: &mut BTreeMap<String, ExposedColumns>,
    ) {
        self.rewrite_factor(&mut item.relation, named, exposed);
        for join in &mut item.joins {
            self.rewrite_factor(&mut join.relation, named, exposed);
        }
    }

    fn rewrite_factor(
        &self,
        factor: &mut TableFactor,
        named: &NamedColumns,
        exposed: &mut BTreeMap<String, ExposedColumns>,
    ) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let is_cte =
                    name.0.len() == 1 && last_ident(name).is_some_and(|ident| self.ctes.contains(&folded(ident)));
                let Some(own) = alias.as_ref().map(|alias| &alias.name).or_else(|| last_ident(name)).cloned() else {
                    return;
                };
                let columns = named.for_reference(&folded(&own));
                if is_cte || columns.is_empty() {
                    return;
                }
                if let Some(ObjectNamePart::Identifier(ident)) = name.0.last_mut() {
                    // Quoted, so folded here for good.
                    *ident = Ident::with_quote('"', columns.variant_name(&folded(ident)));
                }
                if alias.is_none() {
                    *alias = Some(TableAlias { explicit: true, name: own.clone(), columns: Vec::new(), at: None });
                }
                exposed.insert(folded(&own), columns);
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.rewrite_joined(table_with_joins, named, exposed),
            _ => {}
        }
    }
}

fn output_aliases(body: &SetExpr) -> HashSet<String> {
    let SetExpr::Select(select) = body else { return HashSet::new() };
    let alias = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    };
    select.projection.iter().filter_map(alias).collect()
}

/// System columns that one query block names, apart from blocks inside it.
#[derive(Debug, Clone, Default)]
struct NamedColumns {
    depth: usize,
    /// Names that the select list gives: ORDER BY means those.
    aliases: HashSet<String>,
    unqualified: ExposedColumns,
    qualified: BTreeMap<String, ExposedColumns>,
}

impl NamedColumns {
    fn is_empty(&self) -> bool {
        self.unqualified.is_empty() && self.qualified.is_empty()
    }

    fn for_reference(&self, reference: &str) -> ExposedColumns {
        let own = self.qualified.get(reference).copied().unwrap_or_default();
        let all = self.unqualified;
        ExposedColumns {
            seq: own.seq || all.seq,
            updated: own.updated || all.updated,
            deleted: own.deleted || all.deleted,
            key: own.key || all.key,
        }
    }
}

impl Visitor for NamedColumns {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let (qualifier, column) = match expr {
            Expr::Identifier(column) => (None, column),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, column] => (Some(folded(qualifier)), column),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        if self.depth > 0 {
            // A block inside may mean a table of this one, if it says which. One deleted row more here
            // would be too much for a name there.
            if let Some(qualifier) = qualifier
                && let Some(column @ (SystemColumn::Seq | SystemColumn::Updated)) =
                    SystemColumn::from_name(&folded(column))
            {
                self.qualified.entry(qualifier).or_default().expose(column);
            }
            return ControlFlow::Continue(());
        }
        let target = match qualifier {
            None if self.aliases.contains(&folded(column)) => return ControlFlow::Continue(()),
            None => &mut self.unqualified,
            Some(qualifier) if is_system(column) => self.qualified.entry(qualifier).or_default(),
            Some(_) => return ControlFlow::Continue(()),
        };
        let name = folded(column);
        if name == super::KEY_COLUMN {
            target.key = true;
        } else if let Some(column) = SystemColumn::from_name(&name) {
            target.expose(column);
        }
        ControlFlow::Continue(())
    }
}

fn is_system(column: &Ident) -> bool {
    let name = folded(column);
    name == super::KEY_COLUMN || SystemColumn::from_name(&name).is_some()
}

/// `*` stays the declared columns. Over a join a bare `*` becomes one wildcard per reference, since EXCLUDE
/// over several tables would be ambiguous.
fn hide_from_wildcards(select: &mut Select, exposed: &BTreeMap<String, ExposedColumns>) {
    let single = matches!(select.from.as_slice(), [TableWithJoins { joins, .. }] if joins.is_empty());
    let references: Vec<(Ident, Vec<Ident>)> = select.from.iter().flat_map(references).collect();
    let items = std::mem::take(&mut select.projection);
    for item in items {
        match item {
            SelectItem::Wildcard(mut options) if single => {
                if let Some(columns) = exposed.values().next() {
                    exclude(&mut options, *columns);
                }
                select.projection.push(SelectItem::Wildcard(options));
            }
            SelectItem::Wildcard(options) => {
                for (reference, merged) in &references {
                    let mut own = options.clone();
                    exclude_names(&mut own, merged);
                    if let Some(columns) = exposed.get(&folded(reference)) {
                        exclude(&mut own, *columns);
                    }
                    let name = ObjectName(vec![ObjectNamePart::Identifier(reference.clone())]);
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                    select.projection.push(SelectItem::QualifiedWildcard(kind, own));
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), mut options) => {
                if let Some(columns) = last_ident(&name).and_then(|ident| exposed.get(&folded(ident))) {
                    exclude(&mut options, *columns);
                }
                let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                select.projection.push(SelectItem::QualifiedWildcard(kind, options));
            }
            other => select.projection.push(other),
        }
    }
}

fn exclude(options: &mut WildcardAdditionalOptions, columns: ExposedColumns) {
    let names: Vec<Ident> = columns.names().map(|name| Ident::with_quote('"', name)).collect();
    exclude_names(options, &names);
}

fn exclude_names(options: &mut WildcardAdditionalOptions, more: &[Ident]) {
    if more.is_empty() {
        return;
    }
    let mut names = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    names.extend(more.iter().map(|name| ObjectName(vec![ObjectNamePart::Identifier(name.clone())])));
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
}

/// Every reference of a FROM item with the columns that a USING merges into the one before it.
fn references(item: &TableWithJoins) -> Vec<(Ident, Vec<Ident>)> {
    let mut all = references_of(&item.relation);
    for join in &item.joins {
        let mut joined = references_of(&join.relation);
        if let Some(JoinConstraint::Using(columns)) = constraint(&join.join_operator) {
            let merged: Vec<Ident> = columns.iter().filter_map(last_ident).cloned().collect();
            joined.iter_mut().for_each(|(_, hidden)| hidden.extend(merged.iter().cloned()));
        }
        all.extend(joined);
    }
    all
}

fn references_of(factor: &TableFactor) -> Vec<(Ident, Vec<Ident>)> {
    let own = match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => return references(table_with_joins),
        // The planner names what a function makes after its call.
        TableFactor::Table { name, alias: None, args: Some(_), .. } => {
            last_ident(name).map(|ident| Ident::with_quote('"', format!("{ident}()")))
        }
        TableFactor::Table { name, alias, .. } => {
            alias.as_ref().map(|alias| alias.name.clone()).or_else(|| last_ident(name).cloned())
        }
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| alias.name.clone()),
        _ => None,
    };
    own.into_iter().map(|own| (own, Vec::new())).collect()
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn last_ident(name: &ObjectName) -> Option<&Ident> {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => Some(ident),
        _ => None,
    }
}

/// An identifier as it is compared: lower case unless quoted.
pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}
