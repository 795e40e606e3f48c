//! `RootSupervisor`: starts the singletons, restarts those that are lost, and gives up when one is lost
//! too often: then the process ends with an error, and whoever runs it decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kalamdb_commons::{Error, Result};
use kalamdb_wire::ActorNode;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::watch;

use super::budget::RestartBudget;
use super::catalog::{CatalogActor, CatalogArgs, CatalogClient, CatalogMsg};
use super::gauges::Gauges;
use super::housekeeper::{Housekeeper, HousekeeperArgs, HousekeeperMsg};
use super::session::Admission;
use super::sessions::{SessionIndex, SessionSupervisor, SessionsArgs, SessionsClient, SessionsMsg};
use super::slot::Slot;
use crate::StopReport;
use crate::engine::Runtime;

/// A singleton lost more often within the window ends the process.
const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// How long one actor may take to drain when the tree stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// What it gets when the time is over: enough for an empty mailbox.
const LEAST_DRAIN: Duration = Duration::from_millis(50);

/// The singletons, in the order they are started; they are stopped in the reverse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Catalog,
    Sessions,
    Housekeeper,
}

const START_ORDER: [Kind; 3] = [Kind::Catalog, Kind::Sessions, Kind::Housekeeper];

/// What outlives the actors: addresses, counters, the way to the door.
#[derive(Debug)]
pub(super) struct Shared {
    runtime: Arc<Runtime>,
    pub(super) catalog: Arc<Slot<CatalogMsg>>,
    pub(super) sessions: Arc<Slot<SessionsMsg>>,
    pub(super) housekeeper: Arc<Slot<HousekeeperMsg>>,
    index: Arc<SessionIndex>,
    admission: Arc<Admission>,
    gauges: Arc<Gauges>,
    stopping: AtomicBool,
    failed: watch::Sender<Option<String>>,
}

#[cfg(test)]
impl Shared {
    /// Statements that run now.
    pub(super) fn statements(&self) -> usize {
        self.admission.running.len()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }
}

/// How the tree is reached from outside.
#[derive(Debug, Clone)]
pub(super) struct RootClient {
    actor: ActorRef<RootMsg>,
    pub(super) shared: Arc<Shared>,
    sessions: SessionsClient,
}

/// Starts the tree.
pub(super) async fn start(runtime: Arc<Runtime>) -> Result<RootClient> {
    let catalog = Arc::new(Slot::new());
    let shared = Arc::new(Shared {
        admission: Arc::new(Admission::new(Arc::clone(&runtime), CatalogClient::new(Arc::clone(&catalog)))),
        runtime,
        catalog,
        sessions: Arc::new(Slot::new()),
        housekeeper: Arc::new(Slot::new()),
        index: Arc::default(),
        gauges: Gauges::new(),
        stopping: AtomicBool::new(false),
        failed: watch::Sender::new(None),
    });
    let sessions = SessionsClient::new(Arc::clone(&shared.sessions), Arc::clone(&shared.index));
    let (actor, _) = Actor::spawn(None, RootSupervisor, Arc::clone(&shared)).await.map_err(start_error)?;
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

impl RootClient {
    pub(super) fn sessions(&self) -> &SessionsClient {
        &self.sessions
    }

    pub(super) fn is_up(&self) -> bool {
        let shared = &self.shared;
        shared.catalog.is_running() && shared.sessions.is_running() && shared.housekeeper.is_running()
    }

    pub(super) async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(reason) => reason.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Read from counters, no actor is asked: a stuck one is shown like any other.
    pub(super) fn describe(&self, depth: Option<usize>, limit: usize) -> ActorNode {
        let shared = &self.shared;
        let depth = depth.unwrap_or(usize::MAX);
        let mut root = shared.gauges.node("root", "RootSupervisor", Some(self.actor.get_status()));
        if depth == 0 {
            return root;
        }
        let mut sessions = shared.sessions.gauges().node("sessions", "SessionSupervisor", shared.sessions.status());
        let (nodes, total) = self.sessions.nodes(if depth > 1 { limit } else { 0 });
        sessions.children = nodes;
        sessions.children_total = Some(total);
        root.children = vec![
            shared.catalog.gauges().node("catalog", "CatalogActor", shared.catalog.status()),
            sessions,
            shared.housekeeper.gauges().node("housekeeper", "Housekeeper", shared.housekeeper.status()),
        ];
        root
    }

    /// Stop order, steps 2 and 5 of the table: running statements, then the actors, children first.
    pub(super) async fn stop(&self, deadline: Instant, report: &mut StopReport) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::Release);
        let running = &shared.admission.running;
        running.close();
        // Two thirds of the time to finish; then what is not committing is called off.
        let left = deadline.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left * 2 / 3, running.wait()).await.is_err() {
            report.warnings.push(format!("{} statements were called off", running.len()));
            shared.admission.cancel.cancel();
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, running.wait()).await.is_err() {
                report.warnings.push(format!("{} statements had not ended", running.len()));
            }
        }
        drain(shared.housekeeper.get(), "housekeeper", deadline, report).await;
        drain(shared.sessions.get(), "sessions", deadline, report).await;
        drain(shared.catalog.get(), "catalog", deadline, report).await;
        drain(Some(self.actor.clone()), "root", deadline, report).await;
    }
}

