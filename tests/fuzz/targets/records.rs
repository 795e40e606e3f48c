//! All other stored values: bytes that decode are written again as they were (binary records), or to
//! something that decodes to the same (JSON records, delete marks).

#![no_main]

use bytes::Bytes;
use kalamdb_store::StoreError;
use kalamdb_store::codec::catalog::{
    JobRecord, SchemaRecord, StorageRecord, UserRecord, decode_namespace, decode_table, encode_namespace, encode_table,
};
use kalamdb_store::codec::changelog::LogEntry;
use kalamdb_store::codec::files::{GarbageEntry, PendingFiles};
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::codec::marks::DeleteMarks;
use kalamdb_store::codec::meta::{
    DataFormat, DatabaseId, FlushLease, FlushSchedule, LocalLocation, NextTableId, SeqBlock,
};
use kalamdb_store::codec::partition::PartitionRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, value)) = bytes.split_first() else { return };
    check(*kind, value);
    // Behind a format that is right, which is what a fuzzer would have to guess.
    check(*kind, &[&[1][..], value].concat());
});

fn check(kind: u8, value: &[u8]) {
    match kind % 18 {
        0 => exact(value, LogEntryBytes::decode, |it| it.0.encode()),
        1 => exact(value, PartitionRecord::decode, PartitionRecord::encode),
        2 => exact(value, ManifestEntry::decode, ManifestEntry::encode),
        3 => exact(value, PendingFiles::decode, PendingFiles::encode),
        4 => exact(value, GarbageEntry::decode, GarbageEntry::encode),
        5 => exact(value, DataFormat::decode, |it| it.encode()),
        6 => exact(value, DatabaseId::decode, |it| it.encode()),
        7 => exact(value, LocalLocation::decode, |it| it.encode()),
        8 => exact(value, SeqBlock::decode, |it| it.encode()),
        9 => exact(value, NextTableId::decode, |it| it.encode()),
        10 => exact(value, FlushLease::decode, |it| it.encode()),
        11 => exact(value, FlushSchedule::decode, |it| it.encode()),
        12 => same_meaning(value, decode_namespace, encode_namespace),
        13 => same_meaning(value, decode_table, encode_table),
        14 => same_meaning(value, SchemaRecord::decode, SchemaRecord::encode),
        15 => same_meaning(value, StorageRecord::decode, StorageRecord::encode),
        16 => {
            same_meaning(value, UserRecord::decode, UserRecord::encode);
            same_meaning(value, JobRecord::decode, JobRecord::encode);
        }
        _ => marks(value),
    }
}

struct LogEntryBytes(LogEntry);

impl LogEntryBytes {
    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        LogEntry::decode(&Bytes::copy_from_slice(bytes)).map(Self)
    }
}

fn exact<T>(value: &[u8], decode: impl Fn(&[u8]) -> Result<T, StoreError>, encode: impl Fn(&T) -> Vec<u8>) {
    match decode(value) {
        Ok(record) => assert_eq!(encode(&record), value, "written otherwise than it was read"),
        Err(error) => check_error(value, &error),
    }
}

fn same_meaning<T>(value: &[u8], decode: impl Fn(&[u8]) -> Result<T, StoreError>, encode: impl Fn(&T) -> Vec<u8>) {
    match decode(value) {
        Ok(record) => {
            let written = encode(&record);
            let again = decode(&written).expect("what was read is written and read");
            // By what they write: a constant may be NaN, which is not equal to itself.
            assert_eq!(encode(&again), written);
        }
        Err(error) => check_error(value, &error),
    }
}

fn marks(value: &[u8]) {
    let marks = match DeleteMarks::decode(value) {
        Ok(marks) => marks,
        Err(error) => return check_error(value, &error),
    };
    let again = marks.encode();
    assert!(again.len() <= value.len(), "the smallest form is larger: {} and {}", again.len(), value.len());
    assert!(again.len() <= 8192 + 6);
    let read = DeleteMarks::decode(&again).expect("what was read is written and read");
    assert!(read == marks && read.len() == marks.iter().count() as u64);
    let mut last = None;
    for (first, end) in marks.ranges() {
        assert!(first <= end && last.is_none_or(|last: u16| u32::from(first) > u32::from(last) + 1));
        assert!(marks.contains(first) && marks.contains(end));
        last = Some(end);
    }
}

fn check_error(value: &[u8], error: &StoreError) {
    match error {
        StoreError::Corrupted { .. } => {}
        StoreError::NewerFormat { found, known, .. } => {
            assert!(found > known && value.first().is_some_and(|byte| u32::from(*byte) == *found));
        }
        other => panic!("{other} from a decoder"),
    }
    // At most 80 characters of a name are shown, each in up to ten.
    assert!(error.to_string().len() < 1200 + value.len(), "{error}");
}
