//! Whole ranges, chunk by chunk, and single values: what the typed stores read with.

use bytes::Bytes;
use kalamdb_commons::Family;

use crate::StoreError;
use crate::backend::{Direction, Entries, KeyRange, ScanRequest, Snapshot};

const CHUNK_ENTRIES: usize = 1024;
const CHUNK_BYTES: usize = 1 << 20;
/// So few entries are read on the calling thread.
const FEW_ENTRIES: usize = 256;

/// A range read forwards, never more of it in memory than a chunk.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    snapshot: &'a dyn Snapshot,
    rest: Option<KeyRange>,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(snapshot: &'a dyn Snapshot, range: KeyRange) -> Self {
        Self { snapshot, rest: Some(range) }
    }

    /// The next entries; none at the range's end.
    pub(crate) async fn next(&mut self) -> Result<Option<Entries>, StoreError> {
        self.next_of(CHUNK_ENTRIES, CHUNK_BYTES).await
    }

    /// The same of a range that is mostly short: the way to another thread and back would cost more than to read it.
    pub(crate) async fn next_few(&mut self) -> Result<Option<Entries>, StoreError> {
        self.next_of(FEW_ENTRIES, CHUNK_BYTES).await
    }

    pub(crate) async fn next_of(&mut self, limit: usize, max_bytes: usize) -> Result<Option<Entries>, StoreError> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        let request = ScanRequest { range, direction: Direction::Forward, limit, max_bytes };
        let chunk = self.snapshot.scan(request).await?;
        self.rest = chunk.rest;
        Ok((!chunk.entries.is_empty()).then_some(chunk.entries))
    }

    /// Leaves out what is left before `key`.
    pub(crate) fn skip_to(&mut self, key: &Bytes) {
        if let Some(rest) = &mut self.rest
            && rest.start < *key
        {
            rest.start = key.clone();
        }
    }
}

/// A single value.
pub(crate) async fn get(snapshot: &dyn Snapshot, family: Family, key: Bytes) -> Result<Option<Bytes>, StoreError> {
    Ok(snapshot.get_many(family, &[key]).await?.into_iter().next().flatten())
}
