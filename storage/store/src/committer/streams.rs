//! Stream tables: a committer over a backend in memory, whose rows go when they are old or too many.
//!
//! It is like any other, with three differences. Its numbers are another committer's, so that `_seq` stays one counter of
//! the server (CM-1). Each partition has a queue of its live rows by age, and a row leaves when it is older than its
//! table allows, or when a newer one takes its place; nobody is told of that. The change log keeps what happened for as
//! long as the rows may live. Which partition has a row that is next to go is known, so expiry looks at no other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use kalamdb_commons::{Family, Result, Seq, TableId};
use parking_lot::Mutex;

use super::changes::{Changes, CommitError, Committed, RowChange};
use super::table::TotalsChange;
use super::{Committer, PartitionGuard, PartitionId, SyncMode};
use crate::backend::{Batch, Direction, KeyRange, ScanRequest, StorageBackend};
use crate::codec::changelog::committed_at;
use crate::codec::keys;
use crate::codec::partition::PartitionRecord;
use crate::codec::row::RowView;

/// Log entries looked at at a time.
const STEP_ENTRIES: usize = 256;
const STEP_BYTES: usize = 4 << 20;
/// So much of a log is kept for as long as its rows may live, though newer ones have taken their places: whoever follows
/// finds it.
const LEAST_LOG_BYTES: u64 = 256 << 10;

/// How long rows of a stream table live, and how many a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamBounds {
    /// Microseconds.
    pub ttl: i64,
    /// Of one user.
    pub max_rows: u64,
}

/// A row by its age.
#[derive(Debug)]
struct Aged {
    seq: Seq,
    at: i64,
    key: Vec<u8>,
}

/// A partition's live rows, the oldest first.
#[derive(Debug, Default)]
struct Queue {
    rows: VecDeque<Aged>,
    /// Whether it has its place among those that are due: one at most.
    is_scheduled: bool,
}

/// The live rows of all partitions by age, and when the oldest of each goes.
#[derive(Debug, Default)]
pub(super) struct Ages {
    queues: DashMap<PartitionId, Queue>,
    due: Mutex<BTreeMap<(i64, u64), PartitionId>>,
}

impl Ages {
    /// `number` tells apart what is due at the same moment.
    fn schedule(&self, partition: &PartitionId, at: i64, number: Seq) {
        self.due.lock().insert((at, number.0), partition.clone());
    }

    fn take_due(&self, now: i64) -> Vec<PartitionId> {
        let mut due = self.due.lock();
        let later = due.split_off(&(now, u64::MAX));
        std::mem::replace(&mut *due, later).into_values().collect()
    }

    fn forget(&self, table: TableId) {
        self.queues.retain(|partition, _| partition.table != table);
        self.due.lock().retain(|_, partition| partition.table != table);
    }
}

impl Committer {
    /// A committer of stream tables, over a backend in memory, whose numbers are `main`'s.
    ///
    /// # Errors
    /// When the backend cannot be read.
    pub async fn open_streams(backend: Arc<dyn StorageBackend>, main: &Arc<Self>) -> Result<Arc<Self>> {
        Self::open_with(backend, SyncMode::Buffered, None, Some(Arc::clone(main))).await
    }

    /// Takes out what is old by now, in every partition that has something; `bounds` says how long a table's rows live,
    /// nothing for one that is gone.
    ///
    /// # Errors
    /// When the backend cannot be written.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn expire(&self, now: i64, bounds: impl Fn(TableId) -> Option<StreamBounds>) -> Result<()> {
        let mut outcome = Ok(());
        for partition in self.ages.take_due(now) {
            let Some(bounds) = bounds(partition.table) else {
                self.ages.queues.remove(&partition);
                continue;
            };
            let mut guard = self.begin(partition).await;
            if let Some(mut queue) = self.ages.queues.get_mut(&guard.partition) {
                queue.is_scheduled = false;
            }
            let result = guard.make_room(now.saturating_sub(bounds.ttl), bounds.max_rows).await;
            guard.schedule_oldest(bounds);
            // The others have their turn all the same.
            outcome = outcome.and(result);
        }
        outcome
    }

    /// Takes out everything of a stream table that was dropped, with its gate held closed.
    ///
    /// # Errors
    /// When the backend cannot be written.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn drop_stream(&self, table: TableId) -> Result<()> {
        let mut batch = Batch::new();
        for space in [keys::rows_table(table), keys::log_table(table), keys::manifest_table(table)] {
            batch.delete_range(space.range());
        }
        self.ages.forget(table);
        self.write_unwaited(batch).await?;
        if let Some(table) = self.tables.get(&table) {
            table.clear();
        }
        Ok(())
    }
}

