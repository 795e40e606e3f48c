//! What is kept in memory of each table: its gate, its lease, and the sums over its partitions.
//!
//! The sums are rebuilt from records and manifest entries at the start, and follow every batch that was written:
//! FL-7: they are what a recount would find. A commit changes them with a handful of atomic additions.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use kalamdb_commons::{Result, TableId};
use tokio::sync::RwLock;

use super::Committer;
use crate::backend::StorageBackend;
use crate::codec::manifest::ManifestEntry;
use crate::codec::partition::PartitionRecord;
use crate::manifest::{ManifestItem, ManifestWalk};

/// A threshold that no table reaches.
const NEVER: u64 = u64::MAX;

/// The sums over a table's partitions, at about one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableTotals {
    /// Rows in the backend, tombstones too: what a flush would move.
    pub buffered_rows: u64,
    /// Bytes of their keys and values.
    pub buffered_bytes: u64,
    /// Rows in segments without a delete mark; a row that was flushed as a tombstone is one.
    pub flushed_rows: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub segment_bytes: u64,
}

/// What a batch does to a table's sums.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TotalsChange {
    buffered_rows: i64,
    buffered_bytes: i64,
    flushed_rows: i64,
    segments: i64,
    segment_bytes: i64,
}

impl TotalsChange {
    pub(super) fn between(before: &PartitionRecord, after: &PartitionRecord) -> Self {
        let rows = |record: &PartitionRecord| record.hot_rows + record.hot_tombstones;
        Self {
            buffered_rows: difference(rows(before), rows(after)),
            buffered_bytes: difference(before.hot_bytes, after.hot_bytes),
            ..Self::default()
        }
    }

    /// With what became of the partition's hot rows.
    pub(super) fn and_hot(self, before: &PartitionRecord, after: &PartitionRecord) -> Self {
        let Self { buffered_rows, buffered_bytes, .. } = Self::between(before, after);
        Self { buffered_rows, buffered_bytes, ..self }
    }

    /// Rows of segments that got a mark.
    pub(super) fn marked(mut self, rows: u64) -> Self {
        self.flushed_rows -= rows.cast_signed();
        self
    }

    pub(super) fn with_segment(mut self, entry: &ManifestEntry) -> Self {
        self.flushed_rows += entry.rows.saturating_sub(entry.deleted_rows).cast_signed();
        self.segments += 1;
        self.segment_bytes += entry.bytes.cast_signed();
        self
    }

    pub(super) fn without_segment(mut self, entry: &ManifestEntry) -> Self {
        self.flushed_rows -= entry.rows.saturating_sub(entry.deleted_rows).cast_signed();
        self.segments -= 1;
        self.segment_bytes -= entry.bytes.cast_signed();
        self
    }
}

fn difference(before: u64, after: u64) -> i64 {
    after.wrapping_sub(before).cast_signed()
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) gate: Arc<RwLock<()>>,
    /// The generation of the lease raised last since the start; 0 for none. Changed with the writer held.
    pub(super) lease: AtomicU64,
    buffered_rows: AtomicU64,
    buffered_bytes: AtomicU64,
    flushed_rows: AtomicU64,
    segments: AtomicU64,
    segment_bytes: AtomicU64,
    /// Buffered rows from which on the caller wants to know.
    threshold: AtomicU64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            gate: Arc::default(),
            lease: AtomicU64::new(0),
            buffered_rows: AtomicU64::new(0),
            buffered_bytes: AtomicU64::new(0),
            flushed_rows: AtomicU64::new(0),
            segments: AtomicU64::new(0),
            segment_bytes: AtomicU64::new(0),
            threshold: AtomicU64::new(NEVER),
        }
    }
}

/// Whether a table's buffered rows have just come up to its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threshold {
    Crossed,
    NotCrossed,
}

