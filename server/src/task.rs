//! Spawning tasks that nobody awaits: a panic in one is logged, never lost.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Runs `future` in `tasks`, which can be waited for. The result says whether it came to its end.
pub(crate) fn spawn<F>(tasks: &TaskTracker, name: &'static str, future: F) -> JoinHandle<bool>
where
    F: Future<Output = ()> + Send + 'static,
{
    tasks.spawn(async move {
        let ended = AssertUnwindSafe(future).catch_unwind().await;
        if let Err(panic) = &ended {
            tracing::error!(task = name, panic = panic_text(panic.as_ref()), "task panicked");
        }
        ended.is_ok()
    })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_and_stays_inside() {
        let tasks = TaskTracker::new();
        let panics = spawn(&tasks, "panics", async { panic!("a defect") });
        let ends = spawn(&tasks, "ends", async {});
        assert!(!panics.await.expect("caught"));
        assert!(ends.await.expect("no panic"));
        tasks.close();
        tasks.wait().await;
    }
}
