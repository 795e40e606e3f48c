//! What is known about a request apart from its headers: its id, and where it came from.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use ulid::Ulid;

/// The header that names a request, in answers and, if the caller likes, in requests.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a caller.
const MAX_ID_CHARS: usize = 128;

/// Travels with the request as an extension.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) request_id: RequestId,
    pub(super) peer: IpAddr,
    pub(super) authority: Option<Authority>,
}

/// The caller's own `X-Request-Id` if it is harmless (1 to 128 of `A-Z a-z 0-9 . _ -`), else a new ULID, so
/// that a caller can follow its request through the log and nobody can forge a line in it.
#[derive(Debug, Clone)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    pub(super) fn new() -> Self {
        Self(Arc::from(Ulid::new().to_string()))
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        given.filter(|id| is_harmless(id)).map_or_else(Self::new, |id| Self(Arc::from(id)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

fn is_harmless(id: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let of = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).expect("a header"));
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(of(b"my-request.7_A"), "my-request.7_A");
        for bad in [&b""[..], b"a b", b"a\tb", b"\xffx", b"<script>", &[b'a'; 129]] {
            let id = of(bad);
            assert_eq!(id.len(), 26, "{id}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()).as_str(), RequestId::new().as_str());
    }
}
