//! The open backend with its committer. They live and fail together: after a failed write or sync both are
//! replaced, and what the backend then holds is the truth.

use std::sync::Arc;

use kalamdb_commons::settings::{Durability, StorageSettings};
use kalamdb_commons::{Error, Result};
use kalamdb_store::codec::meta::DatabaseId;
use kalamdb_store::{BackendRegistry, Committer, IfMissing, StorageBackend, SyncMode, identity};
use tokio::runtime::Handle;

use crate::task::spawn_on;

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) backend: Arc<dyn StorageBackend>,
    pub(crate) committer: Arc<Committer>,
}

impl Store {
    /// Opens the backend that the settings name; tells which database it holds.
    pub(super) async fn open(
        settings: &StorageSettings,
        backends: &BackendRegistry,
        missing: IfMissing,
    ) -> Result<(Self, DatabaseId)> {
        let backend = backends.open(settings, missing).await.map_err(|error| {
            let text = error.to_string();
            Error { detail: Some(text), ..Error::from(error) }
        })?;
        match Self::recover(Arc::clone(&backend), settings.durability).await {
            Ok((committer, database)) => Ok((Self { backend, committer }, database)),
            Err(error) => {
                // Whoever tries again finds the files free.
                let _ = backend.close().await;
                Err(error)
            }
        }
    }

    async fn recover(backend: Arc<dyn StorageBackend>, durability: Durability) -> Result<(Arc<Committer>, DatabaseId)> {
        let database = identity::recognise(backend.as_ref()).await?;
        let mode = match durability {
            Durability::Sync => SyncMode::Sync,
            Durability::Buffered => SyncMode::Buffered,
        };
        Ok((Committer::open(backend, mode).await?, database))
    }

    /// Syncs what is written for as long as the store is used.
    pub(super) fn run_syncer(&self, threads: &Handle) {
        spawn_on(threads, "syncer", Arc::clone(&self.committer).run_syncer());
    }

    /// Whether it has to be opened again before anything can be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.committer.is_poisoned()
    }
}
