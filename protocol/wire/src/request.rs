//! The body of `POST /api/sql`.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use kalamdb_commons::{Error, ErrorCode, Result};

use crate::object::read_object;

/// Most parameters one request may carry: bounds what a body of small numbers costs in memory.
pub const MAX_PARAMS: usize = 1_000_000;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlRequestBody {
    /// One or more statements separated by `;`.
    pub sql: String,
    /// Values for `$1`, `$2`, …: scalars only, arrays and objects are refused.
    #[serde(default, deserialize_with = "scalars")]
    pub params: Vec<Value>,
    /// Where unqualified table names are looked up; `default` when absent.
    #[serde(default)]
    pub namespace: Option<String>,
}

impl SqlRequestBody {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] for anything that is not exactly such an object: invalid JSON or
    /// UTF-8, unknown, repeated or missing members, wrong types, arrays or objects as parameters.
    pub fn from_json(body: &[u8]) -> Result<Self> {
        read_object(body)
            .map_err(|error| Error::new(ErrorCode::InvalidRequest, format!("the request body is not valid: {error}")))
    }
}

/// Reads `params`. Each element is first looked at as raw text, so that a huge array inside it is refused
/// before it costs memory.
pub(crate) fn scalars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    struct Scalars;

    impl<'de> Visitor<'de> for Scalars {
        type Value = Vec<Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of parameters")
        }

        fn visit_unit<E>(self) -> Result<Vec<Value>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Value>, A::Error> {
            let mut params = Vec::new();
            while let Some(raw) = elements.next_element::<&'de RawValue>()? {
                if params.len() == MAX_PARAMS {
                    return Err(A::Error::custom(format_args!("more than {MAX_PARAMS} parameters")));
                }
                let number = params.len() + 1;
                if let Some(kind) = compound(raw.get()) {
                    return Err(A::Error::custom(format_args!(
                        "parameter {number} is {kind}: a parameter is a string, a number, a boolean or null"
                    )));
                }
                let value = serde_json::from_str(raw.get())
                    .map_err(|error| A::Error::custom(format_args!("parameter {number}: {error}")))?;
                params.push(value);
            }
            Ok(params)
        }
    }

    deserializer.deserialize_any(Scalars)
}

fn compound(json: &str) -> Option<&'static str> {
    match json.as_bytes().first() {
        Some(b'[') => Some("an array"),
        Some(b'{') => Some("an object"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_request_is_read() {
        let body = br#" {"sql": "SELECT $1", "params": [1, -2.50, "x", true, null, 12345678901234567890123], "namespace": "chat"} "#;
        let request = SqlRequestBody::from_json(body).expect("valid");
        assert_eq!(request.sql, "SELECT $1");
        assert_eq!(request.namespace.as_deref(), Some("chat"));
        assert_eq!(request.params.len(), 6);
        assert_eq!(request.params[0], json!(1));
        assert_eq!(request.params[1].to_string(), "-2.50", "digits are kept as sent");
        assert_eq!(request.params[4], Value::Null);
        assert_eq!(request.params[5].to_string(), "12345678901234567890123");
    }

    #[test]
    fn optional_members_may_be_absent_or_null() {
        for body in
            [r#"{"sql": ""}"#, r#"{"sql": "", "params": null, "namespace": null}"#, r#"{"sql": "", "params": []}"#]
        {
            let request = SqlRequestBody::from_json(body.as_bytes()).expect(body);
            assert_eq!((request.params.len(), request.namespace), (0, None), "{body}");
        }
    }

    #[test]
    fn everything_else_is_an_invalid_request() {
        let deep = format!(r#"{{"sql": "x", "params": [{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let cases: Vec<(&[u8], &str)> = vec![
            (b"", "EOF"),
            (b"null", "invalid type"),
            (b"[]", "invalid"),
            (b"[\"SELECT 1\"]", "an object"),
            (b"\"SELECT 1\"", "invalid type"),
            (b"{", "EOF"),
            (b"{}", "missing field `sql`"),
            (br#"{"sql": 1}"#, "invalid type"),
            (br#"{"sql": null}"#, "invalid type"),
            (br#"{"sql": "x", "sql": "y"}"#, "duplicate field `sql`"),
            (br#"{"sql": "x", "parms": []}"#, "unknown field `parms`"),
            (br#"{"sql": "x", "params": {}}"#, "an array of parameters"),
            (br#"{"sql": "x", "params": "y"}"#, "an array of parameters"),
            (br#"{"sql": "x", "params": [1, [2]]}"#, "parameter 2 is an array"),
            (br#"{"sql": "x", "params": [{"$serde_json::private::Number": "1"}]}"#, "parameter 1 is an object"),
            (br#"{"sql": "x", "params": [01]}"#, "invalid number"),
            (br#"{"sql": "x", "params": [NaN]}"#, "expected"),
            (br#"{"sql": "x", "params": ["\ud800"]}"#, "parameter 1"),
            (br#"{"sql": "x", "namespace": 7}"#, "invalid type"),
            (br#"{"sql": "x"} y"#, "trailing"),
            (b"{\"sql\": \"\xff\"}", "invalid unicode"),
            (b"{\"sql\": \"a\x00b\"}", "control character"),
            (b"\xef\xbb\xbf{\"sql\": \"x\"}", "expected value"),
            (deep.as_bytes(), "parameter 1 is an array"),
        ];
        for (body, expected) in cases {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let error = SqlRequestBody::from_json(body).expect_err(&shown);
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{shown}");
            assert!(error.message.contains(expected), "{shown}: {}", error.message);
        }
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        let body = |count: usize| format!(r#"{{"sql": "x", "params": [{}0]}}"#, "0,".repeat(count - 1));
        assert_eq!(
            SqlRequestBody::from_json(body(MAX_PARAMS).as_bytes()).map(|r| r.params.len()).ok(),
            Some(MAX_PARAMS)
        );
        assert!(SqlRequestBody::from_json(body(MAX_PARAMS + 1).as_bytes()).is_err());
    }
}
