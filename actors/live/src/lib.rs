//! Live queries: who subscribes to what, and how changes get there.
//!
//! ```text
//! LiveSupervisor ── LiveQueryActor (one per user whose partitions are subscribed to)
//!       │                 follows the change log of each partition from its own cursor, evaluates each group of equal
//!       │                 queries once per statement, and puts the frames into the connections' outboxes
//! LiveConnection          what a connection may do: subscribe, unsubscribe; keeps its subscriptions, and attaches them
//!       │                 again when their actor was lost
//! LiveOutbox              what is to be written, in order, bounded
//! ```
//!
//! No queue here holds a change that exists nowhere else: a change is in the log of its partition until every follower's
//! bookmark may be past it. So an actor may be lost, lag or start anew; a connection's subscriptions go on from the last
//! bookmark that was put into its outbox, or from where their actor had read, whichever is later. What is SQL (compiling
//! a query, reading rows, writing them as JSON) is the engine's, behind [`LiveSource`].
//!
//! Invariants:
//! * LV-1: the frames of a subscription are put into its outbox in commit order, each change once; a statement's frames
//!   all at once, or none of them.
//! * LV-2: a bookmark is put there after everything up to it.
//! * LV-3: whoever writes rows waits for nobody here: it raises a flag and posts at most one message per actor.

mod actor;
mod connection;
mod evaluator;
mod feed;
mod feeder;
mod hub;
mod outbox;
mod query;
mod registry;
mod source;
mod subscription;
pub mod supervision;
mod supervisor;
mod uses;

pub use connection::{LiveCaller, LiveConnection};
pub use evaluator::LiveWork;
pub use hub::{LiveHub, LiveIndex, LiveRow};
pub use outbox::{LiveEnd, LiveOutbox, Outgoing};
pub use query::{LiveProgram, LiveQuery, RowFormat};
pub use source::{LiveSnapshot, LiveSource, TableState};
pub use supervisor::{LiveArgs, LiveMsg, LiveSupervisor};
pub use uses::UsedColumns;
