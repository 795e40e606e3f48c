//! The one error type that crosses crate borders, and the codes of the external contract.
//!
//! A code is a stable machine tag. HTTP status, WebSocket close code and "may be retried" all derive
//! from it here and nowhere else. Errors are logged once, where they are answered or swallowed.

use std::fmt;
use std::time::Duration;

/// Shorthand for results with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// A stable tag for what went wrong, as clients see it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, for exhaustive tests and documentation.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The tag on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* }
            }

            /// The HTTP status this code is answered with.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)* }
            }
        }
    };
}

error_codes! {
    /// The request itself is malformed (members, JSON, headers).
    InvalidRequest = "INVALID_REQUEST", 400;
    /// The SQL text does not parse or does not make sense.
    InvalidSql = "INVALID_SQL", 400;
    /// Understood, and not offered.
    Unsupported = "UNSUPPORTED", 400;
    /// Given and expected parameter counts differ.
    ParamCountMismatch = "PARAM_COUNT_MISMATCH", 400;
    /// A parameter cannot become the expected type.
    ParamTypeMismatch = "PARAM_TYPE_MISMATCH", 400;
    /// Parameters came with more than one statement.
    ParamsWithBatch = "PARAMS_WITH_BATCH", 400;
    /// A value does not fit its column's type.
    TypeMismatch = "TYPE_MISMATCH", 400;
    /// An expression failed on a row.
    EvaluationError = "EVALUATION_ERROR", 400;
    /// A NOT NULL or similar rule was broken.
    ConstraintViolation = "CONSTRAINT_VIOLATION", 400;
    /// No such column.
    ColumnNotFound = "COLUMN_NOT_FOUND", 400;
    /// An identifier breaks its rules.
    InvalidName = "INVALID_NAME", 400;
    /// An option is unknown or has an impossible value.
    InvalidOption = "INVALID_OPTION", 400;
    /// `.user.` was used without the `X-USER-ID` header.
    UserIdRequired = "USER_ID_REQUIRED", 400;
    /// A subscription to a shared table.
    SharedTableSubscription = "SHARED_TABLE_SUBSCRIPTION", 400;
    /// Who is calling could not be established.
    Unauthorized = "UNAUTHORIZED", 401;
    /// The caller may not do this.
    Forbidden = "FORBIDDEN", 403;
    /// No such namespace.
    NamespaceNotFound = "NAMESPACE_NOT_FOUND", 404;
    /// No such table.
    TableNotFound = "TABLE_NOT_FOUND", 404;
    /// No such storage.
    StorageNotFound = "STORAGE_NOT_FOUND", 404;
    /// No such live query.
    LiveQueryNotFound = "LIVE_QUERY_NOT_FOUND", 404;
    /// No such thing.
    NotFound = "NOT_FOUND", 404;
    /// The namespace is there already.
    NamespaceExists = "NAMESPACE_EXISTS", 409;
    /// The table is there already.
    TableExists = "TABLE_EXISTS", 409;
    /// The storage is there already.
    StorageExists = "STORAGE_EXISTS", 409;
    /// The namespace still holds tables.
    NamespaceNotEmpty = "NAMESPACE_NOT_EMPTY", 409;
    /// The storage is used by tables.
    StorageInUse = "STORAGE_IN_USE", 409;
    /// A primary key is there already.
    DuplicateKey = "DUPLICATE_KEY", 409;
    /// The request contradicts the present state.
    Conflict = "CONFLICT", 409;
    /// The path exists with another method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405;
    /// The body is over `server.max_body_bytes`.
    BodyTooLarge = "BODY_TOO_LARGE", 413;
    /// The body is not JSON by its content type.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415;
    /// Too many subscriptions.
    SubscriptionLimit = "SUBSCRIPTION_LIMIT", 429;
    /// A defect of the server; details are in its log.
    Internal = "INTERNAL", 500;
    /// Stored bytes do not decode.
    DataCorrupted = "DATA_CORRUPTED", 500;
    /// The client did not finish its request.
    RequestTimeout = "REQUEST_TIMEOUT", 408;
    /// Too much waits already.
    Overloaded = "OVERLOADED", 503;
    /// The server is stopping.
    ShuttingDown = "SHUTTING_DOWN", 503;
    /// A bound on memory or rows was reached.
    ResourcesExhausted = "RESOURCES_EXHAUSTED", 503;
    /// The statement ran past its time.
    Timeout = "TIMEOUT", 504;
    /// The backend or a storage cannot be written or read.
    StorageUnavailable = "STORAGE_UNAVAILABLE", 507;
    /// WebSocket: the change log no longer reaches back that far.
    ResumeTooOld = "RESUME_TOO_OLD", 409;
    /// WebSocket: a frame came before authentication.
    AuthRequired = "AUTH_REQUIRED", 401;
    /// WebSocket: no such subscription on this connection.
    SubscriptionNotFound = "SUBSCRIPTION_NOT_FOUND", 404;
}

