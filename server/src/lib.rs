//! The door of KalamDB: what turns HTTP into messages for the engine, and the engine's answers into HTTP.
//!
//! [`start`] is the one way to run a server, for the program and for tests alike: it opens the data,
//! brings up the actor tree, and only then lets callers in. [`RunningServer::stop`] goes the other way, in
//! the order of [`shutdown::STEPS`]. No SQL, no storage and no query engine is known here.

pub mod auth;
mod build;
mod door;
mod listen;
pub mod logging;
mod server;
pub mod settings;
pub mod shutdown;
mod task;

pub use build::{BUILD, version};
pub use kalamdb_commons::settings::Settings;
pub use kalamdb_core::StopReport;
pub use listen::listen;
pub use server::{RunningServer, StartError, start};
