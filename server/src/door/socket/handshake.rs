//! The request that becomes a WebSocket (RFC 6455, 4.2), and what is answered to one that does not.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headers::{HeaderMapExt, SecWebsocketAccept, SecWebsocketKey};
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_core::HeaderUser;
use percent_encoding::percent_decode_str;
use warp::reply::Response;

use super::session::{Beginning, Claim};
use super::{Door, Member};
use crate::auth::{Caller, Handshake};
use crate::door::answer::refusal;
use crate::door::context::RequestContext;
use crate::door::sql::header_user;

/// Where WebSockets are opened.
pub(in crate::door) const PATH: &str = "/ws";
/// The one version of the protocol.
const VERSION: HeaderValue = HeaderValue::from_static("13");
/// Bytes of a key, before base64.
const KEY_BYTES: usize = 16;

/// A handshake that was answered with 101.
#[derive(Debug)]
pub(in crate::door) struct Accepted {
    /// The engine's side, where it is known who is there; else why it is not.
    pub(super) member: Result<Box<Member>, Error>,
    /// What `X-USER-ID` says.
    pub(super) header_user: HeaderUser,
}

/// Where an accepted handshake waits until its answer is written.
#[derive(Debug, Clone, Default)]
pub(in crate::door) struct UpgradeSlot(Arc<Mutex<Option<Accepted>>>);

impl UpgradeSlot {
    fn put(&self, accepted: Accepted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
    }

    pub(in crate::door) fn take(&self) -> Option<Accepted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers a request for [`PATH`]. After a 101 the connection goes on with what is in `slot`.
pub(in crate::door) fn answer(
    door: &Door,
    context: &RequestContext,
    head: &Parts,
    has_body: bool,
    slot: &UpgradeSlot,
) -> Response {
    match accept(door, context, head, has_body) {
        Ok((accept, accepted)) => {
            slot.put(accepted);
            let mut response = Response::new(Vec::new().into());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.typed_insert(accept);
            response
        }
        Err(error) => {
            let mut response = refusal(&error, &context.request_id);
            match error.code {
                ErrorCode::MethodNotAllowed => {
                    drop(response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET")))
                }
                ErrorCode::InvalidRequest => drop(response.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION)),
                _ => {}
            }
            response
        }
    }
}

fn accept(
    door: &Door,
    context: &RequestContext,
    head: &Parts,
    has_body: bool,
) -> Result<(SecWebsocketAccept, Accepted)> {
    if head.method != Method::GET {
        return Err(Error::new(ErrorCode::MethodNotAllowed, "this path takes GET only"));
    }
    let key = check_upgrade(head, has_body)?;
    let token = token_of(head.uri.query().unwrap_or_default())?;
    let caller = Caller { peer: context.peer, headers: &head.headers, authority: context.authority.as_ref() };
    let claim = match door.authenticator.handshake(caller, token.as_deref())? {
        Handshake::Token(claim) => Ok(Claim::Token(claim)),
        Handshake::Localhost(identity) => Ok(Claim::Localhost(identity)),
        Handshake::Nobody(_) if door.is_stopping() => {
            return Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"));
        }
        Handshake::Nobody(why) => Err(why),
    };
    let header_user = header_user(&head.headers);
    let member = match claim {
        Ok(claim) => Ok(Box::new(door.enter(claim, &header_user, Beginning::Known)?)),
        Err(why) => Err(why),
    };
    Ok((key.into(), Accepted { member, header_user }))
}

fn check_upgrade(head: &Parts, has_body: bool) -> Result<SecWebsocketKey> {
    let refuse = |why: &str| Err(Error::new(ErrorCode::InvalidRequest, format!("this path speaks WebSocket: {why}")));
    let headers = &head.headers;
    if head.version != Version::HTTP_11 {
        return refuse("a handshake is an HTTP/1.1 request");
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return refuse("the headers Connection: Upgrade and Upgrade: websocket are missing");
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return refuse("the header Sec-WebSocket-Version has to be 13");
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).and_then(|key| STANDARD.decode(key.as_bytes()).ok());
    let key = key.filter(|key| key.len() == KEY_BYTES).and_then(|_| headers.typed_get::<SecWebsocketKey>());
    let Some(key) = key else {
        return refuse("the header Sec-WebSocket-Key has to be 16 bytes in base64");
    };
    if has_body {
        return refuse("a handshake has no body");
    }
    Ok(key)
}

/// The header's value, if it occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a header that is a list has this element, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|element| element.trim().eq_ignore_ascii_case(token))
}

/// The token of the address. Nothing of the address is repeated: a token may be anywhere in it.
fn token_of(query: &str) -> Result<Option<String>> {
    let refuse = |why: &str| Err(Error::new(ErrorCode::InvalidRequest, why));
    let mut token = None;
    for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        match name {
            "" if value.is_empty() => {}
            "token" if token.is_none() => match percent_decode_str(value).decode_utf8() {
                Ok(text) => token = Some(text.into_owned()),
                Err(_) => return refuse("the query parameter token is not UTF-8"),
            },
            "token" => return refuse("the query parameter token occurs more than once"),
            _ => return refuse("unknown query parameter: expected token"),
        }
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn head(change: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().uri("/ws");
        let usual = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in usual.iter().filter(|(name, _)| change.iter().all(|(changed, _)| changed != name)) {
            request = request.header(*name, *value);
        }
        for (name, value) in change.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_handshake_is_answered_as_the_rfc_has_it() {
        let mut headers = HeaderMap::new();
        headers.typed_insert(SecWebsocketAccept::from(check_upgrade(&head(&[]), false).expect("good")));
        assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(check_upgrade(&head(&[("upgrade", "h2c, WebSocket"), ("connection", "UPGRADE")]), false).is_ok());
    }

    #[test]
    fn whatever_else_asks_for_it_is_told_why_not() {
        for (change, says) in [
            (vec![("connection", "keep-alive")], "Connection"),
            (vec![("connection", "")], "Connection"),
            (vec![("upgrade", "h2c")], "Upgrade"),
            (vec![("sec-websocket-version", "8")], "Version"),
            (vec![("sec-websocket-version", "")], "Version"),
            (vec![("sec-websocket-version", "13"), ("sec-websocket-version", "13")], "Version"),
            (vec![("sec-websocket-key", "")], "Key"),
            (vec![("sec-websocket-key", "c2hvcnQ=")], "Key"),
            (vec![("sec-websocket-key", "not base64, not at all.")], "Key"),
        ] {
            let error = check_upgrade(&head(&change), false).expect_err(says);
            assert_eq!(error.code, ErrorCode::InvalidRequest);
            assert!(error.message.contains(says), "{change:?}: {}", error.message);
        }
        assert!(check_upgrade(&head(&[]), true).is_err());
        let mut old = head(&[]);
        old.version = Version::HTTP_10;
        assert!(check_upgrade(&old, false).is_err());
    }

    #[test]
    fn the_address_brings_a_token_and_nothing_else() {
        assert_eq!(token_of("").expect("nothing"), None);
        assert_eq!(token_of("&").expect("nothing"), None);
        assert_eq!(token_of("token=a.b-c_d").expect("good").as_deref(), Some("a.b-c_d"));
        assert_eq!(token_of("token=a%2Eb").expect("good").as_deref(), Some("a.b"));
        assert_eq!(token_of("token=").expect("checked later").as_deref(), Some(""));
        for bad in ["token=secret&token=x", "Token=secret", "token=%FF", "secret", "token=a&user=secret"] {
            let error = token_of(bad).expect_err(bad);
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{bad}");
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }
}
