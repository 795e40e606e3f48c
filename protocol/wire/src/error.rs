//! The body of every error.

use serde::{Deserialize, Serialize};

use kalamdb_commons::{Error, Outcome};

use crate::StatementResult;
use crate::response::{size_hint, write_results, write_value};

/// `"status": "error"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorTag {
    /// The only value.
    #[default]
    Error,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// The stable tag.
    pub code: String,
    /// What a person reads.
    pub message: String,
    /// The number of the failing statement, from 0; absent when the error is not about a statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<usize>,
    /// Line in the SQL text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column in that line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// `unknown` when a write may or may not survive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// The body of an error answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ErrorBody {
    /// Always `error`.
    pub status: ErrorTag,
    /// The statements that were completed before.
    pub results: Vec<StatementResult>,
    /// What went wrong.
    pub error: ErrorObject,
}

/// Characters of a message that are shown: some repeat what the client sent.
const MESSAGE_CHARACTERS: usize = 2000;

pub(crate) fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARACTERS) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

impl ErrorBody {
    /// The body for `error`, raised by `statement` after `results` were completed.
    #[must_use]
    pub fn new(error: &Error, statement: Option<usize>, results: Vec<StatementResult>) -> Self {
        let outcome = match error.outcome {
            Outcome::NothingChanged => None,
            Outcome::Unknown => Some(String::from("unknown")),
        };
        Self {
            status: ErrorTag::Error,
            results,
            error: ErrorObject {
                code: error.code.as_str().to_owned(),
                message: shortened(&error.message),
                statement,
                line: error.position.map(|position| position.line),
                column: error.position.map(|position| position.column),
                outcome,
            },
        }
    }

    /// The error alone, as the last line of rows that were on their way already.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let mut out = b"{\"error\":".to_vec();
        write_value(&mut out, &self.error);
        out.extend_from_slice(b"}\n");
        out
    }

    /// The body's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(size_hint(&self.results));
        out.extend_from_slice(b"{\"status\":\"error\",\"results\":");
        write_results(&mut out, &self.results);
        out.extend_from_slice(b",\"error\":");
        write_value(&mut out, &self.error);
        out.push(b'}');
        out
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::ErrorCode;

    use super::*;

    #[test]
    fn an_error_names_its_statement_and_place() {
        let error = Error::new(ErrorCode::InvalidSql, "no").at(1, 8);
        let body = ErrorBody::new(&error, Some(1), vec![StatementResult::message(1, "1 row inserted")]);
        let text = String::from_utf8(body.to_json()).expect("UTF-8");
        assert_eq!(
            text,
            concat!(
                r#"{"status":"error","results":[{"columns":[],"rows":[],"row_count":1,"message":"1 row inserted"}],"#,
                r#""error":{"code":"INVALID_SQL","message":"no","statement":1,"line":1,"column":8}}"#
            )
        );
        assert_eq!(serde_json::from_str::<ErrorBody>(&text).expect("reads back"), body);
    }

    #[test]
    fn only_what_is_known_is_said() {
        let error = Error::new(ErrorCode::StorageUnavailable, "disk").outcome_unknown();
        let text = String::from_utf8(ErrorBody::new(&error, None, Vec::new()).to_json()).expect("UTF-8");
        assert_eq!(
            text,
            r#"{"status":"error","results":[],"error":{"code":"STORAGE_UNAVAILABLE","message":"disk","outcome":"unknown"}}"#
        );
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let text =
            String::from_utf8(ErrorBody::new(&Error::internal("/secret"), None, Vec::new()).to_json()).expect("UTF-8");
        assert!(!text.contains("secret"), "{text}");
    }
}
