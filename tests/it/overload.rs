//! More than fits: every answer is one of the contract's, memory is bounded, and afterwards everything works.

mod asker;
mod crowd;
mod slow;

const MIB: u64 = 1 << 20;
