//! Keys of family `manifest`: `[table id, 8 bytes][scope][user id][kind][…]`.
//!
//! The scope byte tells a shared table's partition from a user's, since the family is read whole at
//! the start, without knowing the tables. Kinds sort so that a partition's record comes first, then its
//! segments, oldest first, then the delete marks, segment by segment.

use bytes::Bytes;
use kalamdb_commons::{Family, TableId, UserId};

use super::partition::split_table;
use super::{decode_user, encode_user};
use crate::StoreError;
use crate::backend::{KeyRange, Partition};
use crate::codec::bytes::Reader;
use crate::codec::corrupted;

const WHAT: &str = "manifest key";
const SCOPE_SHARED: u8 = 0;
const SCOPE_USER: u8 = 1;
const KIND_RECORD: u8 = 0;
const KIND_ENTRY: u8 = 1;
const KIND_MARKS: u8 = 2;

/// Rows of a segment that one container of delete marks covers.
pub const ROWS_PER_CONTAINER: u64 = 1 << 16;

/// What a key of family `manifest` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKey {
    /// The record of a partition.
    Record {
        /// Its table.
        table: TableId,
        /// Its user; none for a shared table.
        user: Option<UserId>,
    },
    /// A segment of a partition.
    Entry {
        /// Its table.
        table: TableId,
        /// Its user; none for a shared table.
        user: Option<UserId>,
        /// The segment's ULID.
        segment: u128,
    },
    /// Delete marks of a segment.
    Marks {
        /// Its table.
        table: TableId,
        /// Its user; none for a shared table.
        user: Option<UserId>,
        /// The segment's ULID.
        segment: u128,
        /// Which [`ROWS_PER_CONTAINER`] rows.
        container: u32,
    },
}

/// Everything the manifest has about a table, all users.
#[must_use]
pub fn manifest_table(table: TableId) -> Partition {
    Partition { family: Family::Manifest, prefix: Bytes::copy_from_slice(&table.0.to_be_bytes()) }
}

/// Everything the manifest has about a partition: its record, its segments, their delete marks.
#[must_use]
pub fn manifest_partition(table: TableId, user: Option<&UserId>) -> Partition {
    Partition { family: Family::Manifest, prefix: scope(table, user).into() }
}

/// The key of a partition's record.
#[must_use]
pub fn partition_record_key(table: TableId, user: Option<&UserId>) -> Bytes {
    kind(table, user, KIND_RECORD).into()
}

/// The keys of a partition's segments.
#[must_use]
pub fn manifest_entries(table: TableId, user: Option<&UserId>) -> KeyRange {
    KeyRange::prefix(Family::Manifest, &kind(table, user, KIND_ENTRY))
}

/// The key of a segment's manifest entry.
#[must_use]
pub fn manifest_entry_key(table: TableId, user: Option<&UserId>, segment: u128) -> Bytes {
    let mut key = kind(table, user, KIND_ENTRY);
    key.extend_from_slice(&segment.to_be_bytes());
    key.into()
}

/// The keys of a segment's delete marks.
#[must_use]
pub fn delete_marks_of(table: TableId, user: Option<&UserId>, segment: u128) -> KeyRange {
    let mut prefix = kind(table, user, KIND_MARKS);
    prefix.extend_from_slice(&segment.to_be_bytes());
    KeyRange::prefix(Family::Manifest, &prefix)
}

/// The key of the delete marks of rows `container * 65536 ..` of a segment.
#[must_use]
pub fn delete_mark_key(table: TableId, user: Option<&UserId>, segment: u128, container: u32) -> Bytes {
    let mut key = kind(table, user, KIND_MARKS);
    key.extend_from_slice(&segment.to_be_bytes());
    key.extend_from_slice(&container.to_be_bytes());
    key.into()
}

/// Takes a key of family `manifest` apart.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn parse_manifest_key(key: &[u8]) -> Result<ManifestKey, StoreError> {
    let (table, rest) = split_table(WHAT, key)?;
    let (user, rest) = match rest {
        [SCOPE_SHARED, rest @ ..] => (None, rest),
        [SCOPE_USER, rest @ ..] => {
            let (user, rest) = decode_user(rest)?;
            (Some(user), rest)
        }
        _ => return Err(corrupted(WHAT, "no scope")),
    };
    let mut reader = Reader::new(WHAT, rest);
    let parsed = match reader.u8()? {
        KIND_RECORD => ManifestKey::Record { table, user },
        KIND_ENTRY => ManifestKey::Entry { table, user, segment: reader.u128_be()? },
        KIND_MARKS => {
            let (segment, container) = (reader.u128_be()?, u32::from_be_bytes(reader.array()?));
            ManifestKey::Marks { table, user, segment, container }
        }
        other => return Err(corrupted(WHAT, format!("unknown kind {other}"))),
    };
    reader.finish()?;
    Ok(parsed)
}

/// Whose record a key is; `None` is the one partition of a shared table.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is not the key of a partition's record.
pub fn split_partition_record_key(key: &[u8]) -> Result<(TableId, Option<UserId>), StoreError> {
    match parse_manifest_key(key)? {
        ManifestKey::Record { table, user } => Ok((table, user)),
        ManifestKey::Entry { .. } | ManifestKey::Marks { .. } => Err(corrupted(WHAT, "not a partition's record")),
    }
}

fn scope(table: TableId, user: Option<&UserId>) -> Vec<u8> {
    let mut key = Vec::with_capacity(32 + user.map_or(0, |user| user.as_str().len()));
    key.extend_from_slice(&table.0.to_be_bytes());
    match user {
        None => key.push(SCOPE_SHARED),
        Some(user) => {
            key.push(SCOPE_USER);
            encode_user(&mut key, user);
        }
    }
    key
}

fn kind(table: TableId, user: Option<&UserId>, kind: u8) -> Vec<u8> {
    let mut key = scope(table, user);
    key.push(kind);
    key
}
