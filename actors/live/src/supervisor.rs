//! `LiveSupervisor`: opens, retires and buries the actors that follow users' partitions.
//!
//! It is the only writer of the index user → actor, which commits and connections read without asking. An actor that fails is
//! not restarted: its subscriptions' connections ask for a new one, unless the user's budget of failures is spent;
//! then its subscriptions end, and nobody else notices.
//!
//! Restart: its actors end with it, and subscriptions are attached to new ones. Shutdown: its actors are drained before it
//! ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode, Result, UserId};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;

use crate::actor::{ActorArgs, ActorHandle, Attaching, Flags, LiveQueryActor, QueryMsg};
use crate::hub::LiveHub;
use crate::subscription::Member;
use crate::supervision::failures::UserFailures;
use crate::supervision::faults::Faults;
use crate::supervision::gauges::{Gauges, Mail, Named, cause};
use crate::supervision::slot::{gone, restarting, takes_messages};

/// How long draining actors may take when the supervisor stops: their mailboxes only.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long opening an actor may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an actor is asked for, for one subscription.
const OPEN_TRIES: usize = 5;
/// So many users' failures are looked through at an opening.
const FORGET_EVERY: u32 = 1024;

/// What the supervisor is asked.
#[derive(Debug)]
pub enum LiveMsg {
    /// The actor of a user, opened if there is none.
    Open {
        /// Whose partitions.
        user: UserId,
        /// Once it is there; or why not.
        reply: RpcReplyPort<Result<()>>,
    },
    /// An actor has nothing to do.
    Retire {
        /// Whose.
        user: UserId,
        /// Which.
        actor: ActorId,
    },
}

impl Named for LiveMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "Open",
            Self::Retire { .. } => "Retire",
        }
    }
}

impl LiveHub {
    /// Hands a subscription to the actor of a user.
    pub(crate) async fn attach(&self, user: &UserId, member: Member) -> Result<()> {
        let mut message = QueryMsg::Attach(Attaching(member));
        for attempt in 0..=OPEN_TRIES {
            let known = self.index.actors.get(user).map(|entry| Arc::clone(&entry));
            if let Some(handle) = known {
                match handle.actor.send_message(Mail::new(&handle.gauges, message)) {
                    Ok(()) => return Ok(()),
                    Err(ractor::MessagingErr::SendErr(mail)) => {
                        message = mail.returned();
                        let is_known = self.index.actors.get(user).is_some_and(|now| Arc::ptr_eq(&now, &handle));
                        if is_known {
                            // It is going down, and its supervisor does not know yet: it would be found again.
                            gone(&handle.actor).await;
                        }
                    }
                    // The other errors are of remote actors and wrong types, which these are not.
                    Err(_) => return Ok(()),
                }
            }
            if attempt == OPEN_TRIES {
                break;
            }
            // A supervisor that was lost is asked again, as is one whose actor did not start: how often that may be is
            // the user's budget, and its end says when to come again.
            if let Ok(Err(error)) =
                self.slot.ask(|reply| LiveMsg::Open { user: user.clone(), reply }, OPEN_TIMEOUT).await
                && error.retry_after.is_some()
            {
                return Err(error);
            }
        }
        Err(restarting())
    }
}

/// What the supervisor is started with.
#[derive(Debug)]
pub struct LiveArgs {
    /// What everybody shares.
    pub hub: Arc<LiveHub>,
    /// Where tests make its actors fail.
    pub faults: Faults,
}

/// What it keeps.
#[derive(Debug)]
pub struct LiveState {
    args: LiveArgs,
    users: HashMap<ActorId, UserId>,
    failures: UserFailures,
    opened: u32,
}

