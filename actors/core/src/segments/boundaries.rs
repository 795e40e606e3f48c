//! Which files of segments may be another server's, too, and stay (FL-8).
//!
//! A server that was started from a copy of another's data directory knows its own boundary from its store, and leaves
//! it in the storages that both read. Whoever deletes files asks the storage, too: it may be the one that was copied.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_segments::{SegmentStorage, shared};
use kalamdb_store::home::Shared;
use parking_lot::Mutex;

use super::SegmentStores;

/// After which time it is made sure that a storage still has the boundary.
const LEFT_AGAIN: Duration = Duration::from_secs(60);
/// How long a storage is waited for.
const LONGEST: Duration = Duration::from_secs(5);

/// What this server itself shares.
#[derive(Debug, Default)]
pub(crate) struct Boundaries(Mutex<Own>);

#[derive(Debug, Default)]
struct Own {
    below: u128,
    /// The storages with shared segments.
    storages: BTreeMap<String, Mark>,
}

/// Whether a storage is known to have the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Missing,
    /// As `Missing`, and that was told to the log.
    Failed,
    /// It had it then.
    Left(Instant),
}

impl Boundaries {
    /// Of a store that was opened.
    pub(crate) fn set(&self, shared: Option<&Shared>) {
        let storages = shared.into_iter().flat_map(|shared| &shared.storages);
        *self.0.lock() = Own {
            below: shared.map_or(0, |shared| shared.below),
            storages: storages.map(|storage| (storage.clone(), Mark::Missing)).collect(),
        };
    }

    /// What this server has to leave in a storage; 0 in one that it shares nothing in.
    fn to_leave(&self, storage: &str) -> u128 {
        let own = self.0.lock();
        if own.storages.contains_key(storage) { own.below } else { 0 }
    }

    fn without(&self) -> Vec<String> {
        let own = self.0.lock();
        let due = |mark: &Mark| !matches!(mark, Mark::Left(at) if at.elapsed() < LEFT_AGAIN);
        own.storages.iter().filter(|(_, mark)| due(mark)).map(|(storage, _)| storage.clone()).collect()
    }

    /// How it was before.
    fn mark(&self, storage: &str, below: u128, to: Mark) -> Option<Mark> {
        let mut own = self.0.lock();
        // The store may have been opened again meanwhile.
        if own.below != below {
            return None;
        }
        own.storages.get_mut(storage).map(|mark| std::mem::replace(mark, to))
    }
}

impl SegmentStores {
    /// Leaves this server's boundary where it is not yet, or was not looked at for a while: somebody may have taken it away,
    /// moved the files without it, or mounted another file system there. What fails is tried again by the next call; none
    /// is waited for long.
    pub(crate) async fn leave_boundaries(&self) {
        let each = self.boundaries.without().into_iter().map(|storage| async move {
            let below = self.boundaries.to_leave(&storage);
            let left = tokio::time::timeout(LONGEST, self.leave_boundary(&storage, below)).await;
            let error = match left {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => error,
                Err(_) => Error::new(ErrorCode::StorageUnavailable, "the storage does not answer"),
            };
            // Once: it is tried every second.
            if self.boundaries.mark(&storage, below, Mark::Failed) == Some(Mark::Missing) {
                let error = error.detail.as_deref().unwrap_or(&error.message);
                tracing::warn!(storage, error, "other servers cannot be told yet which files of the storage to keep");
            }
        });
        join_all(each).await;
    }

    /// Leaves in `files`, to where a storage is moved, what it has where it is.
    ///
    /// # Errors
    /// When it cannot be left.
    pub(crate) async fn take_boundary_along(&self, storage: &str, files: &dyn SegmentStorage) -> Result<()> {
        // One that cannot be read any more was moved as a whole.
        let there = match self.storage(storage) {
            Ok(before) => shared::keep_below(before.as_ref()).await.unwrap_or_default(),
            Err(_) => 0,
        };
        let below = there.max(self.boundaries.to_leave(storage));
        if below > 0 {
            shared::raise(files, below).await?;
        }
        Ok(())
    }

    async fn leave_boundary(&self, storage: &str, below: u128) -> Result<u128> {
        let there = shared::raise(self.storage(storage)?.as_ref(), below).await?;
        self.boundaries.mark(storage, below, Mark::Left(Instant::now()));
        Ok(there)
    }

    /// Files of segments with a smaller id may be another server's, too: they are not to be deleted.
    ///
    /// # Errors
    /// When that cannot be told: no file of the storage is to be deleted then.
    pub(crate) async fn keep_below(&self, storage: &str) -> Result<u128> {
        // Raised anew each time: somebody may have taken it away, or put a smaller one in its place.
        let there = self.leave_boundary(storage, self.boundaries.to_leave(storage)).await?;
        Ok(there.max(self.boundaries.0.lock().below))
    }
}
