//! `SessionSupervisor`: opens, retires and buries sessions, one per user.
//!
//! It is the only writer of the index user → session, which the door's calls read without asking. A session
//! that fails is not restarted; the user's next statement opens a new one, unless the user's budget of
//! failures is spent: then that user is refused for a minute, and nobody else notices. What it remembers of
//! users without a session is bounded.
//!
//! Restart: its sessions end with it and users' next statements open new ones; statements that run go on, and keep
//! their users' places. Shutdown: its sessions are drained before it ends.

mod client;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use kalamdb_commons::{Error, ErrorCode, Result, UserId};
use kalamdb_live::supervision::failures::UserFailures;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent};
use tokio::time::Instant;

use super::admission::Admission;
use super::faults::Faults;
use super::gauges::{Gauges, Mail, Named, cause};
use super::session::{SessionActor, SessionArgs, SessionHandle, SessionShared};
use super::slot::takes_messages;
use crate::engine::now_micros;

pub(crate) use client::SessionsClient;

/// How long draining sessions may take when the supervisor stops: their mailboxes only.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// From so many leftovers on, each that is added brings a look for those that are over.
const MANY_LEFTOVERS: usize = 64;

/// User → session.
pub(super) type SessionIndex = DashMap<UserId, Arc<SessionHandle>>;

/// What the supervisor is started with.
#[derive(Debug)]
pub(super) struct SessionsArgs {
    pub(super) admission: Arc<Admission>,
    pub(super) index: Arc<SessionIndex>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) faults: Faults,
}

/// What it keeps.
#[derive(Debug)]
pub(super) struct SessionsState {
    args: SessionsArgs,
    users: HashMap<ActorId, UserId>,
    failures: UserFailures,
    /// Of sessions that are gone while statements of theirs still run: those keep the user's places.
    leftovers: HashMap<UserId, Arc<SessionShared>>,
}

/// What it is asked.
#[derive(Debug)]
pub(super) enum SessionsMsg {
    /// The session of a user, opened if there is none.
    Open {
        /// Whose.
        user: UserId,
        /// The session, or why the user is refused.
        reply: RpcReplyPort<Result<Arc<SessionHandle>>>,
    },
    /// Retire idle sessions.
    RetireIdle,
}

impl Named for SessionsMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "Open",
            Self::RetireIdle => "RetireIdle",
        }
    }
}

impl SessionsState {
    async fn open(&mut self, supervisor: &ActorRef<Mail<SessionsMsg>>, user: UserId) -> Result<Arc<SessionHandle>> {
        let known = self.args.index.get(&user).map(|entry| Arc::clone(&entry));
        if let Some(session) = known {
            if takes_messages(session.actor.get_status()) {
                return Ok(session);
            }
            self.leave(user.clone(), &session.shared);
        }
        if let Some(left) = self.failures.refusal(&user, Instant::now()) {
            return Err(Error::new(
                ErrorCode::Overloaded,
                "this user's session failed too often; it is refused for a minute",
            )
            .retry_after(left));
        }
        let shared = self.shared_of(&user);
        let args = SessionArgs { admission: Arc::clone(&self.args.admission), shared: Arc::clone(&shared) };
        let actor = match Actor::spawn_linked(None, SessionActor, args, supervisor.get_cell()).await {
            Ok((actor, _)) => actor,
            Err(error) => return Err(self.not_opened(supervisor, user, error)),
        };
        let session = Arc::new(SessionHandle { actor, shared });
        self.users.insert(session.actor.get_id(), user.clone());
        self.args.index.insert(user, Arc::clone(&session));
        Ok(session)
    }

    /// A new session's counters and places, or those of a lost one whose statements still run.
    fn shared_of(&mut self, user: &UserId) -> Arc<SessionShared> {
        let (failures, last_error) = self.failures.history(user);
        let shared = match self.leftovers.remove(user).filter(|shared| !shared.is_idle()) {
            Some(shared) => shared,
            None => {
                let places = self.args.admission.user_places();
                let cache = self.args.admission.runtime.sessions().open(user.clone());
                SessionShared::new(places, cache, Gauges::new("SessionActor", self.args.faults.clone()))
            }
        };
        if failures > 0 {
            shared.gauges.inherit(failures, last_error);
        }
        shared
    }

