//! `SessionSupervisor`: opens, retires and buries sessions, one per user.
//!
//! It is the only writer of the index user → session, which the door's calls read without asking. A session
//! that fails is not restarted; the user's next statement opens a new one, unless the user's budget of
//! failures is spent: then that user is refused for a while, and nobody else notices.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use kalamdb_commons::{Error, ErrorCode, Result, UserId};
use kalamdb_wire::ActorNode;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::oneshot;

use super::CALL_TIMEOUT;
use super::budget::RestartBudget;
use super::gauges::Gauges;
use super::session::{Admission, Job, SessionActor, SessionArgs, SessionHandle, SessionMsg, SessionShared};
use super::slot::Slot;
use crate::{SqlOutcome, SqlRequest};

/// A user whose session fails so often within [`FAILURE_WINDOW`] is refused until the window has moved on.
const FAILURES: usize = 5;
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// How long draining sessions may take when the supervisor stops: their mailboxes only.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// User → session.
pub(super) type SessionIndex = DashMap<UserId, Arc<SessionHandle>>;

/// How the door reaches sessions.
#[derive(Debug, Clone)]
pub(crate) struct SessionsClient {
    slot: Arc<Slot<SessionsMsg>>,
    index: Arc<SessionIndex>,
}

impl SessionsClient {
    pub(super) fn new(slot: Arc<Slot<SessionsMsg>>, index: Arc<SessionIndex>) -> Self {
        Self { slot, index }
    }

    /// Runs a request in its user's session. One that was dropped before it began is sent once more; one
    /// that may have begun never is.
    pub(crate) async fn execute(&self, request: SqlRequest) -> SqlOutcome {
        let request = Arc::new(request);
        for _ in 0..2 {
            let (reply, answer) = oneshot::channel();
            let begun = Arc::new(AtomicBool::new(false));
            let job = Job { request: Arc::clone(&request), begun: Arc::clone(&begun), reply };
            if let Err(error) = self.send(&request.identity.user_id, job).await {
                return SqlOutcome::refused(error);
            }
            match answer.await {
                Ok(outcome) => return outcome,
                Err(_) if begun.load(Ordering::Acquire) => {
                    return SqlOutcome::refused(
                        Error::internal("a statement's task ended without an answer").outcome_unknown(),
                    );
                }
                Err(_) => {}
            }
        }
        SqlOutcome::refused(Error::new(ErrorCode::Overloaded, "the session is being restarted: try again"))
    }

    async fn send(&self, user: &UserId, job: Job) -> Result<()> {
        let mut job = Box::new(job);
        let known = self.index.get(user).map(|entry| Arc::clone(&entry));
        if let Some(session) = known {
            match cast(&session, job) {
                Ok(()) => return Ok(()),
                // Retired or gone between the look and the send.
                Err(back) => job = back,
            }
        }
        let user = user.clone();
        let session = self.slot.call(|reply| SessionsMsg::Open { user, reply }, CALL_TIMEOUT).await??;
        cast(&session, job).map_err(|_| Error::new(ErrorCode::Overloaded, "the session is being restarted: try again"))
    }

    /// Retires sessions that have been idle for the time set.
    pub(super) fn retire_idle(&self) {
        self.slot.cast(SessionsMsg::RetireIdle);
    }

    /// At most `limit` sessions, and how many there are.
    pub(super) fn nodes(&self, limit: usize) -> (Vec<ActorNode>, u64) {
        let mut sessions: Vec<(UserId, Arc<SessionHandle>)> =
            self.index.iter().map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect();
        let total = sessions.len() as u64;
        sessions.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        sessions.truncate(limit);
        let node = |(user, session): (UserId, Arc<SessionHandle>)| {
            session.shared.gauges.node(format!("session/{user}"), "SessionActor", Some(session.actor.get_status()))
        };
        (sessions.into_iter().map(node).collect(), total)
    }

    #[cfg(test)]
    pub(super) fn session_of(&self, user: &UserId) -> Option<ActorRef<SessionMsg>> {
        self.index.get(user).map(|entry| entry.actor.clone())
    }
}

/// Hands the job back if the session takes no more.
fn cast(session: &SessionHandle, job: Box<Job>) -> std::result::Result<(), Box<Job>> {
    session.shared.gauges.sent();
    match session.actor.send_message(SessionMsg::Run { job }) {
        Ok(()) => Ok(()),
        Err(ractor::MessagingErr::SendErr(SessionMsg::Run { job })) => {
            session.shared.gauges.unsent();
            Err(job)
        }
        // The other errors are of remote actors and wrong types, which these are not.
        Err(_) => Ok(()),
    }
}

