//! `FlushCoordinator`: decides which table is flushed when, and how many at once. The tables that are longest due come
//! first, and take turns with commands; a command waits behind the flush of its table that runs. The flush itself is the `FlushActor`'s, one for
//! each table that was flushed since the start.
//!
//! What it decides by is pure ([`plan`]); rows never pass through here. Its mailbox holds ticks, at most one notice for each
//! threshold that was crossed, and one message for each FLUSH that admission has let in.
//!
//! Restart: it takes the due times from the backend and asks for everything that is due; a flush that runs ends by itself,
//! and commits nothing once the next one of its table has begun. Shutdown: after the last flush, before the sessions.

mod client;
mod job;
mod plan;
mod queue;
mod status;
mod table;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kalamdb_commons::{Error, Result, TableId, TableType};
use kalamdb_store::codec::catalog::JobTrigger;
use kalamdb_store::codec::meta::FlushSchedule;
use kalamdb_store::{Batch, schedule};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;

use super::faults::Faults;
use super::gauges::{Mail, Named, cause};
use super::slot::Slot;
use crate::catalog::{CatalogSnapshot, TableEntry};
use crate::engine::{Runtime, Store, now_micros};
use crate::task::spawn_on;

pub(crate) use client::FlushClient;
pub(crate) use job::{Outcome, Report};
use plan::{Backoff, Plan, Policy};
use queue::{Queue, Queued};
pub(crate) use status::{FlushPhase, FlushStatus};
use table::{FlushActor, FlushActorArgs, FlushTask, TableMsg};

/// The longest and the shortest time between two looks.
const SLOWEST_TICK: Duration = Duration::from_secs(1);
const FASTEST_TICK: Duration = Duration::from_millis(20);
/// The longest time before a failed flush is tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// The due time of a table without an interval, as it is stored.
const NEVER_DUE: i64 = i64::MAX;

/// What the actor is started with.
#[derive(Debug)]
pub(super) struct FlushArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) slot: Arc<Slot<FlushMsg>>,
    pub(super) status: Arc<FlushStatus>,
    pub(super) faults: Faults,
}

/// What it is asked.
#[derive(Debug)]
pub(super) enum FlushMsg {
    /// Flush a table, and say what came of it.
    Flush {
        /// Which.
        table: TableId,
        /// Why.
        trigger: JobTrigger,
        /// When it has ended.
        reply: RpcReplyPort<Report>,
    },
    /// A table's buffered rows have come up to its threshold.
    Crossed {
        /// Which.
        table: TableId,
    },
    /// What it tells itself, and its actors tell it.
    Own(Own),
}

/// Not for others.
#[derive(Debug)]
pub(super) enum Own {
    /// Look at what is due.
    Tick,
    /// A flush has ended.
    Ended {
        /// Whose.
        table: TableId,
        /// What came of it.
        report: Report,
    },
}

impl Named for FlushMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Flush { .. } => "Flush",
            Self::Crossed { .. } => "Crossed",
            Self::Own(Own::Tick) => "Tick",
            Self::Own(Own::Ended { .. }) => "Ended",
        }
    }
}

/// What it keeps.
#[derive(Debug)]
pub(super) struct FlushState {
    args: FlushArgs,
    plan: Plan,
    queue: Queue,
    running: HashSet<TableId>,
    actors: HashMap<TableId, ActorRef<Mail<TableMsg>>>,
    /// The catalog that the plan was made by, and the store whose thresholds were set.
    catalog: Option<Arc<CatalogSnapshot>>,
    store: Option<Arc<Store>>,
}

