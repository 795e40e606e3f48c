//! What a connection says and is told, from its first frame as somebody known: frames become calls, and every beat and
//! every change of users asks anew who that somebody is. Knows no socket.

use std::future::Future;
use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode, Identity, Result};
use kalamdb_core::LiveConnection;
use kalamdb_wire::{ClientFrame, ServerFrame, SubscribeRequest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::End;
use super::frame::CloseCode;
use super::pulse::Pulse;
use super::read::{Incoming, Text};
use crate::auth::{TokenClaim, now_seconds};

/// Larger frames are parsed where they keep no other connection waiting.
const PARSE_IN_PLACE_BYTES: usize = 256 << 10;

/// Who knows users and tokens.
pub(super) trait Gate: Sync {
    /// Whom a token speaks for.
    fn claim(&self, token: &str) -> Result<TokenClaim>;
    /// The claimed user as it is now.
    fn identify(&self, claimed: Identity) -> Result<Identity>;
    /// Changes whenever some user is another than before.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Where messages come from.
pub(super) trait Messages: Send {
    /// The next one. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Incoming> + Send;
}

/// What a session may do; see [`LiveConnection`].
pub(super) trait Live: Send {
    fn identity(&self) -> &Identity;
    fn renew(&mut self, identity: Identity);
    fn subscribe(&mut self, request: SubscribeRequest) -> impl Future<Output = ()> + Send;
    fn unsubscribe(&mut self, query_id: &str) -> impl Future<Output = ()> + Send;
    fn send(&mut self, frame: ServerFrame<'_>) -> impl Future<Output = ()> + Send;
    fn heartbeat(&mut self);
    fn attend(&mut self) -> impl Future<Output = ()> + Send;
}

impl Live for LiveConnection {
    fn identity(&self) -> &Identity {
        LiveConnection::identity(self)
    }

    fn renew(&mut self, identity: Identity) {
        LiveConnection::renew(self, identity);
    }

    fn subscribe(&mut self, request: SubscribeRequest) -> impl Future<Output = ()> + Send {
        LiveConnection::subscribe(self, request)
    }

    fn unsubscribe(&mut self, query_id: &str) -> impl Future<Output = ()> + Send {
        LiveConnection::unsubscribe(self, query_id)
    }

    fn send(&mut self, frame: ServerFrame<'_>) -> impl Future<Output = ()> + Send {
        LiveConnection::send(self, frame)
    }

    fn heartbeat(&mut self) {
        LiveConnection::heartbeat(self);
    }

    fn attend(&mut self) -> impl Future<Output = ()> + Send {
        LiveConnection::attend(self)
    }
}

/// Why a connection is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Claim {
    /// By a token, while it holds.
    Token(TokenClaim),
    /// By the localhost rule.
    Localhost(Identity),
}

impl Claim {
    /// Who it claims to be; its row in `system.users` has the last word.
    pub(super) fn identity(&self) -> &Identity {
        match self {
            Self::Token(claim) => &claim.identity,
            Self::Localhost(identity) => identity,
        }
    }

    /// When it ends, on the clock of timers; never, where that is beyond it.
    fn ends_at(&self) -> Option<Instant> {
        let Self::Token(claim) = self else { return None };
        let left = (claim.expires_at - now_seconds()).max(0.0);
        Duration::try_from_secs_f64(left).ok().and_then(|left| Instant::now().checked_add(left))
    }

    /// Whether it has ended, by the clock on the wall.
    fn has_ended(&self) -> bool {
        matches!(self, Self::Token(claim) if claim.expires_at <= now_seconds())
    }
}

/// How a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The handshake said who it is.
    Known,
    /// A frame did, which is to be answered.
    Announced,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session<'a, L, G> {
    live: L,
    gate: &'a G,
    pulse: &'a Pulse,
    claim: Claim,
    ends_at: Option<Instant>,
    /// No frame has come: a token may still say who the localhost rule's caller really is.
    is_fresh: bool,
    beginning: Beginning,
    /// Changes of users since it began.
    users: watch::Receiver<u64>,
}

impl<'a, L: Live, G: Gate> Session<'a, L, G> {
    pub(super) fn new(live: L, gate: &'a G, pulse: &'a Pulse, claim: Claim, beginning: Beginning) -> Self {
        let ends_at = claim.ends_at();
        let is_fresh = beginning == Beginning::Known;
        Self { live, gate, pulse, claim, ends_at, is_fresh, beginning, users: gate.changes() }
    }

    /// What is left when the session has ended.
    pub(super) fn into_live(self) -> L {
        self.live
    }

    /// Runs until one side ends it. An error it ends with was not told yet.
    pub(super) async fn run(&mut self, messages: &mut impl Messages) -> End {
        let Err(end) = self.run_to_end(messages).await;
        self.pulse.set_working(false);
        end
    }

    async fn run_to_end(&mut self, messages: &mut impl Messages) -> Result<std::convert::Infallible, End> {
        if self.beginning == Beginning::Announced {
            Box::pin(self.in_time(Task::Announce)).await?;
        }
        loop {
            let ends_at = self.ends_at;
            let task = tokio::select! {
                incoming = messages.next() => Task::Message(incoming),
                () = self.pulse.beat.notified() => Task::Beat,
                () = changed(&mut self.users) => Task::Look,
                () = passed(ends_at) => return Err(expired()),
                () = self.live.attend() => continue,
            };
            // What is answered may have to wait for the client; its token does not. Boxed, since nothing of it is needed
            // by a connection that waits.
            Box::pin(self.in_time(task)).await?;
        }
    }

    async fn in_time(&mut self, task: Task) -> Result<(), End> {
        let ends_at = self.ends_at;
        self.pulse.set_working(true);
        let done = tokio::select! {
            done = self.perform(task) => done,
            () = passed(ends_at) => Err(expired()),
        };
        self.pulse.set_working(false);
        done
    }

    async fn perform(&mut self, task: Task) -> Result<(), End> {
        match task {
            Task::Announce => self.announce().await,
            Task::Beat => {
                if self.claim.has_ended() {
                    return Err(expired());
                }
                self.look_again()?;
                self.live.heartbeat();
            }
            Task::Look => self.look_again()?,
            Task::Message(Incoming::Text(text)) => {
                let is_first = std::mem::take(&mut self.is_fresh);
                match parse(text).await {
                    Ok(frame) => self.obey(frame, is_first).await?,
                    Err(error) => self.live.send(ServerFrame::error(None, &error)).await,
                }
            }
            Task::Message(incoming) => return Err(End::of(&incoming)),
        }
        Ok(())
    }

    async fn obey(&mut self, frame: ClientFrame, is_first: bool) -> Result<(), End> {
        match frame {
            ClientFrame::Subscribe(list) => {
                self.look_again()?;
                for request in list {
                    match request {
                        Ok(request) => self.live.subscribe(request).await,
                        Err(bad) => {
                            self.live.send(ServerFrame::error(bad.query_id.as_deref(), &bad.error)).await;
                        }
                    }
                }
            }
            ClientFrame::Unsubscribe { query_id } => self.live.unsubscribe(&query_id).await,
            ClientFrame::Ping => self.live.send(ServerFrame::Pong).await,
            ClientFrame::Authenticate { token } => self.renew(&token, is_first).await?,
        }
        Ok(())
    }

    /// A token on a connection that is known: of the same user it replaces the one before.
    async fn renew(&mut self, token: &str, is_first: bool) -> Result<(), End> {
        let claim = Claim::Token(self.gate.claim(token).map_err(End::Refuse)?);
        if claim.identity().user_id != self.claim.identity().user_id {
            if is_first && matches!(self.claim, Claim::Localhost(_)) {
                return Err(End::Again(claim));
            }
            let message = "the token is for another user: this connection stays with the one it was opened for";
            self.live.send(ServerFrame::error(None, &Error::new(ErrorCode::Forbidden, message))).await;
            return Ok(());
        }
        self.ends_at = claim.ends_at();
        self.claim = claim;
        self.look_again()?;
        self.announce().await;
        Ok(())
    }

    async fn announce(&mut self) {
        let Identity { user_id, role } = self.live.identity().clone();
        self.live.send(ServerFrame::Authenticated { user_id: &user_id, role }).await;
    }

    /// Asks who the user is now: a row in `system.users` may have come, changed or gone.
    fn look_again(&mut self) -> Result<(), End> {
        let identity = self.gate.identify(self.claim.identity().clone()).map_err(End::Refuse)?;
        if identity != *self.live.identity() {
            self.live.renew(identity);
        }
        Ok(())
    }
}

/// What a session has to do.
enum Task {
    /// Tell the client who it is.
    Announce,
    Beat,
    /// Ask who the user is now.
    Look,
    Message(Incoming),
}

impl End {
    /// What a message that is no text means.
    pub(super) fn of(incoming: &Incoming) -> Self {
        match incoming {
            Incoming::Text(_) => Self::Close(CloseCode::POLICY, "not now"),
            Incoming::Binary => Self::Close(CloseCode::UNSUPPORTED, "frames are text: binary messages are not taken"),
            Incoming::Close(code) => Self::Close(*code, ""),
            Incoming::Violation(violation) => Self::Close(violation.code, violation.reason),
            Incoming::Gone => Self::Gone,
        }
    }
}

fn expired() -> End {
    End::Refuse(Error::new(ErrorCode::Unauthorized, "the token has expired"))
}

/// Waits for a change; for ever, where none can come any more.
async fn changed(users: &mut watch::Receiver<u64>) {
    if users.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn passed(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A frame of its text.
pub(super) async fn parse(text: Text) -> Result<ClientFrame> {
    if text.text.len() <= PARSE_IN_PLACE_BYTES {
        return ClientFrame::from_json(&text.text);
    }
    tokio::task::spawn_blocking(move || ClientFrame::from_json(&text.text)).await.map_err(Error::internal)?
}

#[cfg(test)]
mod tests;
