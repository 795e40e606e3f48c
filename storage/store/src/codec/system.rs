//! Keys of family `system`: a readable name with a slash, then what tells the records of one name apart.
//!
//! | key | value |
//! |---|---|
//! | `meta/format`, `meta/database`, `meta/home`, `meta/shared`, `meta/local`, `meta/seq`, `meta/table` | [`super::meta`] |
//! | `namespace/`name, `table/`id, `schema/`id version, `storage/`name, `user/`id, `job/`id | [`super::catalog`] |
//! | `pending/`table generation number, `garbage/`generation segment | [`super::files`] |
//! | `lease/`table, `due/`table, `born/`table | [`super::meta`] |
//!
//! Ids and generations are big-endian, so that records of one name lie in their order.

use bytes::Bytes;
use kalamdb_commons::{Family, NamespaceId, SchemaVersion, TableId, UserId};

use super::corrupted;
use crate::StoreError;
use crate::backend::Partition;

const NAMESPACE: &str = "namespace/";
const TABLE: &str = "table/";
const SCHEMA: &str = "schema/";
const STORAGE: &str = "storage/";
const USER: &str = "user/";
const JOB: &str = "job/";
const PENDING: &str = "pending/";
const GARBAGE: &str = "garbage/";
const LEASE: &str = "lease/";
const DUE: &str = "due/";
const BORN: &str = "born/";

fn key(name: &str, parts: &[&[u8]]) -> Bytes {
    let mut key = name.as_bytes().to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key.into()
}

fn all(name: &str) -> Partition {
    Partition { family: Family::System, prefix: key(name, &[]) }
}

/// [`DataFormat`](super::meta::DataFormat).
#[must_use]
pub fn format_version() -> Bytes {
    Bytes::from_static(b"meta/format")
}

/// [`DatabaseId`](super::meta::DatabaseId).
#[must_use]
pub fn database_id() -> Bytes {
    Bytes::from_static(b"meta/database")
}

/// [`Home`](super::meta::Home).
#[must_use]
pub fn home() -> Bytes {
    Bytes::from_static(b"meta/home")
}

/// [`SharedBelow`](super::meta::SharedBelow).
#[must_use]
pub fn shared_below() -> Bytes {
    Bytes::from_static(b"meta/shared")
}

/// [`LocalLocation`](super::meta::LocalLocation).
#[must_use]
pub fn local_location() -> Bytes {
    Bytes::from_static(b"meta/local")
}

/// [`SeqBlock`](super::meta::SeqBlock).
#[must_use]
pub fn seq_reserved() -> Bytes {
    Bytes::from_static(b"meta/seq")
}

/// [`NextTableId`](super::meta::NextTableId).
#[must_use]
pub fn next_table_id() -> Bytes {
    Bytes::from_static(b"meta/table")
}

/// A namespace.
#[must_use]
pub fn namespace(name: &NamespaceId) -> Bytes {
    key(NAMESPACE, &[name.as_str().as_bytes()])
}

/// All namespaces.
#[must_use]
pub fn namespaces() -> Partition {
    all(NAMESPACE)
}

/// A table's current definition.
#[must_use]
pub fn table(id: TableId) -> Bytes {
    key(TABLE, &[&id.0.to_be_bytes()])
}

/// All tables' current definitions, by id.
#[must_use]
pub fn tables() -> Partition {
    all(TABLE)
}

/// One version of a table's columns.
#[must_use]
pub fn schema(id: TableId, version: SchemaVersion) -> Bytes {
    key(SCHEMA, &[&id.0.to_be_bytes(), &version.0.to_be_bytes()])
}

/// All versions of a table's columns, oldest first.
#[must_use]
pub fn schemas_of(id: TableId) -> Partition {
    Partition { family: Family::System, prefix: key(SCHEMA, &[&id.0.to_be_bytes()]) }
}

/// All versions of all tables' columns.
#[must_use]
pub fn schemas() -> Partition {
    all(SCHEMA)
}

/// Which table and version a key of [`schemas`] is.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn split_schema_key(bytes: &[u8]) -> Result<(TableId, SchemaVersion), StoreError> {
    let parts = bytes.strip_prefix(SCHEMA.as_bytes()).and_then(<[u8]>::split_first_chunk);
    match parts.map(|(id, version)| (*id, version.try_into())) {
        Some((id, Ok(version))) => Ok((TableId(u64::from_be_bytes(id)), SchemaVersion(u32::from_be_bytes(version)))),
        Some((_, Err(_))) | None => Err(corrupted("schema key", "not a table id and a version")),
    }
}