/// What the supervisor is started with.
#[derive(Debug)]
pub(super) struct SessionsArgs {
    pub(super) admission: Arc<Admission>,
    pub(super) index: Arc<SessionIndex>,
    pub(super) gauges: Arc<Gauges>,
}

/// What it keeps.
#[derive(Debug)]
pub(super) struct SessionsState {
    args: SessionsArgs,
    users: HashMap<ActorId, UserId>,
    failures: HashMap<UserId, RestartBudget>,
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

impl SessionsState {
    async fn open(&mut self, supervisor: ActorRef<SessionsMsg>, user: UserId) -> Result<Arc<SessionHandle>> {
        let known = self.args.index.get(&user).map(|entry| Arc::clone(&entry));
        if let Some(session) = known
            && session.actor.get_status() == ractor::ActorStatus::Running
        {
            return Ok(session);
        }
        let now = Instant::now();
        if let Some(budget) = self.failures.get(&user)
            && budget.is_spent(now)
        {
            return Err(Error::new(
                ErrorCode::Overloaded,
                "this user's session failed too often; it is refused for a minute",
            ));
        }
        let most = self.args.admission.runtime.settings().query.max_concurrent_per_user;
        let shared = SessionShared::new(most);
        let args = SessionArgs { admission: Arc::clone(&self.args.admission), shared: Arc::clone(&shared) };
        let spawned = Actor::spawn_linked(None, SessionActor, args, supervisor.get_cell()).await;
        // It fails while the supervisor itself is stopping.
        let (actor, _) = spawned.map_err(|_| Error::new(ErrorCode::ShuttingDown, "the server is shutting down"))?;
        let session = Arc::new(SessionHandle { actor, shared });
        self.users.insert(session.actor.get_id(), user.clone());
        self.args.index.insert(user, Arc::clone(&session));
        Ok(session)
    }

    fn retire_idle(&mut self) {
        let limit = self.args.admission.runtime.settings().session.idle_timeout;
        let now = Instant::now();
        self.failures.retain(|_, budget| !budget.is_fresh(now));
        let mut retired = Vec::new();
        self.args.index.retain(|_, session| {
            let idle = session.shared.is_idle_for(limit);
            if idle {
                retired.push(Arc::clone(session));
            }
            !idle
        });
        for session in retired {
            // Out of the index first: what is in its mailbox still runs.
            let _ = session.actor.drain();
        }
    }

    fn bury(&mut self, id: ActorId, failed: bool) {
        let Some(user) = self.users.remove(&id) else { return };
        self.args.index.remove_if(&user, |_, session| session.actor.get_id() == id);
        if failed {
            let budget = self
                .failures
                .entry(user)
                .or_insert_with(|| RestartBudget::new(FAILURES, FAILURE_WINDOW, Duration::ZERO));
            let _ = budget.spend(Instant::now());
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SessionSupervisor;

impl Actor for SessionSupervisor {
    type Msg = SessionsMsg;
    type State = SessionsState;
    type Arguments = SessionsArgs;

    async fn pre_start(
        &self,
        _: ActorRef<SessionsMsg>,
        args: SessionsArgs,
    ) -> Result<SessionsState, ActorProcessingErr> {
        // The sessions of one that ended before went with it.
        args.index.clear();
        Ok(SessionsState { args, users: HashMap::new(), failures: HashMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionsMsg>,
        message: SessionsMsg,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        state.args.gauges.taken();
        match message {
            SessionsMsg::Open { user, reply } => {
                let result = state.open(myself, user).await;
                let _ = reply.send(result);
            }
            SessionsMsg::RetireIdle => state.retire_idle(),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SessionsMsg>,
        event: SupervisionEvent,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                tracing::error!(user = ?state.users.get(&who.get_id()), %error, "a session failed");
                state.bury(who.get_id(), true);
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                let failed = matches!(reason.as_deref(), Some("killed" | "actor_task_cancelled"));
                state.bury(who.get_id(), failed);
            }
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<SessionsMsg>, _: &mut SessionsState) -> Result<(), ActorProcessingErr> {
        myself.drain_children_and_wait(Some(DRAIN_TIMEOUT)).await;
        Ok(())
    }
}
