//! How the door reaches sessions.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result, UserId};
use kalamdb_wire::ActorNode;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{SessionIndex, SessionsMsg};
use crate::tree::CALL_TIMEOUT;
use crate::tree::admission::Admission;
use crate::tree::claim::Claim;
use crate::tree::gauges::Mail;
use crate::tree::session::{Job, SessionHandle, SessionMsg, Threads};
use crate::tree::slot::{Slot, gone, restarting};
use crate::{AnswerFormat, SqlOutcome, SqlRequest};

/// How often a session is asked for, for one job.
const OPEN_TRIES: usize = 5;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SessionsClient {
    slot: Arc<Slot<SessionsMsg>>,
    index: Arc<SessionIndex>,
    admission: Arc<Admission>,
}

impl SessionsClient {
    pub(in crate::tree) fn new(
        slot: Arc<Slot<SessionsMsg>>,
        index: Arc<SessionIndex>,
        admission: Arc<Admission>,
    ) -> Self {
        Self { slot, index, admission }
    }

    /// Runs a request in its user's session. One that was dropped before it began is sent once more; one
    /// that may have begun never is. Its first statement has `server.request_timeout` from here on, for waiting and
    /// for running.
    ///
    /// # Cancel safety
    /// Safe: what is not committing is called off.
    pub(crate) async fn execute(&self, request: SqlRequest, format: Option<AnswerFormat>) -> SqlOutcome {
        let deadline = Instant::now() + self.admission.runtime.settings().server.request_timeout;
        let admitted = match self.admission.admit(&request) {
            Ok(admitted) => Arc::new(admitted),
            Err(error) => return SqlOutcome::refused(error),
        };
        let request = Arc::new(request);
        for _ in 0..2 {
            let (reply, mut answer) = oneshot::channel();
            let claim = Arc::new(Claim::default());
            let job = Job {
                request: Arc::clone(&request),
                format,
                admitted: Arc::clone(&admitted),
                deadline,
                claim: Arc::clone(&claim),
                reply,
            };
            let session = match timeout_at(deadline, self.send(&request.identity.user_id, job)).await {
                Ok(Ok(session)) => session,
                Ok(Err(error)) => return SqlOutcome::refused(error),
                Err(_) => return SqlOutcome::refused(no_turn()),
            };
            let answered = match timeout_at(deadline, &mut answer).await {
                Ok(answered) => answered,
                Err(_) if claim.give_up() => return SqlOutcome::refused(no_turn()),
                // It has begun: it minds the deadline by itself, and may be committing.
                Err(_) => answer.await,
            };
            match answered {
                Ok(outcome) => return outcome,
                Err(_) if claim.has_begun() => {
                    return SqlOutcome::refused(
                        Error::internal("a statement's task ended without an answer").outcome_unknown(),
                    );
                }
                // Its task alone was lost, which was logged.
                Err(_) if claim.was_taken_out() => {}
                Err(_) => {
                    let _ = timeout_at(deadline, gone(&session.actor)).await;
                }
            }
        }
        SqlOutcome::refused(restarting())
    }

    /// Hands the job to its user's session, and says to which.
    async fn send(&self, user: &UserId, job: Job) -> Result<Arc<SessionHandle>> {
        let mut job = Box::new(job);
        let known = self.index.get(user).map(|entry| Arc::clone(&entry));
        if let Some(session) = known {
            if Threads::of(&self.admission, &job) == Threads::Here {
                session.shared.gauges.handled_without_mail();
                session.shared.start(&self.admission, Threads::Here, *job);
                return Ok(session);
            }
            match cast(&session, job) {
                Ok(()) => return Ok(session),
                // Retired or gone between the look and the send.
                Err(back) => job = back,
            }
        }
        // Again, if the supervisor was lost with the question, or the new session before it had the job: opening a
        // session may be done twice.
        for _ in 0..OPEN_TRIES {
            let open = |reply| SessionsMsg::Open { user: user.clone(), reply };
            if let Ok(opened) = self.slot.ask(open, CALL_TIMEOUT).await {
                let session = opened?;
                match cast(&session, job) {
                    Ok(()) => return Ok(session),
                    Err(back) => job = back,
                }
                let is_known = self.index.get(user).is_some_and(|now| Arc::ptr_eq(&now, &session));
                if is_known {
                    // It is going down, and its supervisor does not know yet: whoever asks again at once gets it again.
                    gone(&session.actor).await;
                }
            }
        }
        Err(restarting())
    }

    /// Retires sessions that have been idle for the time set.
    pub(in crate::tree) fn retire_idle(&self) {
        self.slot.cast(SessionsMsg::RetireIdle);
    }

    /// At most `limit` sessions, and how many there are.
    pub(in crate::tree) fn nodes(&self, limit: usize) -> (Vec<ActorNode>, u64) {
        let mut sessions: Vec<(UserId, Arc<SessionHandle>)> =
            self.index.iter().map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect();
        let total = sessions.len() as u64;
        sessions.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        sessions.truncate(limit);
        let node = |(user, session): (UserId, Arc<SessionHandle>)| {
            session.shared.gauges.node(format!("session/{user}"), Some(session.actor.get_status()))
        };
        (sessions.into_iter().map(node).collect(), total)
    }

    #[cfg(test)]
    pub(in crate::tree) fn session_of(&self, user: &UserId) -> Option<Arc<SessionHandle>> {
        self.index.get(user).map(|entry| Arc::clone(&entry))
    }
}

/// Hands the job back if the session takes no more.
fn cast(session: &SessionHandle, job: Box<Job>) -> std::result::Result<(), Box<Job>> {
    match session.actor.send_message(Mail::new(&session.shared.gauges, SessionMsg::Run { job })) {
        Ok(()) => Ok(()),
        Err(ractor::MessagingErr::SendErr(mail)) => {
            let SessionMsg::Run { job } = mail.returned();
            Err(job)
        }
        // The other errors are of remote actors and wrong types, which these are not.
        Err(_) => Ok(()),
    }
}

fn no_turn() -> Error {
    Error::new(
        ErrorCode::Timeout,
        "the statement waited longer than server.request_timeout for its turn; nothing was changed",
    )
}
