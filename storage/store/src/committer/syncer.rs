//! The one task that syncs: every write that waits when a sync begins is served by it.

use std::sync::Arc;
use std::time::Duration;

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

pub(super) async fn run(committer: Arc<Committer>) {
    let mut written = committer.written.subscribe();
    let mode = committer.mode;
    // Not held while waiting: the channel closes when the last other owner is gone, and that ends this task.
    let owner = Arc::downgrade(&committer);
    drop(committer);

    let mut done = Ticket(0);
    let mut begun = None;
    while written.wait_for(|ticket| *ticket > done).await.is_ok() {
        if let Some(at) = earliest(mode, begun) {
            sleep_until(at).await;
        }
        let Some(committer) = owner.upgrade() else { return };
        let watched = Watched(&committer);
        begun = Some(Instant::now());
        // Everything up to here was written before the sync begins.
        let target = *written.borrow_and_update();
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

    #[test]
    fn a_buffered_write_waits_no_longer_than_the_interval() {
        let begun = Instant::now();
        assert_eq!(earliest(SyncMode::Buffered, None), None, "the first is synced at once");
        assert_eq!(earliest(SyncMode::Buffered, Some(begun)), Some(begun + Duration::from_millis(100)));
        assert_eq!(earliest(SyncMode::Sync, Some(begun)), None);
    }
}
