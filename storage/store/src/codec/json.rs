//! Records that are read rarely and looked at by people: a format byte, then JSON.
//!
//! Each kind counts its formats by itself. Members that a format does not have are refused, so a damaged
//! name cannot pass for a member that was left out.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{check_format, corrupted};
use crate::StoreError;

/// # Panics
/// When `record` has a map whose keys are not text, or refuses to be serialised: the records here are
/// plain data, so that is a mistake in their definition.
pub(super) fn encode(format: u8, record: &impl Serialize) -> Vec<u8> {
    let mut out = vec![format];
    if let Err(error) = serde_json::to_writer(&mut out, record) {
        panic!("a record that is not plain data: {error}");
    }
    out
}

pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8], newest: u8) -> Result<T, StoreError> {
    let (format, json) = bytes.split_first().ok_or_else(|| corrupted(what, "empty"))?;
    check_format(what, *format, newest)?;
    serde_json::from_slice(json).map_err(|error| corrupted(what, error.to_string()))
}