async fn drain<M: ractor::Message>(actor: Option<ActorRef<M>>, name: &str, deadline: Instant, report: &mut StopReport) {
    let Some(actor) = actor else { return };
    let left = deadline.saturating_duration_since(Instant::now());
    if actor.drain_and_wait(Some(DRAIN_TIMEOUT.min(left).max(LEAST_DRAIN))).await.is_err()
        && actor.get_status() != ractor::ActorStatus::Stopped
    {
        report.warnings.push(format!("actor {name} did not drain"));
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

impl RootState {
    async fn spawn(&mut self, myself: &ActorRef<RootMsg>, kind: Kind) -> std::result::Result<(), SpawnErr> {
        let shared = &self.shared;
        let supervisor = myself.get_cell();
        let id = match kind {
            Kind::Catalog => {
                let gauges = Arc::clone(shared.catalog.gauges());
                let args = CatalogArgs { runtime: Arc::clone(&shared.runtime), gauges };
                let (actor, _) = Actor::spawn_linked(None, CatalogActor, args, supervisor).await?;
                shared.catalog.fill(actor.clone());
                actor.get_id()
            }
            Kind::Sessions => {
                let args = SessionsArgs {
                    admission: Arc::clone(&shared.admission),
                    index: Arc::clone(&shared.index),
                    gauges: Arc::clone(shared.sessions.gauges()),
                };
                let (actor, _) = Actor::spawn_linked(None, SessionSupervisor, args, supervisor).await?;
                shared.sessions.fill(actor.clone());
                actor.get_id()
            }
            Kind::Housekeeper => {
                let args = HousekeeperArgs {
                    runtime: Arc::clone(&shared.runtime),
                    catalog: CatalogClient::new(Arc::clone(&shared.catalog)),
                    sessions: SessionsClient::new(Arc::clone(&shared.sessions), Arc::clone(&shared.index)),
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

    fn lost(&mut self, id: ActorId, reason: &str) -> Option<Kind> {
        let kind = self.children.remove(&id)?;
        match kind {
            Kind::Catalog => self.shared.catalog.clear(),
            Kind::Sessions => self.shared.sessions.clear(),
            Kind::Housekeeper => self.shared.housekeeper.clear(),
        }
        if self.shared.stopping.load(Ordering::Acquire) {
            return None;
        }
        tracing::error!(actor = ?kind, reason, "an actor was lost");
        Some(kind)
    }

    /// Arms the next restart, or gives up.
    fn schedule(&mut self, myself: &ActorRef<RootMsg>, kind: Kind) -> Result<(), ActorProcessingErr> {
        let budget =
            self.budgets.entry(kind).or_insert_with(|| RestartBudget::new(RESTARTS, RESTART_WINDOW, FIRST_DELAY));
        let Some(delay) = budget.spend(Instant::now()) else {
            let reason = format!("{kind:?} was lost {RESTARTS} times within {} s", RESTART_WINDOW.as_secs());
            self.shared.failed.send_replace(Some(reason.clone()));
            return Err(reason.into());
        };
        // It ends by itself when the supervisor is gone.
        drop(myself.send_after(delay, move || RootMsg::Respawn { kind }));
        Ok(())
    }

    fn gauges_of(&self, kind: Kind) -> &Gauges {
        match kind {
            Kind::Catalog => self.shared.catalog.gauges(),
            Kind::Sessions => self.shared.sessions.gauges(),
            Kind::Housekeeper => self.shared.housekeeper.gauges(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct RootSupervisor;

impl Actor for RootSupervisor {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<RootMsg>, shared: Arc<Shared>) -> Result<RootState, ActorProcessingErr> {
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
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMsg::Respawn { kind } => {
                if state.shared.stopping.load(Ordering::Acquire) {
                    return Ok(());
                }
                state.gauges_of(kind).restarted();
                if let Err(error) = state.spawn(&myself, kind).await {
                    tracing::error!(actor = ?kind, %error, "an actor did not start");
                    return state.schedule(&myself, kind);
                }
                tracing::info!(actor = ?kind, "actor restarted");
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let lost = match event {
            SupervisionEvent::ActorFailed(who, error) => state.lost(who.get_id(), &error.to_string()),
            SupervisionEvent::ActorTerminated(who, last_state, reason) => {
                // It may hold what the successor needs.
                drop(last_state);
                state.lost(who.get_id(), reason.as_deref().unwrap_or("ended"))
            }
            _ => None,
        };
        match lost {
            Some(kind) => state.schedule(&myself, kind),
            None => Ok(()),
        }
    }
}
