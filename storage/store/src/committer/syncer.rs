//! The one task that syncs: every write that waits when a sync begins is served by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Committer, SyncMode, Ticket};
use crate::StoreError;

/// How much `buffered` may lose to a power cut: a sync begins no later than this after the one before.
const BUFFERED_INTERVAL: Duration = Duration::from_millis(100);

/// When the next sync may begin for a write that waits, the last one having begun at `begun`; none for at once.
/// Counted from beginning to beginning, so that a slow sync does not add to what a power cut may take.
fn earliest(mode: SyncMode, begun: Option<Instant>) -> Option<Instant> {
    match mode {
        SyncMode::Sync => None,
        SyncMode::Buffered => begun.map(|begun| begun + BUFFERED_INTERVAL),
    }
}

/// How far writes have got. Raised by every one of them, so it costs next to nothing while the syncer is busy.
#[derive(Debug, Default)]
pub(super) struct WrittenSignal {
    newest: AtomicU64,
    closed: AtomicBool,
    /// Whether the syncer waits to be woken.
    waits: AtomicBool,
    wake: Notify,
}

impl WrittenSignal {
    /// With the writer held: it never goes back.
    pub(super) fn raise(&self, ticket: Ticket) {
        self.newest.store(ticket.0, Ordering::SeqCst);
        self.wake();
    }

    /// There will be no more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if self.waits.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// The newest write.
    pub(super) fn newest(&self) -> Ticket {
        Ticket(self.newest.load(Ordering::SeqCst))
    }

    /// Waits until something newer than `done` is written; false if nothing will be.
    async fn beyond(&self, done: Ticket) -> bool {
        loop {
            // First this, then the look: whoever writes after the look finds it.
            self.waits.store(true, Ordering::SeqCst);
            if self.newest() > done {
                self.waits.store(false, Ordering::SeqCst);
                return true;
            }
            if self.closed.load(Ordering::SeqCst) {
                return false;
            }
            self.wake.notified().await;
        }
    }
}

pub(super) async fn run(committer: Arc<Committer>) {
    let written = Arc::clone(&committer.written);
    let mode = committer.mode;
    // Not held while waiting: the signal closes when the last other owner is gone, and that ends this task.
    let owner = Arc::downgrade(&committer);
    drop(committer);

    let mut done = Ticket(0);
    let mut begun = None;
    while written.beyond(done).await {
        if let Some(at) = earliest(mode, begun) {
            sleep_until(at).await;
        }
        let Some(committer) = owner.upgrade() else { return };
        let watched = Watched(&committer);
        begun = Some(Instant::now());
        // Everything up to here was written before the sync begins.
        let target = written.newest();
        if let Err(error) = committer.backend.sync().await {
            match &error {
                // Closing has synced what was written.
                StoreError::Closed => tracing::debug!("storage backend closed"),
                _ => tracing::error!(%error, "sync failed: writes are refused until the backend is opened again"),
            }
            // Waiters are woken; each answers that its outcome is unknown.
            drop(committer.poison(error));
            return;
        }
        committer.unsynced.lock().retain(|_, ticket| *ticket > target);
        committer.queue.release(target);
        committer.synced.send_replace(target);
        done = target;
        committer.reserve_ahead().await;
        std::mem::forget(watched);
    }
}

/// Poisons a committer whose syncer ends in the middle of its work: nobody would ever be answered.
struct Watched<'a>(&'a Committer);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if !self.0.is_poisoned() {
            let error = StoreError::Backend { action: "sync", message: "the syncer ended".to_owned() };
            drop(self.0.poison(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However raising and waiting fall together, whoever waits hears of every write, and of the end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_write_is_missed() {
        let signal = Arc::new(WrittenSignal::default());
        let (raising, last) = (Arc::clone(&signal), 20_000);
        let raise = std::thread::spawn(move || {
            for ticket in 1..=last {
                raising.raise(Ticket(ticket));
                if ticket % 7 == 0 {
                    std::thread::yield_now();
                }
            }
            raising.close();
        });
        let mut done = Ticket(0);
        while signal.beyond(done).await {
            let newest = signal.newest();
            assert!(newest > done);
            done = newest;
        }
        assert_eq!(done, Ticket(last));
        raise.join().unwrap();
        assert!(!signal.beyond(done).await, "closed for good");
    }

    #[test]
    fn a_buffered_write_waits_no_longer_than_the_interval() {
        let begun = Instant::now();
        assert_eq!(earliest(SyncMode::Buffered, None), None, "the first is synced at once");
        assert_eq!(earliest(SyncMode::Buffered, Some(begun)), Some(begun + Duration::from_millis(100)));
        assert_eq!(earliest(SyncMode::Sync, Some(begun)), None);
    }
}
