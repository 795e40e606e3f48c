//! Binary records read back as they were written, whatever is in them.

use bytes::Bytes;
use kalamdb_commons::{SchemaVersion, Seq, TableId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::strategies::seq;
use crate::codec::changelog::{ChangeKind, LogChange, LogEntry};
use crate::codec::files::{GarbageEntry, PendingFiles, StoredFile};
use crate::codec::manifest::ManifestEntry;
use crate::codec::meta::{
    DataFormat, DatabaseId, FlushLease, FlushSchedule, Home, LocalLocation, NextTableId, SeqBlock, SharedBelow,
    TableBorn,
};
use crate::codec::partition::PartitionRecord;

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..30)
}

fn stored_file() -> impl Strategy<Value = StoredFile> {
    (any::<String>(), any::<String>()).prop_map(|(storage, path)| StoredFile { storage, path })
}

fn change() -> impl Strategy<Value = LogChange> {
    let kind = prop_oneof![Just(ChangeKind::Insert), Just(ChangeKind::Update), Just(ChangeKind::Delete)];
    let row = || option::of(some_bytes().prop_map(Bytes::from));
    (seq(), kind, some_bytes(), row(), row()).prop_map(|(seq, kind, key, old, new)| LogChange {
        seq,
        kind,
        key,
        old,
        new,
    })
}

proptest! {
    #[test]
    fn log_entries(version: u32, committed_at: i64, changes in vec(change(), 0..8)) {
        let entry = LogEntry { schema_version: SchemaVersion(version), committed_at, changes };
        prop_assert_eq!(LogEntry::decode(&Bytes::from(entry.encode())).unwrap(), entry);
    }

    #[test]
    fn partition_records(last_seq in seq(), log_begin in seq(), [rows, tombstones, bytes, generation, log] in any::<[u64; 5]>()) {
        let record = PartitionRecord {
            last_seq,
            hot_rows: rows,
            hot_tombstones: tombstones,
            hot_bytes: bytes,
            manifest_generation: generation,
            log_begin,
            log_bytes: log,
        };
        let stored = record.encode();
        prop_assert_eq!(stored.len(), 57);
        prop_assert_eq!(PartitionRecord::decode(&stored).unwrap(), record);
    }

    #[test]
    fn manifest_entries(
        segment_id: u128,
        [storage, path, shard] in any::<[String; 3]>(),
        [rows, bytes, deleted_rows] in any::<[u64; 3]>(),
        (version, created_at, level) in any::<(u32, i64, u8)>(),
        (min_seq, max_seq) in (seq(), seq()),
        (min_key, max_key) in (some_bytes(), some_bytes()),
    ) {
        let schema_version = SchemaVersion(version);
        let entry = ManifestEntry {
            segment_id, storage, path, shard, rows, bytes, schema_version, min_seq, max_seq, min_key, max_key,
            deleted_rows, created_at, level,
        };
        prop_assert_eq!(ManifestEntry::decode(&entry.encode()).unwrap(), entry);
    }

    #[test]
    fn file_lists(lease_generation: u64, files in vec(stored_file(), 0..5), file in stored_file(), bytes: u64, retired_at: i64) {
        let pending = PendingFiles { lease_generation, files };
        prop_assert_eq!(PendingFiles::decode(&pending.encode()).unwrap(), pending);
        let garbage = GarbageEntry { file, bytes, retired_at };
        prop_assert_eq!(GarbageEntry::decode(&garbage.encode()).unwrap(), garbage);
    }

    #[test]
    fn small_records(number: u64, id: u128, path: String, at: i64, last in option::of(any::<i64>()), reserved in 0..=Seq::LIMIT) {
        let format = DataFormat(u32::try_from(number >> 32).unwrap());
        prop_assert_eq!(DataFormat::decode(&format.encode()).unwrap(), format);
        prop_assert_eq!(DatabaseId::decode(&DatabaseId(id).encode()).unwrap(), DatabaseId(id));
        prop_assert_eq!(SharedBelow::decode(&SharedBelow(id).encode()).unwrap(), SharedBelow(id));
        let machine = last.map(|_| path.clone());
        let home = Home { directory: number, marker: number.swap_bytes(), born: last, machine };
        prop_assert_eq!(Home::decode(&home.encode()).unwrap(), home);
        let local = LocalLocation { path };
        prop_assert_eq!(LocalLocation::decode(&local.encode()).unwrap(), local);
        let block = SeqBlock { reserved_until: Seq(reserved) };
        prop_assert_eq!(SeqBlock::decode(&block.encode()).unwrap(), block);
        let born = TableBorn(Seq(reserved.min(Seq::LIMIT - 1)));
        prop_assert_eq!(TableBorn::decode(&born.encode()).unwrap(), born);
        let next = NextTableId(TableId(number));
        prop_assert_eq!(NextTableId::decode(&next.encode()).unwrap(), next);
        let lease = FlushLease { generation: number, started_at: at };
        prop_assert_eq!(FlushLease::decode(&lease.encode()).unwrap(), lease);
        let schedule = FlushSchedule { due_at: at, last_flush_at: last };
        prop_assert_eq!(FlushSchedule::decode(&schedule.encode()).unwrap(), schedule);
    }
}

#[test]
fn rows_of_a_log_entry_share_its_memory() {
    let stored = Bytes::from(super::samples::log_entry().encode());
    let entry = LogEntry::decode(&stored).unwrap();
    let row = entry.changes[0].new.as_ref().unwrap();
    assert!(stored.as_ptr_range().contains(&row.as_ptr()));
}

#[test]
fn a_seq_is_below_its_limit_wherever_it_is_stored() {
    let too_large = Seq(Seq::LIMIT);
    let message = "seq 9007199254740992 is not below 2^53";
    let record = PartitionRecord { last_seq: too_large, ..PartitionRecord::default() };
    assert!(PartitionRecord::decode(&record.encode()).unwrap_err().to_string().ends_with(message));
    let entry = ManifestEntry { max_seq: too_large, ..super::samples::manifest_entry() };
    assert!(ManifestEntry::decode(&entry.encode()).unwrap_err().to_string().ends_with(message));
    let mut entry = super::samples::log_entry();
    entry.changes[0].seq = too_large;
    assert!(LogEntry::decode(&Bytes::from(entry.encode())).unwrap_err().to_string().ends_with(message));
    // The end of a block is one beyond its last number.
    assert!(SeqBlock::decode(&SeqBlock { reserved_until: too_large }.encode()).is_ok());
    assert!(SeqBlock::decode(&SeqBlock { reserved_until: Seq(Seq::LIMIT + 1) }.encode()).is_err());
}
