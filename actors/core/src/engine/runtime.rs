//! What all statements share: backend, committer, catalog snapshot, DataFusion's state, threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use datafusion::execution::SessionState;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, Result};
use kalamdb_store::{BackendRegistry, Committer, Snapshot, StorageBackend, SyncMode, catalog, identity};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, watch};

use super::functions::SnowflakeGenerator;
use super::planning::session_state;
use crate::StopReport;
use crate::catalog::CatalogSnapshot;
use crate::task::spawn_on;

/// Parsing, planning and dropping recurse to the parser's limits (1000 levels, chains of 5000 operators);
/// frames of a debug build are several times as large. Only what is touched is ever backed by memory.
const STATEMENT_STACK_BYTES: usize = if cfg!(debug_assertions) { 256 << 20 } else { 64 << 20 };
/// How many statements that may take long to plan are planned at the same time.
const HEAVY_PLANS: usize = 2;
/// How long `/ready` waits for the backend.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Runtime {
    settings: Arc<Settings>,
    backend: Arc<dyn StorageBackend>,
    committer: Arc<Committer>,
    catalog: ArcSwap<CatalogSnapshot>,
    /// Odd while the stored catalog and the snapshot may differ.
    catalog_epoch: watch::Sender<u64>,
    state: SessionState,
    snowflakes: Arc<SnowflakeGenerator>,
    heavy_plans: Arc<Semaphore>,
    refusing: AtomicBool,
    statement_handle: Handle,
    statement_threads: Mutex<Option<tokio::runtime::Runtime>>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("backend", &self.backend.name()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Opens the backend by the settings and reads the catalog.
    pub(crate) async fn open(settings: Arc<Settings>) -> Result<Self> {
        let backend = BackendRegistry::standard().open(&settings.storage).await.map_err(|error| {
            let text = error.to_string();
            Error { detail: Some(text), ..Error::from(error) }
        })?;
        identity::recognise(backend.as_ref()).await?;
        let mode = match settings.storage.durability {
            kalamdb_commons::settings::Durability::Sync => SyncMode::Sync,
            kalamdb_commons::settings::Durability::Buffered => SyncMode::Buffered,
        };
        let committer = Committer::open(Arc::clone(&backend), mode).await?;
        let snapshot = CatalogSnapshot::from_data(catalog::load(backend.as_ref()).await?);
        let snowflakes = Arc::new(SnowflakeGenerator::new());
        let mut builder = Builder::new_multi_thread();
        if settings.server.workers > 0 {
            // One alone would let a single busy statement stop all others.
            builder.worker_threads(settings.server.workers.max(2));
        }
        let statement_threads = builder
            .thread_name("kalamdb-statement")
            .thread_stack_size(STATEMENT_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        let statement_handle = statement_threads.handle().clone();
        spawn_on(&statement_handle, "syncer", Arc::clone(&committer).run_syncer());
        tracing::info!(namespaces = snapshot.namespaces.len(), tables = snapshot.tables.len(), "catalog recovered");
        Ok(Self {
            state: session_state(&settings, &snowflakes)?,
            settings,
            backend,
            committer,
            catalog: ArcSwap::from_pointee(snapshot),
            catalog_epoch: watch::Sender::new(0),
            snowflakes,
            heavy_plans: Arc::new(Semaphore::new(HEAVY_PLANS)),
            refusing: AtomicBool::new(false),
            statement_handle,
            statement_threads: Mutex::new(Some(statement_threads)),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn backend(&self) -> &Arc<dyn StorageBackend> {
        &self.backend
    }

    pub(crate) fn committer(&self) -> &Arc<Committer> {
        &self.committer
    }

    pub(crate) fn catalog(&self) -> Arc<CatalogSnapshot> {
        self.catalog.load_full()
    }

    /// The catalog and the rows of one instant. A dropped table's rows are gone before the catalog says so:
    /// while that is being written, whoever begins waits.
    pub(crate) async fn catalog_and_rows(&self) -> Result<(Arc<CatalogSnapshot>, Arc<dyn Snapshot>)> {
        let mut epochs = self.catalog_epoch.subscribe();
        loop {
            let epoch = *epochs.wait_for(|epoch| epoch % 2 == 0).await.map_err(Error::internal)?;
            let catalog = self.catalog();
            let snapshot = self.backend.snapshot().await?;
            if *epochs.borrow() == epoch {
                return Ok((catalog, snapshot));
            }
        }
    }

    /// To be held from before a change of the catalog is written until it is swapped in. For the
    /// `CatalogActor` only.
    pub(crate) fn changing_catalog(&self) -> CatalogChange<'_> {
        self.catalog_epoch.send_modify(|epoch| *epoch += 1);
        CatalogChange { runtime: self }
    }

    /// For the `CatalogActor` only.
    pub(crate) fn swap_catalog(&self, snapshot: CatalogSnapshot) {
        self.catalog.store(Arc::new(snapshot));
    }

    /// Reads the catalog anew from the backend. For the `CatalogActor` only.
    pub(crate) async fn reload_catalog(&self) -> Result<()> {
        self.swap_catalog(CatalogSnapshot::from_data(catalog::load(self.backend.as_ref()).await?));
        Ok(())
    }

    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    pub(crate) fn snowflakes(&self) -> &SnowflakeGenerator {
        &self.snowflakes
    }

    /// Permits to plan what may take long.
    pub(crate) fn heavy_plans(&self) -> &Arc<Semaphore> {
        &self.heavy_plans
    }

    /// Where statements run.
    pub(crate) fn statements(&self) -> &Handle {
        &self.statement_handle
    }

    pub(crate) fn refuse_new(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    pub(crate) async fn backend_answers(&self) -> bool {
        if self.committer.is_poisoned() {
            return false;
        }
        matches!(tokio::time::timeout(READY_TIMEOUT, self.backend.snapshot()).await, Ok(Ok(_)))
    }

    /// Last of all: sync and close.
    pub(crate) async fn close(&self, report: &mut StopReport) {
        if let Err(error) = self.backend.close().await {
            report.warnings.push(format!("closing the storage backend: {error}"));
        }
        if let Some(threads) = self.statement_threads.lock().take() {
            threads.shutdown_background();
        }
    }
}

/// See [`Runtime::changing_catalog`].
#[derive(Debug)]
pub(crate) struct CatalogChange<'a> {
    runtime: &'a Runtime,
}

impl Drop for CatalogChange<'_> {
    fn drop(&mut self) {
        self.runtime.catalog_epoch.send_modify(|epoch| *epoch += 1);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A tokio runtime must not be dropped where async code runs.
        if let Some(threads) = self.statement_threads.get_mut().take() {
            threads.shutdown_background();
        }
    }
}

/// Microseconds since the epoch.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
