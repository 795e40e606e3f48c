//! What a client is told apart from rows.

use serde::Serialize;

use kalamdb_commons::{Error, Role, UserId};

use crate::Column;
use crate::error::shortened;
use crate::response::write_value;

/// Why a subscription ended without being asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// `KILL LIVE QUERY`.
    Killed,
    /// Its table, or the table's namespace, is gone.
    TableDropped,
    /// Its table has other columns now.
    SchemaChanged,
    /// The client did not read.
    SlowConsumer,
    /// The server is stopping.
    Shutdown,
    /// Its query failed on a row; an `error` frame came before.
    Error,
    /// A failure of the server.
    Internal,
}

/// A frame to a client that carries no rows.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The client is known now.
    Authenticated {
        /// Who it is.
        user_id: &'a UserId,
        /// What it may do.
        role: Role,
    },
    /// A subscription has begun.
    Subscribed {
        /// The client's name for it.
        query_id: &'a str,
        /// The server's.
        subscription_id: &'a str,
        /// The columns of its rows.
        columns: &'a [Column],
        /// Changes after this number follow.
        seq: u64,
        /// Whether it goes on from where the client was.
        resumed: bool,
    },
    /// A subscription has ended as asked.
    Unsubscribed {
        /// The client's name for it.
        query_id: &'a str,
    },
    /// A subscription has ended otherwise.
    Closed {
        /// The client's name for it.
        query_id: &'a str,
        /// Why.
        reason: CloseReason,
        /// Where to resume; none if nothing came that could be resumed from.
        resume_seq: Option<u64>,
    },
    /// Something was refused, or failed.
    Error {
        /// Which subscription it is about, if one.
        #[serde(skip_serializing_if = "Option::is_none")]
        query_id: Option<&'a str>,
        /// The stable tag.
        code: &'static str,
        /// What a person reads.
        message: String,
    },
    /// To a ping.
    Pong,
}

impl<'a> ServerFrame<'a> {
    /// The frame of an error.
    #[must_use]
    pub fn error(query_id: Option<&'a str>, error: &Error) -> Self {
        Self::Error { query_id, code: error.code.as_str(), message: shortened(&error.message) }
    }

    /// The frame's text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::new();
        write_value(&mut text, self);
        text
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::ErrorCode;
    use serde_json::{Value, json};

    use super::*;

    fn read(frame: &ServerFrame<'_>) -> Value {
        serde_json::from_slice(&frame.to_json()).expect("JSON")
    }

    #[test]
    fn frames_are_as_the_contract_shows_them() {
        let user = UserId::new("alice").expect("a user");
        assert_eq!(
            read(&ServerFrame::Authenticated { user_id: &user, role: Role::User }),
            json!({"type": "authenticated", "user_id": "alice", "role": "user"})
        );
        let columns = [Column { name: "id".into(), data_type: "BIGINT".into(), nullable: false }];
        let subscribed = ServerFrame::Subscribed {
            query_id: "m1",
            subscription_id: "c-m1",
            columns: &columns,
            seq: 41,
            resumed: false,
        };
        assert_eq!(
            read(&subscribed),
            json!({"type": "subscribed", "query_id": "m1", "subscription_id": "c-m1",
                "columns": [{"name": "id", "type": "BIGINT", "nullable": false}], "seq": 41, "resumed": false})
        );
        assert_eq!(
            read(&ServerFrame::Unsubscribed { query_id: "m1" }),
            json!({"type": "unsubscribed", "query_id": "m1"})
        );
        assert_eq!(
            read(&ServerFrame::Closed { query_id: "m1", reason: CloseReason::SlowConsumer, resume_seq: Some(44) }),
            json!({"type": "closed", "query_id": "m1", "reason": "slow_consumer", "resume_seq": 44})
        );
        assert_eq!(read(&ServerFrame::Pong), json!({"type": "pong"}));
        let error = Error::new(ErrorCode::ResumeTooOld, "too old");
        assert_eq!(
            read(&ServerFrame::error(Some("m1"), &error)),
            json!({"type": "error", "query_id": "m1", "code": "RESUME_TOO_OLD", "message": "too old"})
        );
        assert_eq!(
            read(&ServerFrame::error(None, &error)),
            json!({"type": "error", "code": "RESUME_TOO_OLD", "message": "too old"})
        );
    }
}
