//! One entry of the change log per statement and partition: what everything live reads.

use bytes::Bytes;
use kalamdb_commons::{SchemaVersion, Seq};

use super::bytes::{Reader, length, put_bytes};
use crate::StoreError;

const WHAT: &str = "change log entry";
const FORMAT: u8 = 1;
const HAS_OLD: u8 = 1;
const HAS_NEW: u8 = 2;
/// Seq, kind, presence and the key's length.
const LEAST_CHANGE_BYTES: usize = 8 + 1 + 1 + 4;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new (or again there after a deletion).
    Insert,
    /// It has other values.
    Update,
    /// It is gone.
    Delete,
}

/// A row's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChange {
    /// The number of the new version (for a deletion: of the tombstone).
    pub seq: Seq,
    /// What happened.
    pub kind: ChangeKind,
    /// The encoded primary key, or the row number.
    pub key: Vec<u8>,
    /// The row as it was, encoded; its header names the schema version it was written with.
    pub old: Option<Bytes>,
    /// The row as it is now, encoded.
    pub new: Option<Bytes>,
}

/// What a statement did to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The table's schema version when it committed.
    pub schema_version: SchemaVersion,
    /// Microseconds since the epoch; the entry's age for retention.
    pub committed_at: i64,
    /// In `_seq` order; the last one's is in the entry's key.
    pub changes: Vec<LogChange>,
}

impl LogEntry {
    /// The entry as it is stored.
    ///
    /// # Panics
    /// When a key or row has 4 GiB or more.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() + 4);
        let total: usize = self
            .changes
            .iter()
            .map(|change| LEAST_CHANGE_BYTES + change.key.len() + size(&change.old) + size(&change.new))
            .sum();
        let mut out = Vec::with_capacity(17 + total);
        out.push(FORMAT);
        out.extend_from_slice(&self.schema_version.0.to_le_bytes());
        out.extend_from_slice(&self.committed_at.to_le_bytes());
        out.extend_from_slice(&length(self.changes.len()));
        for change in &self.changes {
            put_change(&mut out, change);
        }
        out
    }

    /// Reads a stored entry; the rows of the result share the memory of `bytes`.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn decode(bytes: &Bytes) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format(WHAT, bytes, FORMAT)?;
        let schema_version = SchemaVersion(reader.u32()?);
        let committed_at = reader.i64()?;
        let count = reader.count(LEAST_CHANGE_BYTES)?;
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            changes.push(read_change(&mut reader, bytes)?);
        }
        reader.finish()?;
        Ok(Self { schema_version, committed_at, changes })
    }
}

/// When a stored entry was committed (microseconds since the epoch), without reading the rest of it.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn committed_at(bytes: &[u8]) -> Result<i64, StoreError> {
    let mut reader = Reader::of_format(WHAT, bytes, FORMAT)?;
    reader.u32()?;
    reader.i64()
}

fn put_change(out: &mut Vec<u8>, change: &LogChange) {
    out.extend_from_slice(&change.seq.0.to_le_bytes());
    out.push(match change.kind {
        ChangeKind::Insert => 1,
        ChangeKind::Update => 2,
        ChangeKind::Delete => 3,
    });
    let has_old = if change.old.is_some() { HAS_OLD } else { 0 };
    let has_new = if change.new.is_some() { HAS_NEW } else { 0 };
    out.push(has_old | has_new);
    put_bytes(out, &change.key);
    for row in [&change.old, &change.new].into_iter().flatten() {
        put_bytes(out, row);
    }
}

fn read_change(reader: &mut Reader<'_>, whole: &Bytes) -> Result<LogChange, StoreError> {
    let seq = reader.seq()?;
    let kind = match reader.u8()? {
        1 => ChangeKind::Insert,
        2 => ChangeKind::Update,
        3 => ChangeKind::Delete,
        other => return Err(reader.error(format!("unknown kind of change {other}"))),
    };
    let present = reader.u8()?;
    if present & !(HAS_OLD | HAS_NEW) != 0 {
        return Err(reader.error(format!("unknown flags {present:#04x}")));
    }
    let key = reader.bytes()?.to_vec();
    let mut row = |flag: u8| -> Result<Option<Bytes>, StoreError> {
        if present & flag == 0 { Ok(None) } else { Ok(Some(whole.slice_ref(reader.bytes()?))) }
    };
    let old = row(HAS_OLD)?;
    let new = row(HAS_NEW)?;
    Ok(LogChange { seq, kind, key, old, new })
}
