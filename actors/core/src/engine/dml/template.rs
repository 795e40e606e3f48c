//! Syntax trees made by hand: queries that a statement needs beside what its text says.

use kalamdb_commons::{Error, QualifiedTableName, Result};
use kalamdb_sql::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// `SELECT items FROM from AS alias WHERE selection`; without `from`, one row of nothing.
pub(super) fn select(
    items: Vec<ast::SelectItem>,
    from: Option<(ast::ObjectName, ast::Ident)>,
    selection: Option<ast::Expr>,
) -> Result<ast::Query> {
    // sqlparser's nodes have dozens of fields that change with its versions; it fills them itself.
    let text = if from.is_some() { "SELECT 1 FROM t AS t" } else { "SELECT 1" };
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    let mut query = *parsed.map_err(Error::internal)?;
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

/// `expr AS "name"`
pub(super) fn item(expr: ast::Expr, name: impl Into<String>) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

/// `"name"`
pub(super) fn quoted(name: impl Into<String>) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

/// `"name"` as an expression.
pub(super) fn column(name: &str) -> ast::Expr {
    ast::Expr::Identifier(quoted(name))
}

/// `ns.table` or `ns.user.table`.
pub(super) fn table_name(name: &QualifiedTableName, user_qualifier: bool) -> ast::ObjectName {
    let mut parts = vec![quoted(name.namespace.as_str())];
    if user_qualifier {
        parts.push(quoted("user"));
    }
    parts.push(quoted(name.table.as_str()));
    ast::ObjectName(parts.into_iter().map(ast::ObjectNamePart::Identifier).collect())
}
