//! The door, its keys, and the log.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::UserId;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The address or name to listen on.
    pub host: String,
    /// The port to listen on; 0 takes any free one.
    pub port: u16,
    /// Threads of the async runtime; 0 is one per core.
    pub workers: usize,
    /// Bound on the whole shutdown.
    pub shutdown_timeout: Duration,
    /// A statement not yet committing past it is cancelled.
    pub request_timeout: Duration,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// Connections served at the same time; more wait to be accepted.
    pub max_connections: usize,
    /// Bound on a request's body.
    pub max_body_bytes: u64,
    /// Origins whose pages may call from a browser.
    pub cors_origins: Vec<String>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            workers: 0,
            shutdown_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            max_connections: 20_000,
            max_body_bytes: 16 << 20,
            cors_origins: Vec::new(),
        }
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The fewest bytes a secret may have: as many as HS256's hash.
    pub const MIN_BYTES: usize = 32;

    /// Takes a secret; `None` if it is shorter than [`Self::MIN_BYTES`].
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() >= Self::MIN_BYTES).then_some(Self(text))
    }

    /// The secret itself, for whoever signs or checks with it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Signs and checks tokens with HS256.
    pub jwt_secret: Option<Secret>,
    /// A PEM file that checks tokens with RS256, ES256 or EdDSA.
    pub jwt_public_key_file: Option<PathBuf>,
    /// What a token's `iss` has to be.
    pub issuer: Option<String>,
    /// What a token's `aud` has to be or hold.
    pub audience: Option<String>,
    /// Whether callers on this machine need no token.
    pub localhost_bypass: bool,
    /// Who such a caller is.
    pub localhost_user: UserId,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            jwt_public_key_file: None,
            issuer: None,
            audience: None,
            localhost_bypass: false,
            localhost_user: UserId::new("system").expect("a plain word is a user id"),
        }
    }
}

/// What is worth logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Only what a person should look at.
    Error,
    /// And what may become such.
    Warn,
    /// And what an operator likes to know.
    #[default]
    Info,
    /// And what a developer likes to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The format's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// `[logging]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoggingSettings {
    /// What is logged.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}
