//! Answers: JSON bodies and the headers that belong to them. Every error of the door and of the engine
//! becomes an answer here, and is logged here if somebody should know of it.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use kalamdb_commons::{Error, ErrorCode};
use kalamdb_wire::{ErrorBody, StatementResult};
use warp::reply::Response;

use super::context::RequestId;

/// Seconds after which a refused request may be tried again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A body of JSON.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers are private to their caller.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A request that was refused as a whole.
pub(super) fn refusal(error: &Error, request_id: &RequestId) -> Response {
    failure(error, None, Vec::new(), request_id)
}

/// An error, after what was completed before it.
pub(super) fn failure(
    error: &Error,
    statement: Option<usize>,
    results: Vec<StatementResult>,
    request_id: &RequestId,
) -> Response {
    log(error, request_id);
    let body = ErrorBody::new(error, statement, results).to_json();
    let mut response = json(status_of(error.code), body);
    let headers = response.headers_mut();
    if response_may_be_retried(error.code) {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
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

fn response_may_be_retried(code: ErrorCode) -> bool {
    status_of(code) == StatusCode::SERVICE_UNAVAILABLE
}

fn log(error: &Error, request_id: &RequestId) {
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
    fn the_status_brings_its_headers() {
        for code in [ErrorCode::Overloaded, ErrorCode::ShuttingDown, ErrorCode::ResourcesExhausted] {
            assert_eq!(answer(code).headers()[RETRY_AFTER], "1", "{code}");
        }
        assert!(!answer(ErrorCode::Timeout).headers().contains_key(RETRY_AFTER));
        assert_eq!(answer(ErrorCode::Unauthorized).headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(answer(ErrorCode::BodyTooLarge).headers()[CONNECTION], "close");
        assert_eq!(answer(ErrorCode::RequestTimeout).headers()[CONNECTION], "close");
    }
}
