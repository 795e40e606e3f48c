//! `LiveQueryActor`: follows the change logs of one user's partitions for whoever is subscribed to them.
//!
//! Its mailbox holds one message per subscription that comes or goes, one at most that says that something was published,
//! one at most that says that the catalog has changed, and one when it is new. Restart: it is not restarted; its subscriptions' connections
//! attach them to a new one, from where they were. Shutdown: nothing is left undone; what was not told is in the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kalamdb_commons::{TableId, UserId};
use kalamdb_wire::ActorNode;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::feed::Feed;
use crate::hub::LiveHub;
use crate::subscription::Member;
use crate::supervision::gauges::{Gauges, Mail, Named};
use crate::supervisor::LiveMsg;

/// A subscription that had it opened and has ended before it came is waited for so long.
const SETTLE: Duration = Duration::from_secs(1);

/// What the actor is told.
#[derive(Debug)]
pub enum QueryMsg {
    /// A subscription comes.
    Attach(Attaching),
    /// A subscription to this table has ended.
    Detach {
        /// The table.
        table: TableId,
    },
    /// Something was published.
    Wake,
    /// The catalog has changed.
    CheckTables,
    /// Whoever had it opened has come, or will not.
    Settle,
}

/// A subscription on its way to an actor.
#[derive(Debug)]
pub struct Attaching(pub(crate) Member);

impl Named for QueryMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Attach(_) => "Attach",
            Self::Detach { .. } => "Detach",
            Self::Wake => "Wake",
            Self::CheckTables => "CheckTables",
            Self::Settle => "Settle",
        }
    }
}

/// An actor as others reach it.
#[derive(Debug)]
pub(crate) struct ActorHandle {
    pub(crate) actor: ActorRef<Mail<QueryMsg>>,
    pub(crate) gauges: Arc<Gauges>,
    flags: Arc<Flags>,
}

/// What the actor was told of and has not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    published: AtomicBool,
    catalog: AtomicBool,
}

impl ActorHandle {
    pub(crate) fn new(actor: ActorRef<Mail<QueryMsg>>, gauges: Arc<Gauges>, flags: Arc<Flags>) -> Self {
        Self { actor, gauges, flags }
    }

    pub(crate) fn cast(&self, message: QueryMsg) {
        // What cannot be sent is of no use to an actor that is gone.
        let _ = self.actor.send_message(Mail::new(&self.gauges, message));
    }

    /// Something was published: at most one message of it waits.
    pub(crate) fn wake(&self) {
        if !self.flags.published.swap(true, Ordering::AcqRel) {
            self.cast(QueryMsg::Wake);
        }
    }

    pub(crate) fn check_tables(&self) {
        if !self.flags.catalog.swap(true, Ordering::AcqRel) {
            self.cast(QueryMsg::CheckTables);
        }
    }

    pub(crate) fn node(&self, user: &UserId) -> ActorNode {
        self.gauges.node(format!("live/{user}"), Some(self.actor.get_status()))
    }
}

/// What the actor is started with.
#[derive(Debug)]
pub(crate) struct ActorArgs {
    pub(crate) hub: Arc<LiveHub>,
    pub(crate) user: UserId,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) flags: Arc<Flags>,
}

/// What it keeps.
#[derive(Debug)]
pub(crate) struct ActorState {
    args: ActorArgs,
    feeds: HashMap<TableId, Feed>,
    /// Whoever had it opened has come, or will not.
    has_begun: bool,
}

impl ActorState {
    async fn attach(&mut self, member: Member) {
        let table = member.subscription.query.partition.table;
        let ActorArgs { hub, .. } = &self.args;
        let feed = self.feeds.entry(table).or_insert_with(|| Feed::new(&hub.evaluator, &member));
        feed.attach(member).await;
        // What was published before the index knew of this actor woke nobody.
        feed.advance().await;
    }

    /// Without followers it is of no use.
    fn retire_if_idle(&mut self, myself: &ActorRef<Mail<QueryMsg>>) {
        self.feeds.retain(|_, feed| !feed.is_empty());
        if self.feeds.is_empty() && self.has_begun {
            self.args.hub.slot.cast(LiveMsg::Retire { user: self.args.user.clone(), actor: myself.get_id() });
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LiveQueryActor;

impl Actor for LiveQueryActor {
    type Msg = Mail<QueryMsg>;
    type State = ActorState;
    type Arguments = ActorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<QueryMsg>>,
        args: ActorArgs,
    ) -> Result<ActorState, ActorProcessingErr> {
        args.gauges.starting(&myself).await?;
        let gauges = Arc::clone(&args.gauges);
        // It ends by itself when the actor is gone.
        drop(myself.send_after(SETTLE, move || Mail::new(&gauges, QueryMsg::Settle)));
        Ok(ActorState { args, feeds: HashMap::new(), has_begun: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<QueryMsg>>,
        mail: Mail<QueryMsg>,
        state: &mut ActorState,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            QueryMsg::Attach(Attaching(member)) => {
                state.has_begun = true;
                state.attach(member).await;
            }
            QueryMsg::Detach { table } => {
                if let Some(feed) = state.feeds.get_mut(&table) {
                    feed.sweep();
                }
            }
            QueryMsg::Wake => {
                // First this, then the look: whoever publishes after the look wakes it again.
                state.args.flags.published.swap(false, Ordering::AcqRel);
                for feed in state.feeds.values_mut() {
                    feed.advance().await;
                }
            }
            QueryMsg::CheckTables => {
                state.args.flags.catalog.swap(false, Ordering::AcqRel);
                for feed in state.feeds.values_mut() {
                    // What was written before is told before.
                    feed.advance().await;
                    feed.check_table();
                }
            }
            QueryMsg::Settle => state.has_begun = true,
        }
        state.retire_if_idle(&myself);
        Ok(())
    }
}
