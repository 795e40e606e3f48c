//! What DDL leaves behind: namespaces, tables, columns, options.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kalamdb_commons::{ColumnId, ColumnName, NamespaceId, QualifiedTableName, Role, SchemaVersion, TableId, TableType};
use serde::{Deserialize, Serialize};

use crate::{ColumnType, Value};

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceDefinition {
    /// Its name.
    pub name: NamespaceId,
    /// Microseconds since the epoch.
    pub created_at: i64,
}

/// A function that a DEFAULT may call; evaluated once per row (`Now` and `CurrentUser` once per
/// statement).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultFunction {
    /// `NOW()`
    Now,
    /// `CURRENT_USER()`
    CurrentUser,
    /// `SNOWFLAKE_ID()`
    SnowflakeId,
    /// `UUID_V7()`
    UuidV7,
    /// `ULID()`
    Ulid,
}

/// What a column gets when an INSERT does not name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnDefault {
    /// A constant, already of the column's type.
    Constant(Value),
    /// A function.
    Function(DefaultFunction),
}

/// One column of one schema version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Its identity, never used again in the table.
    pub id: ColumnId,
    /// Its name in this version.
    pub name: ColumnName,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it takes NULL; key columns do not.
    pub nullable: bool,
    /// For INSERTs that do not name it.
    pub default: Option<ColumnDefault>,
    /// The text of the DEFAULT as it was written, for DESCRIBE.
    pub default_text: Option<String>,
    /// What rows older than the column read: the constant it was added with, else NULL.
    pub initial: Value,
}

/// The columns of a table at one version. Never changed once written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Counts from 1.
    pub version: SchemaVersion,
    /// In the order they were declared.
    pub columns: Vec<ColumnDefinition>,
    /// Ids of the primary key's columns in key order; empty for a table without one.
    pub primary_key: Vec<ColumnId>,
    /// The id the next added column gets.
    pub next_column_id: ColumnId,
}

impl TableSchema {
    /// The place of a column by name.
    #[must_use]
    pub fn position_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.as_str() == name)
    }

    /// The place of a column by id.
    #[must_use]
    pub fn position_of_id(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The places of the key's columns, in key order.
    #[must_use]
    pub fn key_positions(&self) -> Vec<usize> {
        self.primary_key.iter().filter_map(|id| self.position_of_id(*id)).collect()
    }

    /// The types of the key's columns, in key order.
    #[must_use]
    pub fn key_types(&self) -> Vec<ColumnType> {
        self.key_positions()
            .into_iter()
            .filter_map(|at| self.columns.get(at))
            .map(|column| column.column_type)
            .collect()
    }
}

/// Who may read a shared table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Every user reads it.
    #[default]
    Public,
    /// `service` and up.
    Private,
}

/// The options a table was given; `None` means the server's default at the time of use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TableOptions {
    /// How often to flush; `Some(None)` is `'off'`.
    pub flush_interval: Option<Option<Duration>>,
    /// Rows of the whole table in the buffer that start a flush.
    pub flush_rows: Option<u64>,
    /// Name of the storage.
    pub storage: Option<String>,
    /// `alphabetic`, `hash:N`, `none`.
    pub sharding: Option<String>,
    /// Path template.
    pub path_template: Option<String>,
    /// For shared tables.
    pub access: Option<Access>,
    /// For stream tables.
    pub ttl: Option<Duration>,
    /// For stream tables, per user.
    pub max_rows: Option<u64>,
}

/// A table as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Its identity.
    pub id: TableId,
    /// Its name.
    pub name: QualifiedTableName,
    /// Its kind.
    pub table_type: TableType,
    /// Its columns now.
    pub schema: TableSchema,
    /// Its options.
    pub options: TableOptions,
    /// Microseconds since the epoch.
    pub created_at: i64,
}

/// What CREATE USER and ALTER USER say of a user. The outer `None`: nothing was said; the inner one: NULL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserOptions {
    /// What the user may do, whatever its token claims; NULL leaves that to the token. Never `system`.
    pub role: Option<Option<Role>>,
    /// For people.
    pub username: Option<Option<String>>,
    /// The text of a JSON object.
    pub metadata: Option<Option<String>>,
    /// Whether the user is refused.
    pub disabled: Option<bool>,
}

/// What CREATE STORAGE and ALTER STORAGE say of a storage: options by their names, NULL as `None`. What each may be is for
/// whoever opens the storage; the path templates are checked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageOptions {
    /// Some of them may be credentials.
    pub given: BTreeMap<String, Option<String>>,
}

impl fmt::Debug for StorageOptions {
    /// Leaves the values out: some are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.given.keys()).finish()
    }
}
