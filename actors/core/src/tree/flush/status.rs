//! What is known of each table's flushes, for whoever asks: kept up by the coordinator, its actors and their tasks, and
//! outliving all of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kalamdb_commons::TableId;
use kalamdb_store::codec::meta::FlushSchedule;
use kalamdb_wire::ActorNode;
use parking_lot::Mutex;
use ractor::ActorRef;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use super::NEVER_DUE;
use super::job::{Outcome, Report};
use super::table::TableMsg;
use crate::tree::faults::Faults;
use crate::tree::gauges::{Gauges, Mail};

/// Where a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FlushPhase {
    #[default]
    Idle,
    Queued,
    Running,
    Retrying,
}

impl FlushPhase {
    /// As the status page has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
        }
    }
}

/// What is known of one table's flushes. Times are microseconds since the epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableFlushes {
    pub(crate) phase: FlushPhase,
    pub(crate) last_flush_at: Option<i64>,
    pub(crate) next_flush_at: Option<i64>,
    pub(crate) last_job_id: Option<String>,
    pub(crate) last_error: Option<String>,
    /// Flushes that failed since the last that did not.
    failures: u32,
    /// Tasks that are at a flush of it: more than one where an actor was lost over an earlier one.
    tasks: usize,
}

#[derive(Debug)]
struct Seat {
    gauges: Arc<Gauges>,
    actor: Option<ActorRef<Mail<TableMsg>>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FlushStatus {
    tables: Mutex<HashMap<TableId, TableFlushes>>,
    seats: Mutex<BTreeMap<TableId, Seat>>,
    queue_depth: AtomicUsize,
    schedules: AsyncMutex<()>,
}

/// See [`FlushStatus::runs`].
#[derive(Debug)]
pub(super) struct Runs {
    status: Arc<FlushStatus>,
    table: TableId,
}

impl Drop for Runs {
    fn drop(&mut self) {
        // Not of a table that was forgotten meanwhile.
        if let Some(flushes) = self.status.tables.lock().get_mut(&self.table) {
            flushes.tasks = flushes.tasks.saturating_sub(1);
            if flushes.tasks == 0 && flushes.phase == FlushPhase::Running {
                flushes.phase = FlushPhase::Idle;
            }
        }
    }
}

impl FlushStatus {
    fn change(&self, table: TableId, change: impl FnOnce(&mut TableFlushes)) {
        change(self.tables.lock().entry(table).or_default());
    }

    /// What a start found in the backend.
    pub(super) fn known(&self, stored: &HashMap<TableId, FlushSchedule>) {
        for (table, schedule) in stored {
            self.change(*table, |flushes| {
                flushes.last_flush_at = schedule.last_flush_at;
            });
        }
    }

    pub(super) fn retain(&self, mut is_there: impl FnMut(TableId) -> bool) {
        self.tables.lock().retain(|table, _| is_there(*table));
        self.seats.lock().retain(|table, _| is_there(*table));
    }

    pub(super) fn queued(&self, table: TableId) {
        self.change(table, |flushes| {
            if flushes.phase != FlushPhase::Running {
                flushes.phase = FlushPhase::Queued;
            }
        });
    }

    pub(super) fn set_next(&self, table: TableId, next: Option<i64>) {
        self.change(table, |flushes| flushes.next_flush_at = next);
    }

    /// What a coordinator that was lost said of its line is no more; flushes that run go on.
    pub(super) fn begin_anew(&self) {
        for flushes in self.tables.lock().values_mut() {
            flushes.phase = if flushes.tasks > 0 { FlushPhase::Running } else { FlushPhase::Idle };
        }
        self.set_queue_depth(0);
    }

    /// Says that somebody is at a flush, for as long as the answer is kept: also where no coordinator hears of its end.
    pub(super) fn runs(self: &Arc<Self>, table: TableId) -> Runs {
        self.change(table, |flushes| {
            flushes.tasks += 1;
            flushes.phase = FlushPhase::Running;
        });
        Runs { status: Arc::clone(self), table }
    }

