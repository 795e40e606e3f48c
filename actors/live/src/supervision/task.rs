//! Spawning tasks that nobody awaits: a panic in one is logged, never lost.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Runs `future` on `handle`.
pub fn spawn_on<F>(handle: &Handle, name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    handle.spawn(logged(name, future))
}

/// Runs `future`, and logs its panic.
pub async fn logged<F: Future<Output = ()>>(name: &'static str, future: F) {
    // Everything the task owns is dropped by then, so nobody sees what the panic left half done.
    if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
        tracing::error!(task = name, error = panic_text(panic.as_ref()), "task panicked");
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text")
}
