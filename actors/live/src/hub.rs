//! What connections, actors and status pages share: who is subscribed, where the actors are, and the counters.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use kalamdb_commons::settings::LiveSettings;
use kalamdb_commons::{Error, ErrorCode, Identity, Result, Role, UserId};
use kalamdb_store::{PartitionId, PublishWatch};
use kalamdb_wire::{ActorNode, CloseReason, LiveOverview};
use ractor::ActorRef;
use ulid::Ulid;

use crate::actor::{ActorHandle, QueryMsg};
use crate::connection::{LiveCaller, LiveConnection};
use crate::evaluator::{Evaluator, LiveWork};
use crate::outbox::{Delivered, LiveOutbox, Outbox};
use crate::registry::Registry;
use crate::source::LiveSource;
use crate::subscription::Subscription;
use crate::supervision::gauges::Mail;
use crate::supervision::slot::Slot;
use crate::supervisor::LiveMsg;

/// User whose partitions are followed → the actor that does. Its writer is the supervisor.
#[derive(Debug, Default)]
pub struct LiveIndex {
    pub(crate) actors: DashMap<UserId, Arc<ActorHandle>>,
}

impl LiveIndex {
    /// The catalog has changed: whoever follows a table that lacks columns of a query, or is gone, is told.
    pub fn catalog_changed(&self) {
        for actor in &self.actors {
            actor.check_tables();
        }
    }
}

impl PublishWatch for LiveIndex {
    fn published(&self, partition: &PartitionId) {
        let Some(user) = &partition.user else { return };
        if let Some(actor) = self.actors.get(user) {
            actor.wake();
        }
    }
}

/// A subscription as the table of live queries shows it.
#[derive(Debug, Clone)]
pub struct LiveRow {
    /// Its name.
    pub live_id: String,
    /// Its connection's name.
    pub connection_id: String,
    /// The client's name for it.
    pub query_id: String,
    /// Who subscribed.
    pub user_id: UserId,
    /// The table's namespace.
    pub namespace: String,
    /// The table.
    pub table: String,
    /// The query.
    pub query: String,
    /// How it began, as JSON.
    pub options: String,
    /// Change frames so far.
    pub changes: u64,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch; none before the first change.
    pub last_update_at: Option<i64>,
}

/// See the module.
#[derive(Debug)]
pub struct LiveHub {
    pub(crate) source: Arc<dyn LiveSource>,
    pub(crate) evaluator: Arc<Evaluator>,
    pub(crate) settings: LiveSettings,
    pub(crate) index: Arc<LiveIndex>,
    pub(crate) slot: Arc<Slot<LiveMsg>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) replays: AtomicU64,
    delivered: Arc<Delivered>,
    connections: DashMap<Arc<str>, Weak<Outbox>>,
    is_closing: AtomicBool,
}

impl LiveHub {
    /// Without any connection; `slot` is the supervisor's, `index` is told of published statements.
    #[must_use]
    pub fn new(
        source: Arc<dyn LiveSource>,
        settings: LiveSettings,
        slot: Arc<Slot<LiveMsg>>,
        index: Arc<LiveIndex>,
    ) -> Arc<Self> {
        Arc::new(Self {
            evaluator: Arc::new(Evaluator::new(Arc::clone(&source), &settings)),
            source,
            settings,
            index,
            slot,
            registry: Arc::default(),
            replays: AtomicU64::new(0),
            delivered: Arc::default(),
            connections: DashMap::new(),
            is_closing: AtomicBool::new(false),
        })
    }

    /// The supervisor's address.
    #[must_use]
    pub fn supervisor(&self) -> &Arc<Slot<LiveMsg>> {
        &self.slot
    }

    /// Opens a connection without subscriptions: what it may do, and what it has to write.
    ///
    /// # Errors
    /// [`ErrorCode::ShuttingDown`].
    pub fn connect(self: &Arc<Self>, caller: LiveCaller) -> Result<(LiveConnection, LiveOutbox)> {
        let outbox = Arc::new(Outbox::new(&self.settings, Arc::clone(&self.delivered)));
        let id: Arc<str> = Ulid::new().to_string().into();
        self.connections.insert(Arc::clone(&id), Arc::downgrade(&outbox));
        // After it is known: one that comes with the end is shut by either side.
        if self.is_closing.load(Ordering::SeqCst) {
            self.connections.remove(&id);
            return Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"));
        }
        let connection = LiveConnection::new(Arc::clone(self), id, caller, Arc::clone(&outbox));
        Ok((connection, LiveOutbox(outbox)))
    }

