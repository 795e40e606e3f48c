//! A statement's surroundings and its bounds: who runs it, until when, and who may call it off.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use datafusion::execution::memory_pool::MemoryReservation;
use kalamdb_commons::{Error, ErrorCode, Identity, NamespaceId, Result};
use kalamdb_sql::ParsedStatement;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::StatementContext;
use super::{Runtime, SessionCache};
use crate::HeaderUser;

/// Statements nested deeper, or longer, are planned apart from the others.
const HEAVY_DEPTH: usize = 200;
const HEAVY_BYTES: usize = 16 << 10;

/// Whether planning a statement may take long.
pub(crate) fn is_heavy(statement: &ParsedStatement) -> bool {
    statement.depth > HEAVY_DEPTH || statement.text.len() > HEAVY_BYTES
}

/// What all statements of a request share.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) header_user: HeaderUser,
    pub(crate) namespace: NamespaceId,
    pub(crate) cancel: CancellationToken,
    /// Memory that the results take.
    pub(crate) results: Arc<MemoryReservation>,
    /// What the session that it is run in keeps.
    pub(crate) session: Option<Arc<SessionCache>>,
}

impl Caller {
    pub(crate) fn new(
        runtime: &Runtime,
        identity: Identity,
        header_user: HeaderUser,
        namespace: NamespaceId,
        cancel: &CancellationToken,
    ) -> Self {
        let results = Arc::new(runtime.memory().reserve("results"));
        Self { identity, header_user, namespace, cancel: cancel.clone(), results, session: None }
    }

    /// The same in a session.
    pub(crate) fn in_session(self, session: Option<&Arc<SessionCache>>) -> Self {
        Self { session: session.cloned(), ..self }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) identity: Identity,
    pub(crate) header_user: HeaderUser,
    pub(crate) namespace: NamespaceId,
    /// Whether planning may take long.
    pub(crate) is_heavy: bool,
    /// The statement's text, where its plans are kept.
    pub(crate) plan_text: Option<Arc<str>>,
    /// Whether its plans are kept if its text comes again.
    pub(crate) is_first_use: bool,
    pub(crate) results: Arc<MemoryReservation>,
    pub(crate) session: Option<Arc<SessionCache>>,
    limits: Limits,
}

/// When a statement ends whether it is done or not.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    deadline: Instant,
    cancel: CancellationToken,
    /// For an answer that is streamed: whether its first row is on its way, and the deadline was met.
    open_end: Option<Arc<AtomicBool>>,
}

impl Limits {
    /// Those of the statement that this task works on.
    pub(crate) fn of_task() -> Option<Self> {
        LIMITS.try_with(Clone::clone).ok()
    }

    /// Ends when the statement is called off, with what it is answered then.
    pub(crate) async fn called_off(&self) -> Error {
        self.cancel.cancelled().await;
        called_off()
    }

    fn is_open_ended(&self) -> bool {
        self.open_end.as_ref().is_some_and(|open_end| open_end.load(Ordering::Acquire))
    }

    /// An error once the statement was called off or is out of time.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(called_off());
        }
        if Instant::now() >= self.deadline && !self.is_open_ended() {
            return Err(out_of_time());
        }
        Ok(())
    }
}

tokio::task_local! {
    /// Those of the statement that this task works on, for code too deep to be handed them.
    static LIMITS: Limits;
}

/// An error once the statement that this task works on was called off or is out of time.
pub(crate) fn still_wanted() -> Result<()> {
    // Outside of a statement nothing is limited.
    LIMITS.try_with(Limits::check).unwrap_or(Ok(()))
}

fn called_off() -> Error {
    Error::new(ErrorCode::ShuttingDown, "the statement was cancelled; nothing was changed")
}

fn out_of_time() -> Error {
    Error::new(ErrorCode::Timeout, "the statement ran past server.request_timeout; nothing was changed")
}

