//! The one batch a statement becomes (CM-2).

use std::collections::HashMap;

use bytes::Bytes;
use kalamdb_commons::{Family, Seq};
use kalamdb_sql::Row;

use super::PartitionId;
use super::changes::{Changes, RowChange};
use super::premises::{Premises, Stored};
use crate::backend::{Batch, Partition};
use crate::codec::changelog::{ChangeKind, LogChange, LogEntry};
use crate::codec::keys;
use crate::codec::partition::PartitionRecord;
use crate::codec::row::{RowHeader, encode_row};

/// Rows, tombstones, delete marks, the log entry and the partition's record; that record as it is then.
pub(super) fn encode(
    partition: &PartitionId,
    changes: &Changes,
    premises: &Premises<'_>,
    seqs: &[Seq],
    record: PartitionRecord,
) -> (Batch, PartitionRecord) {
    let mut rows = Rows {
        space: keys::rows_partition(partition.table, partition.user.as_ref()),
        stored: &premises.stored,
        batch: Batch::new(),
        record,
    };
    let mut log = Vec::with_capacity(if changes.log { changes.rows.len() } else { 0 });
    for (change, seq) in changes.rows.iter().zip(seqs) {
        let change = put_change(&mut rows, changes, premises, change, *seq);
        if changes.log {
            log.push(change);
        }
    }
    let Rows { mut batch, mut record, .. } = rows;
    premises.marking.put(&mut batch, partition);
    if let Some(last) = seqs.last() {
        record.last_seq = *last;
        if changes.log {
            put_log(&mut batch, partition, changes, log, *last, &mut record);
        }
    }
    let record_key = keys::partition_record_key(partition.table, partition.user.as_ref());
    batch.put(Family::Manifest, record_key, record.encode());
    (batch, record)
}

/// Writes one change's rows; answers with what the log says of it.
fn put_change(
    rows: &mut Rows<'_>,
    changes: &Changes,
    premises: &Premises<'_>,
    change: &RowChange,
    seq: Seq,
) -> LogChange {
    let version = |deleted: bool, row: &Row| {
        let header = RowHeader { schema_version: changes.schema.version, seq, updated: changes.now, deleted };
        Bytes::from(encode_row(&header, &changes.schema, row))
    };
    match change {
        RowChange::Insert { key, row } => {
            let key = key.clone().unwrap_or_else(|| keys::encode_row_number(seq.0).to_vec());
            let stored = version(false, row);
            rows.put(&key, stored.clone(), Kind::Live);
            LogChange { seq, kind: ChangeKind::Insert, key, old: None, new: Some(stored) }
        }
        RowChange::Update { old_key, old_stored, old_row, new_key, row, .. } => {
            // A key that another row takes over gets no tombstone.
            if !premises.coming.contains(old_key.as_slice()) {
                rows.put(old_key, version(true, old_row), Kind::Tombstone);
            }
            let stored = version(false, row);
            rows.put(new_key, stored.clone(), Kind::Live);
            LogChange {
                seq,
                kind: ChangeKind::Update,
                key: new_key.clone(),
                old: Some(old_stored.clone()),
                new: Some(stored),
            }
        }
        RowChange::Delete { key, old_stored, old_row, .. } => {
            if !premises.coming.contains(key.as_slice()) {
                rows.put(key, version(true, old_row), Kind::Tombstone);
            }
            LogChange { seq, kind: ChangeKind::Delete, key: key.clone(), old: Some(old_stored.clone()), new: None }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Live,
    Tombstone,
}

/// Puts rows, each key once, and keeps the partition's totals.
struct Rows<'a> {
    space: Partition,
    stored: &'a HashMap<&'a [u8], Stored>,
    batch: Batch,
    record: PartitionRecord,
}

impl Rows<'_> {
    fn put(&mut self, key: &[u8], value: Bytes, kind: Kind) {
        let full_key = keys::row_key(&self.space, key);
        let key_bytes = full_key.len() as u64;
        let record = &mut self.record;
        if let Some(before) = self.stored.get(key) {
            let rows = if before.deleted { &mut record.hot_tombstones } else { &mut record.hot_rows };
            *rows = rows.saturating_sub(1);
            record.hot_bytes = record.hot_bytes.saturating_sub(key_bytes + before.bytes);
        }
        match kind {
            Kind::Live => record.hot_rows += 1,
            Kind::Tombstone => record.hot_tombstones += 1,
        }
        record.hot_bytes += key_bytes + value.len() as u64;
        self.batch.put(Family::Rows, full_key, value);
    }
}

fn put_log(
    batch: &mut Batch,
    partition: &PartitionId,
    changes: &Changes,
    log: Vec<LogChange>,
    last: Seq,
    record: &mut PartitionRecord,
) {
    let entry = LogEntry { schema_version: changes.schema.version, committed_at: changes.now, changes: log }.encode();
    let space = keys::log_partition(partition.table, partition.user.as_ref());
    let key = keys::log_key(&space, last);
    record.log_bytes += (key.len() + entry.len()) as u64;
    batch.put(Family::Log, key, entry);
}