    fn not_opened(&mut self, supervisor: &ActorRef<Mail<SessionsMsg>>, user: UserId, error: SpawnErr) -> Error {
        if !takes_messages(supervisor.get_status()) {
            return Error::new(ErrorCode::ShuttingDown, "the server is shutting down");
        }
        tracing::error!(%user, %error, "a session did not start");
        self.failures.record(user, "it did not start".to_owned(), Instant::now());
        super::slot::restarting()
    }

    fn retire_idle(&mut self) {
        let limit = self.args.admission.runtime.settings().session.idle_timeout;
        let now = Instant::now();
        self.failures.forget(now);
        self.leftovers.retain(|_, shared| !shared.is_idle());
        self.args.admission.runtime.sessions().expire(now_micros());
        let mut retired = Vec::new();
        let live = self.args.admission.runtime.live_hub();
        self.args.index.retain(|user, session| {
            let subscribed = || live.as_ref().is_some_and(|live| live.has_subscriptions_of(user));
            let idle = session.shared.is_idle_for(limit, now) && !subscribed();
            if idle {
                retired.push(Arc::clone(session));
            }
            !idle
        });
        for session in retired {
            // Out of the index first: what is in its mailbox still runs, what comes later finds a new session.
            let _ = session.actor.drain();
        }
    }

    /// The places of a session that is gone stay taken while its statements run.
    fn leave(&mut self, user: UserId, shared: &Arc<SessionShared>) {
        if shared.is_idle() {
            return;
        }
        if self.leftovers.len() >= MANY_LEFTOVERS {
            self.leftovers.retain(|_, shared| !shared.is_idle());
        }
        self.leftovers.insert(user, Arc::clone(shared));
    }

    /// A session is gone; `failure` says why, if it was lost.
    fn bury(&mut self, id: ActorId, failure: Option<String>) {
        let Some(user) = self.users.remove(&id) else { return };
        let gone = self.args.index.remove_if(&user, |_, session| session.actor.get_id() == id);
        if let Some((_, session)) = gone {
            self.leave(user.clone(), &session.shared);
        }
        if let Some(failure) = failure {
            self.failures.record(user.clone(), failure, Instant::now());
            // One that was opened before this was heard of tells of it, too.
            if let Some(session) = self.args.index.get(&user) {
                let (failures, last_error) = self.failures.history(&user);
                session.shared.gauges.inherit(failures, last_error);
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SessionSupervisor;

impl Actor for SessionSupervisor {
    type Msg = Mail<SessionsMsg>;
    type State = SessionsState;
    type Arguments = SessionsArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<SessionsMsg>>,
        args: SessionsArgs,
    ) -> Result<SessionsState, ActorProcessingErr> {
        args.gauges.starting(&myself).await?;
        let mut state =
            SessionsState { args, users: HashMap::new(), failures: UserFailures::default(), leftovers: HashMap::new() };
        // The sessions of one that ended before went with it.
        let index = Arc::clone(&state.args.index);
        index.retain(|user, session| {
            state.leave(user.clone(), &session.shared);
            false
        });
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<SessionsMsg>>,
        mail: Mail<SessionsMsg>,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            SessionsMsg::Open { user, reply } => {
                let result = state.open(&myself, user).await;
                let _ = reply.send(result);
            }
            SessionsMsg::RetireIdle => state.retire_idle(),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Mail<SessionsMsg>>,
        event: SupervisionEvent,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        state.args.gauges.hears(&myself).await?;
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                tracing::error!(user = ?state.users.get(&who.get_id()), %error, "a session failed");
                state.bury(who.get_id(), Some(cause(&error)));
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                let failure = reason.filter(|reason| matches!(reason.as_str(), "killed" | "actor_task_cancelled"));
                state.bury(who.get_id(), failure);
            }
            // A start is no loss, and there are no others.
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<Mail<SessionsMsg>>,
        _: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        myself.drain_children_and_wait(Some(DRAIN_TIMEOUT)).await;
        Ok(())
    }
}
