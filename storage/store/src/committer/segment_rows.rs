//! The rows of a new segment, in the order of its file: their keys and versions, in as little memory as they take.

use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::Seq;

use super::watched::Watch;
use super::{FlushLimits, PartitionId};
use crate::backend::{KeyRange, Partition};
use crate::codec::keys;
use crate::codec::row::RowHeader;

/// What rows take in the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HotTotals {
    pub(super) rows: u64,
    pub(super) tombstones: u64,
    pub(super) bytes: u64,
}

impl HotTotals {
    pub(super) fn add(&mut self, row: HotTotals) {
        self.rows += row.rows;
        self.tombstones += row.tombstones;
        self.bytes += row.bytes;
    }

    pub(super) fn subtract(&mut self, row: HotTotals) {
        self.rows -= row.rows;
        self.tombstones -= row.tombstones;
        self.bytes -= row.bytes;
    }
}

/// Everything that was hot between two keys of a partition when a flush took its snapshot. Made by
/// [`HotRows::cut`](super::HotRows::cut); the file holds exactly these rows, in this order.
#[derive(Debug)]
pub struct SegmentRows {
    pub(super) watch: Arc<Watch>,
    pub(super) limits: FlushLimits,
    /// The partition's space in family `rows`.
    space: Partition,
    /// Which part of it these rows are all of.
    pub(super) range: KeyRange,
    /// One key after the other.
    keys: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// `_seq` and, as the lowest bit, whether it is a tombstone.
    versions: Vec<u64>,
    /// Bytes of each stored row.
    sizes: Vec<u32>,
    /// Deleted keys that reading them stepped over.
    pub(super) stepped_over: u64,
    totals: HotTotals,
}

impl SegmentRows {
    pub(super) fn new(watch: Arc<Watch>, limits: FlushLimits, space: Partition, start: Bytes) -> Self {
        let range = KeyRange { start, ..space.range() };
        Self {
            watch,
            limits,
            space,
            range,
            keys: Vec::new(),
            ends: Vec::new(),
            versions: Vec::new(),
            sizes: Vec::new(),
            stepped_over: 0,
            totals: HotTotals::default(),
        }
    }

    pub(super) fn push(&mut self, key: &[u8], header: &RowHeader, stored_bytes: usize) {
        debug_assert!(self.is_empty() || self.last_key() < key, "rows come in key order");
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
        self.versions.push(header.seq.0 << 1 | u64::from(header.deleted));
        // A row is bounded far below.
        self.sizes.push(u32::try_from(stored_bytes).unwrap_or(u32::MAX));
        self.totals.add(self.hot(self.len() - 1));
    }

    /// Nothing behind `end` belongs to it; no end: it goes to the partition's.
    pub(super) fn close(&mut self, end: Option<Bytes>) {
        if end.is_some() {
            self.range.end = end;
        }
    }

    /// Whose rows.
    #[must_use]
    pub fn partition(&self) -> &PartitionId {
        &self.watch.partition
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many of them are tombstones.
    #[must_use]
    pub fn tombstones(&self) -> u64 {
        self.totals.tombstones
    }

    /// The encoded key of a row, by its position; empty beyond the last.
    #[must_use]
    pub fn key(&self, position: usize) -> &[u8] {
        let start = position.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(position).and_then(|end| self.keys.get(start..*end)).unwrap_or_default()
    }

    /// The version of a row, by its position.
    #[must_use]
    pub fn seq(&self, position: usize) -> Option<Seq> {
        self.versions.get(position).map(|version| Seq(version >> 1))
    }

    /// The smallest and the largest `_seq`; none without rows.
    #[must_use]
    pub fn seqs(&self) -> Option<(Seq, Seq)> {
        let least = self.versions.iter().min()?;
        let greatest = self.versions.iter().max()?;
        Some((Seq(least >> 1), Seq(greatest >> 1)))
    }

    /// The encoded key of the first row; empty without rows.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        self.key(0)
    }

    /// The encoded key of the last row; empty without rows.
    #[must_use]
    pub fn last_key(&self) -> &[u8] {
        self.key(self.len().saturating_sub(1))
    }

    /// About how many bytes this takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.keys.capacity() + 8 * (self.ends.capacity() + self.versions.capacity()) + 4 * self.sizes.capacity()
    }

    /// What all of them take in the backend.
    pub(super) fn totals(&self) -> HotTotals {
        self.totals
    }

    /// What one of them takes there.
    pub(super) fn hot(&self, position: usize) -> HotTotals {
        let deleted = self.versions.get(position).is_some_and(|version| version & 1 == 1);
        let key = self.space.prefix.len() + self.key(position).len();
        let bytes = key as u64 + u64::from(self.sizes.get(position).copied().unwrap_or_default());
        HotTotals { rows: u64::from(!deleted), tombstones: u64::from(deleted), bytes }
    }

    /// The key of a row in family `rows`.
    pub(super) fn full_key(&self, position: usize) -> Bytes {
        keys::row_key(&self.space, self.key(position))
    }

    /// Whether a key of family `rows` lies in the part these are all of.
    pub(super) fn covers(&self, full_key: &[u8]) -> bool {
        self.range.contains(full_key)
    }

    /// Where the row of a key in family `rows` is, if there is one.
    pub(super) fn position(&self, full_key: &[u8]) -> Option<usize> {
        let key = full_key.strip_prefix(self.space.prefix.as_ref())?;
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }
}
