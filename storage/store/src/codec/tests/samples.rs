//! One sample of every value: the golden bytes, the damage tests and the documentation are made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kalamdb_commons::{
    ColumnId, ColumnName, NamespaceId, QualifiedTableName, Role, SchemaVersion, Seq, TableId, TableName, TableType,
    UserId,
};
use kalamdb_sql::{
    ColumnDefault, ColumnDefinition, ColumnType, NamespaceDefinition, Row, TableDefinition, TableOptions, TableSchema,
    Value,
};

use crate::codec::catalog::{
    JobRecord, JobStatus, JobTrigger, JobType, SchemaRecord, StorageRecord, StorageType, UserRecord,
};
use crate::codec::changelog::{ChangeKind, LogChange, LogEntry};
use crate::codec::files::{GarbageEntry, PendingFiles, StoredFile};
use crate::codec::keys::encode_key;
use crate::codec::manifest::ManifestEntry;
use crate::codec::partition::PartitionRecord;
use crate::codec::row::{RowHeader, encode_row};

/// 2025-10-09T08:53:20Z.
pub(in crate::codec) const TIME: i64 = 1_760_000_000_000_000;
pub(in crate::codec) const TABLE: TableId = TableId(7);
pub(in crate::codec) const SEGMENT: u128 = 0x0199_c82c_c000_0123_4567_89ab_cdef_0123;

pub(in crate::codec) fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

pub(in crate::codec) fn namespace() -> NamespaceDefinition {
    NamespaceDefinition { name: NamespaceId::new("chat").unwrap(), created_at: TIME }
}

/// `id BIGINT PRIMARY KEY, text TEXT`, then `stars INT DEFAULT 0` instead of a dropped column 3.
pub(in crate::codec) fn schema() -> TableSchema {
    let column = |id, name, column_type, nullable| ColumnDefinition {
        id: ColumnId(id),
        name: ColumnName::new(name).unwrap(),
        column_type,
        nullable,
        default: None,
        default_text: None,
        initial: Value::Null,
    };
    let stars = ColumnDefinition {
        default: Some(ColumnDefault::Constant(Value::Int(0))),
        default_text: Some("0".to_owned()),
        initial: Value::Int(0),
        ..column(4, "stars", ColumnType::Int, true)
    };
    let columns = vec![column(1, "id", ColumnType::BigInt, false), column(2, "text", ColumnType::Text, true), stars];
    TableSchema { version: SchemaVersion(3), columns, primary_key: vec![ColumnId(1)], next_column_id: ColumnId(5) }
}

pub(in crate::codec) fn table() -> TableDefinition {
    let name =
        QualifiedTableName { namespace: NamespaceId::new("chat").unwrap(), table: TableName::new("messages").unwrap() };
    let options = TableOptions { flush_interval: Some(Some(Duration::from_secs(30))), ..TableOptions::default() };
    TableDefinition { id: TABLE, name, table_type: TableType::User, schema: schema(), options, created_at: TIME }
}

pub(in crate::codec) fn schema_record() -> SchemaRecord {
    SchemaRecord { schema: schema(), created_at: TIME }
}

pub(in crate::codec) fn storage() -> StorageRecord {
    StorageRecord {
        name: "archive".to_owned(),
        storage_type: StorageType::S3,
        location: "s3://bucket/kalam".to_owned(),
        user_path_template: None,
        shared_path_template: Some("{storageLocation}/{tableName}/".to_owned()),
        options: BTreeMap::from([("region".to_owned(), "eu-central-1".to_owned())]),
        created_at: TIME,
        updated_at: TIME,
    }
}

pub(in crate::codec) fn user() -> UserRecord {
    UserRecord {
        user_id: ann(),
        role: Some(Role::Service),
        username: Some("Ann".to_owned()),
        metadata: None,
        disabled: false,
        created_at: TIME,
        updated_at: TIME,
    }
}

pub(in crate::codec) fn job() -> JobRecord {
    JobRecord {
        job_id: "01K748SG0004HMASW9NF6YY093".to_owned(),
        job_type: JobType::Flush,
        status: JobStatus::Completed,
        namespace_id: Some(NamespaceId::new("chat").unwrap()),
        table_name: Some(TableName::new("messages").unwrap()),
        trigger: JobTrigger::Rows,
        rows: 10_000,
        segments: 3,
        storage_location: Some("/srv/kalam".to_owned()),
        attempts: 1,
        error: None,
        node: "kalam-1".to_owned(),
        created_at: TIME,
        started_at: Some(TIME),
        finished_at: Some(TIME + 250_000),
    }
}

pub(in crate::codec) fn pending() -> PendingFiles {
    PendingFiles { lease_generation: 12, files: vec![file()] }
}

fn file() -> StoredFile {
    StoredFile { storage: "local".to_owned(), path: "chat/users/ann/messages/a.parquet".to_owned() }
}

pub(in crate::codec) fn garbage() -> GarbageEntry {
    GarbageEntry { file: file(), bytes: 4096, retired_at: TIME }
}

pub(in crate::codec) fn partition() -> PartitionRecord {
    PartitionRecord {
        last_seq: Seq(42),
        hot_rows: 2,
        hot_tombstones: 1,
        hot_bytes: 150,
        manifest_generation: 5,
        log_begin: Seq(40),
        log_bytes: 99,
    }
}

pub(in crate::codec) fn manifest_entry() -> ManifestEntry {
    ManifestEntry {
        segment_id: SEGMENT,
        storage: "local".to_owned(),
        path: "chat/users/ann/messages/a.parquet".to_owned(),
        shard: "a".to_owned(),
        rows: 1000,
        bytes: 4096,
        schema_version: SchemaVersion(3),
        min_seq: Seq(1),
        max_seq: Seq(1000),
        min_key: encode_key(&[Value::BigInt(1)]),
        max_key: encode_key(&[Value::BigInt(1000)]),
        deleted_rows: 2,
        created_at: TIME,
        level: 1,
    }
}

pub(in crate::codec) fn row_header(deleted: bool) -> RowHeader {
    RowHeader { schema_version: SchemaVersion(3), seq: Seq(if deleted { 42 } else { 41 }), updated: TIME, deleted }
}

pub(in crate::codec) fn row() -> Row {
    vec![Value::BigInt(9), Value::Text("héy".to_owned()), Value::Null]
}

pub(in crate::codec) fn log_entry() -> LogEntry {
    let stored = Bytes::from(encode_row(&row_header(false), &schema(), &row()));
    let key = encode_key(&[Value::BigInt(9)]);
    let insert =
        LogChange { seq: Seq(41), kind: ChangeKind::Insert, key: key.clone(), old: None, new: Some(stored.clone()) };
    let delete = LogChange { seq: Seq(42), kind: ChangeKind::Delete, key, old: Some(stored), new: None };
    LogEntry { schema_version: SchemaVersion(3), committed_at: TIME, changes: vec![insert, delete] }
}
