//! Files that no manifest names any more (FL-5).

use kalamdb_commons::Result;

use super::Committer;
use crate::backend::Batch;
use crate::files::{self, GarbagePlace, GarbageRecord};

impl Committer {
    /// The oldest files, at most so many, that no manifest names, also after a power cut, and nobody reads: to be
    /// deleted. [Forget](Self::forget_garbage) them when they are. Where some cannot be, ask for those behind them the
    /// next time (`after`), and for all again when fewer than `limit` came.
    ///
    /// # Errors
    /// When the backend cannot be read or synced, or an entry does not decode.
    pub async fn collectable(&self, after: Option<GarbagePlace>, limit: usize) -> Result<Vec<GarbageRecord>> {
        let snapshot = self.backend.snapshot().await?;
        let mut garbage = files::garbage(snapshot.as_ref(), after, limit).await?;
        if garbage.is_empty() {
            return Ok(garbage);
        }
        // After the list: who pins later reads a snapshot that names none of these.
        let oldest = self.pins.oldest();
        garbage.retain(|record| oldest.is_none_or(|pinned| record.generation <= pinned));
        if !garbage.is_empty() {
            // A power cut before that would bring the entries back, and find their files gone.
            self.sync_written().await?;
        }
        Ok(garbage)
    }

    /// Forgets files that do not exist any more.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`](kalamdb_commons::ErrorCode::StorageUnavailable).
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn forget_garbage(&self, records: &[GarbageRecord]) -> Result<()> {
        let mut batch = Batch::new();
        for record in records {
            files::delete_garbage(&mut batch, record);
        }
        self.write_unwaited(batch).await
    }
}
