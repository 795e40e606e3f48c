//! The disk, and the power.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_commons::Family;
use kalamdb_store::{
    BackendOptions, BackendRegistry, Batch, Direction, Durability, KeyRange, MemoryBackend, ScanRequest,
    StorageBackend, StoreError,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use crate::Faults;
use crate::backend::{Powered, UnstableBackend};

/// Entries copied at a time from the disk when it is booted.
const COPY_ENTRIES: usize = 4096;

/// See the crate. Cheap to clone; all clones are one machine.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) faults: Faults,
    die: Mutex<StdRng>,
    /// What survives: everything that was synced, and what a power cut left of the rest.
    disk: tokio::sync::Mutex<MemoryBackend>,
    running: Mutex<Option<Arc<Powered>>>,
    /// Written by a backend that was dropped and not closed: the operating system has it still.
    left: Mutex<Vec<Batch>>,
    boots: AtomicU64,
    /// For files beside the backend; it goes with the machine.
    directory: TempDir,
    /// How often the power was cut: who was running then stays dead.
    cuts: AtomicU64,
    /// What was written since it was last asked for; nothing while nobody asks.
    record: Mutex<Option<Vec<(Batch, Durability)>>>,
}

impl Parts {
    pub(crate) fn record(&self, batch: &Batch, durability: Durability) {
        if let Some(record) = self.record.lock().as_mut() {
            record.push((batch.clone(), durability));
        }
    }

    /// A number below `sides`, of this machine's luck.
    pub(crate) fn throw(&self, sides: u64) -> u64 {
        self.die.lock().random_range(0..sides.max(1))
    }

    /// Puts batches on the disk.
    pub(crate) async fn persist(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let disk = self.disk.lock().await;
        for batch in batches {
            disk.write(batch, Durability::Logged).await?;
        }
        Ok(())
    }

    /// A backend ends without being closed.
    pub(crate) fn leave(&self, unsynced: Vec<Batch>) {
        self.left.lock().extend(unsynced);
    }

    /// The first of so many batches are on the disk, how many is a matter of luck.
    pub(crate) async fn persist_some(&self, mut batches: Vec<Batch>) -> Result<(), StoreError> {
        let sides = batches.len() as u64 + 1;
        batches.truncate(usize::try_from(self.throw(sides)).unwrap_or(usize::MAX));
        self.persist(batches).await
    }
}

impl Machine {
    /// The name its backend has in [`registry`](Self::registry).
    pub const BACKEND: &'static str = "unstable";

    /// A machine with an empty disk; the same seed has the same luck.
    ///
    /// # Panics
    /// Where no temporary directory can be made.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Parts {
            directory: TempDir::new().expect("a directory for the machine's files"),
            faults: Faults::default(),
            die: Mutex::new(StdRng::seed_from_u64(seed)),
            disk: tokio::sync::Mutex::new(MemoryBackend::new()),
            running: Mutex::default(),
            left: Mutex::default(),
            boots: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            record: Mutex::new(None),
        }))
    }

    /// An empty directory of its own, the same in all of its lives.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.directory.path()
    }

    /// Its switches.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// How often it was opened.
    #[must_use]
    pub fn boots(&self) -> u64 {
        self.0.boots.load(Ordering::Acquire)
    }

    /// The batches written since the last call, in order; the first call only begins the record.
    pub fn taken_batches(&self) -> Vec<(Batch, Durability)> {
        self.0.record.lock().replace(Vec::new()).unwrap_or_default()
    }

    /// Opens what is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Directory`] while another backend runs on it; [`StoreError::Backend`] where
    /// [`Faults`] says so.
    pub async fn boot(&self) -> Result<Arc<dyn StorageBackend>, StoreError> {
        let life = self.0.cuts.load(Ordering::Acquire);
        self.boot_in(life).await
    }

    /// Nothing if the power was cut since the life that this is for began.
    async fn boot_in(&self, life: u64) -> Result<Arc<dyn StorageBackend>, StoreError> {
        self.0.faults.check_open()?;
        let live = MemoryBackend::new();
        let left = std::mem::take(&mut *self.0.left.lock());
        self.0.persist(left).await?;
        let disk = self.0.disk.lock().await;
        copy(&disk, &live).await?;
        let powered = Arc::new(Powered::new(live));
        {
            let mut running = self.0.running.lock();
            if self.0.cuts.load(Ordering::Acquire) != life {
                return Err(StoreError::Directory("the power is off".to_owned()));
            }
            if running.as_ref().is_some_and(|running| running.is_on()) {
                return Err(StoreError::Directory("the machine's disk is in use".to_owned()));
            }
            *running = Some(Arc::clone(&powered));
        }
        drop(disk);
        self.0.boots.fetch_add(1, Ordering::AcqRel);
        Ok(Arc::new(UnstableBackend::new(Arc::clone(&self.0), powered)))
    }

    /// Takes the power away. Whatever runs on the machine gets nothing but errors from here on; when this
    /// returns, the disk holds what it will hold at the next boot.
    ///
    /// # Errors
    /// [`StoreError`] of the memory that stands for the disk; a test takes it for a defect.
    pub async fn cut_power(&self) -> Result<(), StoreError> {
        let running = {
            let mut running = self.0.running.lock();
            self.0.cuts.fetch_add(1, Ordering::AcqRel);
            running.take()
        };
        let mut lost = std::mem::take(&mut *self.0.left.lock());
        if let Some(running) = running {
            lost.extend(running.switch_off().await);
        }
        self.0.persist_some(lost).await
    }

    /// A registry with the usual backends and this machine's disk as [`Machine::BACKEND`]. It is for one life: after
    /// the next power cut it opens nothing.
    #[must_use]
    pub fn registry(&self) -> BackendRegistry {
        let mut registry = BackendRegistry::standard();
        let machine = self.clone();
        let life = machine.0.cuts.load(Ordering::Acquire);
        registry.register(Self::BACKEND, move |_: BackendOptions| {
            let machine = machine.clone();
            async move { machine.boot_in(life).await }
        });
        registry
    }
}

async fn copy(from: &MemoryBackend, to: &MemoryBackend) -> Result<(), StoreError> {
    let snapshot = from.snapshot().await?;
    for family in Family::ALL {
        let mut rest = Some(KeyRange::prefix(*family, &[]));
        while let Some(range) = rest {
            let request =
                ScanRequest { range, direction: Direction::Forward, limit: COPY_ENTRIES, max_bytes: usize::MAX };
            let chunk = snapshot.scan(request).await?;
            let mut batch = Batch::new();
            for (key, value) in chunk.entries.owned() {
                batch.put(*family, key, value);
            }
            to.write(batch, Durability::Logged).await?;
            rest = chunk.rest;
        }
    }
    Ok(())
}
