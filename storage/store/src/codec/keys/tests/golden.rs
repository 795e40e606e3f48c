//! The bytes of keys, fixed for ever: a change of one is a new format of the whole data directory.

use kalamdb_commons::{NamespaceId, SchemaVersion, Seq};
use kalamdb_sql::Value;

use crate::codec::keys::{
    delete_mark_key, encode_key, encode_row_number, log_key, log_partition, manifest_entry_key, partition_record_key,
    row_key, rows_partition,
};
use crate::codec::system;
use crate::codec::tests::samples::{SEGMENT, TABLE, ann};
use crate::codec::tests::{Golden, golden};

/// One value of each type as a key component.
pub(in crate::codec) fn components() -> Vec<Golden> {
    let one = |name, value: Value, hex| golden(name, encode_key(&[value]), hex);
    let uuid = [0x01, 0x99, 0xc8, 0x2c, 0xc0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x2a];
    vec![
        one("key FALSE", Value::Boolean(false), "00"),
        one("key TRUE", Value::Boolean(true), "01"),
        one("key SMALLINT 5", Value::SmallInt(5), "8005"),
        one("key SMALLINT -1", Value::SmallInt(-1), "7fff"),
        one("key INT 5", Value::Int(5), "80000005"),
        one("key BIGINT 9", Value::BigInt(9), "8000000000000009"),
        one("key BIGINT -1", Value::BigInt(-1), "7fffffffffffffff"),
        one("key FLOAT 1.5", Value::Float(1.5), "bfc00000"),
        one("key FLOAT -1.5", Value::Float(-1.5), "403fffff"),
        one("key FLOAT NaN", Value::Float(f32::NAN), "ffc00000"),
        one("key DOUBLE 1.5", Value::Double(1.5), "bff8000000000000"),
        one("key DOUBLE -0.0", Value::Double(-0.0), "8000000000000000"),
        one("key DOUBLE NaN", Value::Double(f64::NAN), "fff8000000000000"),
        one("key DECIMAL(10,2) 12.34", Value::Decimal(1234), "800000000000000000000000000004d2"),
        one("key TEXT héy", Value::Text("héy".into()), "68c3a979 0001"),
        one("key TEXT with a NUL", Value::Text("a\0b".into()), "61 00ff 62 0001"),
        one("key TEXT empty", Value::Text(String::new()), "0001"),
        one("key BYTES 00 ff", Value::Bytes(vec![0, 0xff]), "00ff ff 0001"),
        one("key DATE 2025-10-09", Value::Date(20_370), "80004f92"),
        one("key TIMESTAMP", Value::Timestamp(1_760_000_000_000_000), "800640b5eece0000"),
        one("key UUID", Value::Uuid(uuid), "0199c82cc00070008000 00000000002a"),
        one("key JSON", Value::Json("{}".into()), "7b7d 0001"),
        golden(
            "key of two columns",
            encode_key(&[Value::Text("c1".into()), Value::BigInt(9)]),
            "6331 0001 8000000000000009",
        ),
        golden("row number 41", encode_row_number(41), "0000000000000029"),
    ]
}

/// Keys of families `rows`, `log` and `manifest`.
pub(in crate::codec) fn families() -> Vec<Golden> {
    let (ann, primary_key) = (ann(), encode_key(&[Value::BigInt(9)]));
    let owner = Some(&ann);
    vec![
        golden(
            "rows, user table",
            row_key(&rows_partition(TABLE, owner), &primary_key),
            "0000000000000007 616e6e 0001 8000000000000009",
        ),
        golden(
            "rows, shared table",
            row_key(&rows_partition(TABLE, None), &primary_key),
            "0000000000000007 8000000000000009",
        ),
        golden("log", log_key(&log_partition(TABLE, owner), Seq(42)), "0000000000000007 616e6e 0001 000000000000002a"),
        golden("manifest, partition record", partition_record_key(TABLE, owner), "0000000000000007 01 616e6e 0001 00"),
        golden(
            "manifest, partition record of a shared table",
            partition_record_key(TABLE, None),
            "0000000000000007 00 00",
        ),
        golden(
            "manifest, segment",
            manifest_entry_key(TABLE, owner, SEGMENT),
            "0000000000000007 01 616e6e 0001 01 0199c82cc00001234567 89abcdef0123",
        ),
        golden(
            "manifest, delete marks",
            delete_mark_key(TABLE, owner, SEGMENT, 2),
            "0000000000000007 01 616e6e 0001 02 0199c82cc00001234567 89abcdef0123 00000002",
        ),
    ]
}

/// Keys of family `system`.
pub(in crate::codec) fn system() -> Vec<Golden> {
    let chat = NamespaceId::new("chat").unwrap();
    let job = "01K748SG0004HMASW9NF6YY093";
    vec![
        golden("system format", system::format_version(), "6d6574612f666f726d6174"),
        golden("system database", system::database_id(), "6d6574612f6461746162617365"),
        golden("system home", system::home(), "6d6574612f686f6d65"),
        golden("system shared", system::shared_below(), "6d6574612f736861726564"),
        golden("system local", system::local_location(), "6d6574612f6c6f63616c"),
        golden("system seq", system::seq_reserved(), "6d6574612f736571"),
        golden("system table counter", system::next_table_id(), "6d6574612f7461626c65"),
        golden("system namespace", system::namespace(&chat), "6e616d6573706163652f 63686174"),
        golden("system table", system::table(TABLE), "7461626c652f 0000000000000007"),
        golden("system schema", system::schema(TABLE, SchemaVersion(3)), "736368656d612f 0000000000000007 00000003"),
        golden("system storage", system::storage("archive"), "73746f726167652f 61726368697665"),
        golden("system user", system::user(&ann()), "757365722f 616e6e"),
        golden("system job", system::job(job), "6a6f622f 30314b373438534730303034484d415357394e46365959303933"),
        golden(
            "system pending",
            system::pending_files(TABLE, 12, 1),
            "70656e64696e672f 0000000000000007 000000000000000c 00000001",
        ),
        golden(
            "system garbage",
            system::garbage(5, SEGMENT),
            "676172626167652f 0000000000000005 0199c82cc0000123456789abcdef0123",
        ),
        golden("system lease", system::flush_lease(TABLE), "6c656173652f 0000000000000007"),
        golden("system due", system::flush_due(TABLE), "6475652f 0000000000000007"),
        golden("system born", system::table_born(TABLE), "626f726e2f 0000000000000007"),
    ]
}
