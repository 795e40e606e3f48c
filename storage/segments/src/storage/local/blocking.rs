//! A bounded number of file operations at a time, off the async threads.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use crate::error::{Result, SegmentError};

/// How many operations run at the same time; others wait.
#[derive(Debug)]
pub(super) struct BlockingPool {
    places: Arc<Semaphore>,
    size: usize,
}

impl BlockingPool {
    pub(super) fn new(size: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(size)), size }
    }

    /// Runs one operation. Cancelled, it goes on and keeps its place until it has ended.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
        let task = spawn_blocking(move || {
            let _place = place;
            operation()
        });
        task.await.map_err(|error| lost(&error))?
    }

    /// Runs an operation for each item, on as many threads as there are places, and returns the first error (after
    /// all that had begun have ended).
    pub(super) async fn for_each<I: Send + 'static>(
        &self,
        items: Vec<I>,
        operation: impl Fn(I) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let threads = items.len().min(self.size);
        let queue = Arc::new(Mutex::new(items));
        let operation = Arc::new(operation);
        let mut tasks = JoinSet::new();
        for _ in 0..threads {
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
            let (queue, operation) = (Arc::clone(&queue), Arc::clone(&operation));
            tasks.spawn_blocking(move || {
                let _place = place;
                loop {
                    let Some(item) = queue.lock().pop() else { return Ok(()) };
                    if let Err(error) = operation(item) {
                        // The group has failed: the rest is not begun.
                        queue.lock().clear();
                        return Err(error);
                    }
                }
            });
        }
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let result = ended.unwrap_or_else(|error| Err(lost(&error)));
            outcome = outcome.and(result);
        }
        outcome
    }
}

fn closed() -> SegmentError {
    SegmentError::Misused("the pool of file operations is closed".to_owned())
}

fn lost(error: &JoinError) -> SegmentError {
    SegmentError::Unavailable {
        action: "run a file operation on",
        path: String::new(),
        message: format!("its thread was lost: {error}"),
    }
}
