//! HTTP by hand, for requests that no well-behaved client sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A TCP connection to a server.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
}

impl RawConnection {
    /// Connects to a server's base address.
    pub async fn open(base: &str) -> Self {
        let address = base.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        Self { stream }
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

    /// Everything the server sends until it closes, at most until `limit`.
    ///
    /// # Errors
    /// What had come when the time was over.
    pub async fn read_to_end(&mut self, limit: Duration) -> Result<String, String> {
        let mut bytes = Vec::new();
        let read = timeout(limit, async {
            let mut chunk = [0; 4096];
            // A reset after the answer is a close too.
            while let Ok(length @ 1..) = self.stream.read(&mut chunk).await {
                bytes.extend_from_slice(&chunk[..length]);
            }
        });
        let ended = read.await.is_ok();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if ended { Ok(text) } else { Err(text) }
    }
}
