//! Records that are read rarely and looked at by people: a format byte, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::corrupted;
use crate::StoreError;

const FORMAT: u8 = 1;

/// # Panics
/// When `record` has a map whose keys are not text, or refuses to be serialised: the records here are
/// plain data, so that is a mistake in their definition.
pub(super) fn encode(record: &impl Serialize) -> Vec<u8> {
    let mut out = vec![FORMAT];
    if let Err(error) = serde_json::to_writer(&mut out, record) {
        panic!("a record that is not plain data: {error}");
    }
    out
}

pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    match bytes {
        [FORMAT, json @ ..] => serde_json::from_slice(json).map_err(|error| corrupted(what, error.to_string())),
        [other, ..] => Err(corrupted(what, format!("unknown format {other}"))),
        [] => Err(corrupted(what, "empty")),
    }
}
