//! `GET /ws`: a connection for live queries, from its handshake to its close frame.
//!
//! A connection is one task and three parts, none of which knows the others: `read` makes messages of bytes, `session`
//! makes calls of messages, `write` takes frames from the connection's outbox. A fourth, `pulse`, tells a client that is
//! silent from one that is gone. Whichever part ends first ends the others. A connection that waits keeps no buffers (DO-3).
//!
//! Who it is for is known from the handshake, or from a first frame (`greet`); before that nothing but that frame is taken.
//! Every end is bounded: what is left to be said has [`FAREWELL_TIMEOUT`], then the connection is dropped.

mod frame;
mod greet;
mod handshake;
mod pulse;
mod read;
mod session;
mod write;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use kalamdb_commons::{Error, Identity, Result};
use kalamdb_core::{HeaderUser, LiveCaller, LiveConnection, LiveEnd, LiveOutbox};
use kalamdb_wire::ServerFrame;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Door;
use super::body::BodyReader;
use super::connection::close;
use crate::auth::TokenClaim;
use frame::CloseCode;
pub(super) use handshake::{Accepted, PATH, UpgradeSlot, answer};
use pulse::Pulse;
use read::{Incoming, Limits, Reader};
use session::{Beginning, Claim, Gate, Messages, Session};
use write::{WriteEnd, Writer};

/// How long a connection that ends may take for what is left to be said.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(3);
/// A message from somebody who has not said who that is: as much as a request's head.
const STRANGER_BYTES: u64 = 64 << 10;

/// Why a connection ends, from this side or the other.
#[derive(Debug)]
enum End {
    /// It is gone: nothing can be said any more.
    Gone,
    /// With this code and reason.
    Close(CloseCode, &'static str),
    /// With an error that the client is told first.
    Refuse(Error),
    /// Not yet: it begins anew for somebody else.
    Again(Claim),
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(super) struct Upgraded {
    pub(super) tcp: TcpStream,
    /// What came behind the handshake.
    pub(super) ahead: Bytes,
    pub(super) accepted: Accepted,
}

/// Both halves of the engine's side, and why they are whose they are.
#[derive(Debug)]
struct Member {
    live: LiveConnection,
    outbox: LiveOutbox,
    claim: Claim,
    beginning: Beginning,
}

/// The socket's halves and what they share.
struct Wire<'a> {
    door: &'a Door,
    reader: Reader<OwnedReadHalf>,
    writer: Writer<OwnedWriteHalf>,
    pulse: &'a Pulse,
}

impl Gate for Door {
    fn claim(&self, token: &str) -> Result<TokenClaim> {
        self.authenticator.claim(token)
    }

    fn identify(&self, claimed: Identity) -> Result<Identity> {
        self.engine.identify(claimed)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.engine.users_changes()
    }
}

/// The reader as the session sees it.
struct Inbox<'a> {
    reader: &'a mut Reader<OwnedReadHalf>,
    pulse: &'a Pulse,
    bodies: &'a BodyReader,
}

impl Messages for Inbox<'_> {
    async fn next(&mut self) -> Incoming {
        self.reader.next(self.pulse, self.bodies).await
    }
}

/// Serves a connection to its end. Dropping the call closes the socket at once.
pub(super) async fn serve(upgraded: Upgraded, door: Arc<Door>, finish: CancellationToken) {
    let Upgraded { tcp, ahead, accepted } = upgraded;
    let (read, write) = tcp.into_split();
    let pulse = Pulse::default();
    let mut wire = Wire {
        door: &door,
        reader: Reader::new(read, ahead.into(), Limits { max_bytes: STRANGER_BYTES, ..door.message_limits() }),
        writer: Writer::new(write),
        pulse: &pulse,
    };
    let end = tokio::select! {
        end = wire.run(accepted) => end,
        // Outboxes have ended with the engine; what is still open then does not read.
        () = async { finish.cancelled().await; sleep(FAREWELL_TIMEOUT).await } => End::Gone,
    };
    // A connection that waits needs nothing of it.
    Box::pin(wire.say_goodbye(end, &finish)).await;
}

