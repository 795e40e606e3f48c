//! Cut, lengthened, changed and random values: an error, or another value of its kind, and never more.

use bytes::Bytes;
use kalamdb_commons::{Seq, TableId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::samples;
use crate::StoreError;
use crate::codec::catalog::{self, JobRecord, SchemaRecord, StorageRecord, UserRecord};
use crate::codec::changelog::LogEntry;
use crate::codec::files::{GarbageEntry, PendingFiles};
use crate::codec::manifest::ManifestEntry;
use crate::codec::marks::DeleteMarks;
use crate::codec::meta::{
    DataFormat, DatabaseId, FlushLease, FlushSchedule, Home, LocalLocation, NextTableId, SeqBlock, SharedBelow,
    TableBorn,
};
use crate::codec::partition::PartitionRecord;
use crate::codec::row::{decode_row, encode_row};

/// A kind of value: a sample's bytes, and its decoder with the encoder behind it. What an encoder cannot
/// write again as it was is `None`: the JSON of records, where white space and order are free.
struct Kind {
    name: &'static str,
    bytes: Vec<u8>,
    read: Read,
}

type Read = fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>;

fn kind(name: &'static str, bytes: Vec<u8>, read: Read) -> Kind {
    Kind { name, bytes, read }
}

fn kinds() -> Vec<Kind> {
    let mut marks = DeleteMarks::new();
    for row in [1, 5, 6, 7, 8, 9, 65_535] {
        marks.insert(row);
    }
    let row = encode_row(&samples::row_header(false), &samples::schema(), &samples::row());
    vec![
        kind("namespace", catalog::encode_namespace(&samples::namespace()), |bytes| {
            catalog::decode_namespace(bytes).map(|_| None)
        }),
        kind("table", catalog::encode_table(&samples::table()), |bytes| catalog::decode_table(bytes).map(|_| None)),
        kind("schema", samples::schema_record().encode(), |bytes| SchemaRecord::decode(bytes).map(|_| None)),
        kind("storage", samples::storage().encode(), |bytes| StorageRecord::decode(bytes).map(|_| None)),
        kind("user", samples::user().encode(), |bytes| UserRecord::decode(bytes).map(|_| None)),
        kind("job", samples::job().encode(), |bytes| JobRecord::decode(bytes).map(|_| None)),
        kind("data format", DataFormat(1).encode(), |bytes| DataFormat::decode(bytes).map(|it| Some(it.encode()))),
        kind("database id", DatabaseId(1).encode(), |bytes| DatabaseId::decode(bytes).map(|it| Some(it.encode()))),
        kind("local", LocalLocation { path: "/srv".into() }.encode(), |bytes| {
            LocalLocation::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("home", Home { directory: 1, marker: 2, born: Some(3), machine: Some("m".into()) }.encode(), |bytes| {
            Home::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("nameless home", Home { directory: 1, marker: 2, born: None, machine: None }.encode(), |bytes| {
            Home::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("shared below", SharedBelow(1).encode(), |bytes| SharedBelow::decode(bytes).map(|it| Some(it.encode()))),
        kind("seq block", SeqBlock { reserved_until: Seq(9) }.encode(), |bytes| {
            SeqBlock::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("next table", NextTableId(TableId(8)).encode(), |bytes| {
            NextTableId::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("lease", FlushLease { generation: 1, started_at: 2 }.encode(), |bytes| {
            FlushLease::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("birth", TableBorn(Seq(9)).encode(), |bytes| TableBorn::decode(bytes).map(|it| Some(it.encode()))),
        kind("schedule", FlushSchedule { due_at: 1, last_flush_at: None }.encode(), |bytes| {
            FlushSchedule::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("pending", samples::pending().encode(), |bytes| PendingFiles::decode(bytes).map(|it| Some(it.encode()))),
        kind("garbage", samples::garbage().encode(), |bytes| GarbageEntry::decode(bytes).map(|it| Some(it.encode()))),
        kind("partition", samples::partition().encode(), |bytes| {
            PartitionRecord::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("manifest", samples::manifest_entry().encode(), |bytes| {
            ManifestEntry::decode(bytes).map(|it| Some(it.encode()))
        }),
        kind("log entry", samples::log_entry().encode(), |bytes| {
            LogEntry::decode(&Bytes::copy_from_slice(bytes)).map(|it| Some(it.encode()))
        }),
        // The smallest form is chosen anew, and slots of NULLs are written as zeros.
        kind("marks", marks.encode(), |bytes| DeleteMarks::decode(bytes).map(|_| None)),
        kind("row", row, |bytes| decode_row(bytes, &samples::schema()).map(|_| None)),
    ]
}

/// Decodes, and checks that what was accepted is what an encoder writes.
fn read(kind: &Kind, bytes: &[u8]) -> Result<(), StoreError> {
    let again = (kind.read)(bytes)?;
    if let Some(again) = again {
        assert_eq!(again, bytes, "{}", kind.name);
    }
    Ok(())
}

#[test]
fn samples_are_read() {
    for kind in kinds() {
        read(&kind, &kind.bytes).unwrap();
    }
}

#[test]
fn cut_values_are_corrupted() {
    for kind in kinds() {
        for length in 0..kind.bytes.len() {
            let error = read(&kind, &kind.bytes[..length]).unwrap_err();
            assert!(matches!(error, StoreError::Corrupted { .. }), "{} cut to {length}: {error}", kind.name);
        }
    }
}

#[test]
fn lengthened_values_are_corrupted() {
    for kind in kinds() {
        let error = read(&kind, &[kind.bytes.as_slice(), b"x"].concat()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{}: {error}", kind.name);
    }
}

#[test]
fn newer_formats_are_refused_as_such_and_format_0_never_was() {
    for kind in kinds() {
        let known = kind.bytes[0];
        for found in [known + 1, 0x7b, 0xff] {
            let mut bytes = kind.bytes.clone();
            bytes[0] = found;
            match read(&kind, &bytes).unwrap_err() {
                StoreError::NewerFormat { found: said, known: newest, .. } => {
                    assert_eq!((said, newest), (found.into(), known.into()), "{}", kind.name);
                }
                other => panic!("{}: {other}", kind.name),
            }
        }
        let mut bytes = kind.bytes.clone();
        bytes[0] = 0;
        assert!(read(&kind, &bytes).unwrap_err().to_string().ends_with("is corrupted: unknown format 0"));
    }
}

#[test]
fn a_count_or_length_beyond_the_input_reserves_nothing() {
    // Where each one is: behind format and fixed fields.
    for (name, at) in [("log entry", 13), ("pending", 9), ("marks", 2), ("garbage", 17), ("manifest", 70), ("local", 1)]
    {
        let kind = kinds().into_iter().find(|kind| kind.name == name).unwrap();
        let mut bytes = kind.bytes.clone();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read(&kind, &bytes).unwrap_err().to_string();
        assert!(error.contains("4294967295 "), "{name}: {error}");
    }
}

#[test]
fn the_data_of_a_newer_server_is_refused() {
    assert!(DataFormat::CURRENT.check().is_ok());
    assert!(DataFormat(1).check().is_ok());
    let error = DataFormat(DataFormat::CURRENT.0 + 1).check().unwrap_err();
    assert_eq!(error.to_string(), "stored data has format 2, written by a newer version: this one reads up to 1");
    let answer = kalamdb_commons::Error::from(error);
    assert!(answer.message.contains("newer version"), "{}", answer.message);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(prop_oneof![3 => Just(0_u8), 1 => Just(1), 2 => any::<u8>()], 0..150)) {
        for kind in kinds() {
            let _ = read(&kind, &bytes);
            // Behind a format that is right.
            let _ = read(&kind, &[&kind.bytes[..1], &bytes].concat());
        }
    }

    #[test]
    fn changed_values_do_no_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        for kind in kinds() {
            let mut bytes = kind.bytes.clone();
            for (at, to) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            let _ = read(&kind, &bytes);
        }
    }
}
