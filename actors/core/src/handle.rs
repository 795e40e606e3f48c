//! The handle that the door holds: start, execute, look, stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::memory_pool::MemoryReservation;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, Identity, NamespaceId, Result, UserId};
use kalamdb_live::{LiveCaller, LiveConnection, LiveOutbox, LiveSource, LiveWork};
use kalamdb_store::BackendRegistry;
use kalamdb_wire::{ActorNode, FlushOverview, LiveOverview, PlanCacheOverview, RawRows, SessionEntry, StatementResult};

use crate::answer::{AnswerFormat, AnswerStream};
use crate::catalog::warn_of_localhost_user;
use crate::engine::Runtime;
use crate::live::EngineSource;
use crate::status::{self, JobsQuestion};
use crate::tree::{Tree, TreeArgs};

/// Which build this is.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo {
    /// The package's version.
    pub version: &'static str,
    /// The Git branch it was built from.
    pub branch: &'static str,
    /// The Git commit it was built from.
    pub commit: &'static str,
}

/// What the engine is started with.
#[derive(Debug, Clone)]
pub struct EngineArgs {
    /// The validated settings.
    pub settings: Arc<Settings>,
    /// For logs and status.
    pub build: BuildInfo,
}

/// Why the engine did not start; nothing was touched if the data directory was the reason.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// One line for the operator.
    pub message: String,
}

/// What the header `X-USER-ID` says; why it says nothing matters only to a statement that asks.
pub type HeaderUser = Result<Option<UserId>, Error>;

/// A duration as answers show it: milliseconds, to the microsecond.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// One request of the door.
#[derive(Debug, Clone)]
pub struct SqlRequest {
    /// Who asks, as [`Engine::identify`] has it.
    pub identity: Identity,
    /// The user named by `X-USER-ID`, for `.user.` only.
    pub header_user: HeaderUser,
    /// One or more statements.
    pub sql: String,
    /// Scalars only.
    pub params: Arc<Vec<serde_json::Value>>,
    /// Where unqualified names are looked up.
    pub namespace: NamespaceId,
    /// For the log.
    pub request_id: String,
}

impl SqlRequest {
    /// About what the text and the parameters take.
    pub(crate) fn size_in_memory(&self) -> u64 {
        let of_param = |param: &serde_json::Value| {
            let text = match param {
                serde_json::Value::String(text) => text.len(),
                // Digits are kept as they came.
                serde_json::Value::Number(number) => number.as_str().len(),
                _ => 0,
            };
            std::mem::size_of::<serde_json::Value>() + text
        };
        (self.sql.len() + self.params.iter().map(of_param).sum::<usize>()) as u64
    }
}

/// The statement that ended a request.
#[derive(Debug, Clone)]
pub struct StatementError {
    /// What went wrong.
    pub error: Error,
    /// Which statement, from 0; none where the request as a whole was refused.
    pub statement: Option<usize>,
}

/// The answer to a [`SqlRequest`].
#[derive(Debug, Default)]
pub struct SqlOutcome {
    /// The completed statements, in order.
    pub results: Vec<StatementResult>,
    /// The one that failed, after them.
    pub error: Option<StatementError>,
    /// How long all of it took.
    pub took: Duration,
    /// The results' share of `query.memory_limit`: to be kept until the answer is on the wire.
    pub memory: AnswerMemory,
    /// The rows instead of results, where a format was asked for and the request is one SELECT.
    pub stream: Option<AnswerStream>,
}

/// Memory that an answer takes. It counts against `query.memory_limit` until this is dropped.
#[derive(Debug, Clone, Default)]
pub struct AnswerMemory(Option<Arc<MemoryReservation>>);

impl AnswerMemory {
    pub(crate) fn new(reservation: Arc<MemoryReservation>) -> Self {
        Self(Some(reservation))
    }

    /// How much of it is counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |reservation| reservation.size())
    }
}

impl SqlOutcome {
    /// A request that was refused before its first statement.
    #[must_use]
    pub fn refused(error: Error) -> Self {
        Self { error: Some(StatementError { error, statement: None }), ..Self::default() }
    }
}

/// What stopping could not do in time.
#[derive(Debug, Default)]
pub struct StopReport {
    /// One line each, for the log.
    pub warnings: Vec<String>,
}

/// The running database. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Engine {
    runtime: Arc<Runtime>,
    tree: Tree,
}

impl Engine {
    /// Opens the backend, recovers, and starts the actor tree.
    ///
    /// # Errors
    /// [`StartError`] with one line: a data directory in use, written by another backend or a newer
    /// version, or unreadable.
    pub async fn start(args: EngineArgs) -> Result<Self, StartError> {
        Self::start_on(args, BackendRegistry::standard()).await
    }

