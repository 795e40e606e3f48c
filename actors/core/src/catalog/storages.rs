//! What CREATE STORAGE and ALTER STORAGE make of a storage's record.

use std::collections::BTreeMap;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_segments::is_place_option;
use kalamdb_sql::{StorageOptions, TableOptions};
use kalamdb_store::codec::catalog::{StorageRecord, StorageType};

use super::CatalogSnapshot;
use crate::segments::LOCAL_STORAGE;

const TYPE: &str = "type";
const LOCATION: &str = "location";
const USER_TEMPLATE: &str = "user_path_template";
const SHARED_TEMPLATE: &str = "shared_path_template";

/// The record of a new storage.
///
/// # Errors
/// [`ErrorCode::InvalidOption`] where `type` or `location` is missing or wrong. Whether the rest fits is found out by
/// opening it.
pub(crate) fn new_storage(name: String, options: &StorageOptions, now: i64) -> Result<StorageRecord> {
    let mut given = options.given.clone();
    let storage_type = match given.remove(TYPE).flatten() {
        Some(name) => StorageType::from_name(&name.to_ascii_lowercase()).ok_or_else(wrong_type)?,
        None => return Err(wrong_type()),
    };
    let Some(location) = given.remove(LOCATION).flatten() else {
        return Err(invalid("option 'location' is missing: it says where the storage is".to_owned()));
    };
    Ok(StorageRecord {
        name,
        storage_type,
        location,
        user_path_template: given.remove(USER_TEMPLATE).flatten(),
        shared_path_template: given.remove(SHARED_TEMPLATE).flatten(),
        options: given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        created_at: now,
        updated_at: now,
    })
}

/// The record after ALTER STORAGE. NULL takes an option away.
///
/// # Errors
/// [`ErrorCode::InvalidOption`] for another `type`, or no `location`.
pub(crate) fn altered_storage(before: &StorageRecord, changes: &StorageOptions, now: i64) -> Result<StorageRecord> {
    let mut record = StorageRecord { updated_at: now, ..before.clone() };
    for (name, value) in &changes.given {
        match name.as_str() {
            TYPE => return Err(invalid("option 'type' is decided when the storage is made".to_owned())),
            LOCATION => match value {
                Some(location) => record.location.clone_from(location),
                None => return Err(invalid("option 'location' cannot be NULL".to_owned())),
            },
            USER_TEMPLATE => record.user_path_template.clone_from(value),
            SHARED_TEMPLATE => record.shared_path_template.clone_from(value),
            _ => change(&mut record.options, name, value.as_ref()),
        }
    }
    Ok(record)
}

/// Whether files lie elsewhere by another record.
pub(crate) fn same_place(one: &StorageRecord, other: &StorageRecord) -> bool {
    let places = |record: &StorageRecord| -> Vec<(String, String)> {
        let options = record.options.iter().filter(|(name, _)| is_place_option(name));
        options.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    one.storage_type == other.storage_type && one.location == other.location && places(one) == places(other)
}

fn change(options: &mut BTreeMap<String, String>, name: &str, value: Option<&String>) {
    match value {
        Some(value) => options.insert(name.to_owned(), value.clone()),
        None => options.remove(name),
    };
}

/// That the storage an option of a table names exists.
pub(crate) fn check_table_storage(catalog: &CatalogSnapshot, options: &TableOptions) -> Result<()> {
    match &options.storage {
        Some(storage) if storage != LOCAL_STORAGE && !catalog.storages.contains_key(storage) => Err(missing(storage)),
        Some(_) | None => Ok(()),
    }
}

/// There is no such storage.
pub(crate) fn missing(name: &str) -> Error {
    Error::new(ErrorCode::StorageNotFound, format!("Storage '{name}' does not exist."))
}

fn wrong_type() -> Error {
    let names: Vec<String> = StorageType::ALL.iter().map(|one| format!("'{}'", one.as_str())).collect();
    invalid(format!("option 'type' is one of {}", names.join(", ")))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidOption, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, Option<&str>)]) -> StorageOptions {
        let given = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        StorageOptions { given: given.collect() }
    }

    #[test]
    fn a_record_has_what_was_given_and_changes_as_told() {
        let pairs =
            [("type", Some("S3")), ("location", Some("s3://b")), ("region", Some("x")), ("timeout", Some("5s"))];
        let made = new_storage("a".to_owned(), &options(&pairs), 1).expect("a storage");
        assert_eq!((made.storage_type, made.location.as_str()), (StorageType::S3, "s3://b"));
        assert_eq!(made.options.keys().collect::<Vec<_>>(), ["region", "timeout"]);

        let template = "{storageLocation}/{userId}/";
        let changes =
            options(&[("region", None), ("location", Some("s3://c")), ("user_path_template", Some(template))]);
        let after = altered_storage(&made, &changes, 2).expect("an alteration");
        assert_eq!((after.location.as_str(), after.user_path_template.as_deref()), ("s3://c", Some(template)));
        assert_eq!(after.options.keys().collect::<Vec<_>>(), ["timeout"]);
        assert_eq!((after.created_at, after.updated_at), (1, 2));
        let back = altered_storage(&after, &options(&[("user_path_template", None)]), 3).expect("an alteration");
        assert_eq!(back.user_path_template, None);
    }

    #[test]
    fn another_endpoint_is_another_place_and_another_secret_is_not() {
        let pairs = [("type", Some("s3")), ("location", Some("s3://b")), ("endpoint", Some("https://one"))];
        let made = new_storage("a".to_owned(), &options(&pairs), 1).expect("a storage");
        for (name, value, same) in [
            ("endpoint", Some("https://other"), false),
            ("endpoint", None, false),
            ("location", Some("s3://c"), false),
            ("region", Some("x"), false),
            ("secret_access_key", Some("x"), true),
            ("timeout", Some("1s"), true),
            ("user_path_template", Some("{storageLocation}/{userId}/"), true),
        ] {
            let after = altered_storage(&made, &options(&[(name, value)]), 2).expect("an alteration");
            assert_eq!(same_place(&made, &after), same, "{name}");
        }
    }

    #[test]
    fn what_is_missing_or_fixed_is_named() {
        for (pairs, named) in [
            (&[("location", Some("s3://b"))] as &[_], "'s3', 'gcs'"),
            (&[("type", Some("tape")), ("location", Some("s3://b"))], "'filesystem'"),
            (&[("type", Some("s3"))], "location"),
        ] {
            let error = new_storage("a".to_owned(), &options(pairs), 1).expect_err(named);
            assert!(error.code == ErrorCode::InvalidOption && error.message.contains(named), "{}", error.message);
        }
        let made = new_storage("a".to_owned(), &options(&[("type", Some("s3")), ("location", Some("s3://b"))]), 1);
        for (name, value) in [("type", Some("gcs")), ("location", None)] {
            let error = altered_storage(made.as_ref().expect("a storage"), &options(&[(name, value)]), 2);
            assert!(error.expect_err(name).message.contains(name));
        }
    }
}
