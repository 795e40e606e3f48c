//! A client's connection as bytes, watched: what it is waiting for and since when.
//!
//! hyper answers a request it cannot parse by itself, without body and request id, and closes the socket
//! before what the client is still sending was read, which can cost the client the answer. So this stream
//! holds back such answers, for the connection to give ours instead, and leaves closing to it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the first byte of its first request.
    Opened(Instant),
    /// For the rest of a request's head.
    Head(Instant),
    /// For its request to be answered; a WebSocket is no longer watched here.
    Request,
    /// For the next request, or for the client to take what is left of the answer.
    Idle(Instant),
}

/// The phase, shared by stream, service and connection.
#[derive(Debug, Clone)]
pub(super) struct PhaseCell(Arc<watch::Sender<Phase>>);

impl PhaseCell {
    pub(super) fn opened() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Opened(Instant::now()))))
    }

    pub(super) fn get(&self) -> Phase {
        *self.0.borrow()
    }

    pub(super) fn set(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct WatchedStream {
    tcp: TcpStream,
    phase: PhaseCell,
    held_back: AtomicBool,
}

impl WatchedStream {
    pub(super) fn new(tcp: TcpStream, phase: PhaseCell) -> Self {
        Self { tcp, phase, held_back: AtomicBool::new(false) }
    }

    /// The socket, and whether an answer of hyper's own was held back.
    pub(super) fn into_inner(self) -> (TcpStream, bool) {
        (self.tcp, self.held_back.into_inner())
    }

    /// Whether these bytes are to be held back; while a request is being answered none are.
    fn holds_back(&self, bytes: &[u8]) -> bool {
        let is_own = self.phase.get() != Phase::Request && is_bare_refusal(bytes);
        if is_own {
            self.held_back.store(true, Ordering::Relaxed);
        }
        is_own
    }

    fn note_written(&self) {
        if let Phase::Idle(_) = self.phase.get() {
            self.phase.set(Phase::Idle(Instant::now()));
        }
    }
}

/// hyper's own answer: a head with status 4xx, no body, no request id. No answer of ours looks like it, and no
/// piece of a JSON body can, since JSON escapes line ends.
fn is_bare_refusal(bytes: &[u8]) -> bool {
    let is_head =
        (bytes.starts_with(b"HTTP/1.1 4") || bytes.starts_with(b"HTTP/1.0 4")) && bytes.ends_with(b"\r\n\r\n");
    is_head && bytes.len() < 512 && {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        text.contains("content-length: 0\r\n") && !text.contains("x-request-id")
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        if buffer.filled().len() > before && matches!(self.phase.get(), Phase::Opened(_) | Phase::Idle(_)) {
            self.phase.set(Phase::Head(Instant::now()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
        self.note_written();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.holds_back(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, slices))?;
        self.note_written();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    /// The connection closes the socket, not hyper.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_without_request_id_are_held_back() {
        assert!(is_bare_refusal(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
        for ours in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"{\"rows\":[\"HTTP/1.1 400\"]}",
            b"",
        ] {
            assert!(!is_bare_refusal(ours), "{}", String::from_utf8_lossy(ours));
        }
    }
}
