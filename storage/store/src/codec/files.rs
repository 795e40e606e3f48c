//! Files on their way in and out: nothing is ever deleted because it is unknown, so what a flush is
//! about to write and what nobody reads any more is written down.

use super::bytes::{Reader, length, put_bytes};
use crate::StoreError;

const PENDING_FORMAT: u8 = 1;
const GARBAGE_FORMAT: u8 = 1;

/// A file, by the storage it lies in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredFile {
    /// Name of the storage.
    pub storage: String,
    /// Path relative to the storage's location.
    pub path: String,
}

/// Files of a flush or compaction, recorded before their first byte. They become owned, and the record goes, in one
/// batch; since that is about one partition, a record is made for each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingFiles {
    /// The lease they are written under: pending files of another generation have no writer.
    pub lease_generation: u64,
    /// The files.
    pub files: Vec<StoredFile>,
}

impl PendingFiles {
    /// The record as it is stored.
    ///
    /// # Panics
    /// When a text has 4 GiB or more.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PENDING_FORMAT];
        out.extend_from_slice(&self.lease_generation.to_le_bytes());
        out.extend_from_slice(&length(self.files.len()));
        for file in &self.files {
            put_file(&mut out, file);
        }
        out
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format("pending files", bytes, PENDING_FORMAT)?;
        let lease_generation = reader.u64()?;
        let count = reader.count(8)?;
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            files.push(read_file(&mut reader)?);
        }
        reader.finish()?;
        Ok(Self { lease_generation, files })
    }
}

/// A file no manifest names any more, to be deleted when nobody pins a generation older than its key's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageEntry {
    /// The file.
    pub file: StoredFile,
    /// Its size.
    pub bytes: u64,
    /// When it was replaced or dropped: microseconds since the epoch.
    pub retired_at: i64,
}

impl GarbageEntry {
    /// The entry as it is stored.
    ///
    /// # Panics
    /// When a text has 4 GiB or more.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![GARBAGE_FORMAT];
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.retired_at.to_le_bytes());
        put_file(&mut out, &self.file);
        out
    }

    /// Reads a stored entry.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format("garbage entry", bytes, GARBAGE_FORMAT)?;
        let entry = Self { bytes: reader.u64()?, retired_at: reader.i64()?, file: read_file(&mut reader)? };
        reader.finish()?;
        Ok(entry)
    }
}

fn put_file(out: &mut Vec<u8>, file: &StoredFile) {
    put_bytes(out, file.storage.as_bytes());
    put_bytes(out, file.path.as_bytes());
}

fn read_file(reader: &mut Reader<'_>) -> Result<StoredFile, StoreError> {
    Ok(StoredFile { storage: reader.text()?.to_owned(), path: reader.text()?.to_owned() })
}
