//! KalamDB from outside: what a user, an operator or a client program can rely on.

mod bad_input;
mod crash;
mod docs;
mod e2e;
mod load;
mod overload;
mod slt;
