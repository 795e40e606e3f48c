//! Answers: JSON bodies and the headers that belong to them. Every error of the door and of the engine
//! becomes an answer here, and is logged here if somebody should know of it.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use kalamdb_commons::{Error, ErrorCode, Outcome};
use kalamdb_core::AnswerMemory;
use kalamdb_wire::{ErrorBody, StatementResult};
use warp::reply::Response;

use super::context::RequestId;

/// After how long a refused request may be tried again, where the error does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A body of JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers are private to their caller.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body whose memory counts until the client has it: one that does not read leaves less for others, and is never
/// the reason that there is none.
pub(super) fn counted(body: Vec<u8>, memory: AnswerMemory) -> Bytes {
    Bytes::from_owner(Counted { body, _memory: memory })
}

/// Dropped by the connection when it has sent all of it.
struct Counted {
    body: Vec<u8>,
    _memory: AnswerMemory,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// A request that was refused as a whole.
pub(super) fn refusal(error: &Error, request_id: &RequestId) -> Response {
    failure(error, None, Vec::new(), AnswerMemory::default(), request_id)
}

/// An error, after what was completed before it.
pub(super) fn failure(
    error: &Error,
    statement: Option<usize>,
    results: Vec<StatementResult>,
    memory: AnswerMemory,
    request_id: &RequestId,
) -> Response {
    log(error, request_id);
    let body = ErrorBody::new(error, statement, results).to_json();
    let mut response = json(status_of(error.code), counted(body, memory));
    let headers = response.headers_mut();
    if may_be_retried(error) {
        // Whole seconds, rounded up: earlier would be too early.
        let wait = error.retry_after.unwrap_or(RETRY_AFTER).as_millis().div_ceil(1000);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(wait).unwrap_or(u64::MAX)));
    }
    match error.code {
        ErrorCode::Unauthorized => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        // What is left of the request is not worth reading.
        ErrorCode::BodyTooLarge | ErrorCode::RequestTimeout => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

fn status_of(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whoever tries again a write whose fate is not known may write it twice.
fn may_be_retried(error: &Error) -> bool {
    status_of(error.code) == StatusCode::SERVICE_UNAVAILABLE && error.outcome == Outcome::NothingChanged
}

pub(super) fn log(error: &Error, request_id: &RequestId) {
    let request_id = request_id.as_str();
    let detail = error.detail.as_deref().unwrap_or_default();
    match error.code {
        ErrorCode::Internal | ErrorCode::DataCorrupted => {
            tracing::error!(request_id, code = %error.code, error = error.message, detail, "request failed");
        }
        ErrorCode::StorageUnavailable => {
            tracing::warn!(request_id, code = %error.code, error = error.message, detail, "request failed");
        }
        // The caller's affair; messages may hold the caller's data.
        _ => tracing::debug!(request_id, code = %error.code, "request refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: ErrorCode) -> Response {
        refusal(&Error::new(code, "no"), &RequestId::new())
    }

    #[test]
    fn every_code_has_its_status_and_a_json_body() {
        for &code in ErrorCode::ALL {
            let response = answer(code);
            assert_eq!(response.status().as_u16(), code.http_status(), "{code}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json", "{code}");
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again_in_whole_seconds() {
        let wait = |millis| {
            let error = Error::new(ErrorCode::Overloaded, "no").retry_after(Duration::from_millis(millis));
            let response = refusal(&error, &RequestId::new());
            response.headers()[header::RETRY_AFTER].to_str().map(str::to_owned).ok()
        };
        assert_eq!(wait(58_001).as_deref(), Some("59"));
        assert_eq!(wait(60_000).as_deref(), Some("60"));
    }

    #[test]
    fn the_status_brings_its_headers() {
        for code in [ErrorCode::Overloaded, ErrorCode::ShuttingDown, ErrorCode::ResourcesExhausted] {
            assert_eq!(answer(code).headers()[header::RETRY_AFTER], "1", "{code}");
        }
        assert!(!answer(ErrorCode::Timeout).headers().contains_key(header::RETRY_AFTER));
        let unknown = refusal(&Error::new(ErrorCode::Overloaded, "no").outcome_unknown(), &RequestId::new());
        assert!(!unknown.headers().contains_key(header::RETRY_AFTER), "it may have been written");
        assert_eq!(answer(ErrorCode::Unauthorized).headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(answer(ErrorCode::BodyTooLarge).headers()[CONNECTION], "close");
        assert_eq!(answer(ErrorCode::RequestTimeout).headers()[CONNECTION], "close");
    }
}
