//! A WebSocket to a server, one frame at a time.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Longer than anything takes that is going to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a client says who it is, and what else its handshake has.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// In the header `Authorization`.
    pub header: Option<String>,
    /// In the address, as `?token=`.
    pub query: Option<String>,
    /// Other headers.
    pub headers: Vec<(String, String)>,
}

impl Credentials {
    /// A token in the header.
    #[must_use]
    pub fn token(token: impl Into<String>) -> Self {
        Self { header: Some(token.into()), ..Self::default() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A handshake that was not answered with 101.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status; 0 where there was none.
    pub status: u16,
    /// The body, `null` if it is no JSON.
    pub body: Value,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A text frame.
    Frame(Value),
    /// A close frame, with its code; 1005 where it has none.
    Closed(u16, String),
    /// The connection has ended without one.
    Gone,
}

/// See the module.
#[derive(Debug)]
pub struct LiveSocket {
    stream: WebSocketStream<TcpStream>,
}

impl LiveSocket {
    /// Connects to a server's base address.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn connect(base: &str, credentials: &Credentials) -> Result<Self, Refused> {
        let address = base.trim_start_matches("http://");
        let tcp = TcpStream::connect(address).await.map_err(|_| Refused { status: 0, body: Value::Null })?;
        Self::connect_over(tcp, address, credentials).await
    }

    /// The same with hardly any room for what is sent to it: who does not read holds the server up.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn connect_narrow(base: &str, credentials: &Credentials) -> Result<Self, Refused> {
        let address = base.trim_start_matches("http://");
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(address.parse().map_err(std::io::Error::other)?).await
        };
        let tcp = connect.await.map_err(|_| Refused { status: 0, body: Value::Null })?;
        Self::connect_over(tcp, address, credentials).await
    }

    async fn connect_over(tcp: TcpStream, address: &str, credentials: &Credentials) -> Result<Self, Refused> {
        let query = credentials.query.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        let mut request = format!("ws://{address}/ws{query}").into_client_request().expect("an address");
        let token = credentials.header.as_ref().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        for (name, value) in credentials.headers.iter().chain(&token) {
            let name: HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match timeout(PATIENCE, client_async_with_config(request, tcp, Some(config))).await {
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                Err(Refused { status: response.status().as_u16(), body })
            }
            Ok(Err(_)) => Err(Refused { status: 0, body: Value::Null }),
            Err(_) => panic!("no answer to a handshake within {PATIENCE:?}"),
        }
    }

    /// Connects with a token.
    pub async fn open(base: &str, token: &str) -> Self {
        let opened = Self::connect(base, &Credentials::token(token)).await;
        opened.unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// Sends a text frame; a connection that is gone already is for the reading side to notice.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends text as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends bytes as a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_message(Message::binary(bytes.to_vec())).await;
    }

    /// Sends text in fragments.
    pub async fn send_fragments(&mut self, fragments: &[&str]) {
        for (at, fragment) in fragments.iter().enumerate() {
            let opcode = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
            let payload = Bytes::from((*fragment).to_owned());
            let frame = Frame::message(payload, opcode, at + 1 == fragments.len());
            self.send_message(Message::Frame(frame)).await;
        }
    }

    /// Sends a close frame without a code.
    pub async fn send_close(&mut self) {
        self.send_message(Message::Close(None)).await;
    }

    async fn send_message(&mut self, message: Message) {
        let _ = timeout(PATIENCE, self.stream.send(message)).await;
    }

    /// Subscribes to one query.
    pub async fn subscribe(&mut self, query_id: &str, sql: &str) {
        self.subscribe_with(json!({"query_id": query_id, "sql": sql})).await;
    }

    /// Subscribes as written.
    pub async fn subscribe_with(&mut self, subscription: Value) {
        self.send(&json!({"type": "subscribe", "subscriptions": [subscription]})).await;
    }

    /// The next thing the server says; none within `limit`.
    pub async fn said_within(&mut self, limit: Duration) -> Option<Said> {
        let said = async {
            loop {
                return match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        Said::Frame(serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
                    }
                    Some(Ok(Message::Close(None))) => Said::Closed(1005, String::new()),
                    Some(Ok(Message::Close(Some(close)))) => Said::Closed(close.code.into(), close.reason.to_string()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Binary(_) | Message::Frame(_))) => panic!("a frame that no server sends"),
                    Some(Err(_)) | None => Said::Gone,
                };
            }
        };
        timeout(limit, said).await.ok()
    }

    /// The next thing the server says.
    pub async fn said(&mut self) -> Said {
        self.said_within(PATIENCE).await.unwrap_or_else(|| panic!("nothing was said within {PATIENCE:?}"))
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Value {
        match self.said().await {
            Said::Frame(frame) => frame,
            other => panic!("expected a frame, not {other:?}"),
        }
    }

    /// The next frame of a type; anything else but `progress` is a failure.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
            assert_eq!(frame["type"], "progress", "expected {kind}: {frame}");
        }
    }

    /// The next frame is an error of this code; its message.
    pub async fn fails(&mut self, code: &str) -> String {
        let frame = self.expect("error").await;
        assert_eq!(frame["code"], code, "{frame}");
        frame["message"].as_str().expect("an error has a message").to_owned()
    }

    /// The server says goodbye with this code, and nothing before; its reason.
    pub async fn closes(&mut self, code: u16) -> String {
        match self.said().await {
            Said::Closed(closed, reason) if closed == code => reason,
            other => panic!("expected the close code {code}, not {other:?}"),
        }
    }

    /// Sends a ping frame and waits for its answer: everything sent before has had its effect.
    pub async fn round(&mut self) {
        self.send(&json!({"type": "ping"})).await;
        self.expect("pong").await;
    }
}
