//! What every actor of the tree is supervised with: counters, faults of tests, stable addresses, budgets.
//!
//! It lives here and not with the tree, because the tree's crate depends on this one.

pub mod budget;
pub mod failures;
pub mod faults;
pub mod gauges;
pub mod slot;
pub mod task;
