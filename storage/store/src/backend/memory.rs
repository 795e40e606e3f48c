//! The backend without files: persistent ordered maps, so that a snapshot is a copy of their roots.
//!
//! For tests and for servers that may forget everything. All its work is short and done on the calling
//! thread; a writer and its readers share one lock, held for a batch or for a copy of the roots.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use imbl::OrdMap;
use kalamdb_commons::Family;
use parking_lot::RwLock;

use super::{Batch, Direction, Durability, KeyRange, ScanChunk, ScanRequest, Snapshot, StorageBackend, Write};
use crate::StoreError;

type Map = OrdMap<Bytes, Bytes>;

/// One map per family, at the family's place in [`Family::ALL`].
#[derive(Debug, Clone, Default)]
struct Families([Map; Family::ALL.len()]);

impl Families {
    fn get(&self, family: Family) -> &Map {
        &self.0[family as usize]
    }

    fn get_mut(&mut self, family: Family) -> &mut Map {
        &mut self.0[family as usize]
    }

    fn get_many(&self, family: Family, keys: &[Bytes]) -> Vec<Option<Bytes>> {
        let map = self.get(family);
        keys.iter().map(|key| map.get(key).cloned()).collect()
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Put { family, key, value } => {
                self.get_mut(*family).insert(key.clone(), value.clone());
            }
            Write::Delete { family, key } => {
                self.get_mut(*family).remove(key);
            }
            Write::DeleteRange(range) => {
                let map = self.get_mut(range.family);
                let doomed: Vec<Bytes> = entries(map, range).map(|(key, _)| key.clone()).collect();
                for key in doomed {
                    map.remove(&key);
                }
            }
        }
    }

    fn scan(&self, request: &ScanRequest, looked_at: &mut u64) -> ScanChunk {
        let found = entries(self.get(request.range.family), &request.range);
        match request.direction {
            Direction::Forward => collect(found, request, looked_at),
            Direction::Backward => collect(found.rev(), request, looked_at),
        }
    }
}

fn entries<'a>(map: &'a Map, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> {
    // A range that ends before it starts is empty; the map itself would panic over it.
    let end = match &range.end {
        Some(end) if *end < range.start => Some(range.start.clone()),
        other => other.clone(),
    };
    map.range((Bound::Included(range.start.clone()), end.map_or(Bound::Unbounded, Bound::Excluded)))
}

fn collect<'a>(
    found: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    request: &ScanRequest,
    looked_at: &mut u64,
) -> ScanChunk {
    let mut chunk = ScanChunk::default();
    for (key, value) in found {
        *looked_at += 1;
        if request.is_full(&chunk.entries) {
            chunk.rest = request.rest(key, &chunk.entries);
            break;
        }
        chunk.entries.push(key, value);
    }
    chunk
}

/// The backend; empty at first, gone when dropped.
#[derive(Debug)]
pub struct MemoryBackend {
    families: Arc<RwLock<Option<Families>>>,
}

impl MemoryBackend {
    /// As `storage.backend` names it.
    pub const NAME: &'static str = "memory";

    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { families: Arc::new(RwLock::new(Some(Families::default()))) }
    }

    fn read<T>(&self, work: impl FnOnce(&Families) -> T) -> Result<T, StoreError> {
        self.families.read().as_ref().map(work).ok_or(StoreError::Closed)
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl StorageBackend for MemoryBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let families = self.read(Families::clone)?;
        let backend = Arc::clone(&self.families);
        Ok(Arc::new(MemorySnapshot { families, backend, keys_read: AtomicU64::new(0) }))
    }

    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.read(|families| families.get_many(family, keys))
    }

    async fn write(&self, batch: Batch, _durability: Durability) -> Result<(), StoreError> {
        let mut guard = self.families.write();
        let families = guard.as_mut().ok_or(StoreError::Closed)?;
        batch.writes().iter().for_each(|write| families.apply(write));
        Ok(())
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.read(|_| ())
    }

    async fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.read(|_| 0)
    }

    async fn checkpoint(&self, _directory: &Path) -> Result<(), StoreError> {
        self.read(|_| ())?;
        Err(StoreError::Unsupported { backend: Self::NAME, action: "write a checkpoint" })
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.families.write().take().map(drop).ok_or(StoreError::Closed)
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    families: Families,
    /// Asked only whether it is still open.
    backend: Arc<RwLock<Option<Families>>>,
    keys_read: AtomicU64,
}

impl MemorySnapshot {
    fn open(&self) -> Result<&Families, StoreError> {
        if self.backend.read().is_some() { Ok(&self.families) } else { Err(StoreError::Closed) }
    }
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let families = self.open()?;
        self.keys_read.fetch_add(keys.len() as u64, Ordering::Relaxed);
        Ok(families.get_many(family, keys))
    }

    async fn scan(&self, request: ScanRequest) -> Result<ScanChunk, StoreError> {
        let mut looked_at = 0;
        let chunk = self.open()?.scan(&request, &mut looked_at);
        self.keys_read.fetch_add(looked_at, Ordering::Relaxed);
        Ok(chunk)
    }

    fn keys_read(&self) -> u64 {
        self.keys_read.load(Ordering::Relaxed)
    }
}
