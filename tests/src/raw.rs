//! HTTP by hand, for requests that no well-behaved client sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A TCP connection to a server.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    /// What came beyond the answers that were asked for.
    read: Vec<u8>,
}

impl RawConnection {
    /// Connects to a server's base address.
    pub async fn open(base: &str) -> Self {
        let address = base.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        Self { stream, read: Vec::new() }
    }

    /// The same with hardly any room for what is sent to it: who does not read holds the server's answer up.
    pub async fn open_narrow(base: &str) -> Self {
        let address = base.trim_start_matches("http://");
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(address.parse().map_err(std::io::Error::other)?).await
        };
        let stream = connect.await.unwrap_or_else(|error| panic!("{address}: {error}"));
        Self { stream, read: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have answered and closed already; the answer is what counts.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        // A server that closed already needs to hear nothing.
        let _ = self.stream.shutdown().await;
    }

    /// Waits for the first byte of an answer, and leaves it where it is.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn has_begun(&self, limit: Duration) {
        let peeked = timeout(limit, self.stream.peek(&mut [0])).await;
        assert!(matches!(peeked, Ok(Ok(1))), "no answer within {limit:?}: {peeked:?}");
    }

    /// Everything the server sends until it closes, at most until `limit`.
    ///
    /// # Errors
    /// What had come when the time was over.
    pub async fn read_to_end(&mut self, limit: Duration) -> Result<String, String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.read_bytes(limit).await.map(text).map_err(text)
    }

    /// The same as bytes.
    ///
    /// # Errors
    /// What had come when the time was over.
    pub async fn read_bytes(&mut self, limit: Duration) -> Result<Vec<u8>, Vec<u8>> {
        let mut bytes = Vec::new();
        let read = timeout(limit, async {
            let mut chunk = [0; 4096];
            // A reset after the answer is a close too.
            while let Ok(length @ 1..) = self.stream.read(&mut chunk).await {
                bytes.extend_from_slice(&chunk[..length]);
            }
        });
        let ended = read.await.is_ok();
        if ended { Ok(bytes) } else { Err(bytes) }
    }
}

/// One answer, taken apart.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl RawAnswer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl RawConnection {
    /// The next answer of a connection that goes on; `None` if it is closed, or reset, before its first byte.
    ///
    /// # Panics
    /// At anything else than a whole HTTP/1.1 answer with a length.
    pub async fn answer(&mut self, limit: Duration) -> Option<RawAnswer> {
        let answer = timeout(limit, self.read_answer()).await;
        answer
            .unwrap_or_else(|_| panic!("no answer within {limit:?}; so far {:?}", String::from_utf8_lossy(&self.read)))
    }

    async fn read_answer(&mut self) -> Option<RawAnswer> {
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
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {first:?}"));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length =
            headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("no length: {head}"));
        while self.read.len() < length {
            assert!(self.read_more().await, "an answer breaks off: {head}");
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).expect("a body in UTF-8");
        Some(RawAnswer { status, headers, body })
    }

    async fn read_more(&mut self) -> bool {
        let mut chunk = vec![0; 64 << 10];
        // A reset is a close, too.
        let length = self.stream.read(&mut chunk).await.unwrap_or(0);
        self.read.extend_from_slice(&chunk[..length]);
        length > 0
    }
}