/// A storage.
#[must_use]
pub fn storage(name: &str) -> Bytes {
    key(STORAGE, &[name.as_bytes()])
}

/// All storages.
#[must_use]
pub fn storages() -> Partition {
    all(STORAGE)
}

/// A user's row in `system.users`.
#[must_use]
pub fn user(id: &UserId) -> Bytes {
    key(USER, &[id.as_str().as_bytes()])
}

/// All users that have a row.
#[must_use]
pub fn users() -> Partition {
    all(USER)
}

/// A job, by its ULID in text.
#[must_use]
pub fn job(id: &str) -> Bytes {
    key(JOB, &[id.as_bytes()])
}

/// All jobs, oldest first.
#[must_use]
pub fn jobs() -> Partition {
    all(JOB)
}

/// A file that a flush or compaction is about to write: `number` tells apart those of one lease.
#[must_use]
pub fn pending_files(table: TableId, lease_generation: u64, number: u32) -> Bytes {
    key(PENDING, &[&table.0.to_be_bytes(), &lease_generation.to_be_bytes(), &number.to_be_bytes()])
}

/// All pending files of a table.
#[must_use]
pub fn pending_files_of(table: TableId) -> Partition {
    Partition { family: Family::System, prefix: key(PENDING, &[&table.0.to_be_bytes()]) }
}

/// All pending files.
#[must_use]
pub fn all_pending_files() -> Partition {
    all(PENDING)
}

/// Which table, lease generation and number a key of [`all_pending_files`] is.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn split_pending_key(bytes: &[u8]) -> Result<(TableId, u64, u32), StoreError> {
    let parts = bytes.strip_prefix(PENDING.as_bytes()).and_then(|rest| {
        let (table, rest) = rest.split_first_chunk()?;
        let (generation, number) = rest.split_first_chunk()?;
        Some((*table, *generation, number.try_into().ok()?))
    });
    let (table, generation, number) =
        parts.ok_or_else(|| corrupted("pending files key", "not a table id, a generation and a number"))?;
    Ok((TableId(u64::from_be_bytes(table)), u64::from_be_bytes(generation), u32::from_be_bytes(number)))
}

/// A file to delete once nobody pins a manifest generation older than `generation`, the one that does not
/// name it any more.
#[must_use]
pub fn garbage(generation: u64, segment: u128) -> Bytes {
    key(GARBAGE, &[&generation.to_be_bytes(), &segment.to_be_bytes()])
}

/// All files to delete, oldest generation first.
#[must_use]
pub fn all_garbage() -> Partition {
    all(GARBAGE)
}

/// Which generation and segment a key of [`all_garbage`] is.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn split_garbage_key(bytes: &[u8]) -> Result<(u64, u128), StoreError> {
    let parts = bytes.strip_prefix(GARBAGE.as_bytes()).and_then(<[u8]>::split_first_chunk);
    match parts.map(|(generation, segment)| (*generation, segment.try_into())) {
        Some((generation, Ok(segment))) => Ok((u64::from_be_bytes(generation), u128::from_be_bytes(segment))),
        Some((_, Err(_))) | None => Err(corrupted("garbage key", "not a generation and a segment")),
    }
}

/// When a table was made: [`TableBorn`](super::meta::TableBorn).
#[must_use]
pub fn table_born(table: TableId) -> Bytes {
    key(BORN, &[&table.0.to_be_bytes()])
}

/// A table's flush lease.
#[must_use]
pub fn flush_lease(table: TableId) -> Bytes {
    key(LEASE, &[&table.0.to_be_bytes()])
}

/// When a table's next flush is due.
#[must_use]
pub fn flush_due(table: TableId) -> Bytes {
    key(DUE, &[&table.0.to_be_bytes()])
}

/// When the next flush is due, for all tables.
#[must_use]
pub fn flushes_due() -> Partition {
    all(DUE)
}

/// Whose schedule a key of [`flushes_due`] is.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn split_due_key(bytes: &[u8]) -> Result<TableId, StoreError> {
    let id = bytes.strip_prefix(DUE.as_bytes()).and_then(|rest| rest.try_into().ok());
    id.map(|id| TableId(u64::from_be_bytes(id))).ok_or_else(|| corrupted("flush schedule key", "not a table id"))
}
