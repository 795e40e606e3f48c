//! The catalog in memory: an unchanging snapshot that statements read without asking anybody.
//!
//! The `CatalogActor` is its only writer: it writes the backend, swaps the snapshot, then answers.

mod alter;
mod storages;
mod tables;
mod users;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use imbl::OrdMap;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{
    Error, ErrorCode, NamespaceId, QualifiedTableName, Result, SchemaVersion, TableId, TableType, UserId,
};
use kalamdb_sql::{Access, NamespaceDefinition, TableDefinition, TableSchema};
use kalamdb_store::StreamBounds;
use kalamdb_store::catalog::CatalogData;
use kalamdb_store::codec::catalog::{StorageRecord, UserRecord};

pub(crate) use alter::altered;
pub(crate) use storages::{altered_storage, check_table_storage, missing as missing_storage, new_storage, same_place};
pub(crate) use tables::Tables;
pub(crate) use users::warn_of_localhost_user;

/// A table with every version of its columns.
#[derive(Debug, Clone)]
pub(crate) struct TableEntry {
    pub(crate) definition: TableDefinition,
    /// The columns now.
    pub(crate) schema: Arc<TableSchema>,
    /// Every version that a stored row may have been written under.
    pub(crate) versions: HashMap<SchemaVersion, Arc<TableSchema>>,
}

impl TableEntry {
    pub(crate) fn new(definition: TableDefinition, mut versions: HashMap<SchemaVersion, Arc<TableSchema>>) -> Self {
        let schema = Arc::new(definition.schema.clone());
        versions.insert(schema.version, Arc::clone(&schema));
        Self { definition, schema, versions }
    }

    pub(crate) fn id(&self) -> TableId {
        self.definition.id
    }

    pub(crate) fn table_type(&self) -> TableType {
        self.definition.table_type
    }

    /// How long the rows of a stream table live, and how many a user may have; none for another table.
    pub(crate) fn stream_bounds(&self, settings: &Settings) -> Option<StreamBounds> {
        if self.table_type() != TableType::Stream {
            return None;
        }
        let options = &self.definition.options;
        let ttl = options.ttl.unwrap_or(settings.stream.default_ttl).as_micros();
        let max_rows = options.max_rows.unwrap_or(settings.stream.max_rows_per_user);
        Some(StreamBounds { ttl: i64::try_from(ttl).unwrap_or(i64::MAX), max_rows })
    }

    pub(crate) fn access(&self) -> Access {
        self.definition.options.access.unwrap_or_default()
    }
}

/// All namespaces, tables, storages and users at one instant.
#[derive(Debug, Clone, Default)]
pub(crate) struct CatalogSnapshot {
    pub(crate) namespaces: BTreeMap<NamespaceId, NamespaceDefinition>,
    pub(crate) tables: Tables,
    /// All but `local`.
    pub(crate) storages: BTreeMap<String, Arc<StorageRecord>>,
    /// Those with a row. There may be as many as there are people: a copy of the snapshot shares them.
    pub(crate) users: OrdMap<UserId, Arc<UserRecord>>,
    pub(crate) next_table_id: TableId,
}

impl CatalogSnapshot {
    pub(crate) fn from_data(data: CatalogData) -> Self {
        let mut versions: HashMap<TableId, HashMap<SchemaVersion, Arc<TableSchema>>> = HashMap::new();
        for ((table, version), schema) in data.schemas {
            versions.entry(table).or_default().insert(version, schema);
        }
        let tables = data.tables.into_iter().map(|definition| {
            let known = versions.remove(&definition.id).unwrap_or_default();
            Arc::new(TableEntry::new(definition, known))
        });
        Self {
            namespaces: data.namespaces.into_iter().map(|namespace| (namespace.name.clone(), namespace)).collect(),
            tables: tables.collect(),
            storages: data.storages.into_iter().map(|storage| (storage.name.clone(), Arc::new(storage))).collect(),
            users: data.users.into_iter().map(|user| (user.user_id.clone(), Arc::new(user))).collect(),
            next_table_id: data.next_table_id,
        }
    }

    /// Finds a table; the error tells a missing namespace from a missing table.
    pub(crate) fn table(&self, name: &QualifiedTableName) -> Result<&Arc<TableEntry>> {
        if let Some(entry) = self.tables.get(name) {
            return Ok(entry);
        }
        self.require_namespace(&name.namespace)?;
        Err(Error::new(ErrorCode::TableNotFound, format!("Table '{name}' does not exist.")))
    }

    /// The table of an id, unless it is gone.
    pub(crate) fn table_of(&self, id: TableId) -> Option<&Arc<TableEntry>> {
        self.tables.of_id(id)
    }

    /// The error of FR-038 and FR-039 when the namespace is missing.
    pub(crate) fn require_namespace(&self, name: &NamespaceId) -> Result<()> {
        if self.namespaces.contains_key(name) {
            return Ok(());
        }
        let advice = match name.as_str() {
            "user" => "It is no name of one: the word stands between a namespace and a table.",
            _ if name.is_reserved() => "The name is the server's own: it cannot be created.",
            _ => "Create it first with CREATE NAMESPACE.",
        };
        Err(Error::new(ErrorCode::NamespaceNotFound, format!("Namespace '{name}' does not exist. {advice}")))
    }

    /// The tables of a namespace, by name.
    pub(crate) fn tables_in<'a>(&'a self, namespace: &'a NamespaceId) -> impl Iterator<Item = &'a Arc<TableEntry>> {
        self.tables.values().filter(move |entry| &entry.definition.name.namespace == namespace)
    }
}
