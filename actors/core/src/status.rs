//! What the status endpoints say of flushes, jobs and sessions.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result, TableType};
use kalamdb_store::codec::catalog::{JobRecord, JobStatus, JobType};
use kalamdb_store::jobs;
use kalamdb_wire::{FlushOverview, FlushedTable, RawRows, SessionEntry};

use crate::catalog::TableEntry;
use crate::engine::{Runtime, SessionRow, StoredTable, job_row, result_of, timestamp};
use crate::tree::{FlushClient, FlushPhase};

/// There is one server so far.
pub(crate) const NODE: &str = "local";

/// Which jobs are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsQuestion {
    /// Only these, by `status`.
    pub status: Option<String>,
    /// Only these, by `job_type`.
    pub job_type: Option<String>,
    /// At most so many, the newest.
    pub limit: usize,
}

pub(crate) fn flush_overview(runtime: &Runtime, flushes: &FlushClient) -> FlushOverview {
    let (catalog, store, status) = (runtime.catalog(), runtime.store(), flushes.status());
    let mut running = 0;
    let shown = |at: Option<i64>| at.and_then(|at| timestamp(at).ok());
    let table = |entry: &Arc<TableEntry>| {
        let flushed = status.of(entry.id());
        running += u64::from(flushed.phase == FlushPhase::Running);
        let interval = entry.definition.options.flush_interval;
        let interval = interval.unwrap_or(Some(runtime.settings().flush.default_interval));
        FlushedTable {
            namespace: entry.definition.name.namespace.as_str().to_owned(),
            table: entry.definition.name.table.as_str().to_owned(),
            table_type: entry.table_type().as_str().to_owned(),
            state: flushed.phase.as_str().to_owned(),
            buffered_rows: store.committer.totals(entry.id()).buffered_rows,
            interval_s: interval.map(|interval| interval.as_secs()),
            last_flush_at: shown(flushed.last_flush_at),
            next_flush_at: shown(flushed.next_flush_at),
            last_job_id: flushed.last_job_id,
            last_error: flushed.last_error,
        }
    };
    let tables = catalog.tables.values().filter(|entry| entry.table_type() != TableType::Stream).map(table).collect();
    FlushOverview {
        queue_depth: status.queue_depth() as u64,
        running,
        workers: runtime.settings().flush.workers as u64,
        tables,
    }
}

pub(crate) fn sessions(runtime: &Runtime) -> Vec<SessionEntry> {
    let shown = |at: i64| timestamp(at).unwrap_or_default();
    let entry = |row: SessionRow| SessionEntry {
        user_id: row.user_id.as_str().to_owned(),
        registrations: row.registrations,
        hits: row.hits,
        misses: row.misses,
        evictions: row.evictions,
        created_at: shown(row.created_at),
        last_active_at: shown(row.last_active_at),
    };
    runtime.sessions().rows().into_iter().map(entry).collect()
}

pub(crate) async fn jobs(runtime: &Runtime, question: &JobsQuestion) -> Result<RawRows> {
    let unknown = |what: &str, text: &str| {
        let shown: String = text.chars().take(40).collect();
        Error::new(ErrorCode::InvalidRequest, format!("{shown:?} is no {what} of a job"))
    };
    let status = question.status.as_deref();
    let status = status.map(|text| JobStatus::from_name(text).ok_or_else(|| unknown("status", text))).transpose()?;
    let job_type = question.job_type.as_deref();
    let job_type = job_type.map(|text| JobType::from_name(text).ok_or_else(|| unknown("type", text))).transpose()?;
    let wanted = |job: &JobRecord| {
        status.is_none_or(|status| job.status == status) && job_type.is_none_or(|kind| job.job_type == kind)
    };
    let snapshot = runtime.store().backend.snapshot().await?;
    let found = jobs::newest(snapshot.as_ref(), None, question.limit, wanted).await?;
    Ok(result_of(&StoredTable::Jobs.columns(), &found.iter().map(job_row).collect::<Vec<_>>())?.rows)
}

pub(crate) async fn job(runtime: &Runtime, id: &str) -> Result<RawRows> {
    let snapshot = runtime.store().backend.snapshot().await?;
    let found = jobs::job(snapshot.as_ref(), id).await?;
    let job = found.ok_or_else(|| Error::new(ErrorCode::NotFound, "There is no job of that id."))?;
    Ok(result_of(&StoredTable::Jobs.columns(), &[job_row(&job)])?.rows)
}
