//! KalamDB from outside: what a user, an operator or a client program can rely on.

mod bad_input;
mod bench;
mod crash;
mod disk;
mod docs;
mod e2e;
mod live_kills;
mod load;
mod outside;
mod overload;
mod slt;
