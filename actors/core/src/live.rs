//! What the engine does for live queries: compiles them, reads what they begin with, and shows rows.

mod compile;
mod format;
mod reader;
mod shape;
mod snapshot;

use std::sync::Arc;

use async_trait::async_trait;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_live::{LiveCaller, LiveQuery, LiveSnapshot, LiveSource, TableState};
use kalamdb_store::PartitionReader;
use kalamdb_wire::SubscribeRequest;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{Runtime, now_micros};
use compile::Compiled;
use reader::LogReader;

/// Queries that are kept compiled.
const COMPILED: usize = 10_000;
/// Queries that are compiled, and as many whose first rows are read, at the same time: statements are to find threads, too.
const TURNS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct EngineSource {
    runtime: Arc<Runtime>,
    compiled: compile::CompiledQueries,
    /// For compiling, and for first rows: neither waits for the other.
    compiling: Semaphore,
    reading: Semaphore,
}

impl EngineSource {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Self {
            runtime,
            compiled: compile::CompiledQueries::new(COMPILED),
            compiling: Semaphore::new(TURNS),
            reading: Semaphore::new(TURNS),
        }
    }

    /// Runs work on a thread with the stack that parsing and planning take, when it is its turn. It ends with whoever waits
    /// for it: a client that comes and goes leaves none behind. What may take long to plan, which is not called off, has
    /// turns and a thread of its own, as statements of that kind have, and keeps nobody else from his.
    async fn on_statement_thread<T: Send + 'static>(
        &self,
        turns: &Semaphore,
        asked: &compile::Asked,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let threads = self.runtime.statements().clone();
        if asked.may_be_heavy() {
            let (runtime, asked) = (Arc::clone(&self.runtime), asked.clone());
            let is_heavy = threads.spawn(async move { asked.is_heavy(&runtime) });
            if AbortOnDropHandle::new(is_heavy).await.map_err(Error::internal)?? {
                let permit = Arc::clone(self.runtime.heavy_plans()).acquire_owned().await.map_err(Error::internal)?;
                let apart = threads.clone().spawn_blocking(move || {
                    let _permit = permit;
                    threads.block_on(work)
                });
                return apart.await.map_err(Error::internal)?;
            }
        }
        let _turn = turns.acquire().await.map_err(Error::internal)?;
        AbortOnDropHandle::new(threads.spawn(work)).await.map_err(Error::internal)?
    }
}

#[async_trait]
impl LiveSource for EngineSource {
    async fn compile(&self, caller: &LiveCaller, request: &SubscribeRequest) -> Result<LiveQuery> {
        let asked = compile::Asked::new(caller, request)?;
        if let Some(known) = self.compiled.get(&asked) {
            // The plan is saved, the checks are not.
            if let Some(query) = compile::query_of(&self.runtime, &asked, &known).await? {
                return Ok(query);
            }
        }
        let (runtime, again) = (Arc::clone(&self.runtime), asked.clone());
        let work = async move { compile::compile(&runtime, &again).await.map(Arc::new) };
        let limit = self.runtime.settings().server.request_timeout;
        let compiled: Arc<Compiled> =
            timeout(limit, self.on_statement_thread(&self.compiling, &asked, work)).await.map_err(|_| {
                Error::new(ErrorCode::Timeout, "the query was not compiled within server.request_timeout")
            })??;
        self.compiled.put(&asked, &compiled);
        compile::query_of(&self.runtime, &asked, &compiled).await?.ok_or_else(compile::changed_meanwhile)
    }

    async fn last_rows(
        &self,
        caller: &LiveCaller,
        request: &SubscribeRequest,
        query: &LiveQuery,
        count: u64,
    ) -> Result<LiveSnapshot> {
        let asked = compile::Asked::new(caller, request)?;
        let (runtime, query) = (Arc::clone(&self.runtime), query.clone());
        let again = asked.clone();
        let work = async move { snapshot::last_rows(&runtime, &again, &query, count).await };
        self.on_statement_thread(&self.reading, &asked, work).await
    }

    fn reader(&self, query: &LiveQuery) -> Arc<dyn PartitionReader> {
        Arc::new(LogReader::new(Arc::clone(&self.runtime), query.partition.clone()))
    }

    fn table_state(&self, query: &LiveQuery) -> TableState {
        compile::table_state(&self.runtime, query)
    }

    fn expired_before(&self, query: &LiveQuery) -> Option<i64> {
        let catalog = self.runtime.catalog();
        let bounds = catalog.table_of(query.partition.table)?.stream_bounds(self.runtime.settings())?;
        Some(now_micros().saturating_sub(bounds.ttl))
    }

    fn now(&self) -> i64 {
        now_micros()
    }
}
