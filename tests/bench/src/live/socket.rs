//! A WebSocket that costs this program little, so that thousands fit beside the server they measure.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::run::connection::Address;

/// A frame that is due comes within this time, or the run is a failure.
const FRAME_LIMIT: Duration = Duration::from_mins(1);
/// Bytes read at a time: most frames are short.
const READ_BYTES: usize = 2 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects as a caller.
    pub(super) async fn open(address: &Address, caller: &Caller) -> Result<Self, Failure> {
        let broken = |problem: &dyn std::fmt::Display| Failure::Socket(format!("cannot be opened: {problem}"));
        let mut request = address.websocket("/ws").into_client_request().map_err(|e| broken(&e))?;
        for (name, value) in &caller.headers()? {
            request.headers_mut().insert(name, value.clone());
        }
        let tcp = TcpStream::connect(address.socket()).await.map_err(|error| broken(&error))?;
        tcp.set_nodelay(true).map_err(|error| broken(&error))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(None)
            .max_frame_size(None);
        let (stream, _) = client_async_with_config(request, tcp, Some(config)).await.map_err(|error| broken(&error))?;
        Ok(Self { stream })
    }

    /// Asks for subscriptions; what becomes of them is told in frames.
    pub(super) async fn subscribe(&mut self, subscriptions: Vec<Value>) -> Result<(), Failure> {
        let frame = json!({"type": "subscribe", "subscriptions": subscriptions}).to_string();
        let sent = self.stream.send(Message::Text(frame.into())).await;
        sent.map_err(|error| Failure::Socket(format!("broke: {error}")))
    }

    /// The next text frame.
    pub(super) async fn text(&mut self) -> Result<Utf8Bytes, Failure> {
        loop {
            match timeout(FRAME_LIMIT, self.stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => return Ok(text),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(other))) => return Err(Failure::Socket(format!("said {other}"))),
                Ok(Some(Err(error))) => return Err(Failure::Socket(format!("broke: {error}"))),
                Ok(None) => return Err(Failure::Socket("was closed".to_owned())),
                Err(_) => return Err(Failure::Socket(format!("said nothing for {} s", FRAME_LIMIT.as_secs()))),
            }
        }
    }

    /// The next frame but for `progress`, which has to be of this type.
    pub(super) async fn expect(&mut self, kind: &str) -> Result<Value, Failure> {
        loop {
            let text = self.text().await?;
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            match frame["type"].as_str() {
                Some(found) if found == kind => return Ok(frame),
                Some("progress") => {}
                _ => return Err(Failure::Socket(format!("was to say {kind}, and said {text}"))),
            }
        }
    }

    /// Subscribes to one query, and waits until it is accepted.
    pub(super) async fn follow(&mut self, sql: &str, options: Value) -> Result<(), Failure> {
        self.subscribe(vec![json!({"query_id": "q", "sql": sql, "options": options})]).await?;
        self.expect("subscribed").await.map(drop)
    }
}
