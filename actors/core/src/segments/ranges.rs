//! Which keys the segments of partitions may hold, as they were seen last: so that an INSERT of keys that no segment can
//! have needs no snapshot and reads no manifest, and a read of one key reads no more of it than what it is about.
//!
//! An entry says that at manifest generation *g* all keys of the partition's segments lay in these ranges. It may be out of
//! date at any moment, and nobody takes it out: whoever relies on it names *g* as a premise of its commit, which is
//! refused when the partition, held for the commit, has another generation by then. Generations are numbers of the
//! server's sequence, never given twice, not after a crash nor by a store that was opened again, so an equal one is the
//! same manifest: no flush, compaction or recovery came between. Tables' ids are never used again either. A key outside
//! of all ranges is in no file, with or without delete marks. So is one inside that the segment's own bounds and filters
//! do not know: segments do not change and their ids are never used again, so it does not matter when these came into
//! memory. They are asked only where they are there already, so no file is opened and no pin is needed. Any other key is
//! looked up at a snapshot, with the files pinned.

use std::fmt;
use std::sync::Arc;

use kalamdb_store::PartitionId;
use kalamdb_store::codec::manifest::ManifestEntry;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Bytes that all entries may take.
const MAX_BYTES: u64 = 16 << 20;
/// About how many partitions are known.
const ENTRIES: usize = 50_000;
/// Of a partition with more segments nothing is kept: to be compacted first.
const MOST_SEGMENTS: usize = 1024;
/// What an entry takes beside its keys.
const LEAST_BYTES: u64 = 160;
/// Of a key within the ranges of more segments their filters are not asked: it is looked up.
const MOST_ASKED: usize = 64;

/// The keys of one segment.
#[derive(Debug)]
struct KeyRange {
    segment: u128,
    least: Box<[u8]>,
    greatest: Box<[u8]>,
}

impl KeyRange {
    fn covers(&self, key: &[u8]) -> bool {
        self.least.as_ref() <= key && key <= self.greatest.as_ref()
    }
}

/// The key ranges of a partition's segments at one generation.
#[derive(Debug)]
pub(crate) struct KeyRanges {
    /// Never 0: a partition without a segment is not in here.
    pub(crate) generation: u64,
    /// Those of each.
    ranges: Vec<KeyRange>,
}

impl KeyRanges {
    /// Whether a segment may hold the key; `knows_absent` is asked of those within whose range it is.
    pub(super) fn may_hold(&self, key: &[u8], knows_absent: impl Fn(u128) -> bool) -> bool {
        let around = self.ranges.iter().filter(|range| range.covers(key));
        around.enumerate().any(|(asked, range)| asked >= MOST_ASKED || !knows_absent(range.segment))
    }

    /// The segments that may hold the key, oldest first; asked as for [`may_hold`](Self::may_hold).
    pub(super) fn around(&self, key: &[u8], knows_absent: impl Fn(u128) -> bool) -> Vec<u128> {
        let around = self.ranges.iter().filter(|range| range.covers(key)).enumerate();
        around
            .filter(|(asked, range)| *asked >= MOST_ASKED || !knows_absent(range.segment))
            .map(|(_, range)| range.segment)
            .collect()
    }
}

/// See the module.
pub(crate) struct KnownRanges {
    known: Cache<PartitionId, Arc<KeyRanges>, Weight>,
}

impl fmt::Debug for KnownRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownRanges").field("partitions", &self.known.len()).finish()
    }
}

impl Default for KnownRanges {
    fn default() -> Self {
        Self { known: Cache::with_weighter(ENTRIES, MAX_BYTES, Weight) }
    }
}

impl KnownRanges {
    /// What is known of a partition.
    pub(crate) fn get(&self, partition: &PartitionId) -> Option<Arc<KeyRanges>> {
        self.known.get(partition)
    }

    /// Forgets everything, where generations that were seen may have been lost: entries of those would never be replaced
    /// by what is there now, which is older.
    pub(crate) fn forget_all(&self) {
        self.known.clear();
    }

    /// A partition's manifest as a snapshot has just shown it.
    pub(super) fn learn<'e>(
        &self,
        partition: &PartitionId,
        generation: u64,
        segments: impl ExactSizeIterator<Item = &'e ManifestEntry>,
    ) {
        if generation == 0 || segments.len() > MOST_SEGMENTS {
            return;
        }
        // Another statement may have seen a later one.
        if self.known.peek(partition).is_some_and(|known| known.generation >= generation) {
            return;
        }
        let range = |entry: &ManifestEntry| KeyRange {
            segment: entry.segment_id,
            least: entry.min_key.as_slice().into(),
            greatest: entry.max_key.as_slice().into(),
        };
        let ranges = KeyRanges { generation, ranges: segments.map(range).collect() };
        self.known.insert(partition.clone(), Arc::new(ranges));
    }
}

