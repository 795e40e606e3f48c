//! What a client says.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use kalamdb_commons::{Error, ErrorCode, Result};

use crate::object::{object, read_object};
use crate::request::scalars;

/// Longest name that a client may give a query.
pub const MAX_QUERY_ID_CHARS: usize = 128;

/// One frame from a client.
pub enum ClientFrame {
    /// Begin some subscriptions; each stands or falls by itself.
    Subscribe(Vec<Result<SubscribeRequest, BadSubscription>>),
    /// End one.
    Unsubscribe {
        /// Which.
        query_id: String,
    },
    /// Answered by a pong.
    Ping,
    /// Says, or says again, who is there.
    Authenticate {
        /// A token as in the header, without `Bearer`.
        token: String,
    },
}

impl fmt::Debug for ClientFrame {
    /// Shows no token and no query: neither belongs in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(list) => write!(f, "Subscribe({} subscriptions)", list.len()),
            Self::Unsubscribe { query_id } => f.debug_struct("Unsubscribe").field("query_id", query_id).finish(),
            Self::Ping => f.write_str("Ping"),
            Self::Authenticate { .. } => f.write_str("Authenticate(…)"),
        }
    }
}

/// A subscription that cannot be read.
#[derive(Debug, Clone)]
pub struct BadSubscription {
    /// Its name, where that much can be read.
    pub query_id: Option<String>,
    /// Why.
    pub error: Error,
}

/// One subscription as the client asks for it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeRequest {
    /// The client's name for it, unique on its connection.
    pub query_id: String,
    /// The query.
    pub sql: String,
    /// Its parameters: scalars only.
    #[serde(default, deserialize_with = "scalars")]
    pub params: Vec<Value>,
    /// Where an unqualified table name is looked up; `default` when absent.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whose partition a name with the user qualifier means, instead of the handshake's `X-USER-ID`.
    #[serde(default)]
    pub user_id: Option<String>,
    /// How it begins.
    #[serde(default, deserialize_with = "object")]
    pub options: SubscribeOptions,
}

/// How a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeOptions {
    /// With so many of the matching rows that were changed last.
    #[serde(default)]
    pub last_rows: Option<u64>,
    /// With every matching change after this `_seq`.
    #[serde(default)]
    pub from_seq: Option<u64>,
    /// Rows of one `initial_data` frame.
    #[serde(default)]
    pub batch_size: Option<u64>,
}

/// Every member that any frame has; which of them belong to which is looked at afterwards.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    subscriptions: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    query_id: Option<String>,
    #[serde(default)]
    token: Option<String>,
}

/// What can be read of a subscription that is otherwise wrong.
#[derive(Deserialize)]
struct NameOnly {
    #[serde(default)]
    query_id: Option<Value>,
}

impl ClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] for anything that is not one of these frames: invalid JSON, an unknown `type`, unknown,
    /// repeated, missing or foreign members.
    pub fn from_json(text: &str) -> Result<Self> {
        let members: Members<'_> =
            read_object(text.as_bytes()).map_err(|error| invalid(format!("the frame is not valid: {error}")))?;
        match members {
            Members { kind, subscriptions: Some(list), query_id: None, token: None } if kind == "subscribe" => {
                if list.is_empty() {
                    return Err(invalid("a subscribe frame names no subscription"));
                }
                Ok(Self::Subscribe(list.into_iter().map(|raw| SubscribeRequest::from_json(raw.get())).collect()))
            }
            Members { kind, subscriptions: None, query_id: Some(query_id), token: None } if kind == "unsubscribe" => {
                Ok(Self::Unsubscribe { query_id })
            }
            Members { kind, subscriptions: None, query_id: None, token: None } if kind == "ping" => Ok(Self::Ping),
            Members { kind, subscriptions: None, query_id: None, token: Some(token) } if kind == "authenticate" => {
                Ok(Self::Authenticate { token })
            }
            Members { kind, .. } => Err(match kind.as_str() {
                "subscribe" => invalid("a subscribe frame has exactly 'subscriptions'"),
                "unsubscribe" => invalid("an unsubscribe frame has exactly 'query_id'"),
                "ping" => invalid("a ping frame has no other member"),
                "authenticate" => invalid("an authenticate frame has exactly 'token'"),
                _ => invalid("unknown type of frame: subscribe, unsubscribe, ping and authenticate are known"),
            }),
        }
    }
}

