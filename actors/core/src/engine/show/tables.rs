//! Each table made by the server: a schema and a row source.

use kalamdb_commons::settings::SettingKey;
use kalamdb_commons::{NamespaceId, Role, SystemTable, format_duration};
use kalamdb_segments::is_secret_option;
use kalamdb_sql::{ColumnType, Row, TableOptions, TableSchema, Value};
use kalamdb_store::codec::catalog::{StorageRecord, StorageType, UserRecord};

use super::super::context::StatementContext;
use super::super::plans::PlanRow;
use super::super::rows::RowColumn;
use super::super::sessions::SessionRow;
use super::stored::StoredTable;
use super::{INFORMATION_SCHEMA, SYSTEM, is_visible, text};
use crate::segments::LOCAL_STORAGE;

/// What is shown of a credential.
const MASK: &str = "***";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VirtualTable {
    System(SystemTable),
    InformationTables,
    InformationColumns,
}

/// The system tables that there are so far.
const SYSTEM_TABLES: [SystemTable; 11] = [
    SystemTable::Namespaces,
    SystemTable::Tables,
    SystemTable::TableSchemas,
    SystemTable::Storages,
    SystemTable::Users,
    SystemTable::Sessions,
    SystemTable::Jobs,
    SystemTable::Segments,
    SystemTable::LiveQueries,
    SystemTable::PlanCache,
    SystemTable::Settings,
];

impl VirtualTable {
    pub(super) fn find(namespace: &str, name: &str) -> Option<Self> {
        match (namespace, name) {
            (SYSTEM, name) => {
                SystemTable::from_name(name).filter(|table| SYSTEM_TABLES.contains(table)).map(Self::System)
            }
            (INFORMATION_SCHEMA, "tables") => Some(Self::InformationTables),
            (INFORMATION_SCHEMA, "columns") => Some(Self::InformationColumns),
            _ => None,
        }
    }