#[derive(Debug, Clone, Copy)]
struct Weight;

impl Weighter<PartitionId, Arc<KeyRanges>> for Weight {
    fn weight(&self, partition: &PartitionId, known: &Arc<KeyRanges>) -> u64 {
        let user = partition.user.as_ref().map_or(0, |user| user.as_str().len());
        let keys: usize = known.ranges.iter().map(|range| 48 + range.least.len() + range.greatest.len()).sum();
        LEAST_BYTES + (user + keys) as u64
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::{SchemaVersion, Seq, TableId};

    use super::*;

    fn entry(segment_id: u128, least: &[u8], greatest: &[u8]) -> ManifestEntry {
        ManifestEntry {
            segment_id,
            storage: "local".to_owned(),
            path: "a".to_owned(),
            shard: String::new(),
            rows: 1,
            bytes: 1,
            schema_version: SchemaVersion(1),
            min_seq: Seq(1),
            max_seq: Seq(1),
            min_key: least.to_vec(),
            max_key: greatest.to_vec(),
            deleted_rows: 0,
            created_at: 0,
            level: 0,
        }
    }

    #[test]
    fn the_latest_manifest_is_known_and_what_it_cannot_hold() {
        let known = KnownRanges::default();
        let partition = PartitionId { table: TableId(1), user: None };
        known.learn(&partition, 0, [].iter());
        assert!(known.get(&partition).is_none(), "nothing to know");
        known.learn(&partition, 7, [entry(1, b"b", b"d"), entry(2, b"m", b"m")].iter());
        let ranges = known.get(&partition).expect("known");
        let inside: Vec<bool> =
            [&b"a"[..], b"b", b"c", b"d", b"da", b"m", b"n"].map(|key| ranges.may_hold(key, |_| false)).into();
        assert_eq!(inside, [false, true, true, true, false, true, false]);
        known.learn(&partition, 5, [entry(1, b"x", b"y")].iter());
        assert_eq!(known.get(&partition).expect("known").generation, 7, "an older snapshot teaches nothing");
        known.learn(&partition, 9, [entry(1, b"x", b"y")].iter());
        assert_eq!(known.get(&partition).expect("known").generation, 9);
        assert!(known.get(&PartitionId { table: TableId(2), user: None }).is_none());
    }

    #[test]
    fn every_segment_around_a_key_has_to_know_that_it_is_absent() {
        let known = KnownRanges::default();
        let partition = PartitionId { table: TableId(1), user: None };
        known.learn(&partition, 7, [entry(1, b"a", b"m"), entry(2, b"c", b"z")].iter());
        let ranges = known.get(&partition).expect("known");
        assert!(!ranges.may_hold(b"b", |segment| segment == 1), "the other is not around it");
        assert!(ranges.may_hold(b"d", |segment| segment == 1));
        assert!(ranges.may_hold(b"d", |segment| segment == 2));
        assert!(!ranges.may_hold(b"d", |_| true));
        assert_eq!(ranges.around(b"d", |_| false), [1, 2]);
        assert_eq!(ranges.around(b"d", |segment| segment == 1), [2]);
        assert_eq!(ranges.around(b"b", |_| false), [1], "the other is not around it");
        assert_eq!(ranges.around(b"zz", |_| false), [0_u128; 0]);
        let many: Vec<ManifestEntry> = (0..=MOST_ASKED).map(|id| entry(id as u128, b"a", b"z")).collect();
        known.learn(&partition, 8, many.iter().take(MOST_ASKED));
        assert!(!known.get(&partition).expect("known").may_hold(b"d", |_| true));
        known.learn(&partition, 9, many.iter());
        assert!(known.get(&partition).expect("known").may_hold(b"d", |_| true), "too many to ask");
        let last = known.get(&partition).expect("known").around(b"d", |_| true);
        assert_eq!(last, [MOST_ASKED as u128], "it was not asked");
        assert!(!known.get(&partition).expect("known").may_hold(b"zz", |_| false), "outside of all");
    }

    #[test]
    fn an_older_generation_is_learned_only_once_everything_is_forgotten() {
        let known = KnownRanges::default();
        let partition = PartitionId { table: TableId(1), user: None };
        known.learn(&partition, 9, [entry(1, b"a", b"m")].iter());
        known.forget_all();
        assert!(known.get(&partition).is_none());
        known.learn(&partition, 5, [entry(1, b"a", b"c")].iter());
        assert_eq!(known.get(&partition).expect("known").generation, 5);
    }

    #[test]
    fn it_is_bounded() {
        let known = KnownRanges::default();
        let key = vec![1; 1000];
        for number in 0..100_000 {
            let partition = PartitionId { table: TableId(number), user: None };
            known.learn(&partition, 1, [entry(1, &key, &key)].iter());
        }
        assert!(known.known.weight() <= MAX_BYTES);
    }
}
