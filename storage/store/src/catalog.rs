//! The catalog on disk: namespaces, tables with every version of their columns, storages, users.
//!
//! Only reads and batches; who may change what, and when, is the `CatalogActor`'s business.

use std::collections::HashMap;
use std::sync::Arc;

use kalamdb_commons::{Family, NamespaceId, Result, SchemaVersion, Seq, TableId, UserId};
use kalamdb_sql::{NamespaceDefinition, TableDefinition, TableSchema};

use crate::backend::{Batch, Direction, Entry, Partition, ScanRequest, StorageBackend};
use crate::codec::catalog::{
    SchemaRecord, StorageRecord, UserRecord, decode_namespace, decode_table, encode_namespace, encode_table,
};
use crate::codec::meta::{NextTableId, TableBorn};
use crate::codec::{keys, system};

const SCAN_LIMIT: usize = 1024;
const SCAN_BYTES: usize = 4 << 20;

/// Everything the catalog holds.
#[derive(Debug, Default)]
pub struct CatalogData {
    /// All namespaces.
    pub namespaces: Vec<NamespaceDefinition>,
    /// All tables as they are now.
    pub tables: Vec<TableDefinition>,
    /// Every version of every table, for rows written under it.
    pub schemas: HashMap<(TableId, SchemaVersion), Arc<TableSchema>>,
    /// All storages but `local`, which is the settings'.
    pub storages: Vec<StorageRecord>,
    /// All users with a row of their own.
    pub users: Vec<UserRecord>,
    /// The id the next table gets.
    pub next_table_id: TableId,
}

/// Reads the whole catalog.
///
/// # Errors
/// When the backend cannot be read, or a value does not decode.
pub async fn load(backend: &dyn StorageBackend) -> Result<CatalogData> {
    let mut data = CatalogData { next_table_id: TableId(1), ..CatalogData::default() };
    for (_, value) in scan_all(backend, system::namespaces()).await? {
        data.namespaces.push(decode_namespace(&value)?);
    }
    for (_, value) in scan_all(backend, system::tables()).await? {
        data.tables.push(decode_table(&value)?);
    }
    for (key, value) in scan_all(backend, system::schemas()).await? {
        let (table, _) = system::split_schema_key(&key)?;
        let schema = SchemaRecord::decode(&value)?.schema;
        data.schemas.insert((table, schema.version), Arc::new(schema));
    }
    for (_, value) in scan_all(backend, system::storages()).await? {
        data.storages.push(StorageRecord::decode(&value)?);
    }
    for (_, value) in scan_all(backend, system::users()).await? {
        data.users.push(UserRecord::decode(&value)?);
    }
    let values = backend.get_many(Family::System, &[system::next_table_id()]).await?;
    if let Some(value) = values.first().and_then(Option::as_ref) {
        data.next_table_id = NextTableId::decode(value)?.0;
    }
    Ok(data)
}

/// Adds a namespace to a batch.
pub fn put_namespace(batch: &mut Batch, namespace: &NamespaceDefinition) {
    batch.put(Family::System, system::namespace(&namespace.name), encode_namespace(namespace));
}

/// Removes a namespace.
pub fn delete_namespace(batch: &mut Batch, name: &NamespaceId) {
    batch.delete(Family::System, system::namespace(name));
}

/// Adds a table's present definition and its version of the columns; `next_table_id` as it is afterwards.
pub fn put_table(batch: &mut Batch, table: &TableDefinition, next_table_id: TableId, now: i64) {
    let version = SchemaRecord { schema: table.schema.clone(), created_at: now };
    batch.put(Family::System, system::table(table.id), encode_table(table));
    batch.put(Family::System, system::schema(table.id, table.schema.version), version.encode());
    batch.put(Family::System, system::next_table_id(), NextTableId(next_table_id).encode());
}

/// Notes when a new table was made: `born` was taken for it, so nobody was told of it before.
pub fn put_birth(batch: &mut Batch, id: TableId, born: Seq) {
    batch.put(Family::System, system::table_born(id), TableBorn(born).encode());
}

/// Removes a table with all of its data.
pub fn delete_table(batch: &mut Batch, id: TableId) {
    batch.delete(Family::System, system::table(id));
    batch.delete(Family::System, system::table_born(id));
    batch.delete_range(system::schemas_of(id).range());
    batch.delete_range(keys::rows_table(id).range());
    batch.delete_range(keys::log_table(id).range());
    batch.delete_range(keys::manifest_table(id).range());
}

/// Adds a storage, or puts it in place of the one of that name.
pub fn put_storage(batch: &mut Batch, storage: &StorageRecord) {
    batch.put(Family::System, system::storage(&storage.name), storage.encode());
}

/// Removes a storage; nothing is done to what lies in it.
pub fn delete_storage(batch: &mut Batch, name: &str) {
    batch.delete(Family::System, system::storage(name));
}

/// Adds a user's row, or puts it in place of the one that is there.
pub fn put_user(batch: &mut Batch, user: &UserRecord) {
    batch.put(Family::System, system::user(&user.user_id), user.encode());
}

/// Removes a user's row.
pub fn delete_user(batch: &mut Batch, id: &UserId) {
    batch.delete(Family::System, system::user(id));
}

async fn scan_all(backend: &dyn StorageBackend, space: Partition) -> Result<Vec<Entry>> {
    let snapshot = backend.snapshot().await?;
    let mut entries = Vec::new();
    let mut rest = Some(space.range());
    while let Some(range) = rest {
        let chunk = snapshot
            .scan(ScanRequest { range, direction: Direction::Forward, limit: SCAN_LIMIT, max_bytes: SCAN_BYTES })
            .await?;
        entries.extend(chunk.entries.owned());
        rest = chunk.rest;
    }
    Ok(entries)
}
