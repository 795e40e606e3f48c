//! The bytes on disk: every key and every value of the backend, and nothing else.
//!
//! Encodings are pure functions between bytes and plain data; the typed stores and the engine call
//! them, no other module builds or takes apart a key or a value. `docs/architecture/formats.md` shows
//! each of them byte by byte.
//!
//! What always holds:
//! - Every value begins with a byte that names its format, counted from 1; a reader knows all formats ever
//!   written, and refuses newer ones with [`StoreError::NewerFormat`].
//! - Keys carry no format byte: their order is their meaning, and a change of it is a new version of
//!   the whole data directory ([`meta::DataFormat`]).
//! - Every decoder is total: bytes that no encoder wrote are [`StoreError::Corrupted`], never a panic
//!   and never an allocation larger than the input justifies.
//! - Numbers are little-endian in values, big-endian in keys, where they are also made to sort.

mod bytes;
pub mod catalog;
pub mod changelog;
pub mod files;
mod json;
pub mod keys;
pub mod manifest;
pub mod marks;
pub mod meta;
pub mod partition;
pub mod row;
pub mod system;
#[cfg(test)]
mod tests;

use crate::StoreError;

/// Checks the first byte of a value against the newest format of its kind.
fn check_format(what: &'static str, found: u8, newest: u8) -> Result<(), StoreError> {
    if found == 0 {
        return Err(corrupted(what, "unknown format 0"));
    }
    if found > newest {
        return Err(StoreError::NewerFormat { what, found: found.into(), known: newest.into() });
    }
    Ok(())
}

/// The error of bytes that do not decode.
fn corrupted(what: &'static str, message: impl Into<String>) -> StoreError {
    StoreError::Corrupted { what, message: message.into() }
}
