//! `Housekeeper`: timers. Each tick does its work and then arms the next, so none ever pile up.
//!
//! One of them looks after the store: after a failed write or sync it is opened again, in a task of its own
//! that no restart of this actor doubles, and tried again with growing delays until it succeeds: a full
//! disk needs no operator but the one who makes room.
//!
//! Restart: its ticks are armed anew. Shutdown: first of all actors; it leaves nothing undone.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::catalog::CatalogClient;
use super::gauges::{Gauges, Mail, Named};
use super::sessions::SessionsClient;
use crate::engine::Runtime;
use crate::task::spawn_on;

/// Idle sessions are looked for so often at the least; more often where `session.idle_timeout` is short.
const SLOWEST_IDLE_CHECK: Duration = Duration::from_secs(60);
const FASTEST_IDLE_CHECK: Duration = Duration::from_millis(100);

/// How often the store is looked at, and how long a failed one is left alone at most.
const STORE_CHECK: Duration = Duration::from_millis(200);
const SLOWEST_STORE_CHECK: Duration = Duration::from_secs(5);

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
    /// When the store is looked at next.
    store_check: Duration,
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
}

impl Named for HousekeeperMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::CheckStore => "CheckStore",
            Self::LogSize => "LogSize",
            Self::RetireIdle => "RetireIdle",
        }
    }
}

impl HousekeeperState {
    async fn log_size(&self) {
        match self.args.runtime.store().backend.size_on_disk().await {
            Ok(bytes) => tracing::info!(bytes, "storage backend size on disk"),
            Err(error) => tracing::warn!(%error, "the storage backend's size cannot be told"),
        }
    }

    fn check_store(&mut self) {
        let runtime = &self.args.runtime;
        if !runtime.store().has_failed() {
            self.store_check = STORE_CHECK;
            return;
        }
        self.store_check = (self.store_check * 2).min(SLOWEST_STORE_CHECK);
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

    fn idle_check_interval(&self) -> Duration {
        (self.args.runtime.settings().session.idle_timeout / 4).clamp(FASTEST_IDLE_CHECK, SLOWEST_IDLE_CHECK)
    }

    fn arm(&self, myself: &ActorRef<Mail<HousekeeperMsg>>, tick: HousekeeperMsg) {
        let delay = match tick {
            HousekeeperMsg::CheckStore => self.store_check,
            HousekeeperMsg::LogSize => self.args.runtime.settings().storage.size_log_interval,
            HousekeeperMsg::RetireIdle => self.idle_check_interval(),
        };
        let gauges = Arc::clone(&self.args.gauges);
        // It ends by itself when the actor is gone.
        drop(myself.send_after(delay, move || Mail::new(&gauges, tick)));
    }
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
        let state = HousekeeperState { args, store_check: STORE_CHECK };
        for tick in [HousekeeperMsg::CheckStore, HousekeeperMsg::LogSize, HousekeeperMsg::RetireIdle] {
            state.arm(&myself, tick);
        }
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
            HousekeeperMsg::CheckStore => state.check_store(),
            HousekeeperMsg::LogSize => state.log_size().await,
            HousekeeperMsg::RetireIdle => state.args.sessions.retire_idle(),
        }
        state.arm(&myself, message);
        Ok(())
    }
}
