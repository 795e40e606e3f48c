//! Records of the partitions that a lock was taken for lately, so that a partition written to again and again
//! is not asked for its record each time. Whoever holds the lock owns them.

use super::PartitionId;
use crate::codec::partition::PartitionRecord;

/// Records kept by each lock.
const KEPT: usize = 4;

/// The newest first.
#[derive(Debug, Default)]
pub(super) struct RecentRecords(Vec<(PartitionId, PartitionRecord)>);

impl RecentRecords {
    /// A partition's record, if it is known.
    pub(super) fn get(&self, partition: &PartitionId) -> Option<PartitionRecord> {
        self.0.iter().find(|(known, _)| known == partition).map(|(_, record)| *record)
    }

    /// Before a partition's record is written: what comes of a write that does not return is not known.
    pub(super) fn forget(&mut self, partition: &PartitionId) {
        self.0.retain(|(known, _)| known != partition);
    }

    /// Keeps a partition's record as it was just written.
    pub(super) fn put(&mut self, partition: &PartitionId, record: PartitionRecord) {
        self.forget(partition);
        self.0.truncate(KEPT - 1);
        self.0.insert(0, (partition.clone(), record));
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::{Seq, TableId};

    use super::*;

    fn partition(number: u64) -> PartitionId {
        PartitionId { table: TableId(number), user: None }
    }

    fn record(seq: u64) -> PartitionRecord {
        PartitionRecord { last_seq: Seq(seq), ..PartitionRecord::default() }
    }

    #[test]
    fn the_latest_record_of_the_latest_partitions_is_known() {
        let mut records = RecentRecords::default();
        for number in 0..4 {
            records.put(&partition(number), record(number));
        }
        records.put(&partition(0), record(10));
        records.put(&partition(4), record(4));
        assert_eq!(records.get(&partition(0)), Some(record(10)), "written again, so kept");
        assert_eq!(records.get(&partition(1)), None, "the one that waited longest makes room");
        for number in 2..=4 {
            assert_eq!(records.get(&partition(number)), Some(record(number)));
        }
        records.forget(&partition(4));
        assert_eq!(records.get(&partition(4)), None);
        records.put(&partition(4), record(5));
        assert_eq!(records.0.len(), KEPT);
    }
}