    pub(super) fn names(namespace: &str) -> impl Iterator<Item = &'static str> + use<> {
        let all: Vec<&'static str> = match namespace {
            SYSTEM => SYSTEM_TABLES.iter().map(|table| table.as_str()).collect(),
            INFORMATION_SCHEMA => vec!["tables", "columns"],
            _ => Vec::new(),
        };
        all.into_iter()
    }

    /// The table whose rows lie in the backend, if it is one.
    pub(super) fn stored(self) -> Option<StoredTable> {
        match self {
            Self::System(SystemTable::Jobs) => Some(StoredTable::Jobs),
            Self::System(SystemTable::Segments) => Some(StoredTable::Segments),
            Self::System(_) | Self::InformationTables | Self::InformationColumns => None,
        }
    }

    pub(super) fn columns(self) -> Vec<RowColumn> {
        if let Some(stored) = self.stored() {
            return stored.columns();
        }
        use ColumnType::{BigInt, Boolean, Int, Json, Text, Timestamp};
        let list: &[(&str, ColumnType, bool)] = match self {
            Self::System(SystemTable::Namespaces) => &[("namespace_id", Text, false), ("created_at", Timestamp, false)],
            Self::System(SystemTable::Tables) => &[
                ("table_id", BigInt, false),
                ("namespace_id", Text, false),
                ("table_name", Text, false),
                ("table_type", Text, false),
                ("schema_version", Int, false),
                ("options", Json, false),
                ("created_at", Timestamp, false),
            ],
            Self::System(SystemTable::Storages) => &[
                ("storage_name", Text, false),
                ("storage_type", Text, false),
                ("location", Text, false),
                ("user_path_template", Text, false),
                ("shared_path_template", Text, false),
                ("options", Json, false),
                ("created_at", Timestamp, true),
                ("updated_at", Timestamp, true),
            ],
            Self::System(SystemTable::Users) => &[
                ("user_id", Text, false),
                ("username", Text, true),
                ("role", Text, true),
                ("disabled", Boolean, false),
                ("metadata", Json, true),
                ("created_at", Timestamp, false),
                ("updated_at", Timestamp, false),
            ],
            Self::System(SystemTable::LiveQueries) => &[
                ("live_id", Text, false),
                ("connection_id", Text, false),
                ("query_id", Text, false),
                ("user_id", Text, false),
                ("namespace_id", Text, false),
                ("table_name", Text, false),
                ("query", Text, false),
                ("options", Json, false),
                ("changes", BigInt, false),
                ("created_at", Timestamp, false),
                ("last_update_at", Timestamp, true),
                ("node", Text, false),
            ],
            Self::System(SystemTable::Sessions) => &[
                ("user_id", Text, false),
                ("registrations", BigInt, false),
                ("hits", BigInt, false),
                ("misses", BigInt, false),
                ("evictions", BigInt, false),
                ("created_at", Timestamp, false),
                ("last_active_at", Timestamp, false),
            ],
            Self::System(SystemTable::PlanCache) => &[
                ("sql", Text, false),
                ("hits", BigInt, false),
                ("compilations", BigInt, false),
                ("schema_versions", Text, false),
                ("bytes", BigInt, false),
                ("created_at", Timestamp, false),
                ("last_used_at", Timestamp, false),
            ],
            Self::System(SystemTable::Settings) => &[("name", Text, false), ("value", Text, true)],
            // The two that are stored have theirs beside their rows.
            Self::System(SystemTable::TableSchemas | SystemTable::Jobs | SystemTable::Segments) => &[
                ("table_id", BigInt, false),
                ("namespace_id", Text, false),
                ("table_name", Text, false),
                ("schema_version", Int, false),
                ("is_current", Boolean, false),
                ("columns", Json, false),
            ],
            Self::InformationTables => &[
                ("table_catalog", Text, false),
                ("table_schema", Text, false),
                ("table_name", Text, false),
                ("table_type", Text, false),
            ],
            Self::InformationColumns => &[
                ("table_catalog", Text, false),
                ("table_schema", Text, false),
                ("table_name", Text, false),
                ("column_name", Text, false),
                ("ordinal_position", Int, false),
                ("column_default", Text, true),
                ("is_nullable", Text, false),
                ("data_type", Text, false),
            ],
        };
        list.iter().map(|(name, column_type, nullable)| RowColumn::new(*name, *column_type, *nullable)).collect()
    }

    pub(super) fn rows(self, context: &StatementContext) -> Vec<Row> {
        match self {
            Self::System(SystemTable::Namespaces) => namespaces(context),
            Self::System(SystemTable::Tables) => tables(context),
            Self::System(SystemTable::Users) => users(context),
            Self::System(SystemTable::Storages) => storages(context),
            Self::System(SystemTable::LiveQueries) => live_queries(context),
            Self::System(SystemTable::Sessions) => sessions(context),
            Self::System(SystemTable::PlanCache) => plan_cache(context),
            Self::System(SystemTable::Settings) => settings(context),
            Self::System(SystemTable::TableSchemas) => table_schemas(context),
            Self::System(SystemTable::Jobs | SystemTable::Segments) => Vec::new(),
            Self::InformationTables => information_tables(context),
            Self::InformationColumns => information_columns(context),
        }
    }
}

fn namespaces(context: &StatementContext) -> Vec<Row> {
    let all = context.catalog.namespaces.values();
    all.map(|namespace| vec![text(namespace.name.as_str()), Value::Timestamp(namespace.created_at)]).collect()
}

fn tables(context: &StatementContext) -> Vec<Row> {
    let row = |entry: &std::sync::Arc<crate::catalog::TableEntry>| {
        let definition = &entry.definition;
        vec![
            number(definition.id.0),
            text(definition.name.namespace.as_str()),
            text(definition.name.table.as_str()),
            text(definition.table_type.as_str()),
            version(&definition.schema),
            Value::Json(options(&definition.options)),
            Value::Timestamp(definition.created_at),
        ]
    };
    context.catalog.tables.values().map(row).collect()
}

