//! The open backend with its committer. They live and fail together: after a failed write or sync both are
//! replaced, and what the backend then holds is the truth.

use std::sync::Arc;
use std::thread;

use kalamdb_commons::settings::{Durability, StorageSettings};
use kalamdb_commons::{Error, Result};
use kalamdb_store::codec::meta::DatabaseId;
use kalamdb_store::home::{self, Shared};
use kalamdb_store::{BackendRegistry, Committer, IfMissing, StorageBackend, SyncMode, identity};
use tokio::runtime::Builder;

use crate::task::logged;

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) backend: Arc<dyn StorageBackend>,
    pub(crate) committer: Arc<Committer>,
    /// What other servers may read, too.
    pub(crate) shared: Option<Shared>,
}

impl Store {
    /// Opens the backend that the settings name; tells which database it holds. `failed` is the store that it takes the
    /// place of.
    pub(super) async fn open(
        settings: &StorageSettings,
        backends: &BackendRegistry,
        missing: IfMissing,
        failed: Option<&Self>,
    ) -> Result<(Self, DatabaseId)> {
        let backend = backends.open(settings, missing).await.map_err(|error| {
            let text = error.to_string();
            Error { detail: Some(text), ..Error::from(error) }
        })?;
        match Self::recover(Arc::clone(&backend), settings.durability, failed).await {
            Ok((committer, database, shared)) => {
                committer.take_failpoints_of(backends);
                Ok((Self { backend, committer, shared }, database))
            }
            Err(error) => {
                // Whoever tries again finds the files free.
                let _ = backend.close().await;
                Err(error)
            }
        }
    }

    async fn recover(
        backend: Arc<dyn StorageBackend>,
        durability: Durability,
        failed: Option<&Self>,
    ) -> Result<(Arc<Committer>, DatabaseId, Option<Shared>)> {
        let database = identity::recognise(backend.as_ref()).await?;
        let shared = home::settle(backend.as_ref()).await?;
        let mode = match durability {
            Durability::Sync => SyncMode::Sync,
            Durability::Buffered => SyncMode::Buffered,
        };
        let failed = failed.map(|failed| failed.committer.as_ref());
        Ok((Committer::open_after(backend, mode, failed).await?, database, shared))
    }

    /// Syncs what is written for as long as the store is used, on a thread of its own: a commit waits for it, and is
    /// not to wait for queries that compute.
    pub(super) fn run_syncer(&self) -> Result<()> {
        let committer = Arc::clone(&self.committer);
        let runtime = Builder::new_current_thread().enable_time().build().map_err(Error::internal)?;
        let run = move || runtime.block_on(logged("syncer", committer.run_syncer()));
        thread::Builder::new().name("kalamdb-syncer".to_owned()).spawn(run).map_err(Error::internal)?;
        Ok(())
    }

    /// Whether it has to be opened again before anything can be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.committer.is_poisoned()
    }
}
