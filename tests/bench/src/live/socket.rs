//! A WebSocket that costs this program little, so that thousands fit beside the server they measure.

use std::fmt::Display;
use std::net::SocketAddr;

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
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
/// What the system keeps for somebody who does not read: as little as it takes.
const NARROW_BYTES: u32 = 4 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// What comes from the server.
#[derive(Debug)]
pub(super) enum Said {
    /// A text frame.
    Text(Utf8Bytes),
    /// A close frame, with its code if it has one.
    Closed(Option<u16>),
    /// The connection has ended without one, and why.
    Gone(String),
}

/// What is looked at of a frame; the rest is not even parsed.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    /// Of a change: the primary keys.
    #[serde(default)]
    pub(super) keys: Vec<u64>,
    pub(super) seq: Option<u64>,
    /// Of `closed`.
    pub(super) reason: Option<&'a str>,
    pub(super) resume_seq: Option<u64>,
}

impl<'a> Frame<'a> {
    /// # Errors
    /// Text that is none of the server's frames.
    pub(super) fn read(text: &'a str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::Socket(format!("said what is no frame ({error}): {text}")))
    }
}

fn broken(problem: impl Display) -> Failure {
    Failure::Socket(format!("cannot be opened: {problem}"))
}

impl Socket {
    /// Connects as a caller.
    pub(super) async fn open(address: &Address, caller: &Caller) -> Result<Self, Failure> {
        let tcp = TcpStream::connect(address.socket()).await.map_err(broken)?;
        Self::over(tcp, address, caller).await
    }

    /// The same with hardly any room for what is sent to it: who does not read holds the server up.
    pub(super) async fn open_narrow(address: &Address, caller: &Caller) -> Result<Self, Failure> {
        let found = lookup_host(address.socket()).await.map_err(broken)?.next();
        let address_of_ip = found.ok_or_else(|| broken("no address"))?;
        let socket = match address_of_ip {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(broken)?;
        socket.set_recv_buffer_size(NARROW_BYTES).map_err(broken)?;
        let tcp = socket.connect(address_of_ip).await.map_err(broken)?;
        Self::over(tcp, address, caller).await
    }

    async fn over(tcp: TcpStream, address: &Address, caller: &Caller) -> Result<Self, Failure> {
        let mut request = address.websocket("/ws").into_client_request().map_err(broken)?;
        for (name, value) in &caller.headers()? {
            request.headers_mut().insert(name, value.clone());
        }
        tcp.set_nodelay(true).map_err(broken)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(None)
            .max_frame_size(None);
        let (stream, _) = client_async_with_config(request, tcp, Some(config)).await.map_err(broken)?;
        Ok(Self { stream })
    }

    /// Asks for subscriptions; what becomes of them is told in frames.
    pub(super) async fn subscribe(&mut self, subscriptions: Vec<Value>) -> Result<(), Failure> {
        let frame = json!({"type": "subscribe", "subscriptions": subscriptions}).to_string();
        let sent = self.stream.send(Message::Text(frame.into())).await;
        sent.map_err(|error| Failure::Socket(format!("broke: {error}")))
    }

    /// What comes next, but for pings, which are answered.
    ///
    /// # Errors
    /// Nothing within [`FRAME_LIMIT`], and what no server says.
    pub(super) async fn said(&mut self) -> Result<Said, Failure> {
        loop {
            match timeout(FRAME_LIMIT, self.stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => return Ok(Said::Text(text)),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Close(frame)))) => return Ok(Said::Closed(frame.map(|frame| frame.code.into()))),
                Ok(Some(Ok(other))) => return Err(Failure::Socket(format!("said {other}"))),
                Ok(Some(Err(error))) => return Ok(Said::Gone(format!("broke: {error}"))),
                Ok(None) => return Ok(Said::Gone("was closed".to_owned())),
                Err(_) => return Err(Failure::Socket(format!("said nothing for {} s", FRAME_LIMIT.as_secs()))),
            }
        }
    }

    /// The next text frame.
    pub(super) async fn text(&mut self) -> Result<Utf8Bytes, Failure> {
        match self.said().await? {
            Said::Text(text) => Ok(text),
            Said::Closed(code) => Err(Failure::Socket(format!("was closed by the server with code {code:?}"))),
            Said::Gone(why) => Err(Failure::Socket(why)),
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

    /// Says goodbye, and waits for the answer.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        let sent = self.stream.close(None).await;
        sent.map_err(|error| Failure::Socket(format!("cannot be closed: {error}")))?;
        loop {
            match self.said().await? {
                // Told before it was heard.
                Said::Text(_) => {}
                Said::Closed(_) => return Ok(()),
                Said::Gone(why) => return Err(Failure::Socket(format!("{why}, without an answer to its close frame"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_far_as_they_matter() {
        let change = r#"{"type":"change","query_id":"q","rows":[{"id":7,"body":"\"x\""}],"keys":[7,8],"seq":42}"#;
        let frame = Frame::read(change).unwrap();
        assert_eq!((frame.kind, frame.keys, frame.seq), ("change", vec![7, 8], Some(42)));
        let closed = r#"{"type":"closed","query_id":"q","reason":"slow_consumer","resume_seq":41}"#;
        let frame = Frame::read(closed).unwrap();
        assert_eq!((frame.reason, frame.resume_seq, frame.keys.len()), (Some("slow_consumer"), Some(41), 0));
        assert!(Frame::read("{}").unwrap_err().to_string().contains("{}"));
    }
}
