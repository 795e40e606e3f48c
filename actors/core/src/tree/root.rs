//! `RootSupervisor`: starts the singletons, restarts those that are lost, and gives up when one is lost
//! too often: then the process ends with an error, and whoever runs it decides.
//!
//! Restart: never; when it is lost itself, its children end with it, and the process ends with an error. Shutdown:
//! last of all actors.

mod client;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kalamdb_commons::{Error, Result};
use kalamdb_live::{LiveArgs, LiveHub, LiveSupervisor};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::admission::Admission;
use super::budget::RestartBudget;
use super::catalog::{CatalogActor, CatalogArgs, CatalogClient, CatalogMsg};
use super::faults::Faults;
use super::flush::{FlushArgs, FlushClient, FlushCoordinator, FlushMsg, FlushStatus};
use super::gauges::{Gauges, Mail, Named, cause};
use super::housekeeper::{Housekeeper, HousekeeperArgs, HousekeeperMsg};
use super::plans::{PlanCacheActor, PlanCacheArgs, PlanCacheMsg, PlansClient};
use super::sessions::{SessionIndex, SessionSupervisor, SessionsArgs, SessionsClient, SessionsMsg};
use super::slot::Slot;
use super::{Clients, TreeArgs};
use crate::engine::Runtime;
use crate::live::EngineSource;
use crate::task::spawn_on;

pub(super) use client::RootClient;

/// A singleton lost more often within the window ends the process.
pub(super) const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// How long a restarted actor may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The singletons, in the order they are started; they are stopped in the reverse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Catalog,
    Flushes,
    Live,
    Plans,
    Sessions,
    Housekeeper,
}

const START_ORDER: [Kind; 6] =
    [Kind::Catalog, Kind::Flushes, Kind::Live, Kind::Plans, Kind::Sessions, Kind::Housekeeper];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Catalog => "CatalogActor",
            Self::Flushes => "FlushCoordinator",
            Self::Live => "LiveSupervisor",
            Self::Plans => "PlanCacheActor",
            Self::Sessions => "SessionSupervisor",
            Self::Housekeeper => "Housekeeper",
        }
    }
}

/// What outlives the actors: addresses, counters, the way to the door.
#[derive(Debug)]
pub(super) struct Shared {
    runtime: Arc<Runtime>,
    pub(super) catalog: Arc<Slot<CatalogMsg>>,
    pub(super) flushes: Arc<Slot<FlushMsg>>,
    pub(super) flush_status: Arc<FlushStatus>,
    pub(super) live: Arc<LiveHub>,
    pub(super) plans: Arc<Slot<PlanCacheMsg>>,
    plans_client: PlansClient,
    pub(super) sessions: Arc<Slot<SessionsMsg>>,
    pub(super) housekeeper: Arc<Slot<HousekeeperMsg>>,
    index: Arc<SessionIndex>,
    pub(super) admission: Arc<Admission>,
    gauges: Arc<Gauges>,
    faults: Faults,
    /// Held by the one DDL statement that runs, whatever becomes of the actor that began it.
    ddl_turn: Arc<tokio::sync::Mutex<()>>,
    stopping: AtomicBool,
    failed: watch::Sender<Option<String>>,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The tree is gone for good; the first reason is the one that counts.
    fn fail(&self, reason: String) {
        self.failed.send_if_modified(|failed| {
            let is_first = failed.is_none();
            failed.get_or_insert(reason);
            is_first
        });
    }

    #[cfg(test)]
    pub(super) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }
}

/// Starts the tree.
pub(super) async fn start(args: TreeArgs) -> Result<RootClient> {
    let TreeArgs { runtime, bounds, faults } = args;
    let gauges = |kind| Gauges::new(kind, faults.clone());
    let catalog = Arc::new(Slot::new(gauges(Kind::Catalog.name())));
    let client = CatalogClient::new(Arc::clone(&catalog));
    let flushes = Arc::new(Slot::new(gauges(Kind::Flushes.name())));
    let flush_status: Arc<FlushStatus> = Arc::default();
    let flush_client = FlushClient::new(Arc::clone(&flushes), Arc::clone(&flush_status));
    let live = LiveHub::new(
        Arc::new(EngineSource::new(Arc::clone(&runtime))),
        runtime.settings().live.clone(),
        Arc::new(Slot::new(gauges(Kind::Live.name()))),
        Arc::clone(runtime.live_index()),
    );
    runtime.set_live_hub(&live);
    let plans = Arc::new(Slot::new(gauges(Kind::Plans.name())));
    let plans_client = PlansClient::new(Arc::clone(&plans));
    let shared = Arc::new(Shared {
        admission: Arc::new(Admission::new(
            Arc::clone(&runtime),
            Clients { catalog: client, flushes: flush_client, plans: plans_client.clone() },
            bounds,
        )),
        runtime,
        catalog,
        flushes,
        flush_status,
        live,
        plans,
        plans_client,
        sessions: Arc::new(Slot::new(gauges(Kind::Sessions.name()))),
        housekeeper: Arc::new(Slot::new(gauges(Kind::Housekeeper.name()))),
        index: Arc::default(),
        gauges: gauges("RootSupervisor"),
        faults: faults.clone(),
        ddl_turn: Arc::default(),
        stopping: AtomicBool::new(false),
        failed: watch::Sender::new(None),
    });
    let sessions = shared.sessions_client();
    let (actor, ended) = Actor::spawn(None, RootSupervisor, Arc::clone(&shared)).await.map_err(start_error)?;
    // Nobody supervises the root.
    let watched = Arc::clone(&shared);
    drop(spawn_on(&Handle::current(), "watch over the root", async move {
        let _ = ended.await;
        if !watched.is_stopping() {
            watched.fail("the root of the actor tree was lost; the log has the details".to_owned());
        }
    }));
    Ok(RootClient { actor, shared, sessions })
}

