//! What a segment's file says of itself: the key-value metadata of its footer.

use kalamdb_commons::{NamespaceId, SchemaVersion, Seq, TableName, UserId};
use kalamdb_store::codec::manifest::ManifestEntry;
use parquet::file::metadata::{FileMetaData, KeyValue};

use crate::checksum::{Checksums, TAIL_PLACEHOLDER};

const NAMESPACE: &str = "kalamdb.namespace";
const TABLE: &str = "kalamdb.table";
const USER_ID: &str = "kalamdb.user_id";
const SCHEMA_VERSION: &str = "kalamdb.schema_version";
const ROWS: &str = "kalamdb.rows";
const MIN_SEQ: &str = "kalamdb.min_seq";
const MAX_SEQ: &str = "kalamdb.max_seq";
const CHECKSUMS: &str = "kalamdb.checksums";
const TAIL_CHECKSUM: &str = "kalamdb.tail_checksum";

/// Whose rows a segment holds. A table's name never changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionName {
    /// The table's namespace.
    pub namespace: NamespaceId,
    /// The table's name.
    pub table: TableName,
    /// The user; none for a shared table.
    pub user: Option<UserId>,
}

/// What is known only when all rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) min_seq: Seq,
    pub(crate) max_seq: Seq,
}

/// What is known before the first row. A shared table's user id is empty, which no user's is.
pub(crate) fn header(partition: &PartitionName, version: SchemaVersion) -> Vec<KeyValue> {
    let user = partition.user.as_ref().map_or("", UserId::as_str);
    vec![
        entry(NAMESPACE, partition.namespace.as_str()),
        entry(TABLE, partition.table.as_str()),
        entry(USER_ID, user),
        entry(SCHEMA_VERSION, version),
    ]
}

/// The rest.
pub(crate) fn trailer(totals: Totals) -> [KeyValue; 3] {
    [entry(ROWS, totals.rows), entry(MIN_SEQ, totals.min_seq), entry(MAX_SEQ, totals.max_seq)]
}

/// The checksums of everything before the indexes.
pub(crate) fn checksums(checksums: &Checksums) -> KeyValue {
    entry(CHECKSUMS, checksums.to_text())
}

/// The place of the tail's checksum.
pub(crate) fn tail_checksum() -> KeyValue {
    entry(TAIL_CHECKSUM, TAIL_PLACEHOLDER)
}

/// Reads the checksums; `Err` says what is wrong with them.
pub(crate) fn read_checksums(file: &FileMetaData) -> std::result::Result<Checksums, String> {
    Checksums::parse(find(file, CHECKSUMS).ok_or_else(|| "it has no checksums".to_owned())?)
}

fn find<'a>(file: &'a FileMetaData, key: &str) -> Option<&'a str> {
    let written = file.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    written.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref())
}

/// Checks that a file is the segment that the manifest takes it for; otherwise says what differs.
pub(crate) fn check(
    file: &FileMetaData,
    partition: &PartitionName,
    manifest: &ManifestEntry,
) -> std::result::Result<(), String> {
    let totals = Totals { rows: manifest.rows, min_seq: manifest.min_seq, max_seq: manifest.max_seq };
    for expected in header(partition, manifest.schema_version).into_iter().chain(trailer(totals)) {
        if find(file, &expected.key) != expected.value.as_deref() {
            // The values name users: they are not told.
            return Err(format!("its {} is not the manifest's", expected.key));
        }
    }
    if u64::try_from(file.num_rows()).ok() != Some(manifest.rows) {
        return Err(format!("it has {} rows where the manifest has {}", file.num_rows(), manifest.rows));
    }
    Ok(())
}

fn entry(key: &str, value: impl ToString) -> KeyValue {
    KeyValue::new(key.to_owned(), value.to_string())
}

#[cfg(test)]
mod tests;
