//! `Housekeeper`: timers. Each tick does its work and then arms the next, so none ever pile up.
//!
//! One of them looks after the store: after a failed write or sync it is opened again, in a task of its own
//! that no restart of this actor doubles, and tried again with growing delays until it succeeds: a full
//! disk needs no operator but the one who makes room.
//!
//! Restart: its ticks are armed anew. Shutdown: first of all actors; it leaves nothing undone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_commons::settings::{JobsSettings, SessionSettings};
use kalamdb_commons::{Result, TableType};
use kalamdb_store::{LogBounds, PartitionId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::OwnedMutexGuard;

use super::catalog::CatalogClient;
use super::gauges::{Gauges, Mail, Named};
use super::sessions::SessionsClient;
use crate::engine::{Runtime, now_micros};
use crate::flush::{Sweeper, forget_old_jobs};
use crate::task::spawn_on;

/// What gets old is looked for so often at the least; more often where its setting is short.
const SLOWEST_CHECK: Duration = Duration::from_secs(60);
const FASTEST_CHECK: Duration = Duration::from_secs(1);
const FASTEST_IDLE_CHECK: Duration = Duration::from_millis(100);
/// Where `jobs.max_rows` is less than this, jobs are looked for more often in proportion.
const MANY_JOBS: u32 = 100_000;

/// How often files are looked for that can be deleted.
const SWEEP: Duration = Duration::from_secs(1);
/// How often change logs are shortened, and how many partitions are looked at each time.
const TRIM_LOGS: Duration = Duration::from_secs(1);
const TRIM_PARTITIONS: usize = 2000;
/// How long rows of stream tables that nobody sees any more may take memory.
const EXPIRE: Duration = Duration::from_millis(250);

/// How often the store is looked at.
const STORE_CHECK: Duration = Duration::from_millis(200);
/// How long a failed one is left alone after a try; twice as long after each that fails.
const FIRST_REOPEN_DELAY: Duration = Duration::from_millis(200);
const LONGEST_REOPEN_DELAY: Duration = Duration::from_secs(5);
/// One that was well for so long has no history.
const STORE_IS_WELL: Duration = Duration::from_secs(30);

/// What the actor is started with.
#[derive(Debug)]
pub(super) struct HousekeeperArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) catalog: CatalogClient,
    pub(super) sessions: SessionsClient,
    pub(super) gauges: Arc<Gauges>,
}

/// What it keeps.
#[derive(Debug)]
pub(super) struct HousekeeperState {
    args: HousekeeperArgs,
    /// How long after a try the next may come.
    reopen_delay: Duration,
    last_try: Option<Instant>,
    /// Held by the one task that deletes files, and by the one that deletes jobs.
    sweeping: Arc<tokio::sync::Mutex<Sweeper>>,
    forgetting: Arc<tokio::sync::Mutex<()>>,
    /// Where the round over all change logs has got to.
    trimming: Arc<tokio::sync::Mutex<Option<PartitionId>>>,
    expiring: Arc<tokio::sync::Mutex<()>>,
}

/// Its ticks.
#[derive(Debug)]
pub(super) enum HousekeeperMsg {
    /// Open the store again if it has failed.
    CheckStore,
    /// Log the backend's size.
    LogSize,
    /// Retire idle sessions.
    RetireIdle,
    /// Delete files that nobody needs.
    Sweep,
    /// Forget old jobs.
    ForgetJobs,
    /// Shorten change logs.
    TrimLogs,
    /// Take old rows out of stream tables.
    Expire,
}

impl Named for HousekeeperMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::CheckStore => "CheckStore",
            Self::LogSize => "LogSize",
            Self::RetireIdle => "RetireIdle",
            Self::Sweep => "Sweep",
            Self::ForgetJobs => "ForgetJobs",
            Self::TrimLogs => "TrimLogs",
            Self::Expire => "Expire",
        }
    }
}

impl HousekeeperState {
    /// In a task: a directory that does not answer must not keep this actor from its other duties.
    fn log_size(&self) {
        let store = self.args.runtime.store();
        drop(spawn_on(self.args.runtime.statements(), "log size", async move {
            match store.backend.size_on_disk().await {
                Ok(bytes) => tracing::info!(bytes, "storage backend size on disk"),
                Err(error) => tracing::warn!(%error, "the storage backend's size cannot be told"),
            }
        }));
    }

