//! Keys: encoded order is the values' order, no key begins another, and one value has one key.

#![no_main]

use std::cmp::Ordering;

use kalamdb_commons::{Seq, TableId, TableType};
use kalamdb_fuzz::{column_type, compare, same, user, value};
use kalamdb_sql::{ColumnType, Value};
use kalamdb_store::codec::keys::{
    ManifestKey, decode_key, decode_key_prefix, decode_log_key, decode_row_number, decode_user, delete_mark_key,
    encode_key, encode_row_number, encode_user, log_key, log_partition, manifest_entry_key, parse_manifest_key,
    partition_record_key, row_key, rows_partition, split_partition_record_key, split_row_key,
};
use kalamdb_store::codec::system;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus { run(bytes).unwrap_or(Corpus::Reject) });

fn run(bytes: &[u8]) -> Result<Corpus> {
    let mut input = Unstructured::new(bytes);
    match input.int_in_range(0..=3)? {
        0 => ordered(&mut input)?,
        1 => partitions(&mut input)?,
        2 => {
            let types = types(&mut input)?;
            let rest = input.take_rest();
            if let Ok(values) = decode_key(rest, &types) {
                assert_eq!(encode_key(&values), rest, "one value has one key");
            }
            if let Ok((values, after)) = decode_key_prefix(rest, &types) {
                assert_eq!([encode_key(&values).as_slice(), after].concat(), rest);
            }
        }
        _ => any_bytes(input.take_rest()),
    }
    Ok(Corpus::Keep)
}

fn types(input: &mut Unstructured<'_>) -> Result<Vec<ColumnType>> {
    (0..input.int_in_range(1..=5)?).map(|_| column_type(input)).collect()
}

fn tuple(input: &mut Unstructured<'_>, types: &[ColumnType]) -> Result<Vec<Value>> {
    types.iter().map(|one| value(input, *one)).collect()
}

fn ordered(input: &mut Unstructured<'_>) -> Result<()> {
    let types = types(input)?;
    let left = tuple(input, &types)?;
    let mut right = tuple(input, &types)?;
    // Values that begin alike are what escaping and terminators are about.
    let shared = input.int_in_range(0..=types.len())?;
    right[..shared].clone_from_slice(&left[..shared]);
    let by_value =
        left.iter().zip(&right).map(|(left, right)| compare(left, right)).fold(Ordering::Equal, Ordering::then);
    let keys = [encode_key(&left), encode_key(&right)];
    assert_eq!(keys[0].cmp(&keys[1]), by_value, "{left:?} and {right:?}");
    if by_value != Ordering::Equal {
        assert!(!keys[0].starts_with(&keys[1]) && !keys[1].starts_with(&keys[0]), "{left:?} and {right:?}");
    }
    let normalized: Vec<Value> = left.iter().cloned().map(Value::normalized).collect();
    assert!(same(&decode_key(&keys[0], &types).expect("what was written"), &normalized));
    for length in 0..types.len() {
        let (values, rest) = decode_key_prefix(&keys[0], &types[..length]).expect("what was written");
        assert!(same(&values, &normalized[..length]));
        assert_eq!([encode_key(&left[..length]), rest.to_vec()].concat(), keys[0]);
    }
    let cut = input.int_in_range(0..=keys[0].len().saturating_sub(1))?;
    assert!(keys[0].is_empty() || decode_key(&keys[0][..cut], &types).is_err());
    Ok(())
}

/// No partition's prefix begins another's, and whole keys read back.
fn partitions(input: &mut Unstructured<'_>) -> Result<()> {
    let table = TableId(input.arbitrary()?);
    let (Some(ann), Some(bob)) = (user(input)?, user(input)?) else { return Ok(()) };
    let (mine, theirs) = (rows_partition(table, Some(&ann)), rows_partition(table, Some(&bob)));
    if ann == bob {
        assert_eq!(mine, theirs);
    } else {
        assert!(!mine.prefix.starts_with(&theirs.prefix) && !theirs.prefix.starts_with(&mine.prefix));
    }
    let mut encoded = Vec::new();
    encode_user(&mut encoded, &ann);
    assert_eq!(decode_user(&encoded).expect("what was written"), (ann.clone(), &[][..]));

    let primary_key: Vec<u8> = input.arbitrary()?;
    let key = row_key(&mine, &primary_key);
    let read = split_row_key(&key, TableType::User).expect("what was written");
    assert_eq!(read, (table, Some(ann.clone()), &primary_key[..]));
    assert!(ann == bob || !key.starts_with(&theirs.prefix), "a row of {ann} in the partition of {bob}");

    let log = log_partition(table, Some(&ann));
    let seq = Seq(input.int_in_range(0..=Seq::LIMIT - 1)?);
    assert_eq!(decode_log_key(&log, &log_key(&log, seq)).expect("what was written"), seq);
    let (segment, container) = (input.arbitrary()?, input.arbitrary()?);
    for key in [
        ManifestKey::Record { table, user: Some(ann.clone()) },
        ManifestKey::Entry { table, user: Some(ann.clone()), segment },
        ManifestKey::Marks { table, user: Some(ann.clone()), segment, container },
    ] {
        assert_eq!(parse_manifest_key(&written(&key)).expect("what was written"), key);
    }
    Ok(())
}

fn written(key: &ManifestKey) -> bytes::Bytes {
    match key {
        ManifestKey::Record { table, user } => partition_record_key(*table, user.as_ref()),
        ManifestKey::Entry { table, user, segment } => manifest_entry_key(*table, user.as_ref(), *segment),
        ManifestKey::Marks { table, user, segment, container } => {
            delete_mark_key(*table, user.as_ref(), *segment, *container)
        }
    }
}

/// What is read from bytes is what is written to the same bytes.
fn any_bytes(bytes: &[u8]) {
    if let Ok(key) = parse_manifest_key(bytes) {
        assert_eq!(written(&key), bytes);
    }
    if let Ok((table, user)) = split_partition_record_key(bytes) {
        assert_eq!(partition_record_key(table, user.as_ref()), bytes);
    }
    if let Ok((table, user, rest)) = split_row_key(bytes, TableType::User) {
        assert_eq!([rows_partition(table, user.as_ref()).prefix.as_ref(), rest].concat(), bytes);
    }
    if let Ok((user, rest)) = decode_user(bytes) {
        let mut encoded = Vec::new();
        encode_user(&mut encoded, &user);
        assert_eq!([encoded.as_slice(), rest].concat(), bytes);
    }
    if let Ok(number) = decode_row_number(bytes) {
        assert_eq!(encode_row_number(number), bytes);
    }
    if let Ok((table, version)) = system::split_schema_key(bytes) {
        assert_eq!(system::schema(table, version), bytes);
    }
    if let Ok((table, generation, group)) = system::split_pending_key(bytes) {
        assert_eq!(system::pending_files(table, generation, group), bytes);
    }
    if let Ok((generation, segment)) = system::split_garbage_key(bytes) {
        assert_eq!(system::garbage(generation, segment), bytes);
    }
}
