//! What an actor says of itself without being asked: counters that others read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kalamdb_wire::ActorNode;
use parking_lot::Mutex;
use ractor::ActorStatus;

/// One actor's counters. They outlive restarts, and belong to the actor's place in the tree.
#[derive(Debug)]
pub(super) struct Gauges {
    queued: AtomicU64,
    handled: AtomicU64,
    restarts: AtomicU64,
    started: Mutex<Instant>,
}

impl Gauges {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            queued: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            started: Mutex::new(Instant::now()),
        })
    }

    /// A message was sent to it.
    pub(super) fn sent(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// A message could not be sent after all.
    pub(super) fn unsent(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    /// A message was taken out of the mailbox.
    pub(super) fn taken(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// It was started again, its mailbox empty.
    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.queued.store(0, Ordering::Relaxed);
        *self.started.lock() = Instant::now();
    }

    /// The actor as the status page shows it, without children.
    pub(super) fn node(&self, name: impl Into<String>, kind: &str, status: Option<ActorStatus>) -> ActorNode {
        ActorNode {
            name: name.into(),
            kind: kind.to_owned(),
            state: state(status).to_owned(),
            mailbox_depth: self.queued.load(Ordering::Relaxed),
            messages_handled: self.handled.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            uptime_s: self.started.lock().elapsed().as_secs(),
            ..ActorNode::default()
        }
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
