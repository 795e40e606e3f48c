//! Plans that are compiled once and run for everybody.
//!
//! A query is planned as any other, with a slot in the place of each parameter, of the caller and of the time; what comes out is
//! kept by text and namespace. What always holds:
//! - a compiled plan holds no row, snapshot, user or value: all of them come with an execution;
//! - a hit skips the planner and never the checks: what the plan reads is resolved anew, with the caller's role, in the statement's
//!   catalog, and a table that is another by then makes it a miss;
//! - whatever cannot be compiled is planned for its statement alone, with the same answer.

mod cache;
mod compile;
mod first;
mod limit;
mod point;
mod slots;
mod template;

pub(crate) use cache::{Part, PlanCache, PlanRow, Prepared, prepare};
pub(crate) use compile::{Compiling, Way, way};
pub(crate) use first::first_use;
pub(super) use limit::is_one_task;
pub(super) use slots::{Slots, has_slots, slot_of, with_values};
pub(super) use template::slots_of_plan;
