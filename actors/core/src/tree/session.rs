//! `SessionActor`: one user's session. It admits the user's statements and starts each in a task of its
//! own, which answers by itself, so a slow statement delays no other.
//!
//! Its mailbox holds at most one message per request at the door; beyond `query.max_concurrent_per_user`
//! running statements the tasks wait for their turn, `query.max_waiting` in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use kalamdb_commons::{Error, ErrorCode};
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::catalog::CatalogClient;
use super::gauges::Gauges;
use crate::engine::{Runtime, run_request};
use crate::task::spawn_on;
use crate::{SqlOutcome, SqlRequest};

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) runtime: Arc<Runtime>,
    pub(super) catalog: CatalogClient,
    /// Running statements; closed when the server stops.
    pub(super) running: tokio_util::task::TaskTracker,
    /// Calls off what is not committing.
    pub(super) cancel: CancellationToken,
    waiting: AtomicUsize,
}

impl Admission {
    pub(super) fn new(runtime: Arc<Runtime>, catalog: CatalogClient) -> Self {
        Self {
            runtime,
            catalog,
            running: tokio_util::task::TaskTracker::new(),
            cancel: CancellationToken::new(),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// A session as others see it.
#[derive(Debug)]
pub(super) struct SessionHandle {
    pub(super) actor: ActorRef<SessionMsg>,
    pub(super) shared: Arc<SessionShared>,
}

/// What a session's actor, its tasks and its supervisor know of it.
#[derive(Debug)]
pub(super) struct SessionShared {
    pub(super) gauges: Arc<Gauges>,
    slots: Arc<Semaphore>,
    running: AtomicUsize,
    last_active: Mutex<Instant>,
}

impl SessionShared {
    pub(super) fn new(max_concurrent: usize) -> Arc<Self> {
        Arc::new(Self {
            gauges: Gauges::new(),
            slots: Arc::new(Semaphore::new(max_concurrent.clamp(1, Semaphore::MAX_PERMITS))),
            running: AtomicUsize::new(0),
            last_active: Mutex::new(Instant::now()),
        })
    }

    /// Whether nothing runs, and nothing has for so long.
    pub(super) fn is_idle_for(&self, limit: std::time::Duration) -> bool {
        self.running.load(Ordering::Acquire) == 0 && self.last_active.lock().elapsed() >= limit
    }
}

/// One request on its way to its task.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Arc<SqlRequest>,
    /// Set before anything of it can have an effect.
    pub(super) begun: Arc<AtomicBool>,
    pub(super) reply: oneshot::Sender<SqlOutcome>,
}

/// What the actor is started with.
#[derive(Debug)]
pub(super) struct SessionArgs {
    pub(super) admission: Arc<Admission>,
    pub(super) shared: Arc<SessionShared>,
}

/// What it is asked.
#[derive(Debug)]
pub(super) enum SessionMsg {
    /// Start a request.
    Run {
        /// The request with the way back.
        job: Box<Job>,
    },
    /// Fail, as a defect would.
    #[cfg(test)]
    Panic,
}

impl SessionArgs {
    fn run(&self, job: Job) {
        let Job { request, begun, reply } = job;
        if reply.is_closed() {
            return;
        }
        begun.store(true, Ordering::Release);
        *self.shared.last_active.lock() = Instant::now();
        self.shared.running.fetch_add(1, Ordering::AcqRel);
        let (admission, shared) = (Arc::clone(&self.admission), Arc::clone(&self.shared));
        let token = self.admission.running.token();
        let handle = self.admission.runtime.statements().clone();
        spawn_on(&handle, "statement", async move {
            // Both counts end with the task, however it ends.
            let _tracked = token;
            let _active = Active(Arc::clone(&shared));
            serve(&admission, &shared, request, reply).await;
        });
    }
}

/// Counts a running statement down.
struct Active(Arc<SessionShared>);

impl Drop for Active {
    fn drop(&mut self) {
        *self.0.last_active.lock() = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits for a turn, runs the request, answers. A client that went away calls off what is not committing.
async fn serve(
    admission: &Admission,
    shared: &SessionShared,
    request: Arc<SqlRequest>,
    mut reply: oneshot::Sender<SqlOutcome>,
) {
    let permit = tokio::select! {
        permit = turn(admission, shared) => permit,
        // Nobody waits for the answer: the place in the queue is somebody else's.
        () = reply.closed() => return,
    };
    let _permit = match permit {
        Ok(permit) => permit,
        Err(error) => {
            let _ = reply.send(SqlOutcome::refused(error));
            return;
        }
    };
    if reply.is_closed() {
        return;
    }
    let cancel = admission.cancel.child_token();
    let request = Arc::unwrap_or_clone(request);
    let mut run = std::pin::pin!(run_request(&admission.runtime, &admission.catalog, request, &cancel));
    let outcome = tokio::select! {
        outcome = &mut run => outcome,
        () = reply.closed() => {
            cancel.cancel();
            run.await
        }
    };
    let _ = reply.send(outcome);
}

async fn turn(admission: &Admission, shared: &SessionShared) -> Result<OwnedSemaphorePermit, Error> {
    let slots = Arc::clone(&shared.slots);
    if let Ok(permit) = Arc::clone(&slots).try_acquire_owned() {
        return Ok(permit);
    }
    let settings = admission.runtime.settings();
    let waiting = Waiting::enter(&admission.waiting);
    if waiting.count > settings.query.max_waiting {
        return Err(Error::new(ErrorCode::Overloaded, "too many statements wait already (query.max_waiting)"));
    }
    tokio::select! {
        () = admission.cancel.cancelled() => Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down")),
        permit = tokio::time::timeout(settings.server.request_timeout, slots.acquire_owned()) => match permit {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(
                ErrorCode::Timeout,
                "the statement waited longer than server.request_timeout for its turn; nothing was changed",
            )),
        },
    }
}

struct Waiting<'a> {
    counter: &'a AtomicUsize,
    count: usize,
}

impl<'a> Waiting<'a> {
    fn enter(counter: &'a AtomicUsize) -> Self {
        Self { counter, count: counter.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::AcqRel);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SessionActor;

impl Actor for SessionActor {
    type Msg = SessionMsg;
    type State = SessionArgs;
    type Arguments = SessionArgs;

    async fn pre_start(&self, _: ActorRef<SessionMsg>, args: SessionArgs) -> Result<SessionArgs, ActorProcessingErr> {
        Ok(args)
    }

    async fn handle(
        &self,
        _: ActorRef<SessionMsg>,
        message: SessionMsg,
        state: &mut SessionArgs,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.gauges.taken();
        match message {
            SessionMsg::Run { job } => state.run(*job),
            #[cfg(test)]
            SessionMsg::Panic => panic!("asked to"),
        }
        Ok(())
    }
}
