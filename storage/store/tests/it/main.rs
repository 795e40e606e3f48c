//! The store from outside: every backend against one conformance suite, RocksDB's files, the committer.

mod committer;
mod conformance;
mod directories;
mod durability;
mod support;
