//! Names: folded to lower case unless quoted, checked by the rules of their kind.

use kalamdb_commons::{ColumnName, Error, ErrorCode, NamespaceId, Result, SystemColumn, TableName};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::{Span, Token};

use super::input::Input;
use crate::TableRef;

/// The word between a namespace and a table that means the partition of the user in `X-USER-ID`.
const USER_QUALIFIER: &str = "user";

/// A name as it is compared.
pub(super) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// An error at the place of a name.
pub(super) fn at(error: Error, span: Span) -> Error {
    if span.start.line == 0 { error } else { error.at(span.start.line, span.start.column) }
}

/// `[ns.]table`, `ns.user.table` or `catalog.ns.table`, read from DDL.
pub(super) fn table_name(input: &mut Input<'_>) -> Result<TableRef> {
    let mut parts = vec![input.expect_ident("a table name")?];
    while input.take_token(&Token::Period) {
        parts.push(input.expect_ident("a name")?);
    }
    table_of(&parts)
}

/// As [`table_name`], where `.user.` makes no sense.
pub(super) fn own_table_name(input: &mut Input<'_>) -> Result<TableRef> {
    let position = input.position();
    let table = table_name(input)?;
    if table.user_qualifier {
        let message = "'.user.' names a user's rows: it stands in SELECT, INSERT, UPDATE and DELETE only";
        return Err(Error::new(ErrorCode::InvalidSql, message).at(position.line, position.column));
    }
    Ok(table)
}

/// A table to make or to drop.
pub(super) fn changed_table_name(input: &mut Input<'_>) -> Result<TableRef> {
    let position = input.position();
    let table = own_table_name(input)?;
    match &table.namespace {
        Some(namespace) if namespace.is_reserved() => {
            let message = format!("namespace '{namespace}' is reserved: its tables are neither made nor dropped");
            Err(Error::new(ErrorCode::Forbidden, message).at(position.line, position.column))
        }
        _ => Ok(table),
    }
}

/// A table that sqlparser read.
pub(super) fn table_ref(name: &ObjectName) -> Result<TableRef> {
    let parts: Option<Vec<Ident>> = name
        .0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) if matches!(ident.quote_style, None | Some('"')) => Some(ident.clone()),
            _ => None,
        })
        .collect();
    parts
        .as_deref()
        .map_or_else(|| Err(Error::new(ErrorCode::InvalidSql, format!("{name} is no table name"))), table_of)
}

fn table_of(parts: &[Ident]) -> Result<TableRef> {
    let (namespace, table, user_qualifier) = match parts {
        [table] => (None, table, false),
        [namespace, table] => (Some(namespace), table, false),
        [namespace, user, table] if folded(user) == USER_QUALIFIER => (Some(namespace), table, true),
        [catalog, namespace, table] if NamespaceId::is_in_catalog(&folded(catalog), &folded(namespace)) => {
            (Some(namespace), table, false)
        }
        _ => {
            let error =
                Error::new(ErrorCode::InvalidSql, "a table is named table, namespace.table or namespace.user.table");
            return Err(parts.first().map_or(error.clone(), |first| at(error, first.span)));
        }
    };
    Ok(TableRef {
        namespace: namespace.map(namespace_of).transpose()?,
        table: TableName::new(folded(table)).map_err(|error| at(error, table.span))?,
        user_qualifier,
    })
}

fn namespace_of(ident: &Ident) -> Result<NamespaceId> {
    NamespaceId::new(folded(ident)).map_err(|error| at(error, ident.span))
}

/// A namespace that a statement means to look at.
pub(super) fn namespace(input: &mut Input<'_>) -> Result<NamespaceId> {
    namespace_of(&input.expect_ident("a namespace name")?)
}

/// A namespace that a statement means to make.
pub(super) fn own_namespace(input: &mut Input<'_>) -> Result<NamespaceId> {
    changed_namespace(input, |name| name.is_reserved().then(|| format!("namespace '{name}' is reserved")))
}

/// A namespace that a statement means to drop. `default` stays: requests that name none are about it.
pub(super) fn dropped_namespace(input: &mut Input<'_>) -> Result<NamespaceId> {
    changed_namespace(input, |name| {
        if name.as_str() == NamespaceId::DEFAULT {
            return Some(format!("namespace '{name}' is where requests without a namespace look: it is not dropped"));
        }
        name.is_reserved().then(|| format!("namespace '{name}' is reserved"))
    })
}

fn changed_namespace(
    input: &mut Input<'_>,
    refusal: impl FnOnce(&NamespaceId) -> Option<String>,
) -> Result<NamespaceId> {
    let ident = input.expect_ident("a namespace name")?;
    let name = namespace_of(&ident)?;
    match refusal(&name) {
        Some(message) => Err(at(Error::new(ErrorCode::InvalidName, message), ident.span)),
        None => Ok(name),
    }
}

/// A column that a table is to have.
pub(super) fn new_column(ident: &Ident) -> Result<ColumnName> {
    let name = ColumnName::new(folded(ident)).map_err(|error| at(error, ident.span))?;
    if SystemColumn::from_name(name.as_str()).is_some() {
        let error = Error::new(
            ErrorCode::InvalidName,
            format!("column '{name}' is there in every table: it cannot be declared"),
        );
        return Err(at(error, ident.span));
    }
    Ok(name)
}

/// A column that a statement writes. A name that no column can have is a column that does not exist.
pub(super) fn written_column(ident: &Ident) -> Result<ColumnName> {
    let text = folded(ident);
    if SystemColumn::from_name(&text).is_some() {
        let error = Error::new(ErrorCode::InvalidSql, format!("column '{text}' is the system's: it cannot be written"));
        return Err(at(error, ident.span));
    }
    ColumnName::new(&text).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        at(Error::new(ErrorCode::ColumnNotFound, format!("column {shown:?} does not exist")), ident.span)
    })
}
