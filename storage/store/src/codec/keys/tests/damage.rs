//! Bytes that no encoder wrote are errors.

use kalamdb_commons::{TableId, TableType, UserId};
use kalamdb_sql::{ColumnType, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::StoreError;
use crate::codec::keys::{
    ManifestKey, decode_key, decode_log_key, decode_row_number, decode_user, delete_mark_key, encode_key,
    encode_row_number, log_partition, manifest_entry_key, parse_manifest_key, partition_record_key, rows_partition,
    split_partition_record_key, split_row_key,
};
use crate::codec::system;
use crate::codec::tests::strategies::{column_type, value};

/// Many zeros and ones, where escapes and small numbers are.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![3 => Just(0_u8), 2 => Just(1), 1 => Just(2), 1 => Just(0xff), 1 => Just(b'a'), 2 => any::<u8>()],
        0..64,
    )
}

/// A key as its encoder would write what was read from it.
fn written(key: &ManifestKey) -> bytes::Bytes {
    match key {
        ManifestKey::Record { table, user } => partition_record_key(*table, user.as_ref()),
        ManifestKey::Entry { table, user, segment } => manifest_entry_key(*table, user.as_ref(), *segment),
        ManifestKey::Marks { table, user, segment, container } => {
            delete_mark_key(*table, user.as_ref(), *segment, *container)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn one_value_has_one_key(types in vec(column_type(), 0..4), bytes in garbage()) {
        match decode_key(&bytes, &types) {
            Ok(values) => prop_assert_eq!(encode_key(&values), bytes),
            Err(error) => prop_assert!(matches!(error, StoreError::Corrupted { what: "key", .. }), "{}", error),
        }
    }

    #[test]
    fn a_cut_key_is_an_error(
        (types, values) in vec(column_type(), 1..4).prop_flat_map(|types| {
            let row: Vec<_> = types.iter().map(|one| value(*one)).collect();
            (Just(types), row)
        })
    ) {
        let mut key = encode_key(&values);
        for length in 0..key.len() {
            prop_assert!(decode_key(&key[..length], &types).is_err());
        }
        key.push(0);
        prop_assert!(decode_key(&key, &types).is_err());
    }

    #[test]
    fn parsers_of_whole_keys_take_only_what_is_written(bytes in garbage()) {
        if let Ok(key) = parse_manifest_key(&bytes) {
            prop_assert_eq!(written(&key), bytes.clone());
        }
        if let Ok((table, user)) = split_partition_record_key(&bytes) {
            prop_assert_eq!(partition_record_key(table, user.as_ref()), bytes.clone());
        }
        if let Ok((table, user, rest)) = split_row_key(&bytes, TableType::User) {
            let prefix = rows_partition(table, user.as_ref()).prefix;
            prop_assert_eq!([prefix.as_ref(), rest].concat(), bytes.as_slice());
        }
        prop_assert_eq!(split_row_key(&bytes, TableType::Shared).is_ok(), bytes.len() >= 8);
        prop_assert!(decode_log_key(&log_partition(TableId(u64::MAX - 1), None), &bytes).is_err());
        prop_assert_eq!(decode_row_number(&bytes).is_ok(), bytes.len() == 8);
        let _ = decode_user(&bytes);
    }

    #[test]
    fn parsers_of_system_keys_take_only_what_is_written(bytes in garbage()) {
        for name in ["", "schema/", "pending/", "garbage/"] {
            let key = [name.as_bytes(), &bytes].concat();
            if let Ok((table, version)) = system::split_schema_key(&key) {
                prop_assert_eq!(system::schema(table, version), key.clone());
            }
            if let Ok((table, generation, group)) = system::split_pending_key(&key) {
                prop_assert_eq!(system::pending_files(table, generation, group), key.clone());
            }
            if let Ok((generation, segment)) = system::split_garbage_key(&key) {
                prop_assert_eq!(system::garbage(generation, segment), key.clone());
            }
        }
    }
}

#[test]
fn each_kind_of_damage_has_its_words() {
    let message = |bytes: &[u8], one: ColumnType| decode_key(bytes, &[one]).unwrap_err().to_string();
    assert_eq!(message(&[2], ColumnType::Boolean), "stored key is corrupted: boolean 2");
    assert_eq!(message(&[1, 2], ColumnType::Int), "stored key is corrupted: 4 bytes expected, 2 left");
    assert_eq!(message(b"abc", ColumnType::Text), "stored key is corrupted: text without its end");
    assert_eq!(message(b"a\0", ColumnType::Text), "stored key is corrupted: text without its end");
    assert_eq!(message(b"a\0\x02", ColumnType::Text), "stored key is corrupted: byte 0x02 after a NUL");
    assert_eq!(message(b"a\0\x01b", ColumnType::Bytes), "stored key is corrupted: 1 bytes too many");
    assert!(message(b"\xff\0\x01", ColumnType::Text).contains("utf-8"));
    // -0.0 and a NaN with a sign, in the bits that would sort.
    assert!(message(&0x7fff_ffff_u32.to_be_bytes(), ColumnType::Float).contains("not normalised"));
    assert!(message(&0x0007_ffff_ffff_ffff_u64.to_be_bytes(), ColumnType::Double).contains("not normalised"));
    assert!(decode_user(b"\0\x01").unwrap_err().to_string().contains("1 to 128 characters"));
    assert!(decode_user(b"a\nb\0\x01").unwrap_err().to_string().contains("control characters"));
}

#[test]
fn row_numbers_read_back_in_order() {
    let numbers = [0, 1, 255, 256, u64::MAX];
    assert!(numbers.map(encode_row_number).is_sorted());
    for number in numbers {
        assert_eq!(decode_row_number(&encode_row_number(number)).unwrap(), number);
    }
}

#[test]
#[should_panic(expected = "NULL in a key")]
fn null_is_no_key() {
    let _ = encode_key(&[Value::Null]);
}

#[test]
fn system_keys_read_back() {
    let (table, version) = (TableId(1 << 40), kalamdb_commons::SchemaVersion(9));
    assert_eq!(system::split_schema_key(&system::schema(table, version)).unwrap(), (table, version));
    assert_eq!(system::split_pending_key(&system::pending_files(table, 3, 4)).unwrap(), (table, 3, 4));
    assert_eq!(system::split_garbage_key(&system::garbage(5, 1 << 90)).unwrap(), (5, 1 << 90));
    for (key, space) in [
        (system::schema(table, version), system::schemas_of(table)),
        (system::schema(table, version), system::schemas()),
        (system::table(table), system::tables()),
        (system::pending_files(table, 3, 4), system::pending_files_of(table)),
        (system::pending_files(table, 3, 4), system::all_pending_files()),
        (system::garbage(5, 6), system::all_garbage()),
        (system::flush_due(table), system::flushes_due()),
        (system::user(&UserId::new("ann").unwrap()), system::users()),
        (system::storage("local"), system::storages()),
        (system::job("01J"), system::jobs()),
    ] {
        assert!(key.starts_with(&space.prefix), "{key:?}");
    }
    // No name begins another's, so that no list holds what is not of it.
    let lists = [
        system::namespaces(),
        system::tables(),
        system::schemas(),
        system::storages(),
        system::users(),
        system::jobs(),
        system::all_pending_files(),
        system::all_garbage(),
        system::flushes_due(),
    ];
    for left in &lists {
        assert_eq!(lists.iter().filter(|right| right.prefix.starts_with(&left.prefix)).count(), 1, "{left:?}");
    }
}
