//! The store side of flushes and compactions: rows move into segments and nobody can tell.
//!
//! Files are maps in memory here; what is tested is which rows the manifest, the marks and the hot side make visible.

mod cost;
mod crashes;
mod fixture;
mod leases;
mod lists;
mod model;
mod races;
mod statements;
mod totals;
