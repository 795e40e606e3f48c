//! Which pages in a browser may read answers: those of `server.cors_origins`, and those that are served from this machine
//! where the localhost rule lets them in; no other.
//!
//! No cookies are used, so nothing is said about credentials; a page sends its token itself.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{Method, StatusCode};
use warp::reply::Response;

/// See the module.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
    /// Whether pages of this machine are let in without being listed.
    has_local_pages: bool,
}

impl Cors {
    pub(super) fn new(origins: &[String], has_local_pages: bool) -> Self {
        Self { origins: origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(), has_local_pages }
    }

    /// The request's origin, if it is allowed; `is_local_page`: whether the localhost rule lets it in.
    fn allowed<'a>(&self, headers: &'a HeaderMap, is_local_page: bool) -> Option<&'a HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if is_local_page {
            return Some(origin);
        }
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.contains(&text).then_some(origin)
    }

    /// The answer to a browser's question before its request; `None` if it is none, or not allowed.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap, is_local_page: bool) -> Option<Response> {
        if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        self.allowed(headers, is_local_page)?;
        let mut response = Response::new(Vec::new().into());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        answer.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, accept, x-user-id, x-request-id"),
        );
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(response)
    }

    /// Adds what a browser needs to let the page read the answer.
    pub(super) fn decorate(&self, request: &HeaderMap, is_local_page: bool, answer: &mut HeaderMap) {
        if self.origins.is_empty() && !self.has_local_pages {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.allowed(request, is_local_page) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after"));
        }
    }
}