impl Wire<'_> {
    async fn say_goodbye(self, end: End, finish: &CancellationToken) {
        let Wire { reader, mut writer, pulse, .. } = self;
        let (code, reason, frame) = match &end {
            End::Gone | End::Again(_) => return,
            End::Close(code, reason) => (*code, *reason, None),
            End::Refuse(error) => {
                let frame = ServerFrame::error(None, error).to_json();
                (CloseCode(error.code.close_code()), error.code.as_str(), Some(frame))
            }
        };
        tracing::debug!(%code, reason, "websocket closed");
        let said = timeout(FAREWELL_TIMEOUT, writer.last_words(frame, code, reason, pulse)).await;
        if let (Ok(Ok(())), Ok(tcp)) = (said, reader.into_io().reunite(writer.into_io())) {
            close(tcp, None, finish).await;
        }
    }

    async fn run(&mut self, accepted: Accepted) -> End {
        let Accepted { member, header_user } = accepted;
        let mut member = match member {
            Ok(member) => member,
            // Rare and short: its memory is not the connection's.
            Err(why) => match Box::pin(self.greet(&header_user, &why)).await {
                Ok(member) => Box::new(member),
                Err(end) => return end,
            },
        };
        self.reader.limits = self.door.message_limits();
        loop {
            let claim = match self.talk(member).await {
                End::Again(claim) => claim,
                end => return end,
            };
            member = match self.door.enter(claim, &header_user, Beginning::Announced) {
                Ok(member) => Box::new(member),
                Err(error) => return End::Refuse(error),
            };
        }
    }

    /// Lets the parts of a known connection run, and sees to it that what it was answered reaches it.
    async fn talk(&mut self, member: Box<Member>) -> End {
        let Member { live, mut outbox, claim, beginning } = *member;
        let (door, pulse) = (self.door, self.pulse);
        let Self { reader, writer, .. } = self;
        tracing::debug!(connection = live.id(), "websocket open");
        let mut session = Session::new(live, door, pulse, claim, beginning);
        let mut inbox = Inbox { reader, pulse, bodies: &door.bodies };
        let end = tokio::select! {
            end = session.run(&mut inbox) => end,
            end = writer.run(&mut outbox, pulse) => return match end {
                WriteEnd::Outbox(LiveEnd::SlowConsumer) => {
                    End::Close(CloseCode::SLOW_CONSUMER, "changes came faster than they were read")
                }
                WriteEnd::Outbox(LiveEnd::Shutdown) => End::Close(CloseCode::GOING_AWAY, "the server is shutting down"),
                WriteEnd::Broken => End::Gone,
            },
            () = pulse.run(door.settings.live.heartbeat_interval) => return End::Gone,
        };
        if let End::Refuse(_) | End::Close(..) = end {
            // Its subscriptions end here; answers that wait are written still.
            drop(session.into_live());
            let drained = Box::pin(timeout(FAREWELL_TIMEOUT, writer.drain(&mut outbox, pulse))).await;
            if !matches!(drained, Ok(Ok(()))) {
                return End::Gone;
            }
        }
        end
    }
}

impl Door {
    /// Opens the engine's side for whoever claims so.
    fn enter(&self, claim: Claim, header_user: &HeaderUser, beginning: Beginning) -> Result<Member> {
        let identity = self.engine.identify(claim.identity().clone())?;
        let caller = LiveCaller { identity, header_user: header_user.clone() };
        let (live, outbox) = self.engine.connect_live(caller)?;
        Ok(Member { live, outbox, claim, beginning })
    }

    fn message_limits(&self) -> Limits {
        Limits { max_bytes: self.settings.live.max_frame_bytes, timeout: self.settings.server.request_timeout }
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::ErrorCode;
    use tokio::net::TcpListener;

    use super::super::testing::door;
    use super::*;

    /// What a connection is in memory, beside the socket and its subscriptions.
    const MOST_BYTES: usize = 3 << 10;

    #[tokio::test]
    async fn a_connection_that_waits_is_small() {
        let door = door().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let tcp = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let why = Error::new(ErrorCode::Unauthorized, "no token");
        let accepted = Accepted { member: Err(why), header_user: Ok(None) };
        let talk = serve(Upgraded { tcp, ahead: Bytes::new(), accepted }, door, CancellationToken::new());
        assert!(size_of_val(&talk) <= MOST_BYTES, "{} bytes", size_of_val(&talk));
    }
}
