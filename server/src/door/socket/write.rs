//! From a connection's outbox to the socket.
//!
//! What always holds:
//! - One frame is written after the other; a client that does not read holds up this part and no other.
//! - Beside the frame at hand nothing is kept: small frames that wait together are written together, large ones from
//!   where they are.
//! - Pings and pongs go between two frames, ahead of what waits.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use kalamdb_core::{LiveEnd, LiveOutbox, Outgoing};
use tokio::io::AsyncWrite;

use super::frame::{CloseCode, Opcode, write_close, write_head};
use super::pulse::Pulse;

/// Frames up to here are copied and written together.
const SMALL_BYTES: usize = 4 << 10;
/// As much of them at a time.
const BATCH_BYTES: usize = 16 << 10;

/// Where frames come from.
pub(super) trait Source: Send {
    /// The next one. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Outgoing> + Send;
}

impl Source for LiveOutbox {
    fn next(&mut self) -> impl Future<Output = Outgoing> + Send {
        LiveOutbox::next(self)
    }
}

/// Why nothing more is written.
#[derive(Debug)]
pub(super) enum WriteEnd {
    /// The outbox has ended; its last frame is written.
    Outbox(LiveEnd),
    /// The connection is broken.
    Broken,
}

/// Writes one connection's frames.
#[derive(Debug)]
pub(super) struct Writer<W> {
    io: W,
    /// Heads and small frames, of which `at` bytes are written.
    batch: Vec<u8>,
    /// A large frame's payload, behind the batch.
    large: Vec<u8>,
    at: usize,
    /// The outbox has ended with what was put in.
    ended: Option<LiveEnd>,
}

