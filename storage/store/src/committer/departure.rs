//! Which rows of a new segment leave the hot side, and how (FL-1, FL-6).
//!
//! A row whose exact version is still hot leaves. Any other has moved on since the flush read it: it is marked
//! deleted in the segment, and what is hot under its key stays. Only keys written meanwhile are looked at, unless
//! they were too many to remember.
//!
//! Rows leave one by one, or, where they are many, by one range delete over the part of the partition that the
//! segment is all of, with what stays put back behind it. A range delete also covers what earlier flushes deleted
//! one by one there, so a scan of the partition steps over a bounded number of deleted keys, however often it is
//! flushed. Range deletes are kept for many rows because every read of the family pays for each of them until it is
//! compacted away.

use bytes::Bytes;
use kalamdb_commons::{Family, Seq};

use super::segment_rows::{HotTotals, SegmentRows};
use crate::StoreError;
use crate::backend::{Batch, Entry, StorageBackend};
use crate::codec::row::RowView;
use crate::manifest::SegmentMarks;
use crate::read::Chunks;

/// Keys looked up at a time: few enough for the calling thread, which holds the partition.
const LOOKUP_KEYS: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Departure {
    /// Rows of the segment that moved on.
    pub(super) moved_on: SegmentMarks,
    /// What leaves the hot side.
    pub(super) leaving: HotTotals,
    staying: Staying,
}

/// Hot rows where the segment is from, that are not of it.
#[derive(Debug, Default)]
struct Staying {
    rows: Vec<Entry>,
    bytes: usize,
    most_bytes: usize,
    too_many: bool,
}

impl Staying {
    fn push(&mut self, key: &[u8], stored: &[u8]) {
        self.bytes += key.len() + stored.len();
        if self.bytes > self.most_bytes {
            self.too_many = true;
            self.rows = Vec::new();
        }
        if !self.too_many {
            self.rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(stored)));
        }
    }
}

impl Departure {
    /// With the partition's lock held.
    pub(super) async fn plan(backend: &dyn StorageBackend, rows: &SegmentRows) -> Result<Self, StoreError> {
        let staying = Staying { most_bytes: rows.limits.put_back_bytes, ..Staying::default() };
        let mut departure = Self { moved_on: SegmentMarks::default(), leaving: rows.totals(), staying };
        match rows.watch.written() {
            Some(written) => departure.compare_written(backend, rows, &written).await?,
            None => departure.compare_all(backend, rows).await?,
        }
        Ok(departure)
    }

    async fn compare_written(
        &mut self,
        backend: &dyn StorageBackend,
        rows: &SegmentRows,
        written: &[Bytes],
    ) -> Result<(), StoreError> {
        let written: Vec<Bytes> = written.iter().filter(|key| rows.covers(key)).cloned().collect();
        for chunk in written.chunks(LOOKUP_KEYS) {
            let values = backend.get_many(Family::Rows, chunk).await?;
            for (key, stored) in chunk.iter().zip(values) {
                let hot = stored.as_ref().map(|stored| seq_of(stored)).transpose()?;
                let position = rows.position(key);
                match position {
                    Some(position) if hot == rows.seq(position) => continue,
                    Some(position) => self.stays_behind(rows, position),
                    None => {}
                }
                if let Some(stored) = stored {
                    self.staying.push(key, &stored);
                }
            }
        }
        Ok(())
    }

    async fn compare_all(&mut self, backend: &dyn StorageBackend, rows: &SegmentRows) -> Result<(), StoreError> {
        let snapshot = backend.snapshot().await?;
        let mut hot = Chunks::new(snapshot.as_ref(), rows.range.clone());
        let mut position = 0;
        while let Some(chunk) = hot.next().await? {
            for (key, stored) in chunk.iter() {
                while position < rows.len() && *rows.full_key(position) < *key {
                    self.stays_behind(rows, position);
                    position += 1;
                }
                if position < rows.len() && *rows.full_key(position) == *key {
                    let same = Some(seq_of(stored)?) == rows.seq(position);
                    if !same {
                        self.stays_behind(rows, position);
                    }
                    position += 1;
                    if same {
                        continue;
                    }
                }
                self.staying.push(key, stored);
            }
        }
        for position in position..rows.len() {
            self.stays_behind(rows, position);
        }
        Ok(())
    }

    fn stays_behind(&mut self, rows: &SegmentRows, position: usize) {
        if self.moved_on.insert(position as u64) {
            self.leaving.subtract(rows.hot(position));
        }
    }

    /// How many rows leave.
    pub(super) fn count(&self) -> u64 {
        self.leaving.rows + self.leaving.tombstones
    }

    /// Adds what makes them leave.
    pub(super) fn put(self, batch: &mut Batch, rows: &SegmentRows) {
        let limit = rows.limits.deleted_keys;
        let many = self.count() + rows.stepped_over > limit;
        let few_stay = !self.staying.too_many && self.staying.rows.len() as u64 <= self.count().max(limit);
        if many && few_stay {
            batch.delete_range(rows.range.clone());
            for (key, stored) in self.staying.rows {
                batch.put(Family::Rows, key, stored);
            }
            return;
        }
        for position in (0..rows.len()).filter(|position| !self.moved_on.contains(*position as u64)) {
            batch.delete(Family::Rows, rows.full_key(position));
        }
    }
}

fn seq_of(stored: &[u8]) -> Result<Seq, StoreError> {
    Ok(RowView::parse(stored)?.header().seq)
}
