//! The form of definitions on disk.
//!
//! Two things JSON cannot tell apart get a form of their own: infinities and NaN (JSON has no word for
//! them), and "off" beside "not given" in options.

use std::time::Duration;

use kalamdb_commons::{ColumnId, ColumnName, NamespaceId, QualifiedTableName, SchemaVersion, TableId, TableType};
use kalamdb_sql::{
    Access, ColumnDefault, ColumnDefinition, ColumnType, DefaultFunction, NamespaceDefinition, TableDefinition,
    TableOptions, TableSchema, Value,
};
use serde::{Deserialize, Serialize};

use super::SchemaRecord;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceForm {
    name: NamespaceId,
    created_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableForm {
    id: TableId,
    name: QualifiedTableName,
    table_type: TableType,
    schema: SchemaForm,
    options: OptionsForm,
    created_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SchemaRecordForm {
    schema: SchemaForm,
    created_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaForm {
    version: SchemaVersion,
    columns: Vec<ColumnForm>,
    primary_key: Vec<ColumnId>,
    next_column_id: ColumnId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnForm {
    id: ColumnId,
    name: ColumnName,
    #[serde(rename = "type", with = "ColumnTypeForm")]
    column_type: ColumnType,
    nullable: bool,
    default: Option<DefaultForm>,
    default_text: Option<String>,
    #[serde(with = "ValueForm")]
    initial: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DefaultForm {
    Constant(#[serde(with = "ValueForm")] Value),
    Function(#[serde(with = "FunctionForm")] DefaultFunction),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "DefaultFunction", rename_all = "snake_case")]
enum FunctionForm {
    Now,
    CurrentUser,
    SnowflakeId,
    UuidV7,
    Ulid,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ColumnType", rename_all = "snake_case")]
enum ColumnTypeForm {
    Boolean,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal { precision: u8, scale: u8 },
    Text,
    Bytes,
    Date,
    Timestamp,
    Uuid,
    Json,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Value", rename_all = "snake_case")]
enum ValueForm {
    Null,
    Boolean(bool),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    Float(#[serde(with = "as_text")] f32),
    Double(#[serde(with = "as_text")] f64),
    Decimal(#[serde(with = "as_text")] i128),
    Text(String),
    Bytes(Vec<u8>),
    Date(i32),
    Timestamp(i64),
    Uuid([u8; 16]),
    Json(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OptionsForm {
    flush_interval: Option<IntervalForm>,
    flush_rows: Option<u64>,
    storage: Option<String>,
    sharding: Option<String>,
    path_template: Option<String>,
    access: Option<Access>,
    ttl: Option<Duration>,
    max_rows: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IntervalForm {
    Off,
    Every(Duration),
}

/// Numbers as text, which holds every one of them exactly: `inf`, `-inf` and `NaN` too.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl From<&NamespaceDefinition> for NamespaceForm {
    fn from(namespace: &NamespaceDefinition) -> Self {
        let NamespaceDefinition { name, created_at } = namespace.clone();
        Self { name, created_at }
    }
}

impl From<NamespaceForm> for NamespaceDefinition {
    fn from(form: NamespaceForm) -> Self {
        let NamespaceForm { name, created_at } = form;
        Self { name, created_at }
    }
}

impl From<&TableDefinition> for TableForm {
    fn from(table: &TableDefinition) -> Self {
        let TableDefinition { id, name, table_type, schema, options, created_at } = table.clone();
        Self { id, name, table_type, schema: schema.into(), options: options.into(), created_at }
    }
}

impl From<TableForm> for TableDefinition {
    fn from(form: TableForm) -> Self {
        let TableForm { id, name, table_type, schema, options, created_at } = form;
        Self { id, name, table_type, schema: schema.into(), options: options.into(), created_at }
    }
}

impl From<&SchemaRecord> for SchemaRecordForm {
    fn from(record: &SchemaRecord) -> Self {
        let SchemaRecord { schema, created_at } = record.clone();
        Self { schema: schema.into(), created_at }
    }
}

impl From<SchemaRecordForm> for SchemaRecord {
    fn from(form: SchemaRecordForm) -> Self {
        let SchemaRecordForm { schema, created_at } = form;
        Self { schema: schema.into(), created_at }
    }
}

impl From<TableSchema> for SchemaForm {
    fn from(schema: TableSchema) -> Self {
        let TableSchema { version, columns, primary_key, next_column_id } = schema;
        Self { version, columns: columns.into_iter().map(Into::into).collect(), primary_key, next_column_id }
    }
}

impl From<SchemaForm> for TableSchema {
    fn from(form: SchemaForm) -> Self {
        let SchemaForm { version, columns, primary_key, next_column_id } = form;
        Self { version, columns: columns.into_iter().map(Into::into).collect(), primary_key, next_column_id }
    }
}

impl From<ColumnDefinition> for ColumnForm {
    fn from(column: ColumnDefinition) -> Self {
        let ColumnDefinition { id, name, column_type, nullable, default, default_text, initial } = column;
        let default = default.map(|default| match default {
            ColumnDefault::Constant(value) => DefaultForm::Constant(value),
            ColumnDefault::Function(function) => DefaultForm::Function(function),
        });
        Self { id, name, column_type, nullable, default, default_text, initial }
    }
}

impl From<ColumnForm> for ColumnDefinition {
    fn from(form: ColumnForm) -> Self {
        let ColumnForm { id, name, column_type, nullable, default, default_text, initial } = form;
        let default = default.map(|default| match default {
            DefaultForm::Constant(value) => ColumnDefault::Constant(value),
            DefaultForm::Function(function) => ColumnDefault::Function(function),
        });
        Self { id, name, column_type, nullable, default, default_text, initial }
    }
}

impl From<TableOptions> for OptionsForm {
    fn from(options: TableOptions) -> Self {
        let TableOptions { flush_interval, flush_rows, storage, sharding, path_template, access, ttl, max_rows } =
            options;
        let flush_interval = flush_interval.map(|interval| interval.map_or(IntervalForm::Off, IntervalForm::Every));
        Self { flush_interval, flush_rows, storage, sharding, path_template, access, ttl, max_rows }
    }
}

impl From<OptionsForm> for TableOptions {
    fn from(form: OptionsForm) -> Self {
        let OptionsForm { flush_interval, flush_rows, storage, sharding, path_template, access, ttl, max_rows } = form;
        let flush_interval = flush_interval.map(|interval| match interval {
            IntervalForm::Off => None,
            IntervalForm::Every(interval) => Some(interval),
        });
        Self { flush_interval, flush_rows, storage, sharding, path_template, access, ttl, max_rows }
    }
}
