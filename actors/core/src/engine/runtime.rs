//! What all statements share: the open store, catalog snapshot, DataFusion's state, threads.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use datafusion::execution::SessionState;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, NamespaceId, Result, TableType};
use kalamdb_live::{LiveHub, LiveIndex};
use kalamdb_sql::Statement;
use kalamdb_store::codec::meta::DatabaseId;
use kalamdb_store::{BackendRegistry, IfMissing, Pin, PublishWatch, Snapshot, StoreError, catalog, location};
use serde_json::Value as Json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};

use super::functions::SnowflakeGenerator;
use super::memory::QueryMemory;
use super::params::Params;
use super::parsed::{ParsedStatements, plans_nothing};
use super::planning::session_state;
use super::plans::PlanCache;
use super::sessions::SessionCaches;
use super::store::Store;
use super::threads::StatementThreads;
use crate::StopReport;
use crate::catalog::CatalogSnapshot;
use crate::segments::{LOCAL_STORAGE, SegmentStores, segment_in};

/// Deeper trees are planned with the stack that the threads for statements have.
const LIGHT_DEPTH: usize = 20;
/// How many statements that may take long to plan are planned at the same time.
const HEAVY_PLANS: usize = 2;
/// How long `/ready` waits for the backend.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// What closing gets when the time for the shutdown is over: enough where nothing is in the way.
const LEAST_CLOSE: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Runtime {
    settings: Arc<Settings>,
    backends: BackendRegistry,
    /// Which data this server is for: a store that is opened again has to be the same.
    database: DatabaseId,
    store: ArcSwap<Store>,
    catalog: ArcSwap<CatalogSnapshot>,
    /// Odd while the stored catalog and the snapshot may differ, the store included.
    catalog_epoch: watch::Sender<u64>,
    /// Grows with every change of `system.users`.
    users_epoch: watch::Sender<u64>,
    state: SessionState,
    segments: SegmentStores,
    snowflakes: Arc<SnowflakeGenerator>,
    parsed: ParsedStatements,
    plans: PlanCache,
    sessions: Arc<SessionCaches>,
    heavy_plans: Arc<Semaphore>,
    refusing: AtomicBool,
    /// Held by whoever opens the store again.
    reopening: AsyncMutex<()>,
    /// Told of every published statement and of every catalog.
    live: Arc<LiveIndex>,
    /// Where live queries are, for who shows them.
    live_hub: OnceLock<Weak<LiveHub>>,
    threads: StatementThreads,
    memory: QueryMemory,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Opens the backend by the settings and reads the catalog.
    pub(crate) async fn open(settings: Arc<Settings>, backends: BackendRegistry) -> Result<Self> {
        let (store, database) = Store::open(&settings.storage, &backends, IfMissing::Create, None).await?;
        let snapshot = CatalogSnapshot::from_data(catalog::load(store.backend.as_ref()).await?);
        let segments = SegmentStores::new(&settings.storage)?;
        check_local(&store, &segments).await?;
        segments.adopt(&snapshot.storages);
        segments.boundaries().set(store.shared.as_ref());
        // Before anything is served; where a storage does not answer it is tried again before each sweep.
        segments.leave_boundaries().await;
        let snowflakes = Arc::new(SnowflakeGenerator::new());
        let threads = StatementThreads::start(settings.server.workers)?;
        let live: Arc<LiveIndex> = Arc::default();
        store.watch_published(&(Arc::clone(&live) as Arc<dyn PublishWatch>));
        store.run_syncer()?;
        tracing::info!(namespaces = snapshot.namespaces.len(), tables = snapshot.tables.len(), "catalog recovered");
        // A backend with a directory has it to itself.
        let has_directory = store.backend.home().await?.is_some();
        let spill_below = has_directory.then(|| settings.storage.rocksdb_dir.clone());
        let memory = QueryMemory::new(usize::try_from(settings.query.memory_limit).unwrap_or(usize::MAX));
        let plans = PlanCache::new(&settings.query);
        let sessions = SessionCaches::new(settings.session.clone());
        Ok(Self {
            state: session_state(&settings, &memory, spill_below.as_deref(), &snowflakes)?,
            settings,
            backends,
            database,
            store: ArcSwap::from_pointee(store),
            catalog: ArcSwap::from_pointee(snapshot),
            catalog_epoch: watch::Sender::new(0),
            users_epoch: watch::Sender::new(0),
            segments,
            snowflakes,
            parsed: ParsedStatements::new(),
            plans,
            sessions,
            heavy_plans: Arc::new(Semaphore::new(HEAVY_PLANS)),
            refusing: AtomicBool::new(false),
            reopening: AsyncMutex::default(),
            live,
            live_hub: OnceLock::new(),
            threads,
            memory,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The store as it is open now. Whoever does more than one thing with it takes it once: it may be
    /// opened anew in between.
    pub(crate) fn store(&self) -> Arc<Store> {
        self.store.load_full()
    }

    /// Closes a store that has failed, opens it again, and hands it to `adopt`, which ends with
    /// [`adopt`](Self::adopt). Until then statements see the old one: its reads go on for as long as a new open
    /// has no prospect, and fail from when it was closed. Does nothing while another call is at it.
    ///
    /// # Errors
    /// What is in the way; to be tried again.
    pub(crate) async fn recover_store<F: Future<Output = Result<()>>>(
        &self,
        adopt: impl FnOnce(Store) -> F,
    ) -> Result<()> {
        let Ok(_reopening) = self.reopening.try_lock() else { return Ok(()) };
        if !self.store().has_failed() || self.is_refusing() {
            return Ok(());
        }
        adopt(self.reopen().await?).await
    }

    async fn reopen(&self) -> Result<Store> {
        let failed = self.store();
        match failed.backend.probe().await {
            // An earlier try has got so far.
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = failed.backend.close().await {
            tracing::debug!(%error, "the failed storage backend is closed");
        }
        let (storage, refuse) = (&self.settings.storage, IfMissing::Refuse);
        let (store, database) = Store::open(storage, &self.backends, refuse, Some(&failed)).await?;
        if database != self.database {
            let _ = store.backend.close().await;
            return Err(Error::new(ErrorCode::StorageUnavailable, "the storage backend holds another database now"));
        }
        store.run_syncer()?;
        Ok(store)
    }

    /// Takes up a store that was opened again, with the catalog that it holds. For the `CatalogActor` only.
    pub(crate) async fn adopt(&self, store: Store) -> Result<()> {
        let data = match catalog::load(store.backend.as_ref()).await {
            Ok(data) => data,
            Err(error) => {
                let _ = store.backend.close().await;
                return Err(error);
            }
        };
        let snapshot = CatalogSnapshot::from_data(data);
        self.segments.boundaries().set(store.shared.as_ref());
        store.watch_published(&(Arc::clone(&self.live) as Arc<dyn PublishWatch>));
        let _changing = self.changing_catalog();
        // Before the store: nothing is written by the new one to where a storage was by the old one.
        self.segments.adopt(&snapshot.storages);
        self.store.store(Arc::new(store));
        // Who still reads the old one may teach what it shows: commits to the new one find it out of date.
        self.segments.ranges().forget_all();
        self.swap_catalog(snapshot);
        Ok(())
    }

    pub(crate) fn catalog(&self) -> Arc<CatalogSnapshot> {
        self.catalog.load_full()
    }

    /// The catalog and the rows of one instant. A dropped table's rows are gone before the catalog says so:
    /// while that is being written, whoever begins waits.
    pub(crate) async fn catalog_and_rows(&self) -> Result<CatalogAndRows> {
        loop {
            let epoch = self.settled_catalog().await?;
            let catalog = self.catalog();
            let store = self.store();
            // First the pin: what the snapshot names is not deleted then.
            let pin = store.committer.pin();
            let snapshot = store.backend.snapshot().await;
            let streams = store.backend_of(TableType::Stream).snapshot().await;
            if *self.catalog_epoch.borrow() == epoch {
                return Ok(CatalogAndRows { catalog, pin, snapshot: snapshot?, streams: streams?, store });
            }
        }
    }

    /// The catalog, and the store that it is the catalog of.
    pub(crate) async fn catalog_and_store(&self) -> Result<(Arc<CatalogSnapshot>, Arc<Store>)> {
        loop {
            let epoch = self.settled_catalog().await?;
            let (catalog, store) = (self.catalog(), self.store());
            if *self.catalog_epoch.borrow() == epoch {
                return Ok((catalog, store));
            }
        }
    }

    /// Waits while the catalog is being written; its epoch then.
    async fn settled_catalog(&self) -> Result<u64> {
        let settled = |epoch: &u64| epoch.is_multiple_of(2);
        let epoch = *self.catalog_epoch.borrow();
        if settled(&epoch) {
            return Ok(epoch);
        }
        let mut epochs = self.catalog_epoch.subscribe();
        Ok(*epochs.wait_for(settled).await.map_err(Error::internal)?)
    }

    /// Changes of `system.users`, told once they are in force.
    pub(crate) fn users_changes(&self) -> watch::Receiver<u64> {
        self.users_epoch.subscribe()
    }

    /// For the `CatalogActor` only, after the catalog with the change was swapped in.
    pub(crate) fn users_changed(&self) {
        self.users_epoch.send_modify(|epoch| *epoch += 1);
    }

    /// To be held from before a change of the catalog is written until it is swapped in. For the
    /// `CatalogActor` only.
    pub(crate) fn changing_catalog(&self) -> CatalogChange<'_> {
        self.catalog_epoch.send_modify(|epoch| *epoch += 1);
        CatalogChange { runtime: self }
    }

    /// For the `CatalogActor` only.
    pub(crate) fn swap_catalog(&self, snapshot: CatalogSnapshot) {
        // First: a table that is made in a new storage finds it.
        self.segments.adopt(&snapshot.storages);
        self.catalog.store(Arc::new(snapshot));
        self.live.catalog_changed();
    }

    /// Reads the catalog anew from the backend. For the `CatalogActor` only.
    pub(crate) async fn reload_catalog(&self) -> Result<()> {
        self.swap_catalog(CatalogSnapshot::from_data(catalog::load(self.store().backend.as_ref()).await?));
        Ok(())
    }

    /// Who follows change logs.
    pub(crate) fn live_index(&self) -> &Arc<LiveIndex> {
        &self.live
    }

    /// The live queries, once the tree has begun with them.
    pub(crate) fn live_hub(&self) -> Option<Arc<LiveHub>> {
        self.live_hub.get().and_then(Weak::upgrade)
    }

    /// For the tree, once.
    pub(crate) fn set_live_hub(&self, hub: &Arc<LiveHub>) {
        let _ = self.live_hub.set(Arc::downgrade(hub));
    }

    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    pub(crate) fn segments(&self) -> &SegmentStores {
        &self.segments
    }

    pub(crate) fn snowflakes(&self) -> &SnowflakeGenerator {
        &self.snowflakes
    }

    pub(crate) fn parsed(&self) -> &ParsedStatements {
        &self.parsed
    }

    pub(crate) fn plans(&self) -> &PlanCache {
        &self.plans
    }

    /// What sessions keep of tables.
    pub(crate) fn sessions(&self) -> &Arc<SessionCaches> {
        &self.sessions
    }

    /// Whether a text is known to need neither planner nor much stack, nor time but for what goes elsewhere by itself: it may
    /// run where the actors do.
    pub(crate) fn is_light(&self, text: &str, params: &Arc<Vec<Json>>, namespace: &NamespaceId) -> bool {
        let Some(parsed) = self.parsed.peek(text) else { return false };
        match &parsed.statement {
            // Should its plan be gone by then it is made anew there: a small one.
            Statement::Query(_) if parsed.depth <= LIGHT_DEPTH => Params::new(params, parsed.parameters)
                .is_ok_and(|params| self.plans.is_point(&parsed.text, namespace, &params)),
            statement => plans_nothing(statement),
        }
    }

    /// Permits to plan what may take long.
    pub(crate) fn heavy_plans(&self) -> &Arc<Semaphore> {
        &self.heavy_plans
    }

    /// Where statements run.
    pub(crate) fn statements(&self) -> &Handle {
        self.threads.statements()
    }

    /// Where those go on that take long.
    pub(crate) fn long_queries(&self) -> &Handle {
        self.threads.long()
    }

    /// The memory of all statements.
    pub(crate) fn memory(&self) -> &QueryMemory {
        &self.memory
    }

    pub(crate) fn refuse_new(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// What is wrong with the backend, to be said behind its name; none when it answers.
    pub(crate) async fn backend_ailment(&self) -> Option<&'static str> {
        let store = self.store();
        if store.has_failed() {
            return Some("has failed and is to be opened again");
        }
        match tokio::time::timeout(READY_TIMEOUT, store.backend.snapshot()).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => Some("cannot be read"),
            Err(_) => Some("does not answer"),
        }
    }

    /// Last of all: sync and close. What does not end by `deadline` is left to itself: what was acknowledged is
    /// safe in the backend's log.
    pub(crate) async fn close(&self, deadline: Instant, report: &mut StopReport) {
        let deadline = deadline.max(Instant::now() + LEAST_CLOSE).into();
        let close = async {
            // A store that is just being opened again is adopted first, or it would stay open.
            let _reopening = self.reopening.lock().await;
            let store = self.store();
            match store.backend.close().await {
                // It was closed to be opened again, which did not succeed.
                Err(StoreError::Closed) if store.has_failed() => Ok(()),
                result => result,
            }
        };
        match tokio::time::timeout_at(deadline, close).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.warnings.push(format!("closing the storage backend: {error}")),
            Err(_) => report.warnings.push("the storage backend was not closed in time".to_owned()),
        }
        if let Err(error) = self.threads.stop(LEAST_CLOSE).await {
            report.warnings.push(format!("the threads for statements: {error}"));
        }
    }
}

/// What one instant shows.
#[derive(Debug)]
pub(crate) struct CatalogAndRows {
    pub(crate) catalog: Arc<CatalogSnapshot>,
    pub(crate) store: Arc<Store>,
    /// Keeps the files of the segments that the rows' snapshot names.
    pub(crate) pin: Pin,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    /// Of the rows of stream tables.
    pub(crate) streams: Arc<dyn Snapshot>,
}

/// That storage `local` is where its segments were written.
async fn check_local(store: &Store, segments: &SegmentStores) -> Result<()> {
    let recorded = location::local(store.backend.snapshot().await?.as_ref()).await?;
    let Some(recorded) = recorded.filter(|recorded| *segments.local_root() != *recorded.path) else { return Ok(()) };
    let snapshot = store.backend.snapshot().await?;
    if segment_in(snapshot.as_ref(), LOCAL_STORAGE).await?.is_none() {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidOption,
        format!(
            "storage.default_location is {}, but the segments of this database were written below {}, and while there \
             are segments it cannot be another: set storage.default_location to that path, with the directory at it",
            segments.local_root().display(),
            recorded.path
        ),
    ))
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

/// Microseconds since the epoch.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
