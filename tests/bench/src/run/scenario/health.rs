//! The floor: a request and an answer that touch nothing.

use bytes::Bytes;

use super::{Ask, Operation};
use crate::run::answer;

/// GET /health.
#[derive(Debug)]
pub(crate) struct Health;

impl Operation for Health {
    fn ask(&self, _number: u64) -> Ask {
        Ask { caller: 0, body: Bytes::new() }
    }

    fn is_right(&self, _number: u64, body: &[u8]) -> bool {
        answer::contains(body, br#""status":"ok""#) || answer::parse(body).is_some_and(|json| json["status"] == "ok")
    }
}
