//! The committer: sequence numbers, premises, batches, group commit, gates.

mod batches;
mod concurrency;
mod durability;
mod fixture;
mod gates;
mod premises;
mod sequence;
