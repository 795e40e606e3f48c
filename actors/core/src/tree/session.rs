//! `SessionActor`: one user's session, which keeps the tables that the user's statements have named. It starts each of the user's statements in a task of its own, which
//! waits for its turn, runs, and answers by itself, so a slow statement delays no other. Tasks run on the threads
//! for statements, which have the stack that parsing and planning take. What needs neither (an INSERT of values, a row
//! by its key) is started where it comes in, on the threads of connections and actors: two hops cost more than it.
//!
//! Its mailbox holds at most one message per admitted request. Restart: it is not restarted; the user's next
//! statement opens a new session, which takes over the places that statements of the lost one still hold. Shutdown: it
//! starts what is in its mailbox, then ends; its tasks are waited for by the root.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::{Admission, Admitted, UserPlaces};
use super::claim::Claim;
use super::gauges::{Gauges, Mail, Named};
use crate::engine::{Runtime, SessionCache, run_request};
use crate::task::spawn_on;
use crate::{AnswerFormat, SqlOutcome, SqlRequest};

/// Text and parameters of a request that may run on the threads of actors and connections.
const LIGHT_BYTES: u64 = 64 << 10;

/// A session as others see it.
#[derive(Debug)]
pub(super) struct SessionHandle {
    pub(super) actor: ActorRef<Mail<SessionMsg>>,
    pub(super) shared: Arc<SessionShared>,
}

/// What a session's actor, its tasks and its supervisor know of it.
#[derive(Debug)]
pub(super) struct SessionShared {
    pub(super) gauges: Arc<Gauges>,
    places: UserPlaces,
    cache: Arc<SessionCache>,
    tasks: AtomicUsize,
    last_active: Mutex<Instant>,
}

impl SessionShared {
    pub(super) fn new(places: UserPlaces, cache: Arc<SessionCache>, gauges: Arc<Gauges>) -> Arc<Self> {
        Arc::new(Self { gauges, places, cache, tasks: AtomicUsize::new(0), last_active: Mutex::new(Instant::now()) })
    }

    /// Whether nothing of it runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.load(Ordering::Acquire) == 0 && self.gauges.depth() == 0
    }

    /// Whether that has been so for so long.
    pub(super) fn is_idle_for(&self, limit: Duration, now: Instant) -> bool {
        self.is_idle() && now.duration_since(*self.last_active.lock()) >= limit
    }
}

/// One request on its way to its task.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Arc<SqlRequest>,
    /// How a single SELECT is answered, if not as a whole.
    pub(super) format: Option<AnswerFormat>,
    pub(super) admitted: Arc<Admitted>,
    /// When its first statement ends unless it is committing.
    pub(super) deadline: Instant,
    pub(super) claim: Arc<Claim>,
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
}

impl Named for SessionMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "Run",
        }
    }
}

/// Where a request's task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// With the stack and the time that planning takes.
    Statements,
    /// Those of connections and actors.
    Here,
}

impl Threads {
    /// What is light saves the way to other threads and back; rows that are streamed are not.
    pub(super) fn of(admission: &Admission, job: &Job) -> Self {
        let request = &job.request;
        if job.format.is_none()
            && request.size_in_memory() <= LIGHT_BYTES
            && admission.runtime.is_light(&request.sql, &request.params, &request.namespace)
        {
            Self::Here
        } else {
            Self::Statements
        }
    }
}

impl SessionShared {
    /// Starts a request of the session.
    pub(super) fn start(self: &Arc<Self>, admission: &Arc<Admission>, threads: Threads, job: Job) {
        if job.reply.is_closed() {
            return;
        }
        job.claim.take_out();
        let active = Active::begin(self);
        let token = admission.running.token();
        let threads = match threads {
            Threads::Statements => admission.runtime.statements().clone(),
            Threads::Here => Handle::current(),
        };
        let admission = Arc::clone(admission);
        drop(spawn_on(&threads, "statement", async move {
            // Both counts end with the task, however it ends.
            let _tracked = token;
            serve(&admission, &active.0, job).await;
        }));
    }
}

/// Counts a task of the session.
struct Active(Arc<SessionShared>);

impl Active {
    fn begin(shared: &Arc<SessionShared>) -> Self {
        shared.tasks.fetch_add(1, Ordering::AcqRel);
        *shared.last_active.lock() = Instant::now();
        shared.cache.is_active();
        Self(Arc::clone(shared))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        *self.0.last_active.lock() = Instant::now();
        self.0.cache.is_active();
        self.0.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits for a turn, runs the request, answers. A client that went away calls off what is not committing.
async fn serve(admission: &Admission, shared: &SessionShared, job: Job) {
    let Job { request, format, admitted, deadline, claim, mut reply } = job;
    shared.gauges.passes("turn");
    let turn = tokio::select! {
        turn = admission.turn(&shared.places, &admitted) => turn,
        // Nobody waits for the answer: the place in the queue is somebody else's.
        () = reply.closed() => return,
    };
    let turn = match turn {
        Ok(turn) => turn,
        Err(error) => {
            let _ = reply.send(SqlOutcome::refused(error));
            return;
        }
    };
    if !claim.begin() {
        return;
    }
    shared.gauges.passes("begun");
    let cancel = admission.cancel.child_token();
    let (runtime, session) = (&admission.runtime, Some(&shared.cache));
    let run = run_request(runtime, &admission.clients, session, &request, format, deadline, &cancel);
    let mut run = std::pin::pin!(run);
    let (outcome, streaming) = tokio::select! {
        outcome = &mut run => outcome,
        () = reply.closed() => {
            cancel.cancel();
            run.await
        }
    };
    shared.gauges.passes("done");
    // Whoever asks again at once finds the places free; rows that are still to be sent keep them.
    let _places = streaming.as_ref().map(|_| (turn, admitted));
    // A client that is gone has dropped its end of the stream with it.
    let _ = reply.send(outcome);
    make_room(runtime);
    if let Some(streaming) = streaming {
        Box::pin(streaming.run(&request.request_id)).await;
    }
}

/// Has room made for registrations where a session found none: nobody waits for it.
fn make_room(runtime: &Arc<Runtime>) {
    if runtime.sessions().wants_room() {
        let sessions = Arc::clone(runtime.sessions());
        drop(spawn_on(runtime.statements(), "make room", async move { sessions.make_room() }));
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SessionActor;

impl Actor for SessionActor {
    type Msg = Mail<SessionMsg>;
    type State = SessionArgs;
    type Arguments = SessionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<SessionMsg>>,
        args: SessionArgs,
    ) -> Result<SessionArgs, ActorProcessingErr> {
        args.shared.gauges.starting(&myself).await?;
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<SessionMsg>>,
        mail: Mail<SessionMsg>,
        state: &mut SessionArgs,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            SessionMsg::Run { job } => {
                let threads = Threads::of(&state.admission, &job);
                state.shared.start(&state.admission, threads, *job);
            }
        }
        Ok(())
    }
}