/// A store that is closed although the server goes on has failed, and is being opened again.
pub(crate) fn while_reopening(runtime: &Runtime, cancel: &CancellationToken, error: Error) -> Error {
    if error.code != ErrorCode::ShuttingDown || runtime.is_refusing() || cancel.is_cancelled() {
        return error;
    }
    let message = "the storage backend is being opened again after a failure: try again";
    Error { outcome: error.outcome, ..Error::new(ErrorCode::StorageUnavailable, message) }
}

/// Runs work on another thread's task for the statement with these limits.
pub(crate) async fn on_behalf<T>(limits: Option<Limits>, work: impl Future<Output = T>) -> T {
    match limits {
        Some(limits) => LIMITS.scope(limits, work).await,
        None => work.await,
    }
}

impl Scope {
    /// When it ends, and who ends it earlier.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The same for an answer that is streamed: see [`Scope::open_end`].
    pub(crate) fn with_open_end(mut self) -> Self {
        self.limits.open_end = Some(Arc::default());
        self
    }

    /// From now on time is no bound any more, for the tasks of its plan neither.
    pub(crate) fn open_end(&self) {
        if let Some(open_end) = &self.limits.open_end {
            open_end.store(true, Ordering::Release);
        }
    }

    /// An error as its client is told it: see [`while_reopening`].
    pub(crate) fn while_reopening(&self, error: Error) -> Error {
        while_reopening(&self.runtime, &self.limits.cancel, error)
    }

    /// Ends what still works for the statement.
    pub(crate) fn call_off(&self) {
        self.limits.cancel.cancel();
    }

    /// A scope with time until `deadline`; `statement` is what it is for.
    pub(crate) fn new(runtime: &Arc<Runtime>, caller: &Caller, statement: &ParsedStatement, deadline: Instant) -> Self {
        Self { is_heavy: is_heavy(statement), ..Self::light(runtime, caller, deadline) }
    }

    /// A scope for what was parsed before, or is small.
    pub(crate) fn light(runtime: &Arc<Runtime>, caller: &Caller, deadline: Instant) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            identity: caller.identity.clone(),
            header_user: caller.header_user.clone(),
            namespace: caller.namespace.clone(),
            is_heavy: false,
            plan_text: None,
            is_first_use: false,
            results: Arc::clone(&caller.results),
            session: caller.session.clone(),
            limits: Limits { deadline, cancel: caller.cancel.clone(), open_end: None },
        }
    }

    /// The same, with plans that are kept for whoever sends this text again.
    pub(crate) fn keeping_plans(self, text: &Arc<str>) -> Self {
        Self { plan_text: Some(Arc::clone(text)), ..self }
    }

    /// The same for a text whose plans are kept if it comes again.
    pub(crate) fn of_first_use(self) -> Self {
        Self { is_first_use: true, ..self }
    }

    /// Runs what may be given up: everything but a commit.
    ///
    /// # Errors
    /// [`ErrorCode::Timeout`] past the statement's time, [`ErrorCode::ShuttingDown`] when it was called
    /// off; nothing was changed then.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(LIMITS.scope(self.limits.clone(), work));
        let mut cancelled = pin!(self.limits.cancel.cancelled());
        let mut over = pin!(tokio::time::sleep_until(self.limits.deadline));
        poll_fn(|context| {
            // At every turn: work that computes all the time uses up its task's budget, and then neither a timer nor a
            // token says anything.
            self.limits.check()?;
            // Before the two below: what is done at once arms no timer and leaves no waker.
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            if cancelled.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(called_off()));
            }
            if self.limits.is_open_ended() {
                return Poll::Pending;
            }
            over.as_mut().poll(context).map(|()| Err(out_of_time()))
        })
        .await
    }

    /// Takes catalog and snapshot; `now` where an earlier attempt has fixed the statement's time. Waits while the
    /// catalog is being written, as [`Scope::bound`] does.
    pub(crate) async fn begin(&self, now: Option<i64>) -> Result<Arc<StatementContext>> {
        self.bound(StatementContext::begin(self, now)).await
    }

    /// The same for a statement that reads no rows.
    pub(crate) async fn begin_unseeing(&self, now: Option<i64>) -> Result<Arc<StatementContext>> {
        self.bound(StatementContext::begin_unseeing(self, now)).await
    }
}
