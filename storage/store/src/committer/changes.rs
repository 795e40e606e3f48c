//! A statement's changes: their premises, and the batch they become.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use kalamdb_commons::{Error, ErrorCode, Family, Result, SchemaVersion, Seq};
use kalamdb_sql::{Row, TableSchema};

use super::{PartitionId, Ticket};
use crate::backend::{Batch, StorageBackend};
use crate::codec::changelog::{ChangeKind, LogChange, LogEntry};
use crate::codec::keys;
use crate::codec::partition::PartitionRecord;
use crate::codec::row::{RowHeader, RowView, encode_row};

/// One row's change. Keys are encoded; rows are in the order of the schema's columns.
#[derive(Debug, Clone)]
pub enum RowChange {
    /// A new row; without a key it gets its `_seq` as row number.
    Insert {
        /// The primary key.
        key: Option<Vec<u8>>,
        /// Its values.
        row: Row,
    },
    /// A row's new version, maybe under another key.
    Update {
        /// The key it was read under.
        old_key: Vec<u8>,
        /// The version it was read at.
        read_seq: Seq,
        /// The stored bytes of that version.
        old_stored: Bytes,
        /// That version's values.
        old_row: Row,
        /// The key it goes under.
        new_key: Vec<u8>,
        /// Its new values.
        row: Row,
    },
    /// A row's end; the tombstone keeps its values.
    Delete {
        /// The key it was read under.
        key: Vec<u8>,
        /// The version it was read at.
        read_seq: Seq,
        /// The stored bytes of that version.
        old_stored: Bytes,
        /// That version's values.
        old_row: Row,
    },
}

/// All of a statement's changes in one partition.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The definition the rows are made for.
    pub schema: std::sync::Arc<TableSchema>,
    /// The partition's last `_seq` when the statement read it; none for one that names all its rows by key.
    pub base: Option<Seq>,
    /// Whether the partition has a change log (user tables).
    pub log: bool,
    /// Microseconds since the epoch, for `_updated`.
    pub now: i64,
    /// The changes in order.
    pub rows: Vec<RowChange>,
}

