//! The keys that are written in a partition while a flush of it runs, so that the flush need not look at all the
//! others when it commits (FL-6).
//!
//! A watch is registered with the partition's lock held, and only then the flush takes its snapshot: a version that
//! the snapshot shows and no recorded key names is there still. What watches remember is bounded; one that would
//! have to remember more remembers nothing, and the flush compares every key.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use kalamdb_commons::Family;
use parking_lot::Mutex;

use super::PartitionId;
use super::recent::RecentRecords;
use crate::backend::{Batch, Write};

/// What an entry of the set takes beside its key, about.
const ENTRY_BYTES: usize = 64;

/// Bytes that the watches of one group may take together.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

#[derive(Debug)]
enum Recorded {
    /// Full keys of family `rows`, and what was taken of the budget for them.
    Keys { keys: BTreeSet<Bytes>, bytes: usize },
    /// Any key may have been written.
    TooMany,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) partition: PartitionId,
    budget: Arc<Budget>,
    recorded: Mutex<Recorded>,
}

impl Watch {
    pub(super) fn new(partition: PartitionId, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { partition, budget, recorded: Mutex::new(Recorded::Keys { keys: BTreeSet::new(), bytes: 0 }) })
    }

    fn record<'a>(&self, written: impl Iterator<Item = &'a Bytes>) {
        let mut recorded = self.recorded.lock();
        let Recorded::Keys { keys, bytes } = &mut *recorded else { return };
        for key in written {
            if keys.contains(key) {
                continue;
            }
            let needed = key.len() + ENTRY_BYTES;
            if !self.budget.take(needed) {
                self.budget.give_back(*bytes);
                *recorded = Recorded::TooMany;
                return;
            }
            *bytes += needed;
            keys.insert(key.clone());
        }
    }

    fn forget_everything(&self) {
        let before = std::mem::replace(&mut *self.recorded.lock(), Recorded::TooMany);
        if let Recorded::Keys { bytes, .. } = before {
            self.budget.give_back(bytes);
        }
    }

    /// The full keys written since the watch was registered, in order; none when they were too many.
    pub(super) fn written(&self) -> Option<Vec<Bytes>> {
        match &*self.recorded.lock() {
            Recorded::Keys { keys, .. } => Some(keys.iter().cloned().collect()),
            Recorded::TooMany => None,
        }
    }
}

/// What a partition's lock guards beside the partition: records of partitions it was taken for lately, and the
/// watches on partitions it is the lock of.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    pub(super) records: RecentRecords,
    watches: Vec<Weak<Watch>>,
}

impl Stripe {
    pub(super) fn register(&mut self, watch: &Arc<Watch>) {
        self.watches.retain(|watch| watch.strong_count() > 0);
        self.watches.push(Arc::downgrade(watch));
    }

    /// Before a statement's batch is written.
    pub(super) fn note(&mut self, partition: &PartitionId, batch: &Batch) {
        if self.watches.is_empty() {
            return;
        }
        self.watches.retain(|watch| watch.strong_count() > 0);
        for watch in self.watches.iter().filter_map(Weak::upgrade).filter(|watch| watch.partition == *partition) {
            watch.record(batch.writes().iter().filter_map(|write| match write {
                Write::Put { family: Family::Rows, key, .. } | Write::Delete { family: Family::Rows, key } => Some(key),
                Write::Put { .. } | Write::Delete { .. } | Write::DeleteRange(_) => None,
            }));
        }
    }

    /// Before hot rows leave for a segment: whoever else watches them knows nothing any more.
    pub(super) fn note_departure(&mut self, own: &Arc<Watch>) {
        for watch in self.watches.iter().filter_map(Weak::upgrade) {
            if watch.partition == own.partition && !Arc::ptr_eq(&watch, own) {
                watch.forget_everything();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::TableId;

    use super::*;

    fn partition(number: u64) -> PartitionId {
        PartitionId { table: TableId(number), user: None }
    }

    fn write(keys: &[&'static str]) -> Batch {
        let mut batch = Batch::new();
        for key in keys {
            batch.put(Family::Rows, *key, "value");
            batch.put(Family::Log, "other", "value");
        }
        batch
    }

    #[test]
    fn written_keys_are_remembered_while_somebody_watches() {
        let budget = Budget::new(1 << 20);
        let mut stripe = Stripe::default();
        let (watch, other) = (Watch::new(partition(1), Arc::clone(&budget)), Watch::new(partition(2), budget));
        stripe.register(&watch);
        stripe.register(&other);
        stripe.note(&partition(1), &write(&["b", "a", "b"]));
        assert_eq!(watch.written(), Some(vec![Bytes::from("a"), Bytes::from("b")]));
        assert_eq!(other.written(), Some(Vec::new()));
        drop((watch, other));
        stripe.note(&partition(1), &write(&["c"]));
        assert!(stripe.watches.is_empty());
    }

    #[test]
    fn a_watch_over_its_budget_leaves_it_to_the_others() {
        let budget = Budget::new(2 * (1 + ENTRY_BYTES));
        let mut stripe = Stripe::default();
        let (watch, other) = (Watch::new(partition(1), Arc::clone(&budget)), Watch::new(partition(2), budget));
        stripe.register(&watch);
        stripe.register(&other);
        stripe.note(&partition(1), &write(&["a", "b", "c"]));
        assert_eq!(watch.written(), None);
        stripe.note(&partition(2), &write(&["a", "b"]));
        assert_eq!(other.written().map(|keys| keys.len()), Some(2));
        stripe.note(&partition(1), &write(&["a"]));
        assert_eq!(watch.written(), None, "it cannot know again what it has forgotten");
    }

    #[test]
    fn rows_that_leave_blind_every_other_watch_on_them() {
        let budget = Budget::new(1 << 20);
        let mut stripe = Stripe::default();
        let watches: Vec<_> = [1, 1, 2].map(|number| Watch::new(partition(number), Arc::clone(&budget))).into();
        watches.iter().for_each(|watch| stripe.register(watch));
        stripe.note_departure(&watches[0]);
        let known: Vec<bool> = watches.iter().map(|watch| watch.written().is_some()).collect();
        assert_eq!(known, [true, false, true]);
    }
}
