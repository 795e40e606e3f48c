//! Spawning tasks that nobody awaits: a panic in one is logged, never lost.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Runs `future` on `handle`.
pub(crate) fn spawn_on<F>(handle: &Handle, name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = handle.spawn(future);
    handle.spawn(async move {
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(task = name, %error, "task panicked");
        }
    })
}
