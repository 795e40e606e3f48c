//! Bytes that are fixed for ever, and their documentation.
//!
//! Each test here that fails means: files out there can no longer be read. A changed layout gets a new
//! format number and a sample of its own; the samples of older formats stay.

use bytes::Bytes;
use kalamdb_commons::{Seq, TableId};
use kalamdb_sql::{NamespaceDefinition, TableDefinition};

use super::{Golden, golden, samples};
use crate::codec::catalog::{self, JobRecord, SchemaRecord, StorageRecord, UserRecord};
use crate::codec::changelog::LogEntry;
use crate::codec::files::{GarbageEntry, PendingFiles};
use crate::codec::keys::tests::golden as keys;
use crate::codec::manifest::ManifestEntry;
use crate::codec::marks::DeleteMarks;
use crate::codec::meta::{
    DataFormat, DatabaseId, FlushLease, FlushSchedule, Home, LocalLocation, NextTableId, SeqBlock, SharedBelow,
    TableBorn,
};
use crate::codec::partition::PartitionRecord;
use crate::codec::row::tests::golden::rows;

const FORMATS_PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture/formats.md"));

const DATABASE: DatabaseId = DatabaseId(samples::SEGMENT);

fn local() -> LocalLocation {
    LocalLocation { path: "/srv/kalam".to_owned() }
}

fn home() -> Home {
    Home { directory: 1234, marker: 5678, born: Some(samples::TIME * 1000), machine: Some("0123abcd".repeat(4)) }
}

fn nameless_home() -> Home {
    Home { born: None, machine: None, ..home() }
}

fn marks(rows: impl IntoIterator<Item = u16>) -> DeleteMarks {
    let mut marks = DeleteMarks::new();
    for row in rows {
        marks.insert(row);
    }
    marks
}

fn records() -> Vec<Golden> {
    vec![
        golden("meta/format", DataFormat(1).encode(), "01 01000000"),
        golden("meta/database", DATABASE.encode(), "01 0199c82cc0000123456789abcdef0123"),
        golden(
            "meta/home",
            home().encode(),
            "01 d204000000000000 2e16000000000000 01 0000b0d4acc66c18
             01 20000000 3031323361626364 3031323361626364 3031323361626364 3031323361626364",
        ),
        golden(
            "meta/home, where less is known",
            nameless_home().encode(),
            "01 d204000000000000 2e16000000000000 00 0000000000000000 00 00000000",
        ),
        golden("meta/shared", SharedBelow(samples::SEGMENT).encode(), "01 0199c82cc0000123456789abcdef0123"),
        golden("meta/local", local().encode(), "01 0a000000 2f7372762f6b616c616d"),
        golden("meta/seq", SeqBlock { reserved_until: Seq(65_537) }.encode(), "01 0100010000000000"),
        golden("meta/table", NextTableId(TableId(8)).encode(), "01 0800000000000000"),
        golden(
            "lease",
            FlushLease { generation: 12, started_at: samples::TIME }.encode(),
            "01 0c00000000000000 0000ceeeb5400600",
        ),
        golden("born", TableBorn(Seq(99)).encode(), "01 6300000000000000"),
        golden(
            "due",
            FlushSchedule { due_at: samples::TIME, last_flush_at: Some(samples::TIME) }.encode(),
            "01 0000ceeeb5400600 01 0000ceeeb5400600",
        ),
        golden(
            "due, never flushed",
            FlushSchedule { due_at: samples::TIME, last_flush_at: None }.encode(),
            "01 0000ceeeb5400600 00 0000000000000000",
        ),
        golden(
            "pending",
            samples::pending().encode(),
            "01 0c00000000000000 01000000
             05000000 6c6f63616c
             21000000 636861742f75736572732f616e6e2f6d657373616765732f612e70617271756574",
        ),
        golden(
            "garbage",
            samples::garbage().encode(),
            "01 0010000000000000 0000ceeeb5400600
             05000000 6c6f63616c
             21000000 636861742f75736572732f616e6e2f6d657373616765732f612e70617271756574",
        ),
        golden(
            "partition record",
            samples::partition().encode(),
            "01 2a00000000000000 0200000000000000 0100000000000000 9600000000000000
             0500000000000000 2800000000000000 6300000000000000",
        ),
        golden(
            "manifest entry",
            samples::manifest_entry().encode(),
            "01 0199c82cc0000123456789abcdef0123 e803000000000000 0200000000000000 0010000000000000
             03000000 0100000000000000 e803000000000000 0000ceeeb5400600 01
             05000000 6c6f63616c
             21000000 636861742f75736572732f616e6e2f6d657373616765732f612e70617271756574
             01000000 61
             08000000 8000000000000001 08000000 80000000000003e8",
        ),
        golden("marks, list", marks([3, 5]).encode(), "01 01 02000000 0300 0500"),
        golden("marks, runs", marks(5..=9).encode(), "01 03 01000000 0500 0900"),
        golden(
            "log entry",
            samples::log_entry().encode(),
            "01 03000000 0000ceeeb5400600 02000000
             2900000000000000 01 02 08000000 8000000000000009
             2b000000 01 03000000 2900000000000000 0000ceeeb5400600 00 04 0900000000000000 04000000 00000000 68c3a979
             2a00000000000000 03 01 08000000 8000000000000009
             2b000000 01 03000000 2900000000000000 0000ceeeb5400600 00 04 0900000000000000 04000000 00000000 68c3a979",
        ),
    ]
}

