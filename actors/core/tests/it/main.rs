//! The engine on a machine whose power can be cut and whose disk can fail; and its live queries.

mod failures;
mod live;
mod power_cut;
mod server;
