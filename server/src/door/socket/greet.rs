//! A connection of somebody who has not said who that is: one frame is taken, `authenticate`, within `live.auth_timeout`.

use std::future::pending;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_core::{HeaderUser, Outgoing};
use kalamdb_wire::ClientFrame;
use tokio::time::{Instant, timeout_at};

use super::frame::CloseCode;
use super::read::Incoming;
use super::session::{Beginning, Claim, Gate, parse};
use super::write::{Source, WriteEnd};
use super::{End, Member, Wire};

/// Nothing waits to be written but answers to pings.
struct Nothing;

impl Source for Nothing {
    async fn next(&mut self) -> Outgoing {
        pending().await
    }
}

impl Wire<'_> {
    /// Waits for the frame that says who is there; `why` the handshake did not.
    pub(super) async fn greet(&mut self, header_user: &HeaderUser, why: &Error) -> Result<Member, End> {
        let deadline = Instant::now() + self.door.settings.live.auth_timeout;
        let (door, pulse) = (self.door, self.pulse);
        let Self { reader, writer, .. } = self;
        let mut nothing = Nothing;
        let frame = timeout_at(deadline, reader.next(pulse, &door.bodies));
        let incoming = tokio::select! {
            frame = frame => frame.map_err(|_| required("no authenticate frame came in time", why))?,
            end = writer.run(&mut nothing, pulse) => match end {
                WriteEnd::Outbox(_) | WriteEnd::Broken => return Err(End::Gone),
            },
            () = door.stopping.cancelled() => {
                return Err(End::Close(CloseCode::GOING_AWAY, "the server is shutting down"));
            }
        };
        let Incoming::Text(text) = incoming else { return Err(End::of(&incoming)) };
        let Ok(ClientFrame::Authenticate { token }) = parse(text).await else {
            return Err(required("the first frame has to be authenticate", why));
        };
        let claim = Claim::Token(door.claim(&token).map_err(End::Refuse)?);
        door.enter(claim, header_user, Beginning::Announced).map_err(End::Refuse)
    }
}

fn required(what: &str, why: &Error) -> End {
    End::Refuse(Error::new(ErrorCode::AuthRequired, format!("{what}: {}", why.message)))
}
