//! The blocking threads a backend may keep busy, by what for, so that long scans never hold up a sync.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::StoreError;

/// Synced writes that share one fsync; more than wait for it at once gain nothing.
const WRITERS: usize = 8;

/// Turns on blocking threads. Work takes its database only when its turn has come, so that work which
/// never gets one holds nothing up, not even closing.
#[derive(Debug)]
pub(super) struct Threads {
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    upkeep: Arc<Semaphore>,
    closing: Arc<Semaphore>,
}

impl Threads {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        let turns = |count| Arc::new(Semaphore::new(count));
        Self { readers: turns(cores.max(2)), writers: turns(WRITERS), upkeep: turns(1), closing: turns(1) }
    }

    /// Long reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.readers, action, work).await
    }

    /// Writes and syncs.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.writers, action, work).await
    }

    /// What is rare and long.
    pub(super) async fn upkeep<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.upkeep, action, work).await
    }

    /// Closing, and the look at the disk before it: behind nothing else.
    pub(super) async fn closing<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.closing, action, work).await
    }
}

/// The turn is given back when the work is done, not when its caller is gone.
async fn run<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    action: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| StoreError::Closed)?;
    let task = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    task.await.map_err(|error| StoreError::Backend { action, message: error.to_string() })?
}
