//! From the socket to whole messages.
//!
//! What always holds:
//! - Nothing is read before it is asked for: a session that works leaves the rest in the system's buffer, and so with the client.
//! - While nothing comes a connection has no buffer here. What is announced costs nothing until it comes; what came of a
//!   message counts against the sum of all request bodies, and has to be complete within the time of one.
//! - Pings are answered and close frames are read here, between the pieces of a message too.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::frame::{ClientHead, CloseCode, Opcode, Violation, read_close};
use super::pulse::Pulse;
use crate::door::body::BodyReader;

/// Read at a time, into the stack.
const CHUNK_BYTES: usize = 16 << 10;

/// What comes from a client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text message.
    Text(Text),
    /// A binary message has begun.
    Binary,
    /// A goodbye, with its code.
    Close(CloseCode),
    /// Something that ends the connection.
    Violation(Violation),
    /// The connection is closed or broken.
    Gone,
}

/// A text message; it counts as long as it lives.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

/// What a message may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) timeout: Duration,
}

/// A frame whose payload has not come to its end.
#[derive(Debug, Clone, Copy)]
struct Current {
    head: ClientHead,
    /// Bytes of the payload so far.
    done: u64,
}

/// Reads one connection's messages.
#[derive(Debug)]
pub(super) struct Reader<R> {
    io: R,
    pub(super) limits: Limits,
    /// Bytes that came; from `taken` on they were not looked at. Empty while nothing comes.
    ahead: Vec<u8>,
    taken: usize,
    current: Option<Current>,
    /// The message so far, and when its first byte came.
    message: Vec<u8>,
    begun: Option<Instant>,
    share: Option<OwnedSemaphorePermit>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
}

impl<R: AsyncRead + Unpin + Send> Reader<R> {
    /// `ahead` is what came with the handshake.
    pub(super) fn new(io: R, ahead: Vec<u8>, limits: Limits) -> Self {
        Self {
            io,
            limits,
            ahead,
            taken: 0,
            current: None,
            message: Vec::new(),
            begun: None,
            share: None,
            control: Vec::new(),
        }
    }

    /// The socket.
    pub(super) fn into_io(self) -> R {
        self.io
    }

    /// The next message, or the end.
    ///
    /// # Cancel safety
    /// Safe: what has come is kept.
    pub(super) async fn next(&mut self, pulse: &Pulse, bodies: &BodyReader) -> Incoming {
        loop {
            match self.take(pulse, bodies) {
                Ok(Some(incoming)) => return incoming,
                Ok(None) => {}
                Err(violation) => return Incoming::Violation(violation),
            }
            let filled = match self.begun {
                None => self.fill().await,
                Some(begun) => match timeout_at(begun + self.limits.timeout, self.fill()).await {
                    Ok(filled) => filled,
                    Err(_) => {
                        let reason = "a message was not finished in time";
                        return Incoming::Violation(Violation { code: CloseCode::POLICY, reason });
                    }
                },
            };
            match filled {
                Ok(0) | Err(_) => return Incoming::Gone,
                Ok(_) => pulse.note_received(),
            }
        }
    }

    /// Waits for more bytes, and says how many came.
    async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk))?;
        self.ahead.drain(..std::mem::take(&mut self.taken));
        self.ahead.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// What the bytes that came make, if it is something whole.
    fn take(&mut self, pulse: &Pulse, bodies: &BodyReader) -> Result<Option<Incoming>, Violation> {
        let ahead = std::mem::take(&mut self.ahead);
        let mut rest = ahead.get(self.taken..).unwrap_or_default();
        let incoming = self.take_from(&mut rest, pulse, bodies);
        self.taken = ahead.len() - rest.len();
        if self.taken < ahead.len() {
            self.ahead = ahead;
        } else {
            self.taken = 0;
        }
        incoming
    }

    fn take_from(
        &mut self,
        rest: &mut &[u8],
        pulse: &Pulse,
        bodies: &BodyReader,
    ) -> Result<Option<Incoming>, Violation> {
        loop {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => {
                    let Some(head) = ClientHead::parse(rest)? else { return Ok(None) };
                    *rest = rest.get(head.bytes..).unwrap_or_default();
                    if head.opcode == Opcode::Binary {
                        return Ok(Some(Incoming::Binary));
                    }
                    self.begin(&head)?;
                    Current { head, done: 0 }
                }
            };
            let left = usize::try_from(current.head.length - current.done).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at(left.min(rest.len()));
            *rest = behind;
            let is_control = current.head.opcode.is_control();
            if !is_control {
                self.count(piece.len(), bodies)?;
            }
            let into = if is_control { &mut self.control } else { &mut self.message };
            unmask(into, piece, current.head.mask, current.done);
            current.done += piece.len() as u64;
            if current.done < current.head.length {
                self.current = Some(current);
                return Ok(None);
            }
            if let Some(incoming) = self.finish(&current.head, pulse)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Whether a frame may come here, and is not too large.
    fn begin(&mut self, head: &ClientHead) -> Result<(), Violation> {
        match (head.opcode, self.begun) {
            (Opcode::Continuation, None) => {
                return Err(Violation::protocol("a continuation frame comes without a message"));
            }
            (Opcode::Text, Some(_)) => {
                return Err(Violation::protocol("a message begins before the one before it has ended"));
            }
            (Opcode::Text, None) => self.begun = Some(Instant::now()),
            (Opcode::Continuation, Some(_)) | (Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
        }
        let is_larger = (self.message.len() as u64).saturating_add(head.length) > self.limits.max_bytes;
        if is_larger && !head.opcode.is_control() {
            return Err(Violation { code: CloseCode::TOO_LARGE, reason: "a message is larger than the server takes" });
        }
        Ok(())
    }

    fn count(&mut self, more: usize, bodies: &BodyReader) -> Result<(), Violation> {
        let length = (self.message.len() + more) as u64;
        bodies.grow(&mut self.share, length).map_err(|_| Violation {
            code: CloseCode::TRY_AGAIN,
            reason: "the server is reading too much at the moment",
        })
    }

    /// What a frame that is complete makes.
    fn finish(&mut self, head: &ClientHead, pulse: &Pulse) -> Result<Option<Incoming>, Violation> {
        match head.opcode {
            Opcode::Text | Opcode::Continuation if head.is_final => {
                self.begun = None;
                let message = std::mem::take(&mut self.message);
                let share = self.share.take();
                let text = String::from_utf8(message)
                    .map_err(|_| Violation { code: CloseCode::NOT_UTF8, reason: "a text message is not UTF-8" })?;
                return Ok(Some(Incoming::Text(Text { text, _share: share })));
            }
            Opcode::Text | Opcode::Continuation | Opcode::Binary => {}
            Opcode::Ping => pulse.answer_ping(std::mem::take(&mut self.control)),
            Opcode::Pong => self.control = Vec::new(),
            Opcode::Close => return Ok(Some(Incoming::Close(read_close(&self.control)?))),
        }
        Ok(None)
    }
}

/// Appends a piece of a payload, of which `done` bytes came before.
fn unmask(into: &mut Vec<u8>, piece: &[u8], mut mask: [u8; 4], done: u64) {
    mask.rotate_left(usize::try_from(done % 4).unwrap_or_default());
    let start = into.len();
    into.extend_from_slice(piece);
    for word in into.get_mut(start..).unwrap_or_default().chunks_mut(4) {
        for (byte, key) in word.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
