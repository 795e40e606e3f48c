//! How statements, the status page and the stop reach flushes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kalamdb_commons::{Error, ErrorCode, Result, TableId, TableType};
use kalamdb_store::MemoryBackend;
use kalamdb_store::codec::catalog::JobTrigger;

use super::FlushMsg;
use super::job::Report;
use super::status::FlushStatus;
use crate::StopReport;
use crate::catalog::TableEntry;
use crate::engine::Runtime;
use crate::tree::slot::{Lost, Slot, restarting};

/// A flush runs until it is done; this only frees a caller from an actor that hangs.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct FlushClient {
    slot: Arc<Slot<FlushMsg>>,
    status: Arc<FlushStatus>,
}

impl FlushClient {
    pub(in crate::tree) fn new(slot: Arc<Slot<FlushMsg>>, status: Arc<FlushStatus>) -> Self {
        Self { slot, status }
    }

    /// Flushes a table, after the flush of it that runs, and waits for the end.
    ///
    /// # Errors
    /// [`ErrorCode::Overloaded`] when there is no coordinator now: nothing was begun. [`ErrorCode::Internal`] when it was
    /// lost meanwhile: the flush may have been done, its job tells. What became of the flush itself is in the report.
    ///
    /// # Cancel safety
    /// Safe: the flush goes on.
    pub(crate) async fn flush(&self, table: TableId, trigger: JobTrigger) -> Result<Report> {
        let ask = |reply| FlushMsg::Flush { table, trigger, reply };
        self.slot.ask(ask, FLUSH_TIMEOUT).await.map_err(|lost| match lost {
            Lost::Absent => restarting(),
            Lost::Dropped | Lost::Late => Error::new(
                ErrorCode::Internal,
                "a part of the server was restarted during the flush: system.jobs tells what became of it",
            ),
        })
    }

    pub(crate) fn status(&self) -> &FlushStatus {
        &self.status
    }

    /// Flushes every table that has buffered rows, until `deadline`: what is not done by then stays hot.
    pub(in crate::tree) async fn flush_everything(
        &self,
        runtime: &Runtime,
        deadline: Instant,
        report: &mut StopReport,
    ) {
        let store = runtime.store();
        // What forgets its rows at the end would leave files that nobody knows.
        if runtime.settings().storage.backend == MemoryBackend::NAME {
            return;
        }
        if store.has_failed() {
            report.warnings.push("rows stay hot: the storage backend has failed".to_owned());
            return;
        }
        let catalog = runtime.catalog();
        let has_rows = |entry: &&Arc<TableEntry>| {
            entry.table_type() != TableType::Stream && store.committer.totals(entry.id()).buffered_rows > 0
        };
        let tables: Vec<Arc<TableEntry>> = catalog.tables.values().filter(has_rows).cloned().collect();
        let (mut done, all) = (0_usize, tables.len());
        let flushes = stream::iter(tables).map(|entry| async move {
            let flushed = self.flush(entry.id(), JobTrigger::Shutdown).await;
            (entry, flushed)
        });
        let mut flushes = flushes.buffer_unordered(all.max(1));
        let work = async {
            while let Some((entry, flushed)) = flushes.next().await {
                done += 1;
                let failed = match &flushed {
                    Ok(report) => report.failed().map(|error| error.message.clone()),
                    Err(error) => Some(error.message.clone()),
                };
                if let Some(why) = failed {
                    report.warnings.push(format!("rows of '{}' stay hot: {why}", entry.definition.name));
                }
            }
        };
        if tokio::time::timeout_at(deadline.into(), work).await.is_err() {
            report.warnings.push(format!("{} tables were not flushed in time: their rows stay hot", all - done));
        }
    }
}
