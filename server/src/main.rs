//! The program `kalamdb-server`.

mod cli;

use std::process::ExitCode;

/// One allocator for Rust and RocksDB.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
