//! What an actor says of itself without being asked: counters that others read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_commons::Error;
use kalamdb_wire::ActorNode;
use parking_lot::Mutex;
use ractor::{ActorProcessingErr, ActorRef, ActorStatus, Message};
use tokio::time::Instant;

use super::faults::Faults;

/// One actor's counters. They outlive restarts, and belong to the actor's place in the tree.
#[derive(Debug)]
pub struct Gauges {
    kind: &'static str,
    queued: AtomicU64,
    handled: AtomicU64,
    restarts: AtomicU64,
    started: Mutex<Instant>,
    last_error: Mutex<Option<String>>,
    faults: Faults,
}

impl Gauges {
    /// Those of an actor of this kind, from 0.
    #[must_use]
    pub fn new(kind: &'static str, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            kind,
            queued: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            started: Mutex::new(Instant::now()),
            last_error: Mutex::new(None),
            faults,
        })
    }

    /// The first line of an actor's `pre_start`.
    ///
    /// # Errors
    /// Where a test says so.
    pub async fn starting<M: Message>(&self, myself: &ActorRef<M>) -> Result<(), ActorProcessingErr> {
        self.faults.reached(self.kind, "start", myself).await
    }

    /// The first line of an actor's `handle_supervisor_evt`.
    ///
    /// # Errors
    /// Where a test says so.
    pub async fn hears<M: Message>(&self, myself: &ActorRef<M>) -> Result<(), ActorProcessingErr> {
        self.faults.reached(self.kind, "event", myself).await
    }

    /// A place in the actor's work, by name, where a test may want it to fail.
    pub fn passes(&self, moment: &'static str) {
        self.faults.passed(self.kind, moment);
    }

    /// It was lost, and why; see [`cause`].
    pub fn lost(&self, why: impl Into<String>) {
        *self.last_error.lock() = Some(why.into());
    }

    /// It was started again.
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        *self.started.lock() = Instant::now();
    }

    /// What an earlier actor in this place left to be told.
    pub fn inherit(&self, restarts: u64, last_error: Option<String>) {
        self.restarts.store(restarts, Ordering::Relaxed);
        *self.last_error.lock() = last_error;
    }

    /// Something was done for the actor that needed no message.
    pub fn handled_without_mail(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that wait in its mailbox.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.queued.load(Ordering::Acquire)
    }

    /// The actor as the status page shows it, without children.
    pub fn node(&self, name: impl Into<String>, status: Option<ActorStatus>) -> ActorNode {
        ActorNode {
            name: name.into(),
            kind: self.kind.to_owned(),
            state: state(status).to_owned(),
            mailbox_depth: self.depth(),
            messages_handled: self.handled.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            uptime_s: self.started.lock().elapsed().as_secs(),
            last_error: self.last_error.lock().clone(),
            ..ActorNode::default()
        }
    }
}

/// A message in a mailbox. It counts as waiting for as long as it is there, also when the actor is lost and its
/// mailbox with it.
#[derive(Debug)]
pub struct Mail<M> {
    message: M,
    queued: Queued,
}

/// The name of a message, for tests that let an actor fail at one.
pub trait Named {
    /// It.
    fn name(&self) -> &'static str;
}

impl<M: Named> Mail<M> {
    /// A message to the actor with these gauges.
    pub fn new(gauges: &Arc<Gauges>, message: M) -> Self {
        gauges.queued.fetch_add(1, Ordering::AcqRel);
        Self { message, queued: Queued(Arc::clone(gauges)) }
    }

    /// Takes the message out of the mailbox: the first line of an actor's `handle`.
    ///
    /// # Errors
    /// Where a test says so.
    pub async fn open<A: Message>(self, myself: &ActorRef<A>) -> Result<M, ActorProcessingErr> {
        let Self { message, queued } = self;
        let gauges = Arc::clone(&queued.0);
        drop(queued);
        gauges.handled.fetch_add(1, Ordering::Relaxed);
        gauges.faults.reached(gauges.kind, message.name(), myself).await?;
        Ok(message)
    }

    /// The message of mail that could not be sent.
    pub fn returned(self) -> M {
        self.message
    }
}

/// One message more in the mailbox, as long as it lives.
#[derive(Debug)]
struct Queued(Arc<Gauges>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why an actor was lost, in words for the status page. A panic's text may hold rows, so it stays in the log.
#[must_use]
pub fn cause(error: &ActorProcessingErr) -> String {
    match error.downcast_ref::<Error>() {
        Some(error) => error.to_string(),
        None => "it failed or panicked; the server's log has the details".to_owned(),
    }
}

/// The word for a status; none while it waits to be restarted.
fn state(status: Option<ActorStatus>) -> &'static str {
    match status {
        Some(ActorStatus::Unstarted | ActorStatus::Starting) => "starting",
        Some(ActorStatus::Running | ActorStatus::Upgrading) => "running",
        Some(ActorStatus::Draining) => "draining",
        Some(ActorStatus::Stopping) => "stopping",
        Some(ActorStatus::Stopped) => "stopped",
        None => "restarting",
    }
}
