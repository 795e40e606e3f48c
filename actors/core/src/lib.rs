//! The engine and the actors: what KalamDB does with a statement.
//!
//! [`Engine`] is the only way in. Behind it stands the supervision tree (`tree`); a statement goes
//! door → `SessionActor` → its own task, which plans it (`engine`), reads and writes through
//! `kalamdb-store`, and answers by itself.

mod answer;
mod catalog;
mod engine;
mod flush;
mod handle;
mod live;
mod segments;
mod status;
mod tree;

use kalamdb_live::supervision::task;
pub use kalamdb_live::{LiveCaller, LiveConnection, LiveEnd, LiveOutbox, LiveWork, Outgoing};
pub use status::JobsQuestion;

pub use answer::{AnswerFormat, AnswerStream};
pub use handle::{
    AnswerMemory, BuildInfo, Engine, EngineArgs, HeaderUser, SqlOutcome, SqlRequest, StartError, StatementError,
    StopReport, milliseconds,
};
