//! A table `(id BIGINT PRIMARY KEY, name TEXT)` and a committer over some backend.

use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::{ColumnId, ColumnName, ErrorCode, Family, SchemaVersion, Seq, TableId, UserId};
use kalamdb_sql::{ColumnDefinition, ColumnType, TableSchema, Value};
use kalamdb_store::codec::changelog::LogEntry;
use kalamdb_store::codec::keys;
use kalamdb_store::codec::partition::PartitionRecord;
use kalamdb_store::codec::row::{RowHeader, decode_row};
use kalamdb_store::{
    Changes, CommitError, Committed, Committer, Direction, PartitionId, RowChange, SegmentsRead, SyncMode,
};
use tokio::task::JoinSet;

use crate::support::{Backend, scan};

pub(crate) const TABLE: TableId = TableId(7);
pub(crate) const NOW: i64 = 1_700_000_000_000_000;

pub(crate) struct Fixture {
    pub(crate) backend: Backend,
    pub(crate) committer: Arc<Committer>,
    pub(crate) schema: Arc<TableSchema>,
    tasks: JoinSet<()>,
}

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) key: Vec<u8>,
    pub(crate) header: RowHeader,
    pub(crate) row: Vec<Value>,
    pub(crate) stored: Bytes,
}

impl Fixture {
    pub(crate) async fn new(backend: Backend, mode: SyncMode) -> Self {
        let committer = Committer::open(Arc::clone(&backend), mode).await.unwrap();
        let schema = schema();
        Self { backend, committer, schema: Arc::new(schema), tasks: JoinSet::new() }
    }

    /// As the server runs it.
    pub(crate) async fn with_syncer(backend: Backend, mode: SyncMode) -> Self {
        let mut fixture = Self::new(backend, mode).await;
        fixture.tasks.spawn(Arc::clone(&fixture.committer).run_syncer());
        fixture
    }

    pub(crate) fn changes(&self, base: Option<Seq>, rows: Vec<RowChange>) -> Changes {
        Changes { schema: Arc::clone(&self.schema), base, log: true, now: NOW, segments: SegmentsRead::default(), rows }
    }

    /// Takes the partition and commits; does not wait for the sync.
    pub(crate) async fn commit(
        &self,
        partition: &PartitionId,
        base: Option<Seq>,
        rows: Vec<RowChange>,
    ) -> Result<Committed, CommitError> {
        self.committer.begin(partition.clone()).await.commit(self.changes(base, rows)).await
    }

    /// Inserts one row each.
    pub(crate) async fn insert(&self, partition: &PartitionId, ids: impl IntoIterator<Item = i64>) -> Vec<Seq> {
        let rows = ids.into_iter().map(|id| insert(id, "new")).collect();
        self.commit(partition, None, rows).await.unwrap().seqs
    }

    /// Every stored row of a partition, tombstones too.
    pub(crate) async fn rows(&self, partition: &PartitionId) -> Vec<Found> {
        let space = keys::rows_partition(partition.table, partition.user.as_ref());
        let snapshot = self.backend.snapshot().await.unwrap();
        let entries = scan(&*snapshot, space.range(), Direction::Forward, 1000).await;
        let found = entries.into_iter().map(|(key, stored)| {
            let (header, row) = decode_row(&stored, &self.schema).unwrap();
            Found { key: key[space.prefix.len()..].to_vec(), header, row, stored }
        });
        found.collect()
    }

    /// The live row of an id.
    pub(crate) async fn row(&self, partition: &PartitionId, id: i64) -> Option<Found> {
        let rows = self.rows(partition).await;
        rows.into_iter().find(|found| found.key == key(id) && !found.header.deleted)
    }

    pub(crate) async fn record(&self, partition: &PartitionId) -> PartitionRecord {
        let key = keys::partition_record_key(partition.table, partition.user.as_ref());
        let value = self.backend.get_many(Family::Manifest, &[key]).await.unwrap().remove(0);
        value.map(|bytes| PartitionRecord::decode(&bytes).unwrap()).unwrap_or_default()
    }

    /// The change log of a partition, by the `_seq` in its keys.
    pub(crate) async fn log(&self, partition: &PartitionId) -> Vec<(Seq, LogEntry)> {
        let space = keys::log_partition(partition.table, partition.user.as_ref());
        let snapshot = self.backend.snapshot().await.unwrap();
        let entries = scan(&*snapshot, space.range(), Direction::Forward, 1000).await;
        let decoded = entries
            .iter()
            .map(|(key, value)| (keys::decode_log_key(&space, key).unwrap(), LogEntry::decode(value).unwrap()));
        decoded.collect()
    }
}

/// `(id BIGINT PRIMARY KEY, name TEXT)`
pub(crate) fn schema() -> TableSchema {
    let column = |id: u32, name: &str, column_type, nullable| ColumnDefinition {
        id: ColumnId(id),
        name: ColumnName::new(name).unwrap(),
        column_type,
        nullable,
        default: None,
        default_text: None,
        initial: Value::Null,
    };
    TableSchema {
        version: SchemaVersion::FIRST,
        columns: vec![column(1, "id", ColumnType::BigInt, false), column(2, "name", ColumnType::Text, true)],
        primary_key: vec![ColumnId(1)],
        next_column_id: ColumnId(3),
    }
}

pub(crate) fn partition(user: &str) -> PartitionId {
    PartitionId { table: TABLE, user: Some(UserId::new(user).unwrap()) }
}

pub(crate) fn key(id: i64) -> Vec<u8> {
    keys::encode_key(&[Value::BigInt(id)])
}

pub(crate) fn values(id: i64, name: &str) -> Vec<Value> {
    vec![Value::BigInt(id), Value::Text(name.to_owned())]
}

pub(crate) fn insert(id: i64, name: &str) -> RowChange {
    RowChange::Insert { key: Some(key(id)), row: values(id, name) }
}

impl Found {
    /// The row under another id and name.
    pub(crate) fn update(&self, id: i64, name: &str) -> RowChange {
        RowChange::Update {
            old_key: self.key.clone(),
            read_seq: self.header.seq,
            old_stored: self.stored.clone(),
            old_row: self.row.clone(),
            new_key: key(id),
            row: values(id, name),
        }
    }

    pub(crate) fn delete(&self) -> RowChange {
        RowChange::Delete {
            key: self.key.clone(),
            read_seq: self.header.seq,
            old_stored: self.stored.clone(),
            old_row: self.row.clone(),
        }
    }
}

pub(crate) fn is_stale<T>(result: &Result<T, CommitError>) -> bool {
    matches!(result, Err(CommitError::Stale))
}

/// The code with which a statement was refused.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, CommitError>) -> ErrorCode {
    match result {
        Err(CommitError::Refused(error)) => error.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