/// The cause, where it is an error of ours.
fn start_error(error: SpawnErr) -> Error {
    match error {
        SpawnErr::StartupFailed(cause) => match cause.downcast::<Error>() {
            Ok(error) => *error,
            Err(cause) => Error::internal(cause),
        },
        other => Error::internal(other),
    }
}

impl Shared {
    pub(super) fn flush_client(&self) -> FlushClient {
        FlushClient::new(Arc::clone(&self.flushes), Arc::clone(&self.flush_status))
    }

    fn sessions_client(&self) -> SessionsClient {
        SessionsClient::new(Arc::clone(&self.sessions), Arc::clone(&self.index), Arc::clone(&self.admission))
    }
}

/// What the supervisor keeps.
#[derive(Debug)]
pub(super) struct RootState {
    shared: Arc<Shared>,
    children: HashMap<ActorId, Kind>,
    budgets: HashMap<Kind, RestartBudget>,
}

/// What it tells itself.
#[derive(Debug)]
pub(super) enum RootMsg {
    /// Start a lost child again.
    Respawn {
        /// Which.
        kind: Kind,
    },
}

impl Named for RootMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Respawn { .. } => "Respawn",
        }
    }
}

impl RootState {
    async fn spawn(&mut self, myself: &ActorRef<Mail<RootMsg>>, kind: Kind) -> std::result::Result<(), SpawnErr> {
        let shared = &self.shared;
        let supervisor = myself.get_cell();
        let id = match kind {
            Kind::Catalog => {
                let args = CatalogArgs {
                    runtime: Arc::clone(&shared.runtime),
                    gauges: Arc::clone(shared.catalog.gauges()),
                    turn: Arc::clone(&shared.ddl_turn),
                    plans: shared.plans_client.clone(),
                };
                let (actor, _) = Actor::spawn_linked(None, CatalogActor, args, supervisor).await?;
                shared.catalog.fill(actor.clone());
                actor.get_id()
            }
            Kind::Flushes => {
                let args = FlushArgs {
                    runtime: Arc::clone(&shared.runtime),
                    slot: Arc::clone(&shared.flushes),
                    status: Arc::clone(&shared.flush_status),
                    faults: shared.faults.clone(),
                };
                let (actor, _) = Actor::spawn_linked(None, FlushCoordinator, args, supervisor).await?;
                shared.flushes.fill(actor.clone());
                actor.get_id()
            }
            Kind::Live => {
                let args = LiveArgs { hub: Arc::clone(&shared.live), faults: shared.faults.clone() };
                let (actor, _) = Actor::spawn_linked(None, LiveSupervisor, args, supervisor).await?;
                shared.live.supervisor().fill(actor.clone());
                actor.get_id()
            }
            Kind::Plans => {
                let args = PlanCacheArgs { runtime: Arc::clone(&shared.runtime), client: shared.plans_client.clone() };
                let (actor, _) = Actor::spawn_linked(None, PlanCacheActor, args, supervisor).await?;
                shared.plans.fill(actor.clone());
                actor.get_id()
            }
            Kind::Sessions => {
                let args = SessionsArgs {
                    admission: Arc::clone(&shared.admission),
                    index: Arc::clone(&shared.index),
                    gauges: Arc::clone(shared.sessions.gauges()),
                    faults: shared.faults.clone(),
                };
                let (actor, _) = Actor::spawn_linked(None, SessionSupervisor, args, supervisor).await?;
                shared.sessions.fill(actor.clone());
                actor.get_id()
            }
            Kind::Housekeeper => {
                let args = HousekeeperArgs {
                    runtime: Arc::clone(&shared.runtime),
                    catalog: CatalogClient::new(Arc::clone(&shared.catalog)),
                    sessions: shared.sessions_client(),
                    gauges: Arc::clone(shared.housekeeper.gauges()),
                };
                let (actor, _) = Actor::spawn_linked(None, Housekeeper, args, supervisor).await?;
                shared.housekeeper.fill(actor.clone());
                actor.get_id()
            }
        };
        self.children.insert(id, kind);
        Ok(())
    }