impl Table {
    /// After the batch was written.
    pub(super) fn apply(&self, change: TotalsChange) -> Threshold {
        let add = |sum: &AtomicU64, change: i64| {
            if change != 0 {
                sum.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
            }
        };
        add(&self.buffered_bytes, change.buffered_bytes);
        add(&self.flushed_rows, change.flushed_rows);
        add(&self.segments, change.segments);
        add(&self.segment_bytes, change.segment_bytes);
        if change.buffered_rows == 0 {
            return Threshold::NotCrossed;
        }
        // Sequentially consistent with `set_threshold`: one of the two sees the other.
        let before = self.buffered_rows.fetch_add(change.buffered_rows.cast_unsigned(), Ordering::SeqCst);
        let after = before.wrapping_add(change.buffered_rows.cast_unsigned());
        let threshold = self.threshold.load(Ordering::SeqCst);
        if before < threshold && after >= threshold { Threshold::Crossed } else { Threshold::NotCrossed }
    }

    /// Whether it is reached by now.
    fn set_threshold(&self, rows: Option<u64>) -> bool {
        let threshold = rows.unwrap_or(NEVER);
        self.threshold.store(threshold, Ordering::SeqCst);
        self.buffered_rows.load(Ordering::SeqCst) >= threshold
    }

    fn totals(&self) -> TableTotals {
        TableTotals {
            buffered_rows: self.buffered_rows.load(Ordering::Relaxed),
            buffered_bytes: self.buffered_bytes.load(Ordering::Relaxed),
            flushed_rows: self.flushed_rows.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            segment_bytes: self.segment_bytes.load(Ordering::Relaxed),
        }
    }

    /// The table was dropped: nothing of it is left, and no flush of it commits any more.
    pub(super) fn clear(&self) {
        self.lease.store(0, Ordering::Release);
        self.threshold.store(NEVER, Ordering::SeqCst);
        let sums = [&self.buffered_rows, &self.buffered_bytes, &self.flushed_rows, &self.segments, &self.segment_bytes];
        for sum in sums {
            sum.store(0, Ordering::SeqCst);
        }
    }
}

/// All tables that were ever written to, as the backend has them.
pub(super) async fn recount(backend: &dyn StorageBackend) -> Result<DashMap<TableId, Arc<Table>>> {
    let tables: DashMap<TableId, Arc<Table>> = DashMap::new();
    let snapshot = backend.snapshot().await?;
    let mut walk = ManifestWalk::of_everything(snapshot.as_ref());
    while let Some(items) = walk.next_chunk().await? {
        for item in items {
            let (table, change) = match item {
                ManifestItem::Record(partition, record) => {
                    (partition.table, TotalsChange::between(&PartitionRecord::default(), &record))
                }
                ManifestItem::Entry(partition, entry) => {
                    (partition.table, TotalsChange::default().with_segment(&entry))
                }
            };
            tables.entry(table).or_default().apply(change);
        }
    }
    Ok(tables)
}

/// The caller's own function for a table that has crossed its threshold.
#[derive(Default)]
pub(super) struct Notice(OnceLock<Box<dyn Fn(TableId) + Send + Sync>>);

impl Notice {
    pub(super) fn give(&self, table: TableId) {
        if let Some(notice) = self.0.get() {
            notice(table);
        }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("set", &self.0.get().is_some()).finish()
    }
}

impl Committer {
    /// A table's sums; all 0 for one that was never written to.
    #[must_use]
    pub fn totals(&self, table: TableId) -> TableTotals {
        self.tables.get(&table).map(|table| table.totals()).unwrap_or_default()
    }

    /// The sums of all tables that were written to and not dropped since, in no order.
    #[must_use]
    pub fn all_totals(&self) -> Vec<(TableId, TableTotals)> {
        self.tables.iter().map(|table| (*table.key(), table.value().totals())).collect()
    }

    /// Sets the number of buffered rows from which on the table is to be noticed; none for never. Whether it is
    /// reached by now: then no notice comes before the rows fall below it and come up again.
    ///
    /// Belongs to this committer: after the store was opened again it is to be set anew.
    pub fn set_row_threshold(&self, table: TableId, rows: Option<u64>) -> bool {
        self.table(table).set_threshold(rows)
    }

    /// What to do when a table's buffered rows come up to its threshold: once each time they do, not for each write
    /// above it. Called by whoever commits, with the partition held: it must do no more than pass the word on.
    /// Only the first function that is given counts; whether this was it.
    pub fn on_row_threshold(&self, notice: impl Fn(TableId) + Send + Sync + 'static) -> bool {
        self.notice.0.set(Box::new(notice)).is_ok()
    }
}