impl PartitionGuard<'_> {
    /// Commits a statement on a stream table: what is old goes before, so that its keys are free, and what is too much goes
    /// afterwards, the oldest first. Its rows are as old as the commit (`now`, in microseconds since the epoch), so that
    /// they are in the order of their ages, however long the statement took.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn commit_stream(
        &mut self,
        mut changes: Changes,
        bounds: StreamBounds,
        now: i64,
    ) -> Result<Committed, CommitError> {
        let newest =
            self.committer.ages.queues.get(&self.partition).and_then(|queue| queue.rows.back().map(|aged| aged.at));
        // A clock may go back.
        let now = newest.map_or(now, |newest| newest.max(now));
        changes.now = now;
        self.make_room(now.saturating_sub(bounds.ttl), u64::MAX).await?;
        let keys: Vec<Option<Vec<u8>>> = changes.rows.iter().map(key_of).collect();
        let committed = self.commit(changes).await?;
        {
            let mut queue = self.committer.ages.queues.entry(self.partition.clone()).or_default();
            for (key, seq) in keys.into_iter().zip(&committed.seqs) {
                let key = key.unwrap_or_else(|| keys::encode_row_number(seq.0).to_vec());
                queue.rows.push_back(Aged { seq: *seq, at: now, key });
            }
        }
        let result = self.make_room(i64::MIN, bounds.max_rows).await;
        self.schedule_oldest(bounds);
        // The rows are there, and are told of: what could not be taken out is the next statement's to try.
        if let Err(error) = result {
            tracing::warn!(
                detail = error.detail.as_deref().unwrap_or(&error.message),
                "a stream table keeps more than it should"
            );
        }
        Ok(committed)
    }

    fn schedule_oldest(&self, bounds: StreamBounds) {
        let ages = &self.committer.ages;
        if let Some(mut queue) = ages.queues.get_mut(&self.partition)
            && !queue.is_scheduled
            && let Some(oldest) = queue.rows.front()
        {
            let at = oldest.at.saturating_add(bounds.ttl).saturating_add(1);
            ages.schedule(&self.partition, at, oldest.seq);
            queue.is_scheduled = true;
        }
        ages.queues.remove_if(&self.partition, |_, queue| queue.rows.is_empty() && !queue.is_scheduled);
    }

    /// Takes out rows from before `since`, with their part of the log, and the oldest beyond `most`.
    async fn make_room(&mut self, since: i64, most: u64) -> Result<()> {
        let doomed = {
            let Some(mut queue) = self.committer.ages.queues.get_mut(&self.partition) else { return Ok(()) };
            let mut doomed = Vec::new();
            while queue.rows.len() as u64 > most || queue.rows.front().is_some_and(|aged| aged.at < since) {
                doomed.extend(queue.rows.pop_front());
            }
            doomed
        };
        if doomed.is_empty() {
            return Ok(());
        }
        let committer = self.committer;
        let before = self.record().await?;
        let mut record = before;
        let mut batch = Batch::new();
        let space = keys::rows_partition(self.partition.table, self.partition.user.as_ref());
        let full: Vec<Bytes> = doomed.iter().map(|aged| keys::row_key(&space, &aged.key)).collect();
        let stored = committer.backend.get_many(Family::Rows, &full).await?;
        for ((aged, key), value) in doomed.iter().zip(full).zip(stored) {
            let Some(value) = value else { continue };
            if RowView::parse(&value)?.header().seq == aged.seq {
                record.hot_rows = record.hot_rows.saturating_sub(1);
                record.hot_bytes = record.hot_bytes.saturating_sub((key.len() + value.len()) as u64);
                batch.delete(Family::Rows, key);
            }
        }
        self.cut_log(since, &mut record, &mut batch).await?;
        let record_key = keys::partition_record_key(self.partition.table, self.partition.user.as_ref());
        batch.put(Family::Manifest, record_key, record.encode());
        {
            let _writer = committer.writer.lock().await;
            committer.check_writable()?;
            self.stripe.records.forget(&self.partition);
            committer.write_next(batch).await?;
        }
        self.stripe.records.put(&self.partition, record);
        self.table.apply(TotalsChange::between(&before, &record));
        Ok(())
    }

    /// Takes entries off the log: those from before `since`, and those of rows that are gone where it has grown large.
    async fn cut_log(&self, since: i64, record: &mut PartitionRecord, batch: &mut Batch) -> Result<()> {
        let space = keys::log_partition(self.partition.table, self.partition.user.as_ref());
        let snapshot = self.committer.backend.snapshot().await?;
        let mut rest = Some(space.range());
        let oldest =
            self.committer.ages.queues.get(&self.partition).and_then(|queue| queue.rows.front().map(|aged| aged.seq));
        let mut gone = None;
        'log: while let Some(range) = rest {
            let request =
                ScanRequest { range, direction: Direction::Forward, limit: STEP_ENTRIES, max_bytes: STEP_BYTES };
            let chunk = snapshot.scan(request).await?;
            for (key, value) in chunk.entries.iter() {
                let last = keys::decode_log_key(&space, key)?;
                let is_spare = record.log_bytes > LEAST_LOG_BYTES && oldest.is_some_and(|oldest| last < oldest);
                if committed_at(value)? >= since && !is_spare {
                    break 'log;
                }
                gone = Some(last);
                record.log_bytes = record.log_bytes.saturating_sub((key.len() + value.len()) as u64);
            }
            rest = chunk.rest;
        }
        if let Some(gone) = gone {
            record.log_begin = gone;
            batch.delete_range(KeyRange { end: Some(keys::log_key(&space, Seq(gone.0 + 1))), ..space.range() });
        }
        Ok(())
    }
}

/// The key that a change puts a row under; none where the row is to have its number for one.
fn key_of(change: &RowChange) -> Option<Vec<u8>> {
    match change {
        RowChange::Insert { key, .. } => key.clone(),
        RowChange::Update { new_key, .. } => Some(new_key.clone()),
        RowChange::Delete { key, .. } => Some(key.clone()),
    }
}