    /// A child is gone; which, if it is to come back.
    fn lost(&mut self, id: ActorId, why: &str) -> Option<Kind> {
        let kind = self.children.remove(&id)?;
        match kind {
            Kind::Catalog => self.shared.catalog.clear(why),
            Kind::Flushes => self.shared.flushes.clear(why),
            Kind::Live => self.shared.live.supervisor().clear(why),
            Kind::Plans => self.shared.plans.clear(why),
            Kind::Sessions => self.shared.sessions.clear(why),
            Kind::Housekeeper => self.shared.housekeeper.clear(why),
        }
        if self.shared.is_stopping() {
            return None;
        }
        Some(kind)
    }

    /// Starts a child once more.
    ///
    /// # Errors
    /// Why it does not come up.
    async fn respawn(&mut self, myself: &ActorRef<Mail<RootMsg>>, kind: Kind) -> Result<()> {
        match timeout(START_TIMEOUT, self.spawn(myself, kind)).await {
            Ok(started) => started.map_err(start_error),
            // An actor that did not come up in time is gone, too.
            Err(_) => Err(Error::internal(format_args!("not up within {} s", START_TIMEOUT.as_secs()))),
        }
    }

    /// Arms the next restart, or gives up.
    fn schedule(&mut self, myself: &ActorRef<Mail<RootMsg>>, kind: Kind, why: &str) -> Result<(), ActorProcessingErr> {
        let budget =
            self.budgets.entry(kind).or_insert_with(|| RestartBudget::new(RESTARTS, RESTART_WINDOW, FIRST_DELAY));
        let Some(delay) = budget.spend(Instant::now()) else {
            let reason = format!(
                "{} was lost or did not start more than {RESTARTS} times within {} s; last: {why}",
                kind.name(),
                RESTART_WINDOW.as_secs()
            );
            self.shared.fail(reason.clone());
            return Err(reason.into());
        };
        self.arm(myself, kind, delay);
        Ok(())
    }

    fn arm(&self, myself: &ActorRef<Mail<RootMsg>>, kind: Kind, delay: Duration) {
        let gauges = Arc::clone(&self.shared.gauges);
        // It ends by itself when the supervisor is gone.
        drop(myself.send_after(delay, move || Mail::new(&gauges, RootMsg::Respawn { kind })));
    }

    /// Whether a lost child may come back now: not while a DDL statement runs that a lost `CatalogActor` began. Without
    /// that actor none begins, so there is an end to it.
    fn may_return(&self, kind: Kind) -> bool {
        kind != Kind::Catalog || self.shared.ddl_turn.try_lock().is_ok()
    }

    fn gauges_of(&self, kind: Kind) -> &Gauges {
        match kind {
            Kind::Catalog => self.shared.catalog.gauges(),
            Kind::Flushes => self.shared.flushes.gauges(),
            Kind::Live => self.shared.live.supervisor().gauges(),
            Kind::Plans => self.shared.plans.gauges(),
            Kind::Sessions => self.shared.sessions.gauges(),
            Kind::Housekeeper => self.shared.housekeeper.gauges(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct RootSupervisor;

impl Actor for RootSupervisor {
    type Msg = Mail<RootMsg>;
    type State = RootState;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<RootMsg>>,
        shared: Arc<Shared>,
    ) -> Result<RootState, ActorProcessingErr> {
        shared.gauges.starting(&myself).await?;
        let mut state = RootState { shared, children: HashMap::new(), budgets: HashMap::new() };
        for kind in START_ORDER {
            match state.spawn(&myself, kind).await {
                Ok(()) => {}
                Err(error) => return Err(start_error(error).into()),
            }
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<RootMsg>>,
        mail: Mail<RootMsg>,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            RootMsg::Respawn { kind } => {
                if state.shared.is_stopping() {
                    return Ok(());
                }
                if !state.may_return(kind) {
                    // Waiting spends no budget.
                    state.arm(&myself, kind, FIRST_DELAY);
                    return Ok(());
                }
                match state.respawn(&myself, kind).await {
                    Ok(()) => {
                        state.gauges_of(kind).restarted();
                        tracing::info!(actor = kind.name(), "actor restarted");
                    }
                    Err(error) => {
                        tracing::error!(actor = kind.name(), %error, detail = error.detail, "an actor did not start");
                        let why = format!("it did not start: {error}");
                        state.gauges_of(kind).lost(why.clone());
                        return state.schedule(&myself, kind, &why);
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Mail<RootMsg>>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.gauges.hears(&myself).await?;
        let (id, why) = match event {
            SupervisionEvent::ActorFailed(who, error) => {
                tracing::error!(%error, "an actor failed");
                (who.get_id(), cause(&error))
            }
            SupervisionEvent::ActorTerminated(who, last_state, reason) => {
                // It may hold what the successor needs.
                drop(last_state);
                (who.get_id(), reason.unwrap_or_else(|| "it ended".to_owned()))
            }
            _ => return Ok(()),
        };
        match state.lost(id, &why) {
            Some(kind) => {
                tracing::error!(actor = kind.name(), why, "an actor was lost");
                state.schedule(&myself, kind, &why)
            }
            None => Ok(()),
        }
    }
}
