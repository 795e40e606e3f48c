//! The backend that a running machine gives.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{Batch, Durability, MemoryBackend, ScanChunk, ScanRequest, Snapshot, StorageBackend, StoreError};
use tokio::sync::Mutex;

use crate::faults::broken;
use crate::machine::{Machine, Parts};

/// Memory that is lost when the power goes.
#[derive(Debug)]
pub(crate) struct Powered {
    live: MemoryBackend,
    on: AtomicBool,
    /// As a real engine's: set by a failed write or sync, ended by a new open.
    poisoned: AtomicBool,
    /// Written and not synced, in order. Held while a batch is written, so that both have one order.
    unsynced: Mutex<Vec<Batch>>,
    /// Held by the sync that runs, which takes from `unsynced` what it has put on the disk.
    syncing: Mutex<()>,
}

impl Powered {
    pub(crate) fn new(live: MemoryBackend) -> Self {
        Self {
            live,
            on: AtomicBool::new(true),
            poisoned: AtomicBool::new(false),
            unsynced: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Ends everything; answers with what was not synced.
    pub(crate) async fn switch_off(&self) -> Vec<Batch> {
        self.on.store(false, Ordering::Release);
        std::mem::take(&mut *self.unsynced.lock().await)
    }

    /// As [`switch_off`](Self::switch_off), for the last owner.
    fn drop_all(&self) -> Vec<Batch> {
        if !self.on.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        self.unsynced.try_lock().map(|mut unsynced| std::mem::take(&mut *unsynced)).unwrap_or_default()
    }

    fn check_on(&self) -> Result<(), StoreError> {
        if self.is_on() { Ok(()) } else { Err(StoreError::Closed) }
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        self.check_on()?;
        if self.poisoned.load(Ordering::Acquire) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    fn poison(&self, action: &'static str) -> StoreError {
        self.poisoned.store(true, Ordering::Release);
        broken(action)
    }
}

#[derive(Debug)]
pub(crate) struct UnstableBackend {
    machine: Arc<Parts>,
    powered: Arc<Powered>,
}

impl UnstableBackend {
    pub(crate) fn new(machine: Arc<Parts>, powered: Arc<Powered>) -> Self {
        Self { machine, powered }
    }

    async fn log(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let powered = &self.powered;
        let mut unsynced = powered.unsynced.lock().await;
        powered.check_writable()?;
        if self.machine.faults.write_fails() {
            // Half of the failed writes are in the log all the same: the next open decides.
            if self.machine.throw(2) == 0 {
                unsynced.push(batch);
            }
            return Err(powered.poison("write"));
        }
        self.machine.record(&batch, durability);
        unsynced.push(batch.clone());
        powered.live.write(batch, Durability::Logged).await
    }
}

impl Drop for UnstableBackend {
    fn drop(&mut self) {
        let unsynced = self.powered.drop_all();
        self.machine.leave(unsynced);
    }
}

#[async_trait]
impl StorageBackend for UnstableBackend {
    fn name(&self) -> &'static str {
        Machine::BACKEND
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.powered.check_on()?;
        let inner = self.powered.live.snapshot().await?;
        Ok(Arc::new(UnstableSnapshot { machine: Arc::clone(&self.machine), powered: Arc::clone(&self.powered), inner }))
    }

    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.powered.check_on()?;
        self.machine.faults.check_read()?;
        self.powered.live.get_many(family, keys).await
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.log(batch, durability).await?;
        match durability {
            Durability::Deferred | Durability::Logged => Ok(()),
            // It is in the log by now: what a failed sync leaves of it only the next open tells.
            Durability::Synced => self.sync().await.map_err(|_| broken("sync")),
        }
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let powered = &self.powered;
        let _alone = powered.syncing.lock().await;
        powered.check_writable()?;
        let covered = powered.unsynced.lock().await.len();
        let throw = |sides| self.machine.throw(sides);
        self.machine.faults.before_sync(throw).await;
        // The power may have gone, or a write failed, while this waited.
        let mut unsynced = powered.unsynced.lock().await;
        powered.check_writable()?;
        let result = if self.machine.faults.sync_fails(throw) {
            Err(powered.poison("sync"))
        } else {
            self.machine.persist(unsynced.drain(..covered).collect()).await
        };
        self.machine.faults.sync_ended();
        result
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.powered.check_on()?;
        if self.machine.faults.is_full() { Err(broken("write into its directory")) } else { Ok(()) }
    }

    async fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.powered.check_on()?;
        self.powered.live.size_on_disk().await
    }

    async fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.powered.live.checkpoint(directory).await
    }

    /// One that failed leaves to luck what of its last writes is on the disk.
    async fn close(&self) -> Result<(), StoreError> {
        let powered = &self.powered;
        powered.check_on()?;
        let failed = powered.poisoned.load(Ordering::Acquire);
        let synced = if failed { Err(StoreError::Poisoned) } else { self.sync().await };
        let left = powered.switch_off().await;
        self.machine.persist_some(left).await?;
        synced
    }
}

#[derive(Debug)]
struct UnstableSnapshot {
    machine: Arc<Parts>,
    powered: Arc<Powered>,
    inner: Arc<dyn Snapshot>,
}

impl UnstableSnapshot {
    fn check(&self) -> Result<(), StoreError> {
        self.powered.check_on()?;
        self.machine.faults.check_read()
    }
}

#[async_trait]
impl Snapshot for UnstableSnapshot {
    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.check()?;
        self.inner.get_many(family, keys).await
    }

    async fn scan(&self, request: ScanRequest) -> Result<ScanChunk, StoreError> {
        self.check()?;
        self.inner.scan(request).await
    }

    fn keys_read(&self) -> u64 {
        self.inner.keys_read()
    }
}
