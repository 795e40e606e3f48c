//! Which files of segments may be another server's, too, and stay (FL-8).
//!
//! A server that was started from a copy of another's data directory knows its own boundary from its store, and leaves
//! it in the storages that both read. Whoever deletes files asks the storage, too: it may be the one that was copied.

use std::collections::BTreeMap;

use kalamdb_commons::Result;
use kalamdb_segments::shared;
use kalamdb_store::home::Shared;
use parking_lot::Mutex;

use super::SegmentStores;

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
    Left,
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
        own.storages.iter().filter(|(_, mark)| **mark != Mark::Left).map(|(storage, _)| storage.clone()).collect()
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
    /// Leaves this server's boundary where it is not yet; what fails is tried again by the next call.
    pub(crate) async fn leave_boundaries(&self) {
        for storage in self.boundaries.without() {
            let below = self.boundaries.to_leave(&storage);
            let Err(error) = self.leave_boundary(&storage, below).await else { continue };
            // Once: it is tried every second.
            if self.boundaries.mark(&storage, below, Mark::Failed) == Some(Mark::Missing) {
                let error = error.detail.as_deref().unwrap_or(&error.message);
                tracing::warn!(storage, error, "other servers cannot be told yet which files of the storage to keep");
            }
        }
    }

    async fn leave_boundary(&self, storage: &str, below: u128) -> Result<u128> {
        let there = shared::raise(self.storage(storage)?.as_ref(), below).await?;
        self.boundaries.mark(storage, below, Mark::Left);
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
