//! The engine on a machine whose power can be cut and whose disk can fail.

mod failures;
mod power_cut;
mod server;
