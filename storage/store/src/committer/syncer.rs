//! The one task that syncs: every write that waits when a sync begins is served by it.

use std::sync::Arc;
use std::time::Duration;

use super::{Committer, SyncMode, Ticket};
use crate::StoreError;

/// How much `buffered` may lose to a power cut.
const BUFFERED_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(committer: Arc<Committer>) {
    let mut written = committer.written.subscribe();
    let mode = committer.mode;
    // Not held while waiting: the channel closes when the last other owner is gone, and that ends this task.
    let owner = Arc::downgrade(&committer);
    drop(committer);

    let mut done = Ticket(0);
    while written.wait_for(|ticket| *ticket > done).await.is_ok() {
        match mode {
            SyncMode::Sync => {}
            SyncMode::Buffered => tokio::time::sleep(BUFFERED_INTERVAL).await,
        }
        let Some(committer) = owner.upgrade() else { return };
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
        committer.synced.send_replace(target);
        done = target;
    }
}
