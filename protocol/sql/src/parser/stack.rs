//! Stack for sqlparser, whose recursion follows the nesting of a statement.
//!
//! sqlparser grows the stack by itself where less than 128 KiB are left, and unoptimised some of its
//! frames together are larger than that. So the stack is chosen beforehand, from what the limits counted.

use kalamdb_commons::{Error, ErrorCode, Result};

use crate::limits::Shape;

/// Stack of a bracket or CASE, with a query or a join in it. Unoptimised, frames are many times larger.
const NESTING_BYTES: usize = if cfg!(debug_assertions) { 512 << 10 } else { 64 << 10 };
/// Stack of an operator whose right side is parsed.
const OPERATOR_BYTES: usize = if cfg!(debug_assertions) { 192 << 10 } else { 24 << 10 };
/// Stack of the rest.
const BASE_BYTES: usize = 2 << 20;
/// What callers have for us: half of their 16 MiB.
const CALLERS_BYTES: usize = 8 << 20;

/// Runs a parse where it has stack enough: here, or, for a deep statement, on a thread of its own.
pub(super) fn with_enough_stack<T: Send>(shape: Shape, parse: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let bytes = BASE_BYTES + shape.nesting * NESTING_BYTES + shape.open_operators * OPERATOR_BYTES;
    if bytes <= CALLERS_BYTES {
        return parse();
    }
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("sql-parser".to_owned()).stack_size(bytes).spawn_scoped(scope, parse);
        let thread = thread.map_err(|error| Error {
            detail: Some(format!("a stack of {bytes} bytes: {error}")),
            ..Error::new(ErrorCode::ResourcesExhausted, "no memory to parse a statement nested so deep")
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deep_statements_get_a_thread() {
        let here = std::thread::current().id();
        let shallow = Shape { nesting: 3, open_operators: 3, depth: 9 };
        assert_eq!(with_enough_stack(shallow, || Ok(std::thread::current().id())).expect("parsed"), here);
        let deep = Shape { nesting: 900, open_operators: 900, depth: 1800 };
        assert_ne!(with_enough_stack(deep, || Ok(std::thread::current().id())).expect("parsed"), here);
    }
}
