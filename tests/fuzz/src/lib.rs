//! What the fuzz targets share: values made from a fuzzer's bytes, their order told without the codecs,
//! and a thread with the stack that parsing is promised.
//!
//! Each target is a file in `targets` and asserts what has to hold for every input, not only that nothing
//! panics. `.ci/fuzz.sh` builds and runs them.

mod deep;
mod order;
mod values;

pub use deep::on_deep_stack;
pub use order::{compare, same};
pub use values::{column_type, header, row, schema, user, value};
