//! The open backend with its committer. They live and fail together: after a failed write or sync both are
//! replaced, and what the backend then holds is the truth. Beside them are those of stream tables, in memory.

use std::sync::Arc;
use std::thread;

use kalamdb_commons::settings::{Durability, StorageSettings};
use kalamdb_commons::{Error, Result, Seq, TableType};
use kalamdb_store::codec::meta::DatabaseId;
use kalamdb_store::home::{self, Shared};
use kalamdb_store::{
    BackendRegistry, Committer, IfMissing, MemoryBackend, PublishWatch, StorageBackend, SyncMode, identity,
};
use tokio::runtime::Builder;

use crate::task::logged;

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) backend: Arc<dyn StorageBackend>,
    pub(crate) committer: Arc<Committer>,
    /// What other servers may read, too.
    pub(crate) shared: Option<Shared>,
    streams: StreamStore,
}

/// Where the rows of stream tables are. They are gone when the store beside them is opened again: their numbers are its.
#[derive(Debug)]
struct StreamStore {
    backend: Arc<dyn StorageBackend>,
    committer: Arc<Committer>,
    /// Nothing that was told before is kept.
    since: Seq,
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
                let memory: Arc<dyn StorageBackend> = Arc::new(MemoryBackend::new());
                let streams = Committer::open_streams(Arc::clone(&memory), &committer).await?;
                let since = streams.published();
                let streams = StreamStore { backend: memory, committer: streams, since };
                Ok((Self { backend, committer, shared, streams }, database))
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

    /// Where tables of a kind have their rows.
    pub(crate) fn backend_of(&self, table_type: TableType) -> &Arc<dyn StorageBackend> {
        match table_type {
            TableType::User | TableType::Shared => &self.backend,
            TableType::Stream => &self.streams.backend,
        }
    }

    /// Who commits to tables of a kind.
    pub(crate) fn committer_of(&self, table_type: TableType) -> &Arc<Committer> {
        match table_type {
            TableType::User | TableType::Shared => &self.committer,
            TableType::Stream => &self.streams.committer,
        }
    }

    /// Of what was told up to here nothing is kept, for tables of a kind.
    pub(crate) fn log_floor(&self, table_type: TableType) -> Seq {
        match table_type {
            TableType::User | TableType::Shared => Seq(0),
            TableType::Stream => self.streams.since,
        }
    }

    /// Has `watch` told of every statement that is published and logged.
    pub(super) fn watch_published(&self, watch: &Arc<dyn PublishWatch>) {
        self.committer.watch_published(Arc::clone(watch));
        self.streams.committer.watch_published(Arc::clone(watch));
    }

    /// Whether it has to be opened again before anything can be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.committer.is_poisoned()
    }
}
