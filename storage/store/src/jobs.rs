//! The rows of `system.jobs`. Their ids are ULIDs in text, so their keys are in the order in which jobs were made.

use bytes::Bytes;
use kalamdb_commons::{Family, Result};

use crate::backend::{Batch, Direction, ScanRequest, Snapshot};
use crate::codec::catalog::{JobRecord, JobStatus};
use crate::codec::system;
use crate::read::{Chunks, get};

const CHUNK_BYTES: usize = 1 << 20;

/// A job; none if there is none of that id.
///
/// # Errors
/// When the backend cannot be read, or the record does not decode.
pub async fn job(snapshot: &dyn Snapshot, id: &str) -> Result<Option<JobRecord>> {
    let value = get(snapshot, Family::System, system::job(id)).await?;
    Ok(value.map(|bytes| JobRecord::decode(&bytes)).transpose()?)
}

/// The newest jobs that `wanted` holds of, newest first, at most `limit`; of those older than `before`, if given.
///
/// # Errors
/// When the backend cannot be read, or a record does not decode.
pub async fn newest(
    snapshot: &dyn Snapshot,
    before: Option<&str>,
    limit: usize,
    wanted: impl Fn(&JobRecord) -> bool,
) -> Result<Vec<JobRecord>> {
    let mut range = system::jobs().range();
    if let Some(before) = before {
        range.end = Some(system::job(before));
    }
    let mut found = Vec::new();
    let mut rest = Some(range);
    while let Some(range) = rest
        && found.len() < limit
    {
        // Most jobs are wanted, mostly: no more is read than could be answered.
        let request =
            ScanRequest { range, direction: Direction::Backward, limit: limit.clamp(1, 1024), max_bytes: CHUNK_BYTES };
        let chunk = snapshot.scan(request).await?;
        for (_, value) in chunk.entries.iter() {
            let job = JobRecord::decode(value)?;
            if found.len() < limit && wanted(&job) {
                found.push(job);
            }
        }
        rest = chunk.rest;
    }
    Ok(found)
}

/// Jobs that were queued or running when the server stopped, oldest first: nobody is at them after a start.
///
/// # Errors
/// When the backend cannot be read, or a record does not decode.
pub async fn unfinished(snapshot: &dyn Snapshot) -> Result<Vec<JobRecord>> {
    let mut found = Vec::new();
    let mut chunks = Chunks::new(snapshot, system::jobs().range());
    while let Some(chunk) = chunks.next().await? {
        for (_, value) in chunk.iter() {
            let job = JobRecord::decode(value)?;
            if !is_finished(job.status) {
                found.push(job);
            }
        }
    }
    Ok(found)
}

/// Ids of finished jobs to be forgotten, oldest first, at most `limit`: those that finished before `finished_before`,
/// and as many more as there are jobs beyond `most`.
///
/// # Errors
/// When the backend cannot be read, or a record does not decode.
pub async fn expired(snapshot: &dyn Snapshot, finished_before: i64, most: usize, limit: usize) -> Result<Vec<String>> {
    let range = system::jobs().range();
    let mut total = 0_usize;
    let mut chunks = Chunks::new(snapshot, range.clone());
    while let Some(chunk) = chunks.next().await? {
        total += chunk.len();
    }
    let mut beyond = total.saturating_sub(most);
    let mut found = Vec::new();
    let mut chunks = Chunks::new(snapshot, range);
    while found.len() < limit
        && let Some(chunk) = chunks.next().await?
    {
        for (_, value) in chunk.iter() {
            let job = JobRecord::decode(value)?;
            let is_old = job.finished_at.is_some_and(|at| at < finished_before);
            if found.len() < limit && is_finished(job.status) && (is_old || beyond > 0) {
                beyond = beyond.saturating_sub(1);
                found.push(job.job_id);
            }
        }
    }
    Ok(found)
}

fn is_finished(status: JobStatus) -> bool {
    match status {
        JobStatus::Queued | JobStatus::Running => false,
        JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => true,
    }
}

/// Adds a job, or puts it in place of the one that is there.
pub fn put(batch: &mut Batch, job: &JobRecord) {
    batch.put(Family::System, system::job(&job.job_id), Bytes::from(job.encode()));
}

/// Removes a job.
pub fn delete(batch: &mut Batch, id: &str) {
    batch.delete(Family::System, system::job(id));
}
