//! `Housekeeper`: timers. Each tick does its work and then arms the next, so none ever pile up.
//!
//! Restart: its ticks are armed anew. Shutdown: first of all actors; it leaves nothing undone.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::gauges::{Gauges, Mail, Named};
use super::sessions::SessionsClient;
use crate::engine::Runtime;

/// Idle sessions are looked for so often at the least; more often where `session.idle_timeout` is short.
const SLOWEST_IDLE_CHECK: Duration = Duration::from_secs(60);
const FASTEST_IDLE_CHECK: Duration = Duration::from_millis(100);

/// What the actor is started with, and keeps.
#[derive(Debug)]
pub(super) struct HousekeeperArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) sessions: SessionsClient,
    pub(super) gauges: Arc<Gauges>,
}

/// Its ticks.
#[derive(Debug)]
pub(super) enum HousekeeperMsg {
    /// Log the backend's size.
    LogSize,
    /// Retire idle sessions.
    RetireIdle,
}

impl Named for HousekeeperMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::LogSize => "LogSize",
            Self::RetireIdle => "RetireIdle",
        }
    }
}

impl HousekeeperArgs {
    async fn log_size(&self) {
        match self.runtime.backend().size_on_disk().await {
            Ok(bytes) => tracing::info!(bytes, "storage backend size on disk"),
            Err(error) => tracing::warn!(%error, "the storage backend's size cannot be told"),
        }
    }

    fn idle_check_interval(&self) -> Duration {
        (self.runtime.settings().session.idle_timeout / 4).clamp(FASTEST_IDLE_CHECK, SLOWEST_IDLE_CHECK)
    }

    fn arm(&self, myself: &ActorRef<Mail<HousekeeperMsg>>, tick: HousekeeperMsg) {
        let delay = match tick {
            HousekeeperMsg::LogSize => self.runtime.settings().storage.size_log_interval,
            HousekeeperMsg::RetireIdle => self.idle_check_interval(),
        };
        let gauges = Arc::clone(&self.gauges);
        // It ends by itself when the actor is gone.
        drop(myself.send_after(delay, move || Mail::new(&gauges, tick)));
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Housekeeper;

impl Actor for Housekeeper {
    type Msg = Mail<HousekeeperMsg>;
    type State = HousekeeperArgs;
    type Arguments = HousekeeperArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<HousekeeperMsg>>,
        args: HousekeeperArgs,
    ) -> Result<HousekeeperArgs, ActorProcessingErr> {
        args.gauges.starting(&myself).await?;
        args.arm(&myself, HousekeeperMsg::LogSize);
        args.arm(&myself, HousekeeperMsg::RetireIdle);
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<HousekeeperMsg>>,
        mail: Mail<HousekeeperMsg>,
        state: &mut HousekeeperArgs,
    ) -> Result<(), ActorProcessingErr> {
        let message = mail.open(&myself).await?;
        match message {
            HousekeeperMsg::LogSize => state.log_size().await,
            HousekeeperMsg::RetireIdle => state.sessions.retire_idle(),
        }
        state.arm(&myself, message);
        Ok(())
    }
}