impl ErrorCode {
    /// The WebSocket close code for an error that ends a connection (RFC 6455 7.4, and 4xxx of ours).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Unauthorized | Self::AuthRequired => 4401,
            Self::Forbidden => 4403,
            Self::BodyTooLarge => 1009,
            Self::ShuttingDown => 1001,
            Self::Overloaded | Self::ResourcesExhausted => 1013,
            Self::Internal | Self::DataCorrupted | Self::StorageUnavailable => 1011,
            _ => 1008,
        }
    }

    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::ShuttingDown
                | Self::ResourcesExhausted
                | Self::Timeout
                | Self::RequestTimeout
                | Self::StorageUnavailable
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in the SQL text an error lies, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line of the whole text sent.
    pub line: u64,
    /// Column in that line, in characters.
    pub column: u64,
}

/// Whether the effect of a failed write is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// Nothing was changed.
    #[default]
    NothingChanged,
    /// The write may or may not survive; the client has to look.
    Unknown,
}

/// What went wrong: a code for machines, a message for people.
///
/// The message may be shown to any caller who may run the statement: it holds no secrets and no
/// internals. An [`ErrorCode::Internal`] carries its cause in `detail`, for the log only.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// The stable tag.
    pub code: ErrorCode,
    /// What a person reads.
    pub message: String,
    /// Where in the SQL text, if known.
    pub position: Option<Position>,
    /// For failed writes.
    pub outcome: Outcome,
    /// For the log, never for the client.
    pub detail: Option<String>,
    /// When trying again makes sense, where that is known.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with a message for the caller.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            position: None,
            outcome: Outcome::NothingChanged,
            detail: None,
            retry_after: None,
        }
    }

    /// A defect of ours: the caller reads a plain sentence, the log gets `detail`.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self {
            detail: Some(detail.to_string()),
            ..Self::new(ErrorCode::Internal, "an internal error occurred; the server's log has the details")
        }
    }

    /// Stored bytes that do not decode; `what` names them.
    pub fn corrupted(what: impl Into<String>) -> Self {
        Self::new(ErrorCode::DataCorrupted, what)
    }

    /// Adds the place in the SQL text.
    #[must_use]
    pub fn at(mut self, line: u64, column: u64) -> Self {
        self.position = Some(Position { line, column });
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Marks a write whose fate is not known.
    #[must_use]
    pub fn outcome_unknown(mut self) -> Self {
        self.outcome = Outcome::Unknown;
        self
    }
}

/// Turns foreign errors into [`Error`]s at a border.
pub trait ResultExt<T> {
    /// Any error becomes [`ErrorCode::Internal`], its text kept for the log.
    ///
    /// # Errors
    /// The converted error.
    fn or_internal(self) -> Result<T>;
}

impl<T, E: fmt::Display> ResultExt<T> for std::result::Result<T, E> {
    fn or_internal(self) -> Result<T> {
        self.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_unique_and_statuses_are_errors() {
        let mut tags: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!((400..=599).contains(&code.http_status()), "{code}");
            assert!(code.close_code() >= 1001, "{code}");
        }
    }

    #[test]
    fn internal_errors_hide_their_cause() {
        let error = Error::internal("secret path /x");
        assert!(!error.to_string().contains("secret"));
        assert_eq!(error.detail.as_deref(), Some("secret path /x"));
    }
}
