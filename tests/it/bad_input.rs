//! What nobody should send: each gets its code at once, nothing is lost, and the server lives on.

mod bodies;
mod half_sent;
mod huge;
mod random;
mod text;
mod tokens;