/// Each as WITH takes it; those that the table was not given are NULL.
fn options(options: &TableOptions) -> String {
    let TableOptions { flush_interval, flush_rows, storage, sharding, path_template, access, ttl, max_rows } = options;
    let interval = flush_interval.map(|interval| interval.map_or_else(|| "off".to_owned(), format_duration));
    serde_json::json!({
        "flush_interval": interval,
        "flush_rows": flush_rows,
        "storage": storage,
        "sharding": sharding,
        "path_template": path_template,
        "access": access,
        "ttl": ttl.map(format_duration),
        "max_rows": max_rows,
    })
    .to_string()
}

/// `local`, then all others by name. Nobody is shown a credential.
pub(super) fn storages(context: &StatementContext) -> Vec<Row> {
    let settings = &context.runtime.settings().storage;
    let local = vec![
        text(LOCAL_STORAGE),
        text(StorageType::Filesystem.as_str()),
        text(&context.runtime.segments().local_root().display().to_string()),
        text(&settings.user_path_template),
        text(&settings.shared_path_template),
        Value::Json("{}".to_owned()),
        Value::Null,
        Value::Null,
    ];
    let row = |storage: &std::sync::Arc<StorageRecord>| {
        let shown = storage.options.iter().map(|(name, value)| {
            let value = if is_secret_option(name) { MASK } else { value.as_str() };
            (name.clone(), serde_json::Value::from(value))
        });
        let template = |own: Option<&String>, default: &str| text(own.map_or(default, String::as_str));
        vec![
            text(&storage.name),
            text(storage.storage_type.as_str()),
            text(&storage.location),
            template(storage.user_path_template.as_ref(), &settings.user_path_template),
            template(storage.shared_path_template.as_ref(), &settings.shared_path_template),
            Value::Json(serde_json::Value::Object(shown.collect()).to_string()),
            Value::Timestamp(storage.created_at),
            Value::Timestamp(storage.updated_at),
        ]
    };
    std::iter::once(local).chain(context.catalog.storages.values().map(row)).collect()
}

fn users(context: &StatementContext) -> Vec<Row> {
    let maybe =
        |text: Option<&str>, value: fn(String) -> Value| text.map_or(Value::Null, |text| value(text.to_owned()));
    let row = |user: &std::sync::Arc<UserRecord>| {
        vec![
            text(user.user_id.as_str()),
            maybe(user.username.as_deref(), Value::Text),
            maybe(user.role.map(Role::as_str), Value::Text),
            Value::Boolean(user.disabled),
            maybe(user.metadata.as_deref(), Value::Json),
            Value::Timestamp(user.created_at),
            Value::Timestamp(user.updated_at),
        ]
    };
    context.catalog.users.values().map(row).collect()
}

fn live_queries(context: &StatementContext) -> Vec<Row> {
    let row = |live: kalamdb_live::LiveRow| {
        vec![
            Value::Text(live.live_id),
            Value::Text(live.connection_id),
            Value::Text(live.query_id),
            text(live.user_id.as_str()),
            Value::Text(live.namespace),
            Value::Text(live.table),
            Value::Text(live.query),
            Value::Json(live.options),
            number(live.changes),
            Value::Timestamp(live.created_at),
            live.last_update_at.map_or(Value::Null, Value::Timestamp),
            text(crate::status::NODE),
        ]
    };
    context.runtime.live_hub().map(|hub| hub.rows().into_iter().map(row).collect()).unwrap_or_default()
}

fn sessions(context: &StatementContext) -> Vec<Row> {
    let row = |session: SessionRow| {
        vec![
            text(session.user_id.as_str()),
            number(session.registrations),
            number(session.hits),
            number(session.misses),
            number(session.evictions),
            Value::Timestamp(session.created_at),
            Value::Timestamp(session.last_active_at),
        ]
    };
    context.runtime.sessions().rows().into_iter().map(row).collect()
}

fn plan_cache(context: &StatementContext) -> Vec<Row> {
    let row = |plan: PlanRow| {
        vec![
            text(&plan.sql),
            number(plan.hits),
            number(plan.compilations),
            Value::Text(plan.schema_versions),
            number(plan.bytes),
            Value::Timestamp(plan.created_at),
            Value::Timestamp(plan.last_used_at),
        ]
    };
    context.runtime.plans().rows().into_iter().map(row).collect()
}

