//! The record of a partition, rewritten in every batch that touches the partition.

use kalamdb_commons::Seq;

use super::bytes::Reader;
use crate::StoreError;

const FORMAT: u8 = 1;

/// What a statement must know about its partition without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionRecord {
    /// The largest `_seq` committed here; a premise of every write.
    pub last_seq: Seq,
    /// Live rows in the backend.
    pub hot_rows: u64,
    /// Deleted rows in the backend that keep their last values.
    pub hot_tombstones: u64,
    /// Bytes of keys and values of both.
    pub hot_bytes: u64,
    /// Of the last change of the segments, 0 while there was none; a premise of every write that read some. Taken from
    /// one counter for all partitions, so that a reader pins one number and the garbage list is in its order.
    pub manifest_generation: u64,
    /// The change log covers everything after this `_seq`.
    pub log_begin: Seq,
    /// Bytes of the change log.
    pub log_bytes: u64,
}

impl PartitionRecord {
    /// The record as it is stored: 57 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { last_seq, hot_rows, hot_tombstones, hot_bytes, manifest_generation, log_begin, log_bytes } = *self;
        let mut out = Vec::with_capacity(57);
        out.push(FORMAT);
        let numbers = [last_seq.0, hot_rows, hot_tombstones, hot_bytes, manifest_generation, log_begin.0, log_bytes];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format("partition record", bytes, FORMAT)?;
        let record = Self {
            last_seq: reader.seq()?,
            hot_rows: reader.u64()?,
            hot_tombstones: reader.u64()?,
            hot_bytes: reader.u64()?,
            manifest_generation: reader.u64()?,
            log_begin: reader.seq()?,
            log_bytes: reader.u64()?,
        };
        reader.finish()?;
        Ok(record)
    }
}
