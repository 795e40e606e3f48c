//! Every `_seq` that was ever read, over all lives of the server.

use std::collections::HashMap;

/// What each number meant when it was read.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    meaning: HashMap<i64, String>,
    /// The highest number of earlier lives.
    highest_before: i64,
}

impl Sequences {
    /// A row with this number, described so that another change would be described differently.
    pub(super) fn tell(&mut self, seq: i64, change: String) {
        assert!(seq > 0 && seq < 1 << 53, "{seq} of {change}");
        match self.meaning.get(&seq) {
            Some(before) => assert_eq!(*before, change, "_seq {seq} means two changes"),
            None => {
                assert!(
                    seq > self.highest_before,
                    "_seq {seq} of {change} is new, and lower than {}",
                    self.highest_before
                );
                self.meaning.insert(seq, change);
            }
        }
    }

    /// What comes now was committed after all that was read so far.
    pub(super) fn end_of_life(&mut self) {
        self.highest_before = self.meaning.keys().copied().max().unwrap_or_default();
    }

    pub(super) fn count(&self) -> usize {
        self.meaning.len()
    }
}