    /// Held by whoever writes schedules into the store, while it does: what is written is then as new as what is known.
    pub(super) async fn schedules(&self) -> AsyncMutexGuard<'_, ()> {
        self.schedules.lock().await
    }

    /// A table's schedule as it is to be stored.
    pub(super) fn schedule_of(&self, table: TableId) -> FlushSchedule {
        let flushes = self.of(table);
        FlushSchedule { due_at: flushes.next_flush_at.unwrap_or(NEVER_DUE), last_flush_at: flushes.last_flush_at }
    }

    /// Jobs that somebody is at.
    pub(super) fn running_jobs(&self) -> HashSet<String> {
        let tables = self.tables.lock();
        let running = tables.values().filter(|flushes| flushes.tasks > 0);
        running.filter_map(|flushes| flushes.last_job_id.clone()).collect()
    }

    /// The table's rows of a while ago are in segments since then.
    pub(super) fn flushed(&self, table: TableId, at: Option<i64>) {
        self.change(table, |flushes| flushes.last_flush_at = at);
    }

    pub(super) fn running(&self, table: TableId) {
        self.change(table, |flushes| flushes.phase = FlushPhase::Running);
    }

    pub(super) fn has_job(&self, table: TableId, job_id: &str) {
        self.change(table, |flushes| flushes.last_job_id = Some(job_id.to_owned()));
    }

    pub(super) fn ended(&self, table: TableId, report: &Report, next_due: Option<i64>, retrying: bool) {
        self.change(table, |flushes| {
            flushes.phase = if retrying { FlushPhase::Retrying } else { FlushPhase::Idle };
            flushes.next_flush_at = next_due;
            match &report.outcome {
                Outcome::Flushed { .. } | Outcome::Empty => (flushes.last_error, flushes.failures) = (None, 0),
                Outcome::Failed { error, .. } => {
                    flushes.last_error = Some(error.message.clone());
                    flushes.failures = flushes.failures.saturating_add(1);
                }
            }
        });
    }

    /// Tries that have failed in a row.
    pub(super) fn attempts(&self, table: TableId) -> u32 {
        self.tables.lock().get(&table).map_or(0, |flushes| flushes.failures)
    }

    pub(super) fn set_queue_depth(&self, depth: usize) {
        self.queue_depth.store(depth, Ordering::Relaxed);
    }

    /// Flushes that wait for their turn.
    pub(crate) fn queue_depth(&self) -> usize {
        self.queue_depth.load(Ordering::Relaxed)
    }

    /// Those of a table; the default where it has not been flushed.
    pub(crate) fn of(&self, table: TableId) -> TableFlushes {
        self.tables.lock().get(&table).cloned().unwrap_or_default()
    }

    /// The counters of the place in the tree that a table's actor has.
    pub(super) fn gauges(&self, table: TableId, faults: &Faults) -> Arc<Gauges> {
        let mut seats = self.seats.lock();
        let seat = seats
            .entry(table)
            .or_insert_with(|| Seat { gauges: Gauges::new("FlushActor", faults.clone()), actor: None });
        Arc::clone(&seat.gauges)
    }

    pub(super) fn started(&self, table: TableId, actor: ActorRef<Mail<TableMsg>>) {
        if let Some(seat) = self.seats.lock().get_mut(&table) {
            seat.actor = Some(actor);
        }
    }

    /// At most `limit` actors, by name, and how many there are.
    pub(in crate::tree) fn nodes(
        &self,
        limit: usize,
        name_of: impl Fn(TableId) -> Option<String>,
    ) -> (Vec<ActorNode>, u64) {
        let seats = self.seats.lock();
        let node = |(table, seat): (&TableId, &Seat)| {
            let name = name_of(*table)?;
            Some(seat.gauges.node(format!("flush/{name}"), seat.actor.as_ref().map(|actor| actor.get_status())))
        };
        (seats.iter().filter_map(node).take(limit).collect(), seats.len() as u64)
    }
}
