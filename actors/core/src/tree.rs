//! The supervision tree.
//!
//! ```text
//! RootSupervisor
//! ├── CatalogActor        every DDL statement, one at a time
//! ├── FlushCoordinator ── FlushActor (one per table that was flushed): when a table is flushed, and the flush
//! ├── LiveSupervisor ── LiveQueryActor (one per user with subscriptions): of `kalamdb-live`
//! ├── SessionSupervisor ── SessionActor (one per user): admits and starts the user's statements, keeps the tables they name
//! ├── PlanCacheActor      throws out plans that the catalog has outdated
//! └── Housekeeper         timers: size log, idle sessions
//! ```
//!
//! Who may await whom:
//! door → session, statement → catalog, statement → flushes; nobody awaits upwards. A panic in any actor loses no committed row
//! and no other actor: the root restarts its children with back-off and a budget, and ends the process
//! with an error when the budget is spent.

mod admission;
mod catalog;
mod claim;
mod flush;
mod housekeeper;
mod plans;
mod root;
mod session;
mod sessions;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_commons::Result;
use kalamdb_live::LiveHub;
#[cfg(test)]
use kalamdb_live::supervision::failures;
use kalamdb_live::supervision::{budget, faults, gauges, slot};
use kalamdb_wire::ActorNode;

use crate::engine::Runtime;
use crate::{AnswerFormat, SqlOutcome, SqlRequest, StopReport};

use admission::Bounds;
pub(crate) use catalog::CatalogClient;
use faults::Faults;
use plans::PlansClient;

pub(crate) use flush::{FlushClient, FlushPhase, Outcome as FlushOutcome, Report as FlushReport};
use root::RootClient;

/// What the tree is started with.
#[derive(Debug)]
pub(crate) struct TreeArgs {
    runtime: Arc<Runtime>,
    bounds: Bounds,
    faults: Faults,
}

impl TreeArgs {
    /// A tree over a runtime, bounded by its settings.
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Self { bounds: Bounds::of(runtime.settings()), runtime, faults: Faults::default() }
    }
}

/// The actors that a statement may ask.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) catalog: CatalogClient,
    pub(crate) flushes: FlushClient,
    pub(crate) plans: PlansClient,
}

/// The running tree.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: RootClient,
}

impl Tree {
    /// Starts every singleton; on return all of them answer.
    pub(crate) async fn start(args: TreeArgs) -> Result<Self> {
        Ok(Self { root: root::start(args).await? })
    }

    /// Runs a request in its user's session.
    pub(crate) async fn execute(&self, request: SqlRequest, format: Option<AnswerFormat>) -> SqlOutcome {
        self.root.sessions().execute(request, format).await
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> Clients {
        self.root.shared.admission.clients.clone()
    }

    /// The way to flushes.
    pub(crate) fn flushes(&self) -> FlushClient {
        self.root.shared.flush_client()
    }

    /// The live queries.
    pub(crate) fn live(&self) -> &Arc<LiveHub> {
        self.root.live()
    }

    /// Whether every singleton runs, and none is still coming up.
    #[cfg(test)]
    pub(crate) fn is_up(&self) -> bool {
        self.down().is_empty() && self.describe(Some(1), 1).children.iter().all(|child| child.state == "running")
    }

    /// The singletons that do not run.
    pub(crate) fn down(&self) -> Vec<&'static str> {
        self.root.down()
    }

    /// Waits until the tree is gone for good: nobody stopped it, and its restart budget is spent.
    pub(crate) async fn failed(&self) -> String {
        self.root.failed().await
    }

    /// The tree as it is now, down to `depth` levels below the root, groups cut at `limit`.
    pub(crate) fn describe(&self, depth: Option<usize>, limit: usize) -> ActorNode {
        self.root.describe(depth, limit)
    }

    /// Lets running statements finish until `deadline`, calls off the rest, drains the actors, children
    /// first.
    pub(crate) async fn stop(&self, deadline: Instant, report: &mut StopReport) {
        self.root.stop(deadline, report).await;
    }
}

/// How long a question to an actor may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
