//! A backend in memory that can be told to fail or to wait, and remembers what it was asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{Batch, Durability, MemoryBackend, Snapshot, StorageBackend, StoreError};
use std::sync::Mutex;
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(super) struct Faulty {
    inner: MemoryBackend,
    pub(super) fail_writes: AtomicBool,
    pub(super) fail_syncs: AtomicBool,
    /// Syncs that have ended.
    pub(super) syncs: AtomicUsize,
    /// One permit lets one sync through.
    pub(super) sync_turns: Semaphore,
    pub(super) written: Mutex<Vec<(Batch, Durability)>>,
}

impl Faulty {
    /// Syncs go through until [`hold_syncs`](Self::hold_syncs).
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryBackend::new(),
            fail_writes: AtomicBool::new(false),
            fail_syncs: AtomicBool::new(false),
            syncs: AtomicUsize::new(0),
            sync_turns: Semaphore::new(1_000_000),
            written: Mutex::default(),
        })
    }

    pub(super) fn hold_syncs(&self) {
        self.sync_turns.forget_permits(usize::MAX);
    }

    pub(super) fn let_syncs_through(&self) {
        self.sync_turns.add_permits(1_000_000);
    }

    pub(super) fn taken_batches(&self) -> Vec<(Batch, Durability)> {
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

fn broken(action: &'static str) -> StoreError {
    StoreError::Backend { action, message: "No space left on device".to_owned() }
}

#[async_trait]
impl StorageBackend for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.inner.get_many(family, keys).await
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if self.fail_writes.load(Ordering::Acquire) {
            return Err(broken("write"));
        }
        self.written.lock().unwrap().push((batch.clone(), durability));
        self.inner.write(batch, durability).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.sync_turns.acquire().await.unwrap().forget();
        self.syncs.fetch_add(1, Ordering::AcqRel);
        if self.fail_syncs.load(Ordering::Acquire) { Err(broken("sync")) } else { self.inner.sync().await }
    }

    async fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.inner.size_on_disk().await
    }

    async fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.inner.checkpoint(directory).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
