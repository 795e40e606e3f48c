//! The dialect from outside: limits and bad input on the stack that callers have, and random texts.

mod deep;
mod hostile;
mod random;

use kalamdb_commons::Result;
use kalamdb_sql::{ParsedStatement, statements};

/// The stack that callers parse on.
const STACK_BYTES: usize = 16 << 20;

/// Runs on a thread with that stack.
fn on_callers_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread");
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The text's statements; what is parsed is dropped on the same stack, unless it is handed on.
fn parse_all(sql: &str) -> Vec<Result<ParsedStatement>> {
    statements(sql).collect()
}