impl SubscribeRequest {
    /// Reads one element of `subscriptions`.
    fn from_json(text: &str) -> Result<Self, BadSubscription> {
        let bad = |message: String| BadSubscription {
            query_id: read_object::<NameOnly>(text.as_bytes()).ok().and_then(|only| match only.query_id {
                Some(Value::String(name)) if is_query_id(&name) => Some(name),
                _ => None,
            }),
            error: invalid(message),
        };
        let request: Self =
            read_object(text.as_bytes()).map_err(|error| bad(format!("the subscription is not valid: {error}")))?;
        if !is_query_id(&request.query_id) {
            return Err(bad(format!("query_id has 1 to {MAX_QUERY_ID_CHARS} characters")));
        }
        if request.options.batch_size == Some(0) {
            return Err(bad("batch_size is at least 1".to_owned()));
        }
        Ok(request)
    }
}

fn is_query_id(text: &str) -> bool {
    (1..=MAX_QUERY_ID_CHARS).contains(&text.chars().count())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn only(text: &str) -> Result<SubscribeRequest, BadSubscription> {
        match ClientFrame::from_json(text).expect(text) {
            ClientFrame::Subscribe(mut list) => list.pop().expect("one"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_frame_is_read() {
        let request = only(
            r#"{"type": "subscribe", "subscriptions": [{"query_id": "m1", "sql": "SELECT 1", "params": ["c1", 2],
                "user_id": "u", "namespace": "chat", "options": {"last_rows": 100, "batch_size": 500, "from_seq": 7}}]}"#,
        )
        .expect("valid");
        assert_eq!((request.query_id.as_str(), request.params), ("m1", vec![json!("c1"), json!(2)]));
        assert_eq!((request.user_id.as_deref(), request.namespace.as_deref()), (Some("u"), Some("chat")));
        let options = SubscribeOptions { last_rows: Some(100), from_seq: Some(7), batch_size: Some(500) };
        assert_eq!(request.options, options);
        let bare = only(r#"{"type": "subscribe", "subscriptions": [{"query_id": "m", "sql": "x"}]}"#).expect("valid");
        assert_eq!((bare.params.len(), bare.options), (0, SubscribeOptions::default()));
        assert!(matches!(ClientFrame::from_json(r#"{"type":"ping"}"#), Ok(ClientFrame::Ping)));
        let unsubscribe = ClientFrame::from_json(r#"{"query_id":"m","type":"unsubscribe"}"#);
        assert!(matches!(unsubscribe, Ok(ClientFrame::Unsubscribe { query_id }) if query_id == "m"));
        let authenticate = ClientFrame::from_json(r#"{"type":"authenticate","token":"t"}"#);
        assert!(matches!(authenticate, Ok(ClientFrame::Authenticate { token }) if token == "t"));
    }

    #[test]
    fn a_bad_subscription_leaves_the_others_alone() {
        let frame = r#"{"type": "subscribe", "subscriptions": [
            {"query_id": "good", "sql": "x"},
            {"query_id": "bad", "sql": "x", "options": {"last_row": 1}},
            {"query_id": 7, "sql": "x"},
            {"query_id": "", "sql": "x"},
            {"query_id": "zero", "sql": "x", "options": {"batch_size": 0}},
            {"query_id": "minus", "sql": "x", "options": {"last_rows": -1}},
            {"query_id": "deep", "sql": "x", "params": [[1]]},
            {"query_id": "list", "sql": "x", "options": []},
            ["in", "order"],
            "text"
        ]}"#;
        let Ok(ClientFrame::Subscribe(list)) = ClientFrame::from_json(frame) else { panic!("a subscribe frame") };
        let names: Vec<_> = list
            .iter()
            .map(|one| match one {
                Ok(request) => (Some(request.query_id.as_str()), None),
                Err(bad) => (bad.query_id.as_deref(), Some(bad.error.code)),
            })
            .collect();
        let invalid = Some(ErrorCode::InvalidRequest);
        assert_eq!(
            names,
            [
                (Some("good"), None),
                (Some("bad"), invalid),
                (None, invalid),
                (None, invalid),
                (Some("zero"), invalid),
                (Some("minus"), invalid),
                (Some("deep"), invalid),
                (Some("list"), invalid),
                (None, invalid),
                (None, invalid),
            ]
        );
    }

    #[test]
    fn everything_else_is_an_error() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "{\"type\":7}",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","subscriptions":[]}"#,
            r#"{"type":"subscribe","subscriptions":{}}"#,
            r#"{"type":"subscribe","subscriptions":[{"query_id":"a","sql":"x"}],"token":"t"}"#,
            r#"{"type":"unsubscribe"}"#,
            r#"{"type":"unsubscribe","query_id":1}"#,
            r#"{"type":"ping","x":1}"#,
            r#"{"type":"ping","token":"t"}"#,
            r#"{"type":"ping","type":"ping"}"#,
            r#"{"type":"authenticate"}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"ping"} x"#,
            r#"["ping"]"#,
        ] {
            let error = ClientFrame::from_json(text).expect_err(text);
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{text}");
        }
    }
}
