//! Which manifest generations are being read: the files that these name stay.
//!
//! A reader pins before it takes its snapshot, and what it pins is the newest generation that was *written* by then.
//! So whatever its snapshot still names was replaced, if at all, by a later generation than the pinned one. A store that
//! failed and was opened again takes the pins of its readers over: generations grow on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Committer;

/// See the module.
#[derive(Debug)]
pub(super) struct Pins {
    /// The newest generation that is written. Raised with the writer held, after the write.
    newest: AtomicU64,
    /// How many readers each generation has; none of them 0.
    readers: Mutex<BTreeMap<u64, usize>>,
}

impl Pins {
    pub(super) fn new(newest: u64) -> Arc<Self> {
        Arc::new(Self { newest: AtomicU64::new(newest), readers: Mutex::default() })
    }

    /// Of a store that was opened again; nobody writes yet.
    pub(super) fn begin_anew(&self, newest: u64) {
        self.newest.fetch_max(newest, Ordering::AcqRel);
    }

    pub(super) fn raise(&self, generation: u64) {
        // A write before the store was opened again may come last.
        self.newest.fetch_max(generation, Ordering::AcqRel);
    }

    fn pin(self: &Arc<Self>) -> Pin {
        let mut readers = self.readers.lock();
        let generation = self.newest.load(Ordering::Acquire);
        *readers.entry(generation).or_default() += 1;
        Pin { pins: Arc::clone(self), generation }
    }

    /// The oldest generation that somebody reads.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.readers.lock().first_key_value().map(|(generation, _)| *generation)
    }
}

/// Keeps the files that are named by the manifest as it is now; to be taken before the snapshot that reads it, and
/// held until the last of them is closed.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    generation: u64,
}

impl Pin {
    /// What is pinned.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl Clone for Pin {
    /// Pins the same generation once more.
    fn clone(&self) -> Self {
        *self.pins.readers.lock().entry(self.generation).or_default() += 1;
        Self { pins: Arc::clone(&self.pins), generation: self.generation }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut readers = self.pins.readers.lock();
        if let Some(count) = readers.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.generation);
            }
        }
    }
}

impl Committer {
    /// Keeps the files of all segments that a snapshot taken from now on shows, until the pin is dropped.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pins.pin()
    }

    /// The oldest generation that somebody reads, for gauges.
    #[must_use]
    pub fn oldest_pin(&self) -> Option<u64> {
        self.pins.oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_reader_counts() {
        let pins = Pins::new(4);
        assert_eq!(pins.oldest(), None);
        let first = pins.pin();
        pins.raise(9);
        let second = pins.pin();
        assert_eq!((first.generation(), second.generation(), pins.oldest()), (4, 9, Some(4)));
        let again = first.clone();
        drop(first);
        assert_eq!(pins.oldest(), Some(4));
        drop(again);
        assert_eq!(pins.oldest(), Some(9));
        drop(second);
        assert_eq!(pins.oldest(), None);
    }
}
