//! The manifest: one entry per segment.

use kalamdb_commons::{SchemaVersion, Seq};

use super::bytes::{Reader, put_bytes};
use crate::StoreError;

const FORMAT: u8 = 1;

/// A segment of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The segment's ULID, also in the key and the file's name.
    pub segment_id: u128,
    /// Name of the storage it lies in.
    pub storage: String,
    /// Its path, relative to the storage's location.
    pub path: String,
    /// Its shard; empty where the template has none.
    pub shard: String,
    /// Rows in the file, deleted ones too.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The schema version it was written with.
    pub schema_version: SchemaVersion,
    /// Smallest `_seq` in it.
    pub min_seq: Seq,
    /// Largest `_seq` in it.
    pub max_seq: Seq,
    /// Encoded primary key (or row number) of its first row.
    pub min_key: Vec<u8>,
    /// Encoded primary key (or row number) of its last row.
    pub max_key: Vec<u8>,
    /// Rows with a delete mark.
    pub deleted_rows: u64,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// How often its rows were merged: 0 from a flush.
    pub level: u8,
}

impl ManifestEntry {
    /// The entry as it is stored.
    ///
    /// # Panics
    /// When a text or key has 4 GiB or more.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let texts = self.storage.len() + self.path.len() + self.shard.len();
        let mut out = Vec::with_capacity(90 + texts + self.min_key.len() + self.max_key.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.segment_id.to_be_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.deleted_rows.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.schema_version.0.to_le_bytes());
        out.extend_from_slice(&self.min_seq.0.to_le_bytes());
        out.extend_from_slice(&self.max_seq.0.to_le_bytes());
        out.extend_from_slice(&self.created_at.to_le_bytes());
        out.push(self.level);
        for text in [&self.storage, &self.path, &self.shard] {
            put_bytes(&mut out, text.as_bytes());
        }
        put_bytes(&mut out, &self.min_key);
        put_bytes(&mut out, &self.max_key);
        out
    }

    /// Reads a stored entry.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format("manifest entry", bytes, FORMAT)?;
        // In the order of the bytes; the fields of a struct literal are evaluated as written.
        let entry = Self {
            segment_id: reader.u128_be()?,
            rows: reader.u64()?,
            deleted_rows: reader.u64()?,
            bytes: reader.u64()?,
            schema_version: SchemaVersion(reader.u32()?),
            min_seq: reader.seq()?,
            max_seq: reader.seq()?,
            created_at: reader.i64()?,
            level: reader.u8()?,
            storage: reader.text()?.to_owned(),
            path: reader.text()?.to_owned(),
            shard: reader.text()?.to_owned(),
            min_key: reader.bytes()?.to_vec(),
            max_key: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        Ok(entry)
    }
}
