//! The one task that syncs: every write that waits when a sync begins is served by it.

use std::sync::Arc;
use std::time::Duration;

use super::{Committer, SyncMode, Ticket};

/// How much `buffered` may lose to a power cut.
const BUFFERED_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(committer: Arc<Committer>) {
    let mut written = committer.written.subscribe();
    let mut done = Ticket(0);
    while written.wait_for(|ticket| *ticket > done).await.is_ok() {
        if committer.mode == SyncMode::Buffered {
            tokio::time::sleep(BUFFERED_INTERVAL).await;
        }
        // Everything up to here was written before the sync begins.
        let target = *written.borrow_and_update();
        if let Err(error) = committer.backend.sync().await {
            tracing::error!(%error, "sync failed: writes are refused until the backend is opened again");
            committer.poison(error.into());
            return;
        }
        committer.unsynced.lock().retain(|_, ticket| *ticket > target);
        committer.synced.send_replace(target);
        done = target;
    }
}
