//! Syntax trees made by hand: queries that a statement needs beside what its text says.

use kalamdb_commons::{Error, QualifiedTableName, Result};
use kalamdb_sql::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// `SELECT items FROM from AS alias WHERE selection`; without `from`, one row of nothing.
pub(crate) fn select(
    items: Vec<ast::SelectItem>,
    from: Option<(ast::ObjectName, ast::Ident)>,
    selection: Option<ast::Expr>,
) -> Result<ast::Query> {
    let mut query = parse(if from.is_some() { "SELECT 1 FROM t AS t" } else { "SELECT 1" })?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("a SELECT that is none"));
    };
    select.projection = items;
    select.selection = selection;
    if let Some((name, own)) = from
        && let Some(ast::TableWithJoins {
            relation: ast::TableFactor::Table { name: place, alias: Some(alias), .. },
            ..
        }) = select.from.first_mut()
    {
        *place = name;
        alias.name = own;
    }
    Ok(query)
}

/// `ORDER BY "name" DESC LIMIT count`, as clauses of a query without a block worth mentioning.
pub(crate) fn order_by_descending(name: &str, count: u64) -> Result<ast::Query> {
    let mut query = parse("SELECT 1 ORDER BY x DESC LIMIT 1")?;
    if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(exprs), .. }) = &mut query.order_by
        && let Some(first) = exprs.first_mut()
    {
        first.expr = column(name);
    }
    if let Some(ast::LimitClause::LimitOffset { limit, .. }) = &mut query.limit_clause {
        *limit = Some(ast::Expr::value(ast::Value::Number(count.to_string(), false)));
    }
    Ok(query)
}

/// sqlparser's nodes have dozens of fields that change with its versions; it fills them itself.
fn parse(text: &str) -> Result<ast::Query> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    Ok(*parsed.map_err(Error::internal)?)
}

/// `expr AS "name"`
pub(crate) fn item(expr: ast::Expr, name: impl Into<String>) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

/// `"name"`
pub(crate) fn quoted(name: impl Into<String>) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

/// `"name"` as an expression.
pub(crate) fn column(name: &str) -> ast::Expr {
    ast::Expr::Identifier(quoted(name))
}

/// `ns.table` or `ns.user.table`.
pub(crate) fn table_name(name: &QualifiedTableName, user_qualifier: bool) -> ast::ObjectName {
    let mut parts = vec![quoted(name.namespace.as_str())];
    if user_qualifier {
        parts.push(quoted("user"));
    }
    parts.push(quoted(name.table.as_str()));
    ast::ObjectName(parts.into_iter().map(ast::ObjectNamePart::Identifier).collect())
}
