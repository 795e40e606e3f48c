//! SHOW, DESCRIBE, and the tables that hold no rows of their own: catalog `system`, `information_schema`.
//!
//! Everything here shows what the caller may read, and nothing else.

mod stored;
mod tables;

use std::sync::Arc;

use datafusion::logical_expr::TableSource;
use kalamdb_commons::{Error, ErrorCode, NamespaceId, QualifiedTableName, Result, Role, TableType};
use kalamdb_sql::{Access, ColumnType, TableRef, TableSchema, Value};
use kalamdb_wire::StatementResult;

use super::context::{StatementContext, forbidden};
use super::rows::{RowColumn, result_of, table_of};
use crate::catalog::TableEntry;
pub(crate) use stored::{StoredTable, job_row};
use tables::{VirtualTable, storages};

/// The namespace of the system tables.
const SYSTEM: &str = "system";
/// The namespace of the SQL standard's views.
const INFORMATION_SCHEMA: &str = "information_schema";

/// Whether a namespace's tables are made by the server.
pub(crate) fn is_virtual(namespace: &str) -> bool {
    matches!(namespace, SYSTEM | INFORMATION_SCHEMA)
}

/// One of them, with its rows as they are now.
pub(crate) fn virtual_table(
    context: &Arc<StatementContext>,
    namespace: &str,
    name: &str,
) -> Result<Arc<dyn TableSource>> {
    if namespace == SYSTEM && context.identity.role == Role::User {
        return Err(forbidden());
    }
    let table = find_virtual(namespace, name)?;
    match table.stored() {
        Some(stored) => stored.source(context),
        None => table_of(&table.columns(), &table.rows(context)),
    }
}

/// One of them; the error lists those that there are.
fn find_virtual(namespace: &str, name: &str) -> Result<VirtualTable> {
    VirtualTable::find(namespace, name).ok_or_else(|| {
        let known: Vec<&str> = VirtualTable::names(namespace).collect();
        let message = format!("Table '{namespace}.{name}' does not exist. There are: {}.", known.join(", "));
        Error::new(ErrorCode::TableNotFound, message)
    })
}

/// Refuses the server's own tables where a statement is about rows that are flushed.
pub(crate) fn refuse_virtual(name: &QualifiedTableName) -> Result<()> {
    if !is_virtual(name.namespace.as_str()) {
        return Ok(());
    }
    find_virtual(name.namespace.as_str(), name.table.as_str())?;
    let message = format!("'{name}' is made by the server: it has no rows that are flushed");
    Err(Error::new(ErrorCode::Unsupported, message))
}

/// Whether the caller may read something of a table, and so may know of it.
fn is_visible(context: &StatementContext, entry: &TableEntry) -> bool {
    context.identity.role != Role::User
        || match entry.table_type() {
            TableType::User | TableType::Stream => true,
            TableType::Shared => entry.access() == Access::Public,
        }
}

/// `SHOW NAMESPACES`
pub(crate) fn show_namespaces(context: &StatementContext) -> Result<StatementResult> {
    let columns = [
        RowColumn::new("namespace", ColumnType::Text, false),
        RowColumn::new("created_at", ColumnType::Timestamp, false),
    ];
    let rows =
        context.catalog.namespaces.values().map(|namespace| {
            vec![Value::Text(namespace.name.as_str().to_owned()), Value::Timestamp(namespace.created_at)]
        });
    result_of(&columns, &rows.collect::<Vec<_>>())
}

/// `SHOW TABLES [IN ns]`
pub(crate) fn show_tables(context: &StatementContext, namespace: Option<&NamespaceId>) -> Result<StatementResult> {
    let namespace = namespace.unwrap_or(&context.namespace);
    let made_by_server = is_virtual(namespace.as_str());
    let columns = [
        RowColumn::new("namespace", ColumnType::Text, false),
        RowColumn::new("table", ColumnType::Text, false),
        RowColumn::new("type", ColumnType::Text, false),
        RowColumn::new("created_at", ColumnType::Timestamp, made_by_server),
    ];
    if made_by_server {
        if namespace.as_str() == SYSTEM && context.identity.role == Role::User {
            return Err(forbidden());
        }
        let rows = VirtualTable::names(namespace.as_str())
            .map(|name| vec![text(namespace.as_str()), text(name), text("system"), Value::Null]);
        return result_of(&columns, &rows.collect::<Vec<_>>());
    }
    context.catalog.require_namespace(namespace)?;
    let tables = context.catalog.tables_in(namespace).filter(|entry| is_visible(context, entry));
    let rows = tables.map(|entry| {
        vec![
            text(namespace.as_str()),
            text(entry.definition.name.table.as_str()),
            text(entry.table_type().as_str()),
            Value::Timestamp(entry.definition.created_at),
        ]
    });
    result_of(&columns, &rows.collect::<Vec<_>>())
}

/// `SHOW STORAGES`: for `service` and up.
pub(crate) fn show_storages(context: &StatementContext) -> Result<StatementResult> {
    if context.identity.role == Role::User {
        return Err(forbidden());
    }
    let columns = [
        RowColumn::new("storage", ColumnType::Text, false),
        RowColumn::new("type", ColumnType::Text, false),
        RowColumn::new("location", ColumnType::Text, false),
        RowColumn::new("user_path_template", ColumnType::Text, false),
        RowColumn::new("shared_path_template", ColumnType::Text, false),
        RowColumn::new("options", ColumnType::Json, false),
        RowColumn::new("created_at", ColumnType::Timestamp, true),
        RowColumn::new("updated_at", ColumnType::Timestamp, true),
    ];
    result_of(&columns, &storages(context))
}

/// `DESCRIBE t`
pub(crate) fn describe(context: &StatementContext, table: &TableRef) -> Result<StatementResult> {
    let columns = [
        RowColumn::new("column", ColumnType::Text, false),
        RowColumn::new("type", ColumnType::Text, false),
        RowColumn::new("nullable", ColumnType::Boolean, false),
        RowColumn::new("default", ColumnType::Text, true),
        RowColumn::new("primary_key", ColumnType::Boolean, false),
        RowColumn::new("key_position", ColumnType::Int, true),
    ];
    let name = context.qualify(table);
    if is_virtual(name.namespace.as_str()) {
        if name.namespace.as_str() == SYSTEM && context.identity.role == Role::User {
            return Err(forbidden());
        }
        let table = find_virtual(name.namespace.as_str(), name.table.as_str())?;
        let rows = table.columns().into_iter().map(|column| {
            let (name, kind) = (Value::Text(column.name), text(&column.column_type.to_string()));
            vec![name, kind, Value::Boolean(column.nullable), Value::Null, Value::Boolean(false), Value::Null]
        });
        return result_of(&columns, &rows.collect::<Vec<_>>());
    }
    let entry = context.catalog.table(&name)?;
    if !is_visible(context, entry) {
        return Err(forbidden());
    }
    let schema: &TableSchema = &entry.schema;
    let rows = schema.columns.iter().map(|column| {
        let key = schema.primary_key.iter().position(|id| *id == column.id);
        vec![
            text(column.name.as_str()),
            text(&column.column_type.to_string()),
            Value::Boolean(column.nullable),
            column.default_text.as_deref().map_or(Value::Null, text),
            Value::Boolean(key.is_some()),
            key.and_then(|at| i32::try_from(at + 1).ok()).map_or(Value::Null, Value::Int),
        ]
    });
    result_of(&columns, &rows.collect::<Vec<_>>())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
