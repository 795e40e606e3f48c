//! The address of a singleton: stable for its callers, whatever becomes of the actor behind it.

use std::sync::Arc;
use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode};
use ractor::rpc::CallResult;
use ractor::{ActorRef, ActorStatus, Message, RpcReplyPort};
use tokio::sync::watch;
use tokio::time::timeout;

use super::gauges::{Gauges, Mail, Named};

/// How long a caller waits for an actor that is being restarted.
const RESTART_WAIT: Duration = Duration::from_secs(5);

/// See the module. Its writer is the actor's supervisor.
#[derive(Debug)]
pub struct Slot<M: Message> {
    actor: watch::Sender<Option<ActorRef<Mail<M>>>>,
    gauges: Arc<Gauges>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The actor was not there, and did not come back in time.
    Absent,
    /// The actor ended with the question in its mailbox or in work.
    Dropped,
    /// It did not answer in time.
    Late,
}

impl<M: Message + Named> Slot<M> {
    /// An empty one.
    #[must_use]
    pub fn new(gauges: Arc<Gauges>) -> Self {
        Self { actor: watch::Sender::new(None), gauges }
    }

    /// The actor is there.
    pub fn fill(&self, actor: ActorRef<Mail<M>>) {
        self.actor.send_replace(Some(actor));
    }

    /// The actor was lost, and why.
    pub fn clear(&self, why: &str) {
        self.gauges.lost(why);
        self.actor.send_replace(None);
    }

    /// The counters of whatever actor is in it.
    pub fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    /// The actor, if it is there.
    #[must_use]
    pub fn get(&self) -> Option<ActorRef<Mail<M>>> {
        self.actor.borrow().clone()
    }

    /// How the actor is.
    #[must_use]
    pub fn status(&self) -> Option<ActorStatus> {
        self.actor.borrow().as_ref().map(|actor| actor.get_status())
    }

    /// Whether it takes messages.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status().is_some_and(takes_messages)
    }

    /// The actor, waited for while it is being restarted.
    async fn present(&self) -> Result<ActorRef<Mail<M>>, Lost> {
        let mut receiver = self.actor.subscribe();
        // One that was lost is in the slot until its supervisor has heard of it.
        let is_there =
            |actor: &Option<ActorRef<Mail<M>>>| actor.as_ref().is_some_and(|actor| takes_messages(actor.get_status()));
        match timeout(RESTART_WAIT, receiver.wait_for(is_there)).await {
            Ok(Ok(actor)) => actor.clone().ok_or(Lost::Absent),
            _ => Err(Lost::Absent),
        }
    }

    /// Sends a message that nobody waits for; lost if the actor is not there.
    pub fn cast(&self, message: M) {
        let Some(actor) = self.get() else { return };
        // What cannot be sent counts no longer as waiting once it is dropped.
        let _ = actor.send_message(Mail::new(&self.gauges, message));
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Lost::Absent`]: the actor never had the question; otherwise it may have begun with it.
    pub async fn ask<T: Send + 'static>(
        &self,
        make: impl FnOnce(RpcReplyPort<T>) -> M,
        limit: Duration,
    ) -> Result<T, Lost> {
        let actor = self.present().await?;
        match actor.call(|reply| Mail::new(&self.gauges, make(reply)), Some(limit)).await {
            Ok(CallResult::Success(answer)) => Ok(answer),
            Ok(CallResult::Timeout) => Err(Lost::Late),
            Ok(CallResult::SenderError) => {
                gone(&actor).await;
                Err(Lost::Dropped)
            }
            Err(_) => Err(Lost::Absent),
        }
    }
}

/// Waits until an actor that has dropped a message is gone. While it goes down it still takes messages, and drops them,
/// too: whoever asks again at once may ask the same one.
pub async fn gone<M: Message>(actor: &ActorRef<M>) {
    // One that hangs in its end is none to wait for.
    let _ = actor.wait(Some(RESTART_WAIT)).await;
}

/// Whether an actor with this status takes messages: also one that is still coming up.
#[must_use]
pub fn takes_messages(status: ActorStatus) -> bool {
    status < ActorStatus::Draining
}

/// The answer to a request that found a part of the tree missing; nothing of it has begun.
#[must_use]
pub fn restarting() -> Error {
    Error::new(ErrorCode::Overloaded, "a part of the server is being restarted: try again")
}
