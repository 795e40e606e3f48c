//! A machine for tests whose power can be cut and whose disk can fail.
//!
//! [`Machine`] is what outlives the process: a disk. [`Machine::boot`] gives a backend on it. What a batch
//! changes is readable at once, and on the disk after the next sync; when the power goes, a prefix of
//! what was not synced is there, as an operating system would have it: how long a prefix is chosen by the
//! machine's seed. [`Faults`] makes writes, syncs and reads fail or wait.
//!
//! Only tests depend on this crate; no program of ours contains it.

mod backend;
mod faults;
mod machine;

pub use faults::Faults;
pub use machine::Machine;