    /// The same with other backends to choose from by `storage.backend`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(args: EngineArgs, backends: BackendRegistry) -> Result<Self, StartError> {
        let runtime = Runtime::open(args.settings, backends)
            .await
            .map_err(|error| StartError { message: error.detail.unwrap_or(error.message) })?;
        let runtime = Arc::new(runtime);
        let tree = Tree::start(TreeArgs::new(Arc::clone(&runtime)))
            .await
            .map_err(|error| StartError { message: error.detail.unwrap_or(error.message) })?;
        warn_of_localhost_user(&runtime.catalog(), &runtime.settings().auth);
        Ok(Self { runtime, tree })
    }

    /// The caller as its row in `system.users` has it, where there is one: its role wins over the claimed one. Answered
    /// from memory, as the row is now: whoever keeps claims asks anew for every request.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] for a disabled user.
    pub fn identify(&self, claimed: Identity) -> Result<Identity> {
        self.runtime.catalog().identify(claimed)
    }

    /// Grows with every change of `system.users`: then [`identify`](Self::identify) may say something else.
    #[must_use]
    pub fn users_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.runtime.users_changes()
    }

    /// Runs the request's statements in order, up to the first that fails.
    ///
    /// # Cancel safety
    /// Safe: a dropped call cancels what has not begun to commit; what is committing commits.
    pub async fn execute(&self, request: SqlRequest) -> SqlOutcome {
        self.execute_as(request, None).await
    }

    /// The same; the rows of a request that is exactly one SELECT come as a stream in the format, if one is named. It is
    /// running, and holds its user's place, until the stream has ended or was dropped.
    ///
    /// # Cancel safety
    /// As [`execute`](Self::execute).
    pub async fn execute_as(&self, request: SqlRequest, format: Option<AnswerFormat>) -> SqlOutcome {
        if self.runtime.is_refusing() {
            return SqlOutcome::refused(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"));
        }
        self.tree.execute(request, format).await
    }

    /// Whether the tree is up and the backend answers.
    ///
    /// # Errors
    /// [`ErrorCode::ShuttingDown`]; [`ErrorCode::Overloaded`] saying what is down.
    pub async fn ready(&self) -> Result<()> {
        if self.runtime.is_refusing() {
            return Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"));
        }
        let mut ailments = Vec::new();
        let down = self.tree.down();
        if !down.is_empty() {
            ailments.push(format!("the actor tree is not whole (not running: {})", down.join(", ")));
        }
        if let Some(ailment) = self.runtime.backend_ailment().await {
            ailments.push(format!("the storage backend {ailment}"));
        }
        if ailments.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Overloaded, format!("the server is not ready: {}", ailments.join("; "))))
    }

    /// The supervision tree as it is now, `depth` levels below the root, groups cut at `limit`.
    #[must_use]
    pub fn actors(&self, depth: Option<usize>, limit: usize) -> ActorNode {
        self.tree.describe(depth, limit)
    }

    /// How flushes stand.
    #[must_use]
    pub fn flushes(&self) -> FlushOverview {
        status::flush_overview(&self.runtime, &self.tree.flushes())
    }

    /// The newest jobs, as rows of `system.jobs`.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] for a status or type that no job has; else when the backend cannot be read.
    pub async fn jobs(&self, question: &JobsQuestion) -> Result<RawRows> {
        status::jobs(&self.runtime, question).await
    }

    /// One job, as the only row.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; else when the backend cannot be read.
    pub async fn job(&self, id: &str) -> Result<RawRows> {
        status::job(&self.runtime, id).await
    }

    /// Opens a connection to live queries, without any subscription: what it may do, and what it has to write.
    ///
    /// # Errors
    /// [`ErrorCode::ShuttingDown`].
    pub fn connect_live(&self, caller: LiveCaller) -> Result<(LiveConnection, LiveOutbox)> {
        if self.runtime.is_refusing() {
            return Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"));
        }
        self.tree.live().connect(caller)
    }

    /// What live queries are made of, without connections and actors: to measure it. Its compiled queries are its own.
    #[must_use]
    pub fn live_source(&self) -> Arc<dyn LiveSource> {
        Arc::new(EngineSource::new(Arc::clone(&self.runtime)))
    }

    /// How live queries stand.
    #[must_use]
    pub fn live_overview(&self) -> LiveOverview {
        self.tree.live().overview()
    }

    /// How the plan cache stands.
    #[must_use]
    pub fn plan_cache_overview(&self) -> PlanCacheOverview {
        self.runtime.plans().overview()
    }

    /// Every session, by user.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionEntry> {
        status::sessions(&self.runtime)
    }

    /// What live queries have cost, for tests and measurements.
    #[must_use]
    pub fn live_work(&self) -> LiveWork {
        self.tree.live().work()
    }

    /// Waits until the tree has given up for good; says why. The process should end then.
    pub async fn failed(&self) -> String {
        self.tree.failed().await
    }

    /// Bytes of the backend's files.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub async fn size_on_disk(&self) -> Result<u64> {
        Ok(self.runtime.store().backend.size_on_disk().await?)
    }

    /// From now on new statements are refused with `SHUTTING_DOWN`.
    pub fn refuse_new(&self) {
        self.runtime.refuse_new();
    }

    /// Waits for running statements until `deadline`, ends live connections, flushes what is hot, drains the actors children first, syncs and
    /// closes the backend. A statement that is committing is never cut off.
    pub async fn stop(&self, deadline: Instant) -> StopReport {
        self.runtime.refuse_new();
        let mut report = StopReport::default();
        self.tree.stop(deadline, &mut report).await;
        self.runtime.close(deadline, &mut report).await;
        report
    }
}
