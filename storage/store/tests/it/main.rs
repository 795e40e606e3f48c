//! The store from outside: every backend against one conformance suite, RocksDB's files, the committer.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as tests")]

mod committer;
mod conformance;
mod directories;
mod durability;
mod flush;
mod home;
mod stores;
mod support;
