//! The queue between a write and its acknowledgement (CM-5).
//!
//! Entries come in with the writer's lock held, so they stand in `_seq` order, and leave in that order: the
//! syncer publishes and acknowledges everything that a sync has covered. Nobody who waits here can hold up
//! another, or the order: an entry whose client is gone is published all the same.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_commons::{Error, Result, Seq};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{PartitionId, Ticket, unavailable};

/// Who is told of published statements whose changes are in a change log. Called in `_seq` order, with locks held: it
/// returns at once, and takes none that is held over a commit.
pub trait PublishWatch: Send + Sync + fmt::Debug {
    /// A statement of the partition is published.
    fn published(&self, partition: &PartitionId);
}

/// A statement that is in the log.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) ticket: Ticket,
    /// The `_seq` of its last change; none for one of the catalog.
    pub(super) last_seq: Option<Seq>,
    /// Whose change log it has an entry in.
    pub(super) logged: Option<PartitionId>,
}

/// The committer's answer to a written statement, that may still be on its way.
#[derive(Debug)]
pub struct Acknowledgement(State);

#[derive(Debug)]
enum State {
    Given,
    Coming(oneshot::Receiver<Result<()>>),
}

impl Acknowledgement {
    /// Waits until the statement may be acknowledged: it is published then, and as durable as the mode promises.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`](kalamdb_commons::ErrorCode::StorageUnavailable), outcome unknown, when
    /// its sync failed.
    ///
    /// # Cancel safety
    /// Safe: the statement is published whether anybody waits or not.
    pub async fn wait(self) -> Result<()> {
        match self.0 {
            State::Given => Ok(()),
            State::Coming(answer) => answer.await.unwrap_or_else(|_| Err(unavailable().outcome_unknown())),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    written: Written,
    answer: oneshot::Sender<Result<()>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Line>,
    published: AtomicU64,
    watch: OnceLock<Arc<dyn PublishWatch>>,
}

#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<Waiting>,
    /// What everybody gets who comes after a failure.
    failed: Option<Error>,
}

impl Queue {
    /// `next` is the first number that will be given: whatever came before is published.
    pub(super) fn new(next: Seq) -> Self {
        Self { waiting: Mutex::default(), published: AtomicU64::new(next.0.saturating_sub(1)), watch: OnceLock::new() }
    }

    pub(super) fn published(&self) -> Seq {
        Seq(self.published.load(Ordering::Acquire))
    }

    /// A statement that waits for its sync. With the writer's lock held.
    pub(super) fn push(&self, written: Written) -> Acknowledgement {
        let (answer, coming) = oneshot::channel();
        let mut line = self.waiting.lock();
        // The sync before this write may have failed between the write and here.
        match &line.failed {
            Some(error) => drop(answer.send(Err(error.clone()))),
            None => line.entries.push_back(Waiting { written, answer }),
        }
        Acknowledgement(State::Coming(coming))
    }

    /// A statement that waits for nothing more. With the writer's lock held.
    pub(super) fn publish(&self, written: Written) -> Acknowledgement {
        self.tell(&written);
        Acknowledgement(State::Given)
    }

    /// Everything up to `ticket` is synced: publishes and acknowledges it, in order.
    pub(super) fn release(&self, ticket: Ticket) {
        let mut line = self.waiting.lock();
        while line.entries.front().is_some_and(|entry| entry.written.ticket <= ticket) {
            if let Some(Waiting { written, answer }) = line.entries.pop_front() {
                self.tell(&written);
                // Nobody may be waiting any more.
                let _ = answer.send(Ok(()));
            }
        }
    }

    /// No sync will come: nothing that waits is published, now or later.
    pub(super) fn fail(&self, error: &Error) {
        let mut line = self.waiting.lock();
        line.failed.get_or_insert_with(|| error.clone());
        for entry in line.entries.drain(..) {
            let _ = entry.answer.send(Err(error.clone()));
        }
    }

    /// From now on `watch` is told; only the first call counts.
    pub(super) fn watch(&self, watch: Arc<dyn PublishWatch>) {
        let _ = self.watch.set(watch);
    }

    fn tell(&self, written: &Written) {
        let Some(last_seq) = written.last_seq else { return };
        debug_assert!(self.published() < last_seq, "CM-5: published in _seq order");
        self.published.store(last_seq.0, Ordering::Release);
        if let (Some(partition), Some(watch)) = (&written.logged, self.watch.get()) {
            watch.published(partition);
        }
    }
}