impl LiveState {
    async fn open(&mut self, supervisor: &ActorRef<Mail<LiveMsg>>, user: UserId) -> Result<()> {
        let hub = &self.args.hub;
        if let Some(known) = hub.index.actors.get(&user)
            && takes_messages(known.actor.get_status())
        {
            return Ok(());
        }
        self.opened = self.opened.wrapping_add(1);
        if self.opened.is_multiple_of(FORGET_EVERY) {
            self.failures.forget(Instant::now());
        }
        if let Some(left) = self.failures.refusal(&user, Instant::now()) {
            let message = "this user's live queries failed too often; they are refused for a minute";
            return Err(Error::new(ErrorCode::Overloaded, message).retry_after(left));
        }
        let gauges = Gauges::new("LiveQueryActor", self.args.faults.clone());
        let (failures, last_error) = self.failures.history(&user);
        if failures > 0 {
            gauges.inherit(failures, last_error);
        }
        let flags: Arc<Flags> = Arc::default();
        let args = ActorArgs {
            hub: Arc::clone(hub),
            user: user.clone(),
            gauges: Arc::clone(&gauges),
            flags: Arc::clone(&flags),
        };
        match Actor::spawn_linked(None, LiveQueryActor, args, supervisor.get_cell()).await {
            Ok((actor, _)) => {
                self.users.insert(actor.get_id(), user.clone());
                hub.index.actors.insert(user, Arc::new(ActorHandle::new(actor, gauges, flags)));
                Ok(())
            }
            // It is this one that ends.
            Err(_) if !takes_messages(supervisor.get_status()) => Err(restarting()),
            Err(error) => {
                tracing::error!(%user, %error, "a live query actor did not start");
                self.failures.record(user, "it did not start".to_owned(), Instant::now());
                Err(restarting())
            }
        }
    }

    /// Out of the index first: what is in its mailbox is still done, what comes later finds another.
    fn retire(&self, user: &UserId, id: ActorId) {
        if let Some((_, handle)) = self.args.hub.index.actors.remove_if(user, |_, known| known.actor.get_id() == id) {
            let _ = handle.actor.drain();
        }
    }

    /// An actor is gone; `failure` says why, if it was lost.
    fn bury(&mut self, id: ActorId, failure: Option<String>) {
        let Some(user) = self.users.remove(&id) else { return };
        self.args.hub.index.actors.remove_if(&user, |_, known| known.actor.get_id() == id);
        if let Some(failure) = failure {
            self.failures.record(user, failure, Instant::now());
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct LiveSupervisor;

impl Actor for LiveSupervisor {
    type Msg = Mail<LiveMsg>;
    type State = LiveState;
    type Arguments = LiveArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<LiveMsg>>,
        args: LiveArgs,
    ) -> Result<LiveState, ActorProcessingErr> {
        args.hub.slot.gauges().starting(&myself).await?;
        // The actors of one that ended before went with it.
        args.hub.index.actors.clear();
        Ok(LiveState { args, users: HashMap::new(), failures: UserFailures::default(), opened: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<LiveMsg>>,
        mail: Mail<LiveMsg>,
        state: &mut LiveState,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            LiveMsg::Open { user, reply } => {
                let result = state.open(&myself, user).await;
                let _ = reply.send(result);
            }
            LiveMsg::Retire { user, actor } => state.retire(&user, actor),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Mail<LiveMsg>>,
        event: SupervisionEvent,
        state: &mut LiveState,
    ) -> Result<(), ActorProcessingErr> {
        state.args.hub.slot.gauges().hears(&myself).await?;
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                tracing::error!(user = ?state.users.get(&who.get_id()), %error, "a live query actor failed");
                state.bury(who.get_id(), Some(cause(&error)));
            }
            SupervisionEvent::ActorTerminated(who, last_state, reason) => {
                // Its subscriptions are to be attached to another.
                drop(last_state);
                let failure = reason.filter(|reason| matches!(reason.as_str(), "killed" | "actor_task_cancelled"));
                state.bury(who.get_id(), failure);
            }
            // A start is no loss, and there are no others.
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<Mail<LiveMsg>>, _: &mut LiveState) -> Result<(), ActorProcessingErr> {
        myself.drain_children_and_wait(Some(DRAIN_TIMEOUT)).await;
        Ok(())
    }
}