/// A written statement.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The `_seq` of each change, in their order.
    pub seqs: Vec<Seq>,
    /// To be waited for; none if nothing changed.
    pub ticket: Option<Ticket>,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum CommitError {
    /// The statement's premises no longer hold: read again.
    Stale,
    /// It cannot be done.
    Refused(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A version as it is stored now.
struct Stored {
    seq: Seq,
    deleted: bool,
    bytes: usize,
}

/// Checks that rows read are still those versions, and that no live row has a key that comes in.
pub(super) async fn check_keys(
    backend: &dyn StorageBackend,
    partition: &PartitionId,
    changes: &Changes,
) -> Result<(), CommitError> {
    let mut leaving: HashMap<&[u8], Seq> = HashMap::new();
    let mut coming: HashSet<&[u8]> = HashSet::new();
    for change in &changes.rows {
        match change {
            RowChange::Insert { key: None, .. } => {}
            RowChange::Insert { key: Some(key), .. } => arrive(&mut coming, key)?,
            RowChange::Update { old_key, read_seq, new_key, .. } => {
                leaving.insert(old_key, *read_seq);
                arrive(&mut coming, new_key)?;
            }
            RowChange::Delete { key, read_seq, .. } => {
                leaving.insert(key, *read_seq);
            }
        }
    }
    let looked_up: Vec<&[u8]> = leaving.keys().chain(coming.iter().filter(|key| !leaving.contains_key(*key))).copied().collect();
    let stored = read_versions(backend, partition, &looked_up).await?;
    for (key, version) in looked_up.iter().zip(stored) {
        let live_seq = version.filter(|version| !version.deleted).map(|version| version.seq);
        match leaving.get(key) {
            Some(read_seq) if live_seq != Some(*read_seq) => return Err(CommitError::Stale),
            Some(_) => {}
            None if live_seq.is_some() => return Err(duplicate_key().into()),
            None => {}
        }
    }
    Ok(())
}

fn arrive<'a>(coming: &mut HashSet<&'a [u8]>, key: &'a [u8]) -> Result<()> {
    if coming.insert(key) { Ok(()) } else { Err(duplicate_key()) }
}

fn duplicate_key() -> Error {
    Error::new(ErrorCode::DuplicateKey, "a row with this primary key exists already")
}

async fn read_versions(
    backend: &dyn StorageBackend,
    partition: &PartitionId,
    row_keys: &[&[u8]],
) -> Result<Vec<Option<Stored>>> {
    let space = keys::rows_partition(partition.table, partition.user.as_ref());
    let full_keys: Vec<Bytes> = row_keys.iter().map(|key| keys::row_key(&space, key)).collect();
    let values = backend.get_many(Family::Rows, &full_keys).await?;
    values
        .iter()
        .map(|value| {
            let Some(bytes) = value else { return Ok(None) };
            let header = RowView::parse(bytes)?.header();
            Ok(Some(Stored { seq: header.seq, deleted: header.deleted, bytes: bytes.len() }))
        })
        .collect()
}

/// The statement's one batch (CM-2). Hot totals count what this batch adds and removes; a tombstone that a
/// new row overwrites is counted out by the flush, which recounts.
pub(super) fn encode(partition: &PartitionId, changes: &Changes, seqs: &[Seq], mut record: PartitionRecord) -> Batch {
    let space = keys::rows_partition(partition.table, partition.user.as_ref());
    let mut batch = Batch::new();
    let mut log = Vec::with_capacity(if changes.log { changes.rows.len() } else { 0 });
    // Tombstones first: a key that one row leaves may be another's new one.
    for (change, seq) in changes.rows.iter().zip(seqs) {
        if let RowChange::Update { old_key, new_key, old_row, .. } = change
            && old_key != new_key
        {
            let tombstone = encode_version(changes, *seq, true, old_row);
            record.hot_tombstones += 1;
            record.hot_bytes += tombstone.len() as u64;
            batch.put(Family::Rows, keys::row_key(&space, old_key), tombstone);
        }
    }
    for (change, seq) in changes.rows.iter().zip(seqs) {
        let (kind, key, old, stored, deleted) = match change {
            RowChange::Insert { key, row } => {
                let key = key.clone().unwrap_or_else(|| keys::encode_row_number(seq.0).to_vec());
                record.hot_rows += 1;
                (ChangeKind::Insert, key, None, encode_version(changes, *seq, false, row), false)
            }
            RowChange::Update { new_key, old_stored, row, .. } => {
                record.hot_bytes = record.hot_bytes.saturating_sub(old_stored.len() as u64);
                let stored = encode_version(changes, *seq, false, row);
                (ChangeKind::Update, new_key.clone(), Some(old_stored.clone()), stored, false)
            }
            RowChange::Delete { key, old_stored, old_row, .. } => {
                record.hot_rows = record.hot_rows.saturating_sub(1);
                record.hot_tombstones += 1;
                record.hot_bytes = record.hot_bytes.saturating_sub(old_stored.len() as u64);
                (ChangeKind::Delete, key.clone(), Some(old_stored.clone()), encode_version(changes, *seq, true, old_row), true)
            }
        };
        record.hot_bytes += stored.len() as u64;
        if changes.log {
            let new = (!deleted).then(|| stored.clone());
            log.push(LogChange { seq: *seq, kind, key: key.clone(), old, new });
        }
        batch.put(Family::Rows, keys::row_key(&space, &key), stored);
    }
    if let Some(last) = seqs.last() {
        record.last_seq = *last;
        if changes.log {
            put_log(&mut batch, partition, changes, log, *last, &mut record);
        }
    }
    batch.put(
        Family::Manifest,
        keys::partition_record_key(partition.table, partition.user.as_ref()),
        record.encode(),
    );
    batch
}

fn put_log(
    batch: &mut Batch,
    partition: &PartitionId,
    changes: &Changes,
    log: Vec<LogChange>,
    last: Seq,
    record: &mut PartitionRecord,
) {
    let entry = LogEntry { schema_version: version_of(changes), committed_at: changes.now, changes: log }.encode();
    record.log_bytes += entry.len() as u64;
    if record.log_begin == Seq(0) {
        record.log_begin = last;
    }
    let space = keys::log_partition(partition.table, partition.user.as_ref());
    batch.put(Family::Log, keys::log_key(&space, last), entry);
}

fn version_of(changes: &Changes) -> SchemaVersion {
    changes.schema.version
}

fn encode_version(changes: &Changes, seq: Seq, deleted: bool, row: &Row) -> Bytes {
    let header = RowHeader { schema_version: version_of(changes), seq, updated: changes.now, deleted };
    Bytes::from(encode_row(&header, &changes.schema, row))
}