/// Name, bytes, and the JSON behind the format byte.
fn json_records() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        (
            "namespace",
            catalog::encode_namespace(&samples::namespace()),
            r#"{"name":"chat","created_at":1760000000000000}"#,
        ),
        (
            "table",
            catalog::encode_table(&samples::table()),
            concat!(
                r#"{"id":7,"name":{"namespace":"chat","table":"messages"},"table_type":"user","#,
                r#""schema":{"version":3,"columns":["#,
                r#"{"id":1,"name":"id","type":"big_int","nullable":false,"default":null,"default_text":null,"initial":"null"},"#,
                r#"{"id":2,"name":"text","type":"text","nullable":true,"default":null,"default_text":null,"initial":"null"},"#,
                r#"{"id":4,"name":"stars","type":"int","nullable":true,"default":{"constant":{"int":0}},"default_text":"0","initial":{"int":0}}"#,
                r#"],"primary_key":[1],"next_column_id":5},"#,
                r#""options":{"flush_interval":{"every":{"secs":30,"nanos":0}},"flush_rows":null,"storage":null,"sharding":null,"#,
                r#""path_template":null,"access":null,"ttl":null,"max_rows":null},"created_at":1760000000000000}"#,
            ),
        ),
        (
            "schema",
            samples::schema_record().encode(),
            concat!(
                r#"{"schema":{"version":3,"columns":["#,
                r#"{"id":1,"name":"id","type":"big_int","nullable":false,"default":null,"default_text":null,"initial":"null"},"#,
                r#"{"id":2,"name":"text","type":"text","nullable":true,"default":null,"default_text":null,"initial":"null"},"#,
                r#"{"id":4,"name":"stars","type":"int","nullable":true,"default":{"constant":{"int":0}},"default_text":"0","initial":{"int":0}}"#,
                r#"],"primary_key":[1],"next_column_id":5},"created_at":1760000000000000}"#,
            ),
        ),
        (
            "storage",
            samples::storage().encode(),
            concat!(
                r#"{"name":"archive","type":"s3","location":"s3://bucket/kalam","user_path_template":null,"#,
                r#""shared_path_template":"{storageLocation}/{tableName}/","options":{"region":"eu-central-1"},"#,
                r#""created_at":1760000000000000,"updated_at":1760000000000000}"#,
            ),
        ),
        (
            "user",
            samples::user().encode(),
            concat!(
                r#"{"user_id":"ann","role":"service","username":"Ann","metadata":null,"disabled":false,"#,
                r#""created_at":1760000000000000,"updated_at":1760000000000000}"#,
            ),
        ),
        (
            "job",
            samples::job().encode(),
            concat!(
                r#"{"job_id":"01K748SG0004HMASW9NF6YY093","job_type":"flush","status":"completed","namespace_id":"chat","#,
                r#""table_name":"messages","trigger":"rows","rows":10000,"segments":3,"storage_location":"/srv/kalam","#,
                r#""attempts":1,"error":null,"node":"kalam-1","created_at":1760000000000000,"#,
                r#""started_at":1760000000000000,"finished_at":1760000000250000}"#,
            ),
        ),
    ]
}

#[test]
fn every_key_and_value_has_its_bytes() {
    for sample in [keys::components(), keys::families(), keys::system(), rows(), records()].concat() {
        sample.check();
    }
    for (name, bytes, json) in json_records() {
        assert_eq!(bytes[0], 1, "{name}");
        assert_eq!(std::str::from_utf8(&bytes[1..]).unwrap(), json, "{name}");
    }
}

