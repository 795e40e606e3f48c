//! What a flush reads: the hot rows of some partitions at one snapshot, while what is written to them meanwhile is
//! being watched.

use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::Result;

use super::segment_rows::SegmentRows;
use super::watched::{Budget, Watch};
use super::{Committer, FlushError, Lease, PartitionId};
use crate::backend::{Direction, KeyRange, Partition, ScanRequest, Snapshot};
use crate::codec::keys;
use crate::codec::row::{RowHeader, RowView};

/// Bounds of what a flush remembers and leaves behind.
#[derive(Debug, Clone, Copy)]
pub struct FlushLimits {
    /// What the keys may take that are written to its partitions meanwhile. With more of them it commits all the same,
    /// but compares every key.
    pub watch_bytes: usize,
    /// Deleted keys that a partition may gather, one flush after the other, before a range delete covers them.
    pub deleted_keys: u64,
    /// Bytes that may be put back behind a range delete; where more would stay rows leave one by one.
    pub put_back_bytes: usize,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self { watch_bytes: 16 << 20, deleted_keys: 1024, put_back_bytes: 8 << 20 }
    }
}

impl Committer {
    /// Begins to watch partitions, and then takes the one snapshot at which they are to be flushed; gives the reader
    /// of each, in their order. Reads no segments, so nothing is to be pinned for it.
    ///
    /// # Errors
    /// [`FlushError::LeaseLost`]; [`FlushError::Refused`] when the backend gives no snapshot.
    pub async fn begin_flush(&self, lease: &Lease, partitions: Vec<PartitionId>) -> Result<Vec<HotRows>, FlushError> {
        self.begin_flush_within(lease, partitions, FlushLimits::default()).await
    }

    /// As [`begin_flush`](Self::begin_flush), within other bounds.
    ///
    /// # Errors
    /// As there.
    pub async fn begin_flush_within(
        &self,
        lease: &Lease,
        partitions: Vec<PartitionId>,
        limits: FlushLimits,
    ) -> Result<Vec<HotRows>, FlushError> {
        self.check_writable()?;
        self.check_lease(&self.table(lease.table()), lease)?;
        let budget = Budget::new(limits.watch_bytes);
        let mut watches = Vec::with_capacity(partitions.len());
        for partition in partitions {
            debug_assert_eq!(partition.table, lease.table(), "a lease is for one table");
            let watch = Watch::new(partition.clone(), Arc::clone(&budget));
            self.begin(partition).await.stripe.register(&watch);
            watches.push(watch);
        }
        let snapshot = self.backend.snapshot().await?;
        Ok(watches.into_iter().map(|watch| HotRows::new(Arc::clone(&snapshot), watch, limits)).collect())
    }
}

/// A hot row as it is stored.
#[derive(Debug, Clone)]
pub struct HotRow {
    /// Its encoded primary key, or its row number.
    pub key: Bytes,
    /// Its header: version, time, whether it is a tombstone.
    pub header: RowHeader,
    /// All of it, header included.
    pub stored: Bytes,
}

/// Reads a partition's hot rows in key order, tombstones too, and remembers them for the commit.
#[derive(Debug)]
pub struct HotRows {
    snapshot: Arc<dyn Snapshot>,
    space: Partition,
    rest: Option<KeyRange>,
    read: SegmentRows,
}

impl HotRows {
    fn new(snapshot: Arc<dyn Snapshot>, watch: Arc<Watch>, limits: FlushLimits) -> Self {
        let space = keys::rows_partition(watch.partition.table, watch.partition.user.as_ref());
        let read = SegmentRows::new(watch, limits, space.clone(), space.prefix.clone());
        Self { snapshot, rest: Some(space.range()), space, read }
    }

    /// Whose rows.
    #[must_use]
    pub fn partition(&self) -> &PartitionId {
        self.read.partition()
    }

    /// What they are read from.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<dyn Snapshot> {
        &self.snapshot
    }

    /// The next rows, at most so many and of about so many bytes; empty at the end.
    ///
    /// # Errors
    /// When the backend cannot be read, or a row's header does not decode.
    pub async fn next(&mut self, limit: usize, max_bytes: usize) -> Result<Vec<HotRow>> {
        let Some(range) = self.rest.take() else { return Ok(Vec::new()) };
        let before = self.snapshot.keys_read();
        let chunk = self.snapshot.scan(ScanRequest { range, direction: Direction::Forward, limit, max_bytes }).await?;
        self.rest = chunk.rest;
        // Other readers of the snapshot count too: then there seem to be more than there are, which costs little.
        let looked_at = self.snapshot.keys_read().saturating_sub(before);
        self.read.stepped_over += looked_at.saturating_sub(chunk.entries.len() as u64 + 1);
        let mut rows = Vec::with_capacity(chunk.entries.len());
        for (full_key, stored) in chunk.entries.iter() {
            let header = RowView::parse(stored)?.header();
            let key = Bytes::copy_from_slice(full_key.get(self.space.prefix.len()..).unwrap_or_default());
            self.read.push(&key, &header, stored.len());
            rows.push(HotRow { key, header, stored: Bytes::copy_from_slice(stored) });
        }
        Ok(rows)
    }

    /// About how many bytes of memory the rows take that were read since the last [cut](Self::cut).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.read.memory()
    }

    /// Whether there is no row behind those that were read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_none()
    }

    /// The rows that were read since the last cut, for the segment that holds them; none if there were none. To be
    /// called at the end, and before it where a partition is to have several files.
    pub fn cut(&mut self) -> Option<SegmentRows> {
        if self.read.is_empty() {
            return None;
        }
        let end = self.rest.as_ref().map(|_| {
            let last = keys::row_key(&self.space, self.read.last_key());
            Bytes::from([last.as_ref(), &[0]].concat())
        });
        let start = end.clone().unwrap_or_else(|| self.space.prefix.clone());
        let next = SegmentRows::new(Arc::clone(&self.read.watch), self.read.limits, self.space.clone(), start);
        let mut rows = std::mem::replace(&mut self.read, next);
        rows.close(end);
        Some(rows)
    }
}
