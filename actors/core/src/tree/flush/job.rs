//! One flush as a job: its row in `system.jobs` with every transition, and what is told of it.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use kalamdb_commons::{Error, ErrorCode, Result, TableId};
use kalamdb_store::codec::catalog::{JobRecord, JobStatus, JobTrigger, JobType};
use kalamdb_store::codec::meta::FlushSchedule;
use kalamdb_store::{Batch, jobs, schedule};
use ulid::Ulid;

use super::status::FlushStatus;
use crate::engine::{Runtime, Store, now_micros};
use crate::flush::{Flushed, flush_table};

/// What came of a flush.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// None where there was nothing to do, and so no job.
    pub(crate) job_id: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) location: String,
    pub(crate) took_ms: f64,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// There was no row to flush.
    Empty,
    /// The rows are in segments.
    Flushed { rows: u64, segments: u64 },
    /// The rows that are not in segments are hot still.
    Failed { rows: u64, segments: u64, error: Error },
}

impl Report {
    /// Of a flush of which nothing was heard but `error`: how it ended its job tells.
    pub(crate) fn lost(error: Error) -> Self {
        Self {
            job_id: None,
            outcome: Outcome::Failed { rows: 0, segments: 0, error },
            location: String::new(),
            took_ms: 0.0,
        }
    }

    /// Why it failed, if it did.
    pub(crate) fn failed(&self) -> Option<&Error> {
        match &self.outcome {
            Outcome::Failed { error, .. } => Some(error),
            Outcome::Empty | Outcome::Flushed { .. } => None,
        }
    }
}

/// Runs a flush with its job. A table without a buffered row has none.
pub(super) async fn run_job(
    runtime: &Arc<Runtime>,
    table: TableId,
    trigger: JobTrigger,
    status: &FlushStatus,
) -> Report {
    let begun = Instant::now();
    let mut report = match try_job(runtime, table, trigger, status).await {
        Ok(report) => report,
        Err(error) => Report::lost(error),
    };
    report.took_ms = crate::milliseconds(begun.elapsed());
    if let Some(error) = report.failed() {
        let detail = error.detail.as_deref().unwrap_or(&error.message);
        tracing::warn!(%table, job = report.job_id, code = %error.code, error = detail, "flush failed; its rows stay hot");
    }
    report
}

async fn try_job(runtime: &Arc<Runtime>, table: TableId, trigger: JobTrigger, status: &FlushStatus) -> Result<Report> {
    let store = runtime.store();
    let catalog = runtime.catalog();
    let entry = catalog.table_of(table).ok_or_else(|| Error::new(ErrorCode::TableNotFound, "the table was dropped"))?;
    let location = runtime.segments().location(entry)?;
    if store.committer.totals(table).buffered_rows == 0 {
        return Ok(Report { job_id: None, outcome: Outcome::Empty, location, took_ms: 0.0 });
    }
    let name = &entry.definition.name;
    let mut job = JobRecord {
        job_id: Ulid::new().to_string(),
        job_type: JobType::Flush,
        status: JobStatus::Queued,
        namespace_id: Some(name.namespace.clone()),
        table_name: Some(name.table.clone()),
        trigger,
        rows: 0,
        segments: 0,
        storage_location: Some(location.clone()),
        attempts: status.attempts(table) + 1,
        error: None,
        node: crate::status::NODE.to_owned(),
        created_at: now_micros(),
        started_at: None,
        finished_at: None,
    };
    // Before it is written: a coordinator that starts anew ends the jobs that nobody has.
    status.has_job(table, &job.job_id);
    write(&store, &job, None).await?;
    job.status = JobStatus::Running;
    job.started_at = Some(now_micros());
    write(&store, &job, None).await?;

    let mut so_far = Flushed::default();
    let flush = AssertUnwindSafe(flush_table(runtime, table, |flushed| so_far = flushed.clone())).catch_unwind();
    let result = flush.await.unwrap_or_else(|_| Err(Error::internal("a flush panicked")));
    job.finished_at = Some(now_micros());
    let outcome = match result {
        Ok(flushed) => {
            so_far = flushed;
            job.status = JobStatus::Completed;
            Outcome::Flushed { rows: so_far.rows, segments: so_far.segments }
        }
        Err(error) => {
            job.status = JobStatus::Failed;
            job.error = Some(error.message.clone());
            Outcome::Failed { rows: so_far.rows, segments: so_far.segments, error }
        }
    };
    (job.rows, job.segments) = (so_far.rows, so_far.segments);
    // One at a time, and as it is now: the table's options may have changed since this flush began.
    let turn = status.schedules().await;
    // A table that was dropped meanwhile has left none behind, and gets none back.
    let is_there = runtime.catalog().table_of(table).is_some();
    match outcome {
        Outcome::Empty | Outcome::Flushed { .. } if is_there => status.flushed(table, job.finished_at),
        Outcome::Empty | Outcome::Flushed { .. } | Outcome::Failed { .. } => {}
    }
    let schedule = is_there.then(|| (table, status.schedule_of(table)));
    // Where the store itself has failed, the job is ended by the next start.
    if let Err(error) = write(&runtime.store(), &job, schedule).await {
        tracing::warn!(%table, job = job.job_id, %error, "what became of a flush cannot be written down");
    }
    drop(turn);
    Ok(Report { job_id: Some(job.job_id), outcome, location, took_ms: 0.0 })
}

async fn write(store: &Store, job: &JobRecord, schedule: Option<(TableId, FlushSchedule)>) -> Result<()> {
    let mut batch = Batch::new();
    jobs::put(&mut batch, job);
    if let Some((table, schedule)) = schedule {
        schedule::put(&mut batch, table, &schedule);
    }
    store.committer.write_synced(batch).await
}

/// Ends the jobs that nobody is at any more: of a server that stopped, or of a store that failed.
pub(super) async fn end_unfinished(store: &Store, running: &HashSet<String>) -> Result<()> {
    let unfinished = jobs::unfinished(store.backend.snapshot().await?.as_ref()).await?;
    for mut job in unfinished.into_iter().filter(|job| !running.contains(&job.job_id)) {
        job.status = JobStatus::Failed;
        job.error = Some("the server stopped, or its actor was lost; what is not in segments stayed hot".to_owned());
        job.finished_at = Some(now_micros());
        write(store, &job, None).await?;
    }
    Ok(())
}