#[test]
fn golden_records_are_read() {
    let stored = |name: &str| records().into_iter().find(|golden| golden.name == name).unwrap().bytes;
    assert_eq!(DataFormat::decode(&stored("meta/format")).unwrap(), DataFormat(1));
    assert_eq!(DatabaseId::decode(&stored("meta/database")).unwrap(), DATABASE);
    assert_eq!(Home::decode(&stored("meta/home")).unwrap(), home());
    assert_eq!(Home::decode(&stored("meta/home, where less is known")).unwrap(), nameless_home());
    assert_eq!(SharedBelow::decode(&stored("meta/shared")).unwrap(), SharedBelow(samples::SEGMENT));
    assert_eq!(LocalLocation::decode(&stored("meta/local")).unwrap(), local());
    assert_eq!(SeqBlock::decode(&stored("meta/seq")).unwrap().reserved_until, Seq(65_537));
    assert_eq!(NextTableId::decode(&stored("meta/table")).unwrap().0, TableId(8));
    assert_eq!(FlushLease::decode(&stored("lease")).unwrap().generation, 12);
    assert_eq!(TableBorn::decode(&stored("born")).unwrap(), TableBorn(Seq(99)));
    assert_eq!(FlushSchedule::decode(&stored("due")).unwrap().last_flush_at, Some(samples::TIME));
    assert_eq!(FlushSchedule::decode(&stored("due, never flushed")).unwrap().last_flush_at, None);
    assert_eq!(PendingFiles::decode(&stored("pending")).unwrap(), samples::pending());
    assert_eq!(GarbageEntry::decode(&stored("garbage")).unwrap(), samples::garbage());
    assert_eq!(PartitionRecord::decode(&stored("partition record")).unwrap(), samples::partition());
    assert_eq!(ManifestEntry::decode(&stored("manifest entry")).unwrap(), samples::manifest_entry());
    assert_eq!(DeleteMarks::decode(&stored("marks, list")).unwrap(), marks([3, 5]));
    assert_eq!(DeleteMarks::decode(&stored("marks, runs")).unwrap(), marks(5..=9));
    assert_eq!(LogEntry::decode(&Bytes::from(stored("log entry"))).unwrap(), samples::log_entry());

    let json = |wanted: &str| {
        let (_, bytes, _) = json_records().into_iter().find(|(name, ..)| *name == wanted).unwrap();
        bytes
    };
    let namespace: NamespaceDefinition = catalog::decode_namespace(&json("namespace")).unwrap();
    assert_eq!(namespace, samples::namespace());
    let table: TableDefinition = catalog::decode_table(&json("table")).unwrap();
    assert_eq!(table, samples::table());
    assert_eq!(SchemaRecord::decode(&json("schema")).unwrap(), samples::schema_record());
    assert_eq!(StorageRecord::decode(&json("storage")).unwrap(), samples::storage());
    assert_eq!(UserRecord::decode(&json("user")).unwrap(), samples::user());
    assert_eq!(JobRecord::decode(&json("job")).unwrap(), samples::job());
}

/// The blocks of one language on the page.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = FORMATS_PAGE.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(block.collect::<Vec<_>>().join("\n"));
        }
    }
    blocks
}

/// Every example on the page is a golden sample, and every golden sample (of components: their table) is there.
#[test]
fn the_page_of_formats_shows_these_bytes() {
    // Behind two spaces a line says what its bytes are.
    let digits = |line: &str| line.split("  ").next().unwrap_or_default().replace(' ', "");
    let page: Vec<String> = blocks("hex").iter().map(|block| block.lines().map(digits).collect()).collect();
    let samples = [keys::families(), keys::system(), rows(), records()].concat();
    for sample in &samples {
        assert!(
            page.contains(&super::hex(&sample.bytes)),
            "docs/architecture/formats.md lacks the bytes of {}",
            sample.name
        );
    }
    for example in &page {
        assert!(
            samples.iter().any(|sample| super::hex(&sample.bytes) == *example),
            "no sample has the bytes {example}"
        );
    }
    for component in keys::components() {
        let hex: String = super::hex(&component.bytes);
        assert!(
            FORMATS_PAGE.contains(&format!("`{hex}`")),
            "docs/architecture/formats.md lacks `{hex}`, {}",
            component.name
        );
    }
}

#[test]
fn the_page_of_formats_shows_these_records() {
    let page: Vec<serde_json::Value> =
        blocks("json").iter().map(|block| serde_json::from_str(block).expect("an example is JSON")).collect();
    for (name, _, json) in json_records() {
        let record: serde_json::Value = serde_json::from_str(json).unwrap();
        assert!(page.contains(&record), "docs/architecture/formats.md lacks the record of {name}");
    }
    assert_eq!(page.len(), json_records().len());
}
