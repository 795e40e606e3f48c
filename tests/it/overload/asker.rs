//! A client that keeps its connection, and looks closely at every answer.

use std::time::Duration;

use serde_json::{Value, json};

use kalamdb_tests::{RawAnswer, RawConnection, Role, SECRET, token};

/// Longer than any bound of the servers here; who waits so long has found something.
const PATIENCE: Duration = Duration::from_secs(90);

/// See the module.
#[derive(Debug)]
pub(super) struct Asker {
    connection: RawConnection,
    authorization: String,
}

/// What an answer came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// The last statement's rows.
    Success(Value),
    /// The code of a refusal; nothing was changed.
    Refused(String),
}

impl Asker {
    pub(super) async fn open(base: &str, authorization: &str) -> Self {
        Self { connection: RawConnection::open(base).await, authorization: authorization.to_owned() }
    }

    /// The head's line for this user.
    pub(super) fn authorization(user: &str) -> String {
        format!("Authorization: Bearer {}\r\n", token(user, Role::User, SECRET))
    }

    /// A request's bytes.
    pub(super) fn request(authorization: &str, sql: &str) -> Vec<u8> {
        let body = json!({"sql": sql}).to_string();
        format!(
            "POST /api/sql HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Asks and looks; fails at anything that the contract does not know.
    pub(super) async fn ask(&mut self, sql: &str) -> Said {
        self.connection.send(Self::request(&self.authorization, sql)).await;
        let answer = self.connection.answer(PATIENCE).await;
        understand(&answer.unwrap_or_else(|| panic!("{sql}: closed without an answer")))
    }
}

fn understand(answer: &RawAnswer) -> Said {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let is_success = body["status"] == "success";
    assert_eq!(is_success, answer.status == 200, "{answer:?}");
    assert!(body["results"].is_array(), "{answer:?}");
    if is_success {
        return Said::Success(body["results"].as_array().and_then(|all| all.last()).expect("a result")["rows"].clone());
    }
    let code = body["error"]["code"].as_str().unwrap_or_default();
    let expected = match code {
        "OVERLOADED" | "RESOURCES_EXHAUSTED" => 503,
        "TIMEOUT" => 504,
        _ => panic!("not an answer to too much: {answer:?}"),
    };
    assert_eq!(answer.status, expected, "{answer:?}");
    assert_eq!(answer.header("retry-after").is_some(), expected == 503, "{answer:?}");
    assert_ne!(body["error"]["outcome"], "unknown", "{answer:?}");
    Said::Refused(code.to_owned())
}
