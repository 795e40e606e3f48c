//! DDL as the `CatalogActor` is asked for it: roles checked, defaults evaluated.

use std::sync::Arc;

use kalamdb_commons::settings::AuthSettings;
use kalamdb_commons::{
    ColumnId, ColumnName, Error, ErrorCode, NamespaceId, QualifiedTableName, Result, Role, SchemaVersion, TableType,
    UserId,
};
use kalamdb_sql::{
    ColumnDefault, ColumnDefinition, ColumnSpec, CreateTable, DefaultSpec, OptionChanges, TableChange, TableOptions,
    TableSchema, UserOptions, Value,
};
use kalamdb_store::codec::catalog::StorageRecord;

use super::aggregates::functions_over_rows;
use super::context::{StatementContext, forbidden};
use super::dml::evaluate_constant;
use super::storages::AlteredStorage;
use crate::segments::Closed;

/// A change of the catalog.
#[derive(Debug, Clone)]
pub(crate) enum Ddl {
    /// `CREATE NAMESPACE`
    CreateNamespace { name: NamespaceId, if_not_exists: bool },
    /// `DROP NAMESPACE`
    DropNamespace { name: NamespaceId, if_exists: bool, cascade: bool },
    /// `CREATE TABLE`
    CreateTable { table: Box<NewTable>, if_not_exists: bool },
    /// `ALTER TABLE`
    AlterTable { name: QualifiedTableName, change: Box<Alteration> },
    /// `DROP TABLE`; of a kind, where the statement names one.
    DropTable { name: QualifiedTableName, table_type: Option<TableType>, if_exists: bool },
    /// `CREATE STORAGE`, with a storage that can be used.
    CreateStorage { storage: Box<StorageRecord>, if_not_exists: bool },
    /// `ALTER STORAGE`
    AlterStorage(Box<AlteredStorage>),
    /// `DROP STORAGE` of one that nothing lies in, and nobody writes into for as long as `closed` is held; none where
    /// there was no such storage.
    DropStorage { name: String, if_exists: bool, closed: Option<Arc<Closed>> },
    /// `CREATE USER`
    CreateUser { user: UserId, if_not_exists: bool, options: UserOptions },
    /// `ALTER USER`
    AlterUser { user: UserId, changes: UserOptions },
    /// `DROP USER`
    DropUser { user: UserId, if_exists: bool },
}

/// A table before it has an id.
#[derive(Debug, Clone)]
pub(crate) struct NewTable {
    pub(crate) name: QualifiedTableName,
    pub(crate) table_type: TableType,
    pub(crate) schema: TableSchema,
    pub(crate) options: TableOptions,
}

/// A change of a table.
#[derive(Debug, Clone)]
pub(crate) enum Alteration {
    /// Its id is given when it is added.
    AddColumn(ColumnDefinition),
    DropColumn(ColumnName),
    RenameColumn {
        from: ColumnName,
        to: ColumnName,
    },
    SetOptions(OptionChanges),
}

/// DDL is for `dba` and `system`.
pub(crate) fn check_role(role: Role) -> Result<()> {
    match role {
        Role::Dba | Role::System => Ok(()),
        Role::User | Role::Service => Err(forbidden()),
    }
}

/// What a row may say of a user. The localhost rule gives `auth.localhost_user` the role `system`: a role in its row
/// would be a promise that nobody keeps.
pub(crate) fn check_user(auth: &AuthSettings, user: &UserId, options: &UserOptions) -> Result<()> {
    match options.role.flatten() {
        Some(role) if auth.localhost_bypass && user == &auth.localhost_user => Err(Error::new(
            ErrorCode::InvalidOption,
            format!(
                "option 'role' cannot be '{role}' for '{user}': it is auth.localhost_user, whose role is system while \
                 auth.localhost_bypass is on"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The definition that a CREATE TABLE asks for.
pub(crate) async fn new_table(context: &Arc<StatementContext>, create: &CreateTable) -> Result<NewTable> {
    let mut columns = Vec::with_capacity(create.columns.len());
    for (at, spec) in create.columns.iter().enumerate() {
        columns.push(column(context, at, spec, create.primary_key.contains(&spec.name)).await?);
    }
    let key_id = |name: &ColumnName| {
        columns.iter().find(|column: &&ColumnDefinition| column.name == *name).map(|column| column.id)
    };
    let primary_key = create.primary_key.iter().filter_map(key_id).collect();
    let next_column_id = ColumnId(u32::try_from(columns.len()).unwrap_or(u32::MAX).saturating_add(1));
    Ok(NewTable {
        name: context.qualify(&create.name),
        table_type: create.table_type,
        schema: TableSchema { version: SchemaVersion(1), columns, primary_key, next_column_id },
        options: create.options.clone(),
    })
}

/// What an ALTER TABLE asks for.
pub(crate) async fn alteration(context: &Arc<StatementContext>, change: &TableChange) -> Result<Alteration> {
    Ok(match change {
        TableChange::AddColumn(spec) => {
            let mut added = column(context, 0, spec, false).await?;
            added.initial = match &added.default {
                None => Value::Null,
                Some(ColumnDefault::Constant(value)) => value.clone(),
                Some(ColumnDefault::Function(_)) => {
                    let message = format!(
                        "the DEFAULT of added column '{}' is a constant: it is what the rows that are there have",
                        spec.name
                    );
                    return Err(Error::new(ErrorCode::Unsupported, message));
                }
            };
            Alteration::AddColumn(added)
        }
        TableChange::DropColumn(name) => Alteration::DropColumn(name.clone()),
        TableChange::RenameColumn { from, to } => Alteration::RenameColumn { from: from.clone(), to: to.clone() },
        TableChange::SetOptions(changes) => Alteration::SetOptions(changes.clone()),
    })
}

async fn column(
    context: &Arc<StatementContext>,
    at: usize,
    spec: &ColumnSpec,
    in_key: bool,
) -> Result<ColumnDefinition> {
    let default = match spec.default.as_ref().map(|clause| &clause.value) {
        None => None,
        Some(DefaultSpec::Known(default)) => Some(default.clone()),
        Some(DefaultSpec::Expr(expr)) => {
            if !functions_over_rows(context.runtime.state(), expr).is_empty() {
                let message = format!(
                    "DEFAULT of column '{}' is not constant: it has an aggregate or a window function",
                    spec.name
                );
                return Err(Error::new(ErrorCode::Unsupported, message));
            }
            let value = evaluate_constant(context, expr, spec.column_type, spec.name.as_str()).await?;
            Some(ColumnDefault::Constant(value))
        }
    };
    let nullable = spec.nullable && !in_key;
    if !nullable && default == Some(ColumnDefault::Constant(Value::Null)) {
        return Err(Error::new(
            ErrorCode::InvalidSql,
            format!("column '{}' does not take NULL: it cannot be its default", spec.name),
        ));
    }
    Ok(ColumnDefinition {
        id: ColumnId(u32::try_from(at + 1).map_err(Error::internal)?),
        name: spec.name.clone(),
        column_type: spec.column_type,
        nullable,
        default,
        default_text: spec.default.as_ref().map(|clause| clause.text.clone()),
        initial: Value::Null,
    })
}
