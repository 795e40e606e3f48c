//! Prefixes of families `rows` and `log`: `[table id, 8 bytes][user id, escaped and terminated]`, the
//! user only where each user has a partition. A table is of one kind for ever, so no byte tells them
//! apart here.

use bytes::Bytes;
use kalamdb_commons::{Family, Seq, TableId, TableType, UserId};

use super::{decode_user, encode_user};
use crate::StoreError;
use crate::backend::Partition;
use crate::codec::corrupted;

/// The rows of one partition: one user's in a user table, or (`None`) all of a shared table.
#[must_use]
pub fn rows_partition(table: TableId, user: Option<&UserId>) -> Partition {
    partition(Family::Rows, table, user)
}

/// The rows of a table, all users'.
#[must_use]
pub fn rows_table(table: TableId) -> Partition {
    partition(Family::Rows, table, None)
}

/// A row's key: the partition's prefix and the encoded primary key (or row number).
#[must_use]
pub fn row_key(partition: &Partition, primary_key: &[u8]) -> Bytes {
    joined(partition, primary_key)
}

/// Takes a key of family `rows` apart: table, user (for a kind with partitions per user), primary key.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is no row's key of a table of that kind.
pub fn split_row_key(key: &[u8], table_type: TableType) -> Result<(TableId, Option<UserId>, &[u8]), StoreError> {
    let (table, rest) = split_table("row key", key)?;
    if table_type.is_per_user() {
        let (user, primary_key) = decode_user(rest)?;
        Ok((table, Some(user), primary_key))
    } else {
        Ok((table, None, rest))
    }
}

/// The change log of one partition.
#[must_use]
pub fn log_partition(table: TableId, user: Option<&UserId>) -> Partition {
    partition(Family::Log, table, user)
}

/// The change log of a table, all users'.
#[must_use]
pub fn log_table(table: TableId) -> Partition {
    partition(Family::Log, table, None)
}

/// The key of a statement's log entry: the partition's prefix and the statement's last `_seq`.
#[must_use]
pub fn log_key(partition: &Partition, last_seq: Seq) -> Bytes {
    joined(partition, &last_seq.0.to_be_bytes())
}

/// The last `_seq` of the statement whose log entry has this key.
///
/// # Errors
/// [`StoreError::Corrupted`] when the key is not one of this partition.
pub fn decode_log_key(partition: &Partition, key: &[u8]) -> Result<Seq, StoreError> {
    let seq = key.strip_prefix(partition.prefix.as_ref()).and_then(|rest| rest.try_into().ok());
    match seq.map(u64::from_be_bytes) {
        Some(number) if number < Seq::LIMIT => Ok(Seq(number)),
        Some(number) => Err(corrupted("log key", format!("seq {number} is not below 2^53"))),
        None => Err(corrupted("log key", "not the prefix and 8 bytes")),
    }
}

/// Takes the table id off the front of a key.
pub(super) fn split_table<'a>(what: &'static str, key: &'a [u8]) -> Result<(TableId, &'a [u8]), StoreError> {
    let (table, rest) = key.split_first_chunk().ok_or_else(|| corrupted(what, "no table id"))?;
    Ok((TableId(u64::from_be_bytes(*table)), rest))
}

fn partition(family: Family, table: TableId, user: Option<&UserId>) -> Partition {
    let mut prefix = Vec::with_capacity(10 + user.map_or(0, |user| user.as_str().len()));
    prefix.extend_from_slice(&table.0.to_be_bytes());
    if let Some(user) = user {
        encode_user(&mut prefix, user);
    }
    Partition { family, prefix: prefix.into() }
}

fn joined(partition: &Partition, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(partition.prefix.len() + rest.len());
    key.extend_from_slice(&partition.prefix);
    key.extend_from_slice(rest);
    key.into()
}
