//! The door from outside: over a real server in this process, and over the program itself.

mod auth;
mod binary;
mod cors;
mod harness;
mod identity;
mod limits;
mod requests;
mod stopping;
