//! Change logs are kept for a while, and not longer than they may be: entries go from the old end.
//!
//! Partitions whose log passes its bound are noted when that happens; the rest is found by going round all partitions,
//! a part of them at a time. Nobody who follows a log is waited for: one that lags behind finds that it does.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kalamdb_commons::{Family, Result, Seq};
use parking_lot::Mutex;

use super::{Committer, PartitionId};
use crate::backend::{Batch, Direction, KeyRange, ScanRequest};
use crate::codec::changelog::committed_at;
use crate::codec::keys;
use crate::manifest::ManifestItem;
use crate::manifest::ManifestWalk;

/// Entries looked at at a time, under the partition's lock: few enough for the calling thread.
const STEP_ENTRIES: usize = 256;
const STEP_BYTES: usize = 4 << 20;
/// Partitions that are noted at most; the others are found when it is their turn.
const MOST_NOTED: usize = 10_000;

/// How much of a partition's change log is kept.
#[derive(Debug, Clone, Copy)]
pub struct LogBounds {
    /// Entries that were committed before this moment go (microseconds since the epoch).
    pub since: i64,
    /// Of more bytes the oldest entries go.
    pub bytes: u64,
}

/// Partitions whose log has just passed its bound.
#[derive(Debug, Default)]
pub(super) struct Overfull {
    /// 0: there is none yet.
    bound: AtomicU64,
    noted: Mutex<HashSet<PartitionId>>,
}

impl Overfull {
    pub(super) fn note(&self, partition: &PartitionId, before: u64, after: u64) {
        let bound = self.bound.load(Ordering::Relaxed);
        if bound > 0 && before <= bound && after > bound {
            let mut noted = self.noted.lock();
            if noted.len() < MOST_NOTED {
                noted.insert(partition.clone());
            }
        }
    }
}

impl Committer {
    /// Shortens the logs that have passed `bounds.bytes` since the last time.
    ///
    /// # Errors
    /// When the backend cannot be read or written.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn trim_overfull_logs(&self, bounds: LogBounds) -> Result<()> {
        self.overfull.bound.store(bounds.bytes, Ordering::Relaxed);
        let noted = std::mem::take(&mut *self.overfull.noted.lock());
        for partition in noted {
            self.check_writable()?;
            self.trim_or_warn(partition, bounds).await;
        }
        Ok(())
    }

    /// Shortens the logs of about `partitions` partitions from `after` on (from the first where there is none); where to go on,
    /// none at the end.
    ///
    /// # Errors
    /// When the backend cannot be read or written.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn trim_logs(
        &self,
        after: Option<PartitionId>,
        partitions: usize,
        bounds: LogBounds,
    ) -> Result<Option<PartitionId>> {
        let snapshot = self.backend.snapshot().await?;
        let mut walk = ManifestWalk::of_records_after(snapshot.as_ref(), after.as_ref());
        let mut seen = 0;
        while let Some(chunk) = walk.next_chunk().await? {
            let mut last = None;
            for item in chunk {
                let ManifestItem::Record(partition, record) = item else { continue };
                seen += 1;
                if record.log_bytes > 0 {
                    self.check_writable()?;
                    self.trim_or_warn(partition.clone(), bounds).await;
                }
                last = Some(partition);
            }
            if seen >= partitions {
                return Ok(last);
            }
        }
        Ok(None)
    }

    /// One that cannot be read must not keep the others from their turn.
    async fn trim_or_warn(&self, partition: PartitionId, bounds: LogBounds) {
        let table = partition.table;
        if let Err(error) = self.trim_log(partition, bounds).await {
            let error = error.detail.as_deref().unwrap_or(&error.message);
            tracing::warn!(%table, error, "a change log cannot be shortened");
        }
    }

    async fn trim_log(&self, partition: PartitionId, bounds: LogBounds) -> Result<()> {
        // A step at a time: the lock is not held for long.
        while self.trim_step(&partition, bounds).await? {}
        Ok(())
    }

    /// One step; whether there may be more to do.
    async fn trim_step(&self, partition: &PartitionId, bounds: LogBounds) -> Result<bool> {
        let mut guard = self.begin(partition.clone()).await;
        self.check_writable()?;
        let mut record = guard.record().await?;
        let space = keys::log_partition(partition.table, partition.user.as_ref());
        let range = space.range();
        let request = ScanRequest {
            range: range.clone(),
            direction: Direction::Forward,
            limit: STEP_ENTRIES,
            max_bytes: STEP_BYTES,
        };
        let chunk = self.backend.snapshot().await?.scan(request).await?;
        let has_more = chunk.rest.is_some();
        let mut gone: Option<Seq> = None;
        let mut all = true;
        for (key, value) in chunk.entries.iter() {
            if record.log_bytes <= bounds.bytes && committed_at(value)? >= bounds.since {
                all = false;
                break;
            }
            gone = Some(keys::decode_log_key(&space, key)?);
            record.log_bytes = record.log_bytes.saturating_sub((key.len() + value.len()) as u64);
        }
        let Some(gone) = gone else { return Ok(false) };
        record.log_begin = gone;
        let mut batch = Batch::new();
        let end: Bytes = keys::log_key(&space, Seq(gone.0 + 1));
        batch.delete_range(KeyRange { end: Some(end), ..range });
        let record_key = keys::partition_record_key(partition.table, partition.user.as_ref());
        batch.put(Family::Manifest, record_key, record.encode());
        {
            let _writer = self.writer.lock().await;
            self.check_writable()?;
            guard.stripe.records.forget(partition);
            self.write_next(batch).await?;
        }
        guard.stripe.records.put(partition, record);
        Ok(all && has_more)
    }
}
