//! Live queries as the door sees them: frames in, frames out, no socket.

mod altered;
mod basics;
mod begins;
mod bounds;
mod checker;
mod client;
mod ends;
mod equal;
