//! A server in this process, and HTTP by hand: these tests send what no HTTP client would.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kalamdb_commons::settings::Secret;
use kalamdb_server::{RunningServer, Settings, start};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub(crate) const SECRET: &str = "a secret of the tests, longer than 32 bytes";
/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a server that keeps nothing and lets this machine in.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.storage.backend = "memory".to_owned();
    settings.auth.jwt_secret = Secret::new(SECRET);
    settings.auth.localhost_bypass = true;
    settings
}

/// A server with these settings on a port of its own.
pub(crate) async fn serve(settings: Settings) -> RunningServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    start(settings, listener).await.expect("the server starts")
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A token with these claims, signed with the tests' secret.
pub(crate) fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
        .expect("it signs")
}

/// A good token's claims.
pub(crate) fn claims(user: &str, role: &str) -> Value {
    json!({"user_id": user, "role": role, "exp": now() + 600})
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// Asserts the contract's error with this status and code.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["error"]["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.body["status"], "error", "{self:?}");
        assert!(self.body["results"].is_array() && !self.message().is_empty(), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) {
        assert_eq!((self.status, self.body["status"].as_str()), (200, Some("success")), "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let headers = vec![("host".to_owned(), b"127.0.0.1".to_vec())];
        Self { line: format!("{method} {target} HTTP/1.1"), headers, body: Vec::new() }
    }

    /// `POST /api/sql` with this body.
    pub(crate) fn post(body: impl AsRef<[u8]>) -> Self {
        let request = Self::new("POST", "/api/sql").with("content-type", "application/json");
        Self { body: body.as_ref().to_vec(), ..request }
    }

    /// `POST /api/sql` with this SQL.
    pub(crate) fn sql(sql: &str) -> Self {
        Self::post(json!({"sql": sql}).to_string())
    }

    /// With this header in place of one of that name.
    pub(crate) fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).and(name, value)
    }

    /// With this header beside one of that name.
    pub(crate) fn and(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    pub(crate) fn with_token(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    /// Its bytes, with a length if it has a body.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if self.line.starts_with("POST") && !self.headers.iter().any(|(name, _)| name == "transfer-encoding") {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Its answer, over a connection of its own.
    pub(crate) async fn ask(&self, address: SocketAddr) -> Reply {
        let mut connection = Connection::open(address).await;
        connection.send(&self.bytes()).await;
        let has_body = !self.line.starts_with("HEAD");
        connection.reply(has_body).await.expect("an answer")
    }
}

/// A connection and what was read of it so far.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("the server listens"), read: Vec::new() }
    }

    /// Sends these bytes; a server that has answered and closed already is not an error.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` if the server closes the connection instead.
    pub(crate) async fn reply(&mut self, has_body: bool) -> Option<Reply> {
        let head_end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.read_more().await {
                assert!(self.read.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..head_end).collect()).expect("a head in ASCII");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
        let length: usize = if has_body { length.parse().expect("a length") } else { 0 };
        while self.read.len() < length {
            assert!(self.read_more().await, "the answer breaks off");
        }
        let text = String::from_utf8(self.read.drain(..length).collect()).expect("UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Some(Reply { status, headers, text, body })
    }

    async fn read_more(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        let length = timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("the server says something");
        // A reset is a close, too.
        let length = length.unwrap_or(0);
        self.read.extend_from_slice(&chunk[..length]);
        length > 0
    }

    /// Whether the server closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.read_more().await
    }
}