    fn check_store(&mut self, now: Instant) {
        let since_try = self.last_try.map(|at| now.duration_since(at));
        if self.args.runtime.store().has_failed() {
            // Nothing of what is published is certain any more: clients come back to what the store then holds.
            if let Some(live) = self.args.runtime.live_hub() {
                live.close_subscriptions();
            }
        } else {
            if since_try.is_some_and(|since| since > STORE_IS_WELL) {
                (self.reopen_delay, self.last_try) = (FIRST_REOPEN_DELAY, None);
            }
            return;
        }
        if since_try.is_some_and(|since| since < self.reopen_delay) {
            return;
        }
        if since_try.is_some() {
            self.reopen_delay = (self.reopen_delay * 2).min(LONGEST_REOPEN_DELAY);
        }
        self.last_try = Some(now);
        let runtime = &self.args.runtime;
        let (runtime, catalog) = (Arc::clone(runtime), self.args.catalog.clone());
        let threads = runtime.statements().clone();
        drop(spawn_on(&threads, "reopen", async move {
            match runtime.recover_store(|store| async move { catalog.adopt(store).await }).await {
                Err(error) => {
                    let error = error.detail.as_deref().unwrap_or(&error.message);
                    tracing::error!(error, "the storage backend cannot be opened again yet");
                }
                Ok(()) if runtime.store().has_failed() => {}
                Ok(()) => tracing::warn!("the storage backend was opened again; writes go on"),
            }
        }));
    }

    /// In a task, one at a time: a storage that does not answer must not keep this actor from its other duties.
    fn tidy<T: Send + 'static, F>(
        &self,
        turns: &Arc<tokio::sync::Mutex<T>>,
        name: &'static str,
        work: impl FnOnce(Arc<Runtime>, OwnedMutexGuard<T>) -> F,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let Ok(turn) = Arc::clone(turns).try_lock_owned() else { return };
        let runtime = &self.args.runtime;
        let work = work(Arc::clone(runtime), turn);
        drop(spawn_on(runtime.statements(), name, async move {
            if let Err(error) = work.await {
                let error = error.detail.as_deref().unwrap_or(&error.message);
                tracing::warn!(task = name, error, "housekeeping failed; it is tried again");
            }
        }));
    }

    fn arm(&self, myself: &ActorRef<Mail<HousekeeperMsg>>, tick: HousekeeperMsg) {
        let delay = match tick {
            HousekeeperMsg::CheckStore => STORE_CHECK,
            HousekeeperMsg::LogSize => self.args.runtime.settings().storage.size_log_interval,
            HousekeeperMsg::RetireIdle => idle_check_interval(&self.args.runtime.settings().session),
            HousekeeperMsg::Sweep => SWEEP,
            HousekeeperMsg::ForgetJobs => job_check_interval(&self.args.runtime.settings().jobs),
            HousekeeperMsg::TrimLogs => TRIM_LOGS,
            HousekeeperMsg::Expire => EXPIRE,
        };
        self.arm_in(delay, myself, tick);
    }

    fn arm_in(&self, delay: Duration, myself: &ActorRef<Mail<HousekeeperMsg>>, tick: HousekeeperMsg) {
        let gauges = Arc::clone(&self.args.gauges);
        // It ends by itself when the actor is gone.
        drop(myself.send_after(delay, move || Mail::new(&gauges, tick)));
    }
}

/// How often idle sessions and old registrations are looked for.
fn idle_check_interval(settings: &SessionSettings) -> Duration {
    let of_sessions = (settings.idle_timeout / 4).clamp(FASTEST_IDLE_CHECK, SLOWEST_CHECK);
    let of_registrations = (settings.registration_ttl / 4).clamp(FASTEST_CHECK, SLOWEST_CHECK);
    of_sessions.min(of_registrations)
}

/// How often jobs are looked for that can be forgotten.
fn job_check_interval(settings: &JobsSettings) -> Duration {
    let most = u32::try_from(settings.max_rows).unwrap_or(u32::MAX).min(MANY_JOBS);
    (settings.retention / 4).min(SLOWEST_CHECK * most / MANY_JOBS).clamp(FASTEST_CHECK, SLOWEST_CHECK)
}

/// Takes out what is old in stream tables.
async fn expire(runtime: &Runtime) -> Result<()> {
    let catalog = runtime.catalog();
    let bounds = |table| catalog.table_of(table)?.stream_bounds(runtime.settings());
    runtime.store().committer_of(TableType::Stream).expire(now_micros(), bounds).await
}

