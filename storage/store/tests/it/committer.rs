//! The committer: sequence numbers, premises, batches, group commit, gates.

mod batches;
mod concurrency;
mod durability;
pub(crate) mod fixture;
mod gates;
mod log;
mod premises;
mod sequence;