impl FlushState {
    /// Brings plan and thresholds in line with catalog and store. `stored` are due times of before a restart.
    fn follow_catalog(&mut self, stored: &HashMap<TableId, FlushSchedule>, now: Instant) {
        let runtime = Arc::clone(&self.args.runtime);
        let (catalog, store) = (runtime.catalog(), runtime.store());
        let same_store = self.store.as_ref().is_some_and(|known| Arc::ptr_eq(known, &store));
        if same_store && self.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalog)) {
            return;
        }
        if !same_store {
            let slot = Arc::downgrade(&self.args.slot);
            store.committer.on_row_threshold(move |table| {
                if let Some(slot) = slot.upgrade() {
                    slot.cast(FlushMsg::Crossed { table });
                }
            });
        }
        let mut present = HashSet::new();
        let (mut full, mut changed) = (Vec::new(), Vec::new());
        for entry in catalog.tables.values().filter(|entry| entry.table_type() != TableType::Stream) {
            let policy = self.policy_of(entry);
            let stored = stored.get(&entry.id()).filter(|stored| stored.due_at != NEVER_DUE);
            let due = stored.filter(|_| policy.interval.is_some()).map(|stored| {
                let left = u64::try_from(stored.due_at.saturating_sub(now_micros())).unwrap_or(0);
                now + Duration::from_micros(left)
            });
            let before = self.plan.due(entry.id());
            self.plan.set(entry.id(), policy, due, now);
            let next = self.due_at(entry.id());
            self.args.status.set_next(entry.id(), next);
            if self.plan.due(entry.id()) != before && due.is_none() {
                // So that a start knows when it was due, also before its first flush.
                changed.push(entry.id());
            }
            // Full already: there will be no notice.
            let is_full = store.committer.set_row_threshold(entry.id(), Some(policy.rows));
            // One that is being retried waits for that, whatever else changes.
            if is_full && !(same_store && self.plan.is_retrying(entry.id())) {
                full.push(entry.id());
            }
            present.insert(entry.id());
        }
        for table in full.into_iter().filter(|table| !self.running.contains(table)).collect::<Vec<_>>() {
            self.enqueue(table, JobTrigger::Rows, None);
        }
        self.store_schedules(&store, changed, same_store || self.store.is_none());
        self.plan.retain(|table| present.contains(&table));
        self.args.status.retain(|table| present.contains(&table));
        for (table, actor) in &self.actors {
            if !present.contains(table) && !self.running.contains(table) {
                actor.stop(None);
            }
        }
        self.catalog = Some(catalog);
        self.store = Some(store);
    }

    /// In a task: nobody waits for it, and what is lost is an interval at most.
    fn store_schedules(&self, store: &Arc<Store>, changed: Vec<TableId>, known_store: bool) {
        let (store, status) = (Arc::clone(store), Arc::clone(&self.args.status));
        let runtime = Arc::clone(&self.args.runtime);
        drop(spawn_on(self.args.runtime.statements(), "flush schedules", async move {
            let work = async {
                if !known_store {
                    // Jobs that the store took with it when it failed.
                    job::end_unfinished(&store, &status.running_jobs()).await?;
                }
                if changed.is_empty() {
                    return Ok(());
                }
                let _turn = status.schedules().await;
                let mut batch = Batch::new();
                let catalog = runtime.catalog();
                for table in changed.into_iter().filter(|table| catalog.table_of(*table).is_some()) {
                    schedule::put(&mut batch, table, &status.schedule_of(table));
                }
                store.committer.write_synced(batch).await
            };
            if let Err(error) = work.await {
                tracing::warn!(%error, "when tables are due to be flushed cannot be written down");
            }
        }));
    }

    fn policy_of(&self, entry: &TableEntry) -> Policy {
        let (options, defaults) = (&entry.definition.options, &self.args.runtime.settings().flush);
        Policy {
            interval: options.flush_interval.unwrap_or(Some(defaults.default_interval)),
            rows: options.flush_rows.unwrap_or(defaults.default_rows),
        }
    }

    fn enqueue(&mut self, table: TableId, trigger: JobTrigger, reply: Option<RpcReplyPort<Report>>) {
        self.queue.push(Queued { table, trigger, reply });
        self.args.status.queued(table);
    }

    fn buffered_rows(&self, table: TableId) -> u64 {
        self.args.runtime.store().committer.totals(table).buffered_rows
    }

    fn look(&mut self, now: Instant) {
        self.follow_catalog(&HashMap::new(), now);
        for (table, _) in self.plan.take_due(now) {
            self.args.status.set_next(table, self.due_at(table));
            // One that finds nothing writes no job.
            if self.buffered_rows(table) > 0 && !self.running.contains(&table) {
                self.enqueue(table, JobTrigger::Schedule, None);
            }
        }
    }

    /// Starts what may run: `flush.workers` tables at once, each of them once.
    async fn start_next(&mut self, myself: &ActorRef<Mail<FlushMsg>>) -> Result<(), ActorProcessingErr> {
        while self.running.len() < self.args.runtime.settings().flush.workers {
            let may = |table| !self.running.contains(&table);
            let Some(Queued { table, trigger, reply }) = self.queue.take(may) else { break };
            let actor = match self.actors.get(&table) {
                Some(actor) => actor.clone(),
                None => self.spawn(myself, table).await?,
            };
            let task = FlushTask { trigger, reply };
            self.running.insert(table);
            self.args.status.running(table);
            let gauges = self.args.status.gauges(table, &self.args.faults);
            if actor.send_message(Mail::new(&gauges, TableMsg::Run { task: Box::new(task) })).is_err() {
                // It is going down: its end is heard of, and the table is due again.
                self.running.remove(&table);
                self.actors.remove(&table);
                self.enqueue(table, trigger, None);
                break;
            }
        }
        self.args.status.set_queue_depth(self.queue.len());
        Ok(())
    }

    async fn spawn(
        &mut self,
        myself: &ActorRef<Mail<FlushMsg>>,
        table: TableId,
    ) -> Result<ActorRef<Mail<TableMsg>>, ActorProcessingErr> {
        let args = FlushActorArgs {
            runtime: Arc::clone(&self.args.runtime),
            coordinator: Arc::clone(&self.args.slot),
            status: Arc::clone(&self.args.status),
            gauges: self.args.status.gauges(table, &self.args.faults),
            table,
        };
        let (actor, _) = Actor::spawn_linked(None, FlushActor, args, myself.get_cell()).await?;
        self.args.status.started(table, actor.clone());
        self.actors.insert(table, actor.clone());
        Ok(actor)
    }

    /// The next due time as it is stored, in microseconds since the epoch; none for a table without an interval.
    fn due_at(&self, table: TableId) -> Option<i64> {
        let left = self.plan.due(table)?.saturating_duration_since(Instant::now());
        Some(now_micros().saturating_add(i64::try_from(left.as_micros()).unwrap_or(i64::MAX)))
    }

    fn ended(&mut self, table: TableId, report: &Report) {
        self.running.remove(&table);
        let first = self.args.runtime.settings().flush.retry_backoff;
        let backoff = Backoff { first, longest: LONGEST_BACKOFF.max(first) };
        // One that failed at its very end may have left nothing to be tried again.
        let failed = report.failed().is_some() && self.buffered_rows(table) > 0;
        self.plan.ended(table, failed, backoff, Instant::now());
        let next_due = self.due_at(table);
        self.args.status.ended(table, report, next_due, self.plan.is_retrying(table));
        // What was written meanwhile may have come up to the threshold again, and is not told twice.
        if self.queue.holds(table) {
            self.args.status.queued(table);
        }
        let is_full = self.plan.policy(table).is_some_and(|policy| self.buffered_rows(table) >= policy.rows);
        if !failed && is_full {
            self.enqueue(table, JobTrigger::Rows, None);
        }
    }

    fn arm(&self, myself: &ActorRef<Mail<FlushMsg>>) {
        let left = self.plan.next().map_or(SLOWEST_TICK, |next| next.saturating_duration_since(Instant::now()));
        let gauges = Arc::clone(self.args.slot.gauges());
        let tick = move || Mail::new(&gauges, FlushMsg::Own(Own::Tick));
        // It ends by itself when the actor is gone.
        drop(myself.send_after(left.clamp(FASTEST_TICK, SLOWEST_TICK), tick));
    }

    fn lost(&mut self, id: ActorId, why: &str) {
        let Some(table) = self.actors.iter().find(|(_, actor)| actor.get_id() == id).map(|(table, _)| *table) else {
            return;
        };
        self.actors.remove(&table);
        if self.running.contains(&table) {
            tracing::error!(%table, why, "the actor that flushes a table was lost; it is tried again");
            self.args.status.gauges(table, &self.args.faults).lost(why);
            self.ended(table, &Report::lost(Error::internal(why)));
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct FlushCoordinator;

impl Actor for FlushCoordinator {
    type Msg = Mail<FlushMsg>;
    type State = FlushState;
    type Arguments = FlushArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<FlushMsg>>,
        args: FlushArgs,
    ) -> Result<FlushState, ActorProcessingErr> {
        args.slot.gauges().starting(&myself).await?;
        let mut state = FlushState {
            args,
            plan: Plan::default(),
            queue: Queue::default(),
            running: HashSet::new(),
            actors: HashMap::new(),
            catalog: None,
            store: None,
        };
        let store = state.args.runtime.store();
        let mut stored = HashMap::new();
        if !store.has_failed() {
            job::end_unfinished(&store, &state.args.status.running_jobs()).await?;
            stored = schedule::all(store.backend.snapshot().await?.as_ref()).await?.into_iter().collect();
        }
        state.args.status.begin_anew();
        state.args.status.known(&stored);
        state.follow_catalog(&stored, Instant::now());
        state.arm(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<FlushMsg>>,
        mail: Mail<FlushMsg>,
        state: &mut FlushState,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            FlushMsg::Flush { table, trigger, reply } => {
                state.follow_catalog(&HashMap::new(), Instant::now());
                state.enqueue(table, trigger, Some(reply));
            }
            FlushMsg::Crossed { table } => {
                if !state.running.contains(&table) {
                    state.enqueue(table, JobTrigger::Rows, None);
                }
            }
            FlushMsg::Own(Own::Tick) => {
                state.look(Instant::now());
                state.arm(&myself);
            }
            FlushMsg::Own(Own::Ended { table, report }) => state.ended(table, &report),
        }
        state.start_next(&myself).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Mail<FlushMsg>>,
        event: SupervisionEvent,
        state: &mut FlushState,
    ) -> Result<(), ActorProcessingErr> {
        state.args.slot.gauges().hears(&myself).await?;
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                tracing::error!(%error, "an actor that flushes a table failed");
                state.lost(who.get_id(), &cause(&error));
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                state.lost(who.get_id(), reason.as_deref().unwrap_or("it ended"));
            }
            _ => return Ok(()),
        }
        state.start_next(&myself).await
    }
}