/// Shortens the change logs that are too long, and those whose turn it is.
async fn trim_logs(runtime: Arc<Runtime>, mut place: OwnedMutexGuard<Option<PartitionId>>) -> Result<()> {
    let live = &runtime.settings().live;
    let kept = i64::try_from(live.resume_retention.as_micros()).unwrap_or(i64::MAX);
    let bounds = LogBounds { since: now_micros().saturating_sub(kept), bytes: live.resume_bytes };
    let store = runtime.store();
    if store.has_failed() {
        return Ok(());
    }
    store.committer.trim_overfull_logs(bounds).await?;
    store.committer_of(TableType::Stream).trim_overfull_logs(bounds).await?;
    *place = store.committer.trim_logs(place.take(), TRIM_PARTITIONS, bounds).await?;
    Ok(())
}

/// See the module.
#[derive(Debug)]
pub(super) struct Housekeeper;

impl Actor for Housekeeper {
    type Msg = Mail<HousekeeperMsg>;
    type State = HousekeeperState;
    type Arguments = HousekeeperArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<HousekeeperMsg>>,
        args: HousekeeperArgs,
    ) -> Result<HousekeeperState, ActorProcessingErr> {
        args.gauges.starting(&myself).await?;
        let state = HousekeeperState {
            args,
            reopen_delay: FIRST_REOPEN_DELAY,
            last_try: None,
            sweeping: Arc::default(),
            forgetting: Arc::default(),
            trimming: Arc::default(),
            expiring: Arc::default(),
        };
        for tick in [
            HousekeeperMsg::CheckStore,
            HousekeeperMsg::LogSize,
            HousekeeperMsg::RetireIdle,
            HousekeeperMsg::ForgetJobs,
            HousekeeperMsg::TrimLogs,
            HousekeeperMsg::Expire,
        ] {
            state.arm(&myself, tick);
        }
        // What a crash has left of flushes goes first of all: its room may be wanted.
        state.arm_in(Duration::ZERO, &myself, HousekeeperMsg::Sweep);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<HousekeeperMsg>>,
        mail: Mail<HousekeeperMsg>,
        state: &mut HousekeeperState,
    ) -> Result<(), ActorProcessingErr> {
        let message = mail.open(&myself).await?;
        match message {
            HousekeeperMsg::CheckStore => state.check_store(Instant::now()),
            HousekeeperMsg::LogSize => state.log_size(),
            HousekeeperMsg::RetireIdle => state.args.sessions.retire_idle(),
            HousekeeperMsg::Sweep => {
                let work =
                    |runtime, mut sweeper: OwnedMutexGuard<Sweeper>| async move { sweeper.sweep(&runtime).await };
                state.tidy(&state.sweeping, "sweep", work);
            }
            HousekeeperMsg::ForgetJobs => {
                let work = |runtime, turn: OwnedMutexGuard<()>| async move {
                    let result = forget_old_jobs(&runtime).await;
                    drop(turn);
                    result
                };
                state.tidy(&state.forgetting, "forget jobs", work);
            }
            HousekeeperMsg::Expire => {
                let work = |runtime: Arc<Runtime>, turn: OwnedMutexGuard<()>| async move {
                    let result = expire(&runtime).await;
                    drop(turn);
                    result
                };
                state.tidy(&state.expiring, "expire", work);
            }
            HousekeeperMsg::TrimLogs => {
                let work = |runtime, place: OwnedMutexGuard<Option<PartitionId>>| trim_logs(runtime, place);
                state.tidy(&state.trimming, "shorten change logs", work);
            }
        }
        state.arm(&myself, message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_shortly_is_looked_for_often() {
        let seconds = Duration::from_secs;
        let idle = |idle_timeout, registration_ttl| {
            idle_check_interval(&SessionSettings { idle_timeout, registration_ttl, ..SessionSettings::default() })
        };
        assert_eq!(idle(seconds(1800), seconds(600)), seconds(60));
        assert_eq!(idle(seconds(1800), seconds(20)), seconds(5));
        assert_eq!(idle(seconds(1800), seconds(2)), seconds(1));
        assert_eq!(idle(seconds(8), seconds(600)), seconds(2));
        assert_eq!(idle(Duration::ZERO, Duration::ZERO), Duration::from_millis(100));
        let jobs = |retention, max_rows| job_check_interval(&JobsSettings { retention, max_rows });
        assert_eq!(jobs(seconds(30 * 86_400), 100_000), seconds(60));
        assert_eq!(jobs(seconds(30 * 86_400), u64::MAX), seconds(60));
        assert_eq!(jobs(seconds(30 * 86_400), 10_000), seconds(6));
        assert_eq!(jobs(seconds(30 * 86_400), 3), seconds(1));
        assert_eq!(jobs(seconds(5), 100_000), Duration::from_millis(1250));
        assert_eq!(jobs(seconds(1), 100_000), seconds(1));
    }
}
