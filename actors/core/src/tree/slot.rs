//! The address of a singleton: stable for its callers, whatever becomes of the actor behind it.

use kalamdb_commons::{Error, ErrorCode, Result};
use ractor::rpc::CallResult;
use ractor::{ActorRef, ActorStatus, Message, RpcReplyPort};
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use super::gauges::Gauges;

/// How long a caller waits for an actor that is being restarted.
const RESTART_WAIT: Duration = Duration::from_secs(5);

/// See the module. Its writer is the actor's supervisor.
#[derive(Debug)]
pub(super) struct Slot<M: Message> {
    actor: watch::Sender<Option<ActorRef<M>>>,
    gauges: std::sync::Arc<Gauges>,
}

impl<M: Message> Slot<M> {
    pub(super) fn new() -> Self {
        Self { actor: watch::Sender::new(None), gauges: Gauges::new() }
    }

    pub(super) fn fill(&self, actor: ActorRef<M>) {
        self.actor.send_replace(Some(actor));
    }

    pub(super) fn clear(&self) {
        self.actor.send_replace(None);
    }

    pub(super) fn gauges(&self) -> &std::sync::Arc<Gauges> {
        &self.gauges
    }

    pub(super) fn get(&self) -> Option<ActorRef<M>> {
        self.actor.borrow().clone()
    }

    pub(super) fn status(&self) -> Option<ActorStatus> {
        self.actor.borrow().as_ref().map(|actor| actor.get_status())
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.status(), Some(ActorStatus::Running))
    }

    /// The actor, waited for while it is being restarted.
    async fn present(&self) -> Result<ActorRef<M>> {
        let mut receiver = self.actor.subscribe();
        let found = timeout(RESTART_WAIT, receiver.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(actor)) => actor.clone().ok_or_else(restarting),
            _ => Err(restarting()),
        }
    }

    /// Sends a message that nobody waits for; lost if the actor is not there.
    pub(super) fn cast(&self, message: M) {
        let Some(actor) = self.get() else { return };
        self.gauges.sent();
        if actor.send_message(message).is_err() {
            self.gauges.unsent();
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ErrorCode::Overloaded`] when the actor was not there (nothing happened);
    /// [`ErrorCode::Timeout`] and [`ErrorCode::Internal`], outcome unknown, when it took the message and gave
    /// no answer.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        make: impl FnOnce(RpcReplyPort<T>) -> M,
        limit: Duration,
    ) -> Result<T> {
        let actor = self.present().await?;
        self.gauges.sent();
        match actor.call(make, Some(limit)).await {
            Ok(CallResult::Success(answer)) => Ok(answer),
            Ok(CallResult::Timeout) => {
                Err(Error::new(ErrorCode::Timeout, "the server did not get to it in time").outcome_unknown())
            }
            Ok(CallResult::SenderError) => Err(Error::internal("an actor ended before it answered").outcome_unknown()),
            Err(_) => {
                self.gauges.unsent();
                Err(restarting())
            }
        }
    }
}

fn restarting() -> Error {
    Error::new(ErrorCode::Overloaded, "a part of the server is being restarted: try again")
}