impl<W: AsyncWrite + Unpin + Send> Writer<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, batch: Vec::new(), large: Vec::new(), at: 0, ended: None }
    }

    /// The socket.
    pub(super) fn into_io(self) -> W {
        self.io
    }

    /// Writes what comes, to the outbox's end.
    ///
    /// # Cancel safety
    /// Safe: a frame that was taken stays here, and is written first by whatever is called next.
    pub(super) async fn run(&mut self, source: &mut impl Source, pulse: &Pulse) -> WriteEnd {
        loop {
            if self.flush(pulse).await.is_err() {
                return WriteEnd::Broken;
            }
            if let Some(end) = self.ended {
                return WriteEnd::Outbox(end);
            }
            let outgoing = tokio::select! {
                biased;
                () = pulse.due_now.notified() => {
                    self.put_due(pulse);
                    continue;
                }
                outgoing = source.next() => outgoing,
            };
            self.put_waiting(outgoing, source);
        }
    }

    /// Writes what waits already.
    pub(super) async fn drain(&mut self, source: &mut impl Source, pulse: &Pulse) -> io::Result<()> {
        self.flush(pulse).await?;
        self.put_due(pulse);
        loop {
            self.flush(pulse).await?;
            if self.ended.is_some() {
                return Ok(());
            }
            let Some(outgoing) = source.next().now_or_never() else { return Ok(()) };
            self.put_waiting(outgoing, source);
        }
    }

    /// Writes one more text frame and, if there is a code, the close frame behind it.
    pub(super) async fn last_words(
        &mut self,
        frame: Option<Vec<u8>>,
        code: CloseCode,
        reason: &str,
        pulse: &Pulse,
    ) -> io::Result<()> {
        // What was cut off comes first.
        self.flush(pulse).await?;
        if let Some(frame) = frame {
            write_head(&mut self.batch, Opcode::Text, frame.len());
            self.batch.extend_from_slice(&frame);
        }
        write_close(&mut self.batch, code, reason);
        self.flush(pulse).await
    }

    /// Puts in a frame and those that wait behind it, as far as they are small.
    fn put_waiting(&mut self, mut outgoing: Outgoing, source: &mut impl Source) {
        loop {
            match outgoing {
                Outgoing::Frame(frame) => {
                    write_head(&mut self.batch, Opcode::Text, frame.len());
                    if frame.len() > SMALL_BYTES {
                        self.large = frame;
                        return;
                    }
                    self.batch.extend_from_slice(&frame);
                }
                Outgoing::Close(end) => {
                    self.ended = Some(end);
                    return;
                }
            }
            if self.batch.len() >= BATCH_BYTES {
                return;
            }
            let Some(next) = source.next().now_or_never() else { return };
            outgoing = next;
        }
    }

    fn put_due(&mut self, pulse: &Pulse) {
        let due = pulse.take_due();
        if let Some(payload) = due.pong {
            write_head(&mut self.batch, Opcode::Pong, payload.len());
            self.batch.extend_from_slice(&payload);
        }
        if due.ping {
            write_head(&mut self.batch, Opcode::Ping, 0);
        }
    }

    /// Writes everything that was put in.
    async fn flush(&mut self, pulse: &Pulse) -> io::Result<()> {
        while self.at < self.batch.len() + self.large.len() {
            pulse.set_writing(true);
            match std::future::poll_fn(|cx| self.poll_write(cx)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.at += written,
            }
            pulse.note_written();
        }
        pulse.set_writing(false);
        // Nothing is kept between frames.
        (self.batch, self.large, self.at) = (Vec::new(), Vec::new(), 0);
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let batch = self.batch.get(self.at..).unwrap_or_default();
        let large = self.large.get(self.at.saturating_sub(self.batch.len())..).unwrap_or_default();
        Pin::new(&mut self.io).poll_write_vectored(cx, &[IoSlice::new(batch), IoSlice::new(large)])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    use super::*;

    /// Gives what it has, then waits for ever.
    struct Waiting(VecDeque<Outgoing>);

    impl Source for Waiting {
        async fn next(&mut self) -> Outgoing {
            match self.0.pop_front() {
                Some(outgoing) => outgoing,
                None => std::future::pending().await,
            }
        }
    }

    fn waiting(sizes: &[usize]) -> (Waiting, Vec<u8>) {
        let mut expected = Vec::new();
        let frames = sizes.iter().enumerate().map(|(at, &size)| {
            let frame = vec![b'a' + u8::try_from(at % 26).expect("a letter"); size];
            write_head(&mut expected, Opcode::Text, size);
            expected.extend_from_slice(&frame);
            Outgoing::Frame(frame)
        });
        let frames = frames.collect();
        (Waiting(frames), expected)
    }

    #[tokio::test]
    async fn frames_go_out_whole_and_in_order_through_any_pipe() {
        let sizes = [0, 1, 125, 126, 4096, 4097, 5, 9_000, 9_000, 3, 3, 3];
        for room in [3, 1000, 1 << 20] {
            let (mut source, expected) = waiting(&sizes);
            source.0.push_back(Outgoing::Close(LiveEnd::Shutdown));
            let (mut client, server) = tokio::io::duplex(room);
            let mut writer = Writer::new(server);
            let pulse = Pulse::default();
            let mut came = vec![0; expected.len()];
            let write = async {
                loop {
                    // Cut off at every turn, a frame still comes whole.
                    tokio::select! {
                        biased;
                        end = writer.run(&mut source, &pulse) => break end,
                        () = tokio::task::yield_now() => {}
                    }
                }
            };
            let (end, read) = tokio::join!(write, client.read_exact(&mut came));
            read.expect("all of it");
            assert!(matches!(end, WriteEnd::Outbox(LiveEnd::Shutdown)), "{end:?}");
            assert!(came == expected, "through {room} bytes");
            assert_eq!(writer.batch.capacity() + writer.large.capacity(), 0, "nothing is kept");
        }
    }

    #[tokio::test]
    async fn pings_go_ahead_of_what_waits() {
        let (mut source, expected) = waiting(&[3]);
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (mut writer, pulse) = (Writer::new(server), Pulse::default());
        pulse.answer_ping(b"x".to_vec());
        let mut came = vec![0; 3 + expected.len()];
        tokio::select! {
            end = writer.run(&mut source, &pulse) => panic!("{end:?}"),
            read = client.read_exact(&mut came) => drop(read.expect("all of it")),
        }
        assert_eq!(came[..3], [0x8A, 1, b'x']);
        assert_eq!(came[3..], expected);
    }

    #[tokio::test]
    async fn what_was_cut_off_comes_before_the_last_words() {
        let (mut source, expected) = waiting(&[5000, 5, 6]);
        let (mut client, server) = tokio::io::duplex(100);
        let (mut writer, pulse) = (Writer::new(server), Pulse::default());
        let stalled = timeout(Duration::from_millis(20), writer.run(&mut source, &pulse)).await;
        assert!(stalled.is_err(), "nobody reads");
        let goodbye = async {
            writer.drain(&mut source, &pulse).await.expect("a reader");
            writer.last_words(Some(b"{}".to_vec()), CloseCode(4401), "why", &pulse).await.expect("a reader");
            drop(writer);
        };
        let mut came = Vec::new();
        let ((), read) = tokio::join!(goodbye, client.read_to_end(&mut came));
        read.expect("all of it");
        assert!(came.starts_with(&expected), "{} bytes", came.len());
        assert_eq!(came[expected.len()..], *b"\x81\x02{}\x88\x05\x11\x31why");
    }

    #[tokio::test]
    async fn a_broken_connection_is_noticed() {
        let (mut source, _) = waiting(&[10]);
        let (client, server) = tokio::io::duplex(100);
        drop(client);
        let end = Writer::new(server).run(&mut source, &Pulse::default()).await;
        assert!(matches!(end, WriteEnd::Broken), "{end:?}");
    }
}