    pub(crate) fn disconnect(&self, id: &Arc<str>) {
        self.connections.remove(id);
    }

    /// Ends every connection: the server stops.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        for outbox in self.outboxes() {
            outbox.shut();
        }
    }

    fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.connections.iter().filter_map(|entry| entry.value().upgrade()).collect()
    }

    /// Ends every subscription, and no connection: the store has failed.
    pub fn close_subscriptions(&self) {
        for subscription in self.subscriptions() {
            subscription.close(CloseReason::Internal);
            self.detach(&subscription);
        }
    }

    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.registry.all.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Ends a subscription by its name.
    ///
    /// # Errors
    /// [`ErrorCode::LiveQueryNotFound`]; [`ErrorCode::Forbidden`] for one of another user's.
    pub fn kill(&self, caller: &Identity, live_id: &str) -> Result<()> {
        let found = self.registry.all.get(live_id).map(|entry| Arc::clone(entry.value()));
        let Some(subscription) = found else {
            return Err(Error::new(ErrorCode::LiveQueryNotFound, "there is no live query of that id"));
        };
        if caller.role < Role::Dba && subscription.user != caller.user_id {
            return Err(Error::new(ErrorCode::Forbidden, "the caller's role may not do this"));
        }
        subscription.close(CloseReason::Killed);
        self.detach(&subscription);
        Ok(())
    }

    /// Tells the actor of a subscription that has ended.
    pub(crate) fn detach(&self, subscription: &Subscription) {
        let Some(user) = &subscription.query.partition.user else { return };
        if let Some(actor) = self.index.actors.get(user) {
            actor.cast(QueryMsg::Detach { table: subscription.query.partition.table });
        }
    }

    /// The counters.
    #[must_use]
    pub fn overview(&self) -> LiveOverview {
        LiveOverview {
            connections: self.connections.len() as u64,
            subscriptions: self.registry.all.len() as u64,
            delivered: self.delivered.changes.load(Ordering::Relaxed),
            replays: self.replays.load(Ordering::Relaxed),
            slow_consumers: self.delivered.slow_consumers.load(Ordering::Relaxed),
        }
    }

    /// What it has cost.
    #[must_use]
    pub fn work(&self) -> LiveWork {
        self.evaluator.work()
    }

    /// Every subscription.
    #[must_use]
    pub fn rows(&self) -> Vec<LiveRow> {
        let mut rows: Vec<LiveRow> = self.subscriptions().iter().map(|subscription| row(subscription)).collect();
        rows.sort_by(|one, other| one.live_id.cmp(&other.live_id));
        rows
    }

    /// Whether somebody is subscribed as this user.
    #[must_use]
    pub fn has_subscriptions_of(&self, user: &UserId) -> bool {
        self.registry.count_of(user) > 0
    }

    /// At most `limit` actors, and how many there are.
    #[must_use]
    pub fn nodes(&self, limit: usize) -> (Vec<ActorNode>, u64) {
        let mut actors: Vec<(UserId, Arc<ActorHandle>)> =
            self.index.actors.iter().map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect();
        let total = actors.len() as u64;
        actors.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        actors.truncate(limit);
        (actors.into_iter().map(|(user, actor)| actor.node(&user)).collect(), total)
    }

    /// The address of a user's actor, for tests.
    #[must_use]
    pub fn actor_of(&self, user: &UserId) -> Option<ActorRef<Mail<QueryMsg>>> {
        self.index.actors.get(user).map(|entry| entry.actor.clone())
    }
}

fn row(subscription: &Subscription) -> LiveRow {
    let options = &subscription.request.options;
    let given = [("last_rows", options.last_rows), ("from_seq", options.from_seq), ("batch_size", options.batch_size)];
    let given: serde_json::Map<String, serde_json::Value> =
        given.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value.into()))).collect();
    let last_update_at = subscription.last_update_at.load(Ordering::Relaxed);
    LiveRow {
        live_id: subscription.live_id.to_string(),
        connection_id: subscription.connection.to_string(),
        query_id: subscription.request.query_id.clone(),
        user_id: subscription.user.clone(),
        namespace: subscription.query.table.namespace.to_string(),
        table: subscription.query.table.table.to_string(),
        query: subscription.query.sql.to_string(),
        options: serde_json::Value::Object(given).to_string(),
        changes: subscription.changes.load(Ordering::Relaxed),
        created_at: subscription.created_at,
        last_update_at: (last_update_at > 0).then_some(last_update_at),
    }
}