/// As they are in force; secrets are masked.
fn settings(context: &StatementContext) -> Vec<Row> {
    let settings = context.runtime.settings();
    let row = |key: &SettingKey| vec![text(key.name), key.show(settings).map_or(Value::Null, Value::Text)];
    SettingKey::ALL.iter().map(row).collect()
}

fn table_schemas(context: &StatementContext) -> Vec<Row> {
    let mut rows = Vec::new();
    for entry in context.catalog.tables.values() {
        let mut versions: Vec<_> = entry.versions.values().collect();
        versions.sort_by_key(|schema| schema.version);
        for schema in versions {
            let columns: Vec<serde_json::Value> = schema
                .columns
                .iter()
                .map(|column| {
                    serde_json::json!({
                        "id": column.id.0,
                        "name": column.name.as_str(),
                        "type": column.column_type.to_string(),
                        "nullable": column.nullable,
                        "default": column.default_text,
                        "primary_key": schema.primary_key.contains(&column.id),
                    })
                })
                .collect();
            rows.push(vec![
                number(entry.id().0),
                text(entry.definition.name.namespace.as_str()),
                text(entry.definition.name.table.as_str()),
                version(schema),
                Value::Boolean(schema.version == entry.schema.version),
                Value::Json(serde_json::Value::from(columns).to_string()),
            ]);
        }
    }
    rows
}

/// What `information_schema` knows of a table: catalog, namespace, name, kind, columns.
struct Listed {
    names: [Value; 3],
    table_type: &'static str,
    columns: Vec<Row>,
}

fn listed(context: &StatementContext) -> Vec<Listed> {
    let mut all = Vec::new();
    for entry in context.catalog.tables.values().filter(|entry| is_visible(context, entry)) {
        let name = &entry.definition.name;
        let columns = entry.schema.columns.iter().enumerate().map(|(at, column)| {
            let default = column.default_text.as_deref().map_or(Value::Null, text);
            column_row(at, column.name.as_str(), default, column.nullable, column.column_type)
        });
        all.push(Listed {
            names: [text(NamespaceId::CATALOG), text(name.namespace.as_str()), text(name.table.as_str())],
            table_type: "BASE TABLE",
            columns: columns.collect(),
        });
    }
    let mut made = vec![INFORMATION_SCHEMA];
    if context.identity.role != Role::User {
        made.push(SYSTEM);
    }
    for namespace in made {
        let catalog = if namespace == SYSTEM { SYSTEM } else { NamespaceId::CATALOG };
        for table in
            VirtualTable::names(namespace).filter_map(|name| Some((name, VirtualTable::find(namespace, name)?)))
        {
            let columns = table
                .1
                .columns()
                .into_iter()
                .enumerate()
                .map(|(at, column)| column_row(at, &column.name, Value::Null, column.nullable, column.column_type));
            all.push(Listed {
                names: [text(catalog), text(namespace), text(table.0)],
                table_type: "VIEW",
                columns: columns.collect(),
            });
        }
    }
    all
}

fn column_row(at: usize, name: &str, default: Value, nullable: bool, column_type: ColumnType) -> Row {
    vec![
        text(name),
        Value::Int(i32::try_from(at + 1).unwrap_or(i32::MAX)),
        default,
        text(if nullable { "YES" } else { "NO" }),
        text(&column_type.to_string()),
    ]
}

fn information_tables(context: &StatementContext) -> Vec<Row> {
    let row = |table: Listed| {
        let mut row = table.names.to_vec();
        row.push(text(table.table_type));
        row
    };
    listed(context).into_iter().map(row).collect()
}

fn information_columns(context: &StatementContext) -> Vec<Row> {
    let rows = |table: Listed| {
        let names = table.names;
        table.columns.into_iter().map(move |column| names.iter().cloned().chain(column).collect())
    };
    listed(context).into_iter().flat_map(rows).collect()
}

fn number(number: u64) -> Value {
    Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

fn version(schema: &TableSchema) -> Value {
    Value::Int(i32::try_from(schema.version.0).unwrap_or(i32::MAX))
}
