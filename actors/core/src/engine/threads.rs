//! The threads that statements run on: those where each begins, and those where long queries go on.

use std::time::Duration;

use kalamdb_commons::{Error, Result};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

/// Parsing, planning and dropping recurse to the parser's limits (1000 levels, chains of 5000 operators);
/// frames of a debug build are several times as large. Only what is touched is ever backed by memory.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 256 << 20 } else { 64 << 20 };

/// See the module.
#[derive(Debug)]
pub(super) struct StatementThreads {
    statements: Handle,
    long: Handle,
    runtimes: Mutex<Vec<Runtime>>,
}

impl StatementThreads {
    /// `workers` of each kind; as many as there are cores where it is 0.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) fn start(workers: usize) -> Result<Self> {
        let start = |name: &str| {
            let mut builder = Builder::new_multi_thread();
            if workers > 0 {
                // One alone would let a single busy statement stop all others.
                builder.worker_threads(workers.max(2));
            }
            builder.thread_name(name).thread_stack_size(STACK_BYTES).enable_all().build().map_err(Error::internal)
        };
        let (statements, long) = (start("kalamdb-statement")?, start("kalamdb-long")?);
        Ok(Self {
            statements: statements.handle().clone(),
            long: long.handle().clone(),
            runtimes: Mutex::new(vec![statements, long]),
        })
    }

    /// Where statements begin.
    pub(super) fn statements(&self) -> &Handle {
        &self.statements
    }

    /// Where long queries go on.
    pub(super) fn long(&self) -> &Handle {
        &self.long
    }

    /// Ends them, each within `timeout`.
    ///
    /// # Errors
    /// When that could not be waited for.
    pub(super) async fn stop(&self, timeout: Duration) -> Result<()> {
        let runtimes = std::mem::take(&mut *self.runtimes.lock());
        // Joined and not left to themselves: glibc's `pthread_detach` of a thread that is just ending may read what is
        // no longer mapped (its bug 19951), and that ends the process.
        let joined =
            tokio::task::spawn_blocking(move || runtimes.into_iter().for_each(|one| one.shutdown_timeout(timeout)));
        joined.await.map_err(Error::internal)
    }
}

impl Drop for StatementThreads {
    fn drop(&mut self) {
        // A tokio runtime must not be dropped where async code runs.
        self.runtimes.get_mut().drain(..).for_each(Runtime::shutdown_background);
    }
}
