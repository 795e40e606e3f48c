//! Rows fetched by key from the statement's snapshot.

use std::collections::HashMap;

use bytes::Bytes;
use kalamdb_commons::{Error, Family, Result, SchemaVersion, Seq};
use kalamdb_sql::Row;
use kalamdb_store::codec::keys;
use kalamdb_store::codec::row::{Projection, RowReader, RowView};

use super::Target;

/// Keys looked up at a time.
const LOOKUP_ROWS: usize = 1024;

/// A live row as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredRow {
    pub(super) seq: Seq,
    pub(super) stored: Bytes,
    /// Its values in the current schema.
    pub(super) row: Row,
}

/// The live rows under these keys, in their order; none for a key without one.
pub(super) async fn fetch(target: &Target<'_>, row_keys: &[Vec<u8>]) -> Result<Vec<Option<StoredRow>>> {
    let space = keys::rows_partition(target.partition.table, target.partition.user.as_ref());
    let mut readers: HashMap<SchemaVersion, (RowReader, Projection)> = HashMap::new();
    let mut rows = Vec::with_capacity(row_keys.len());
    for chunk in row_keys.chunks(LOOKUP_ROWS) {
        let full: Vec<Bytes> = chunk.iter().map(|key| keys::row_key(&space, key)).collect();
        for stored in target.context.snapshot()?.get_many(Family::Rows, &full).await? {
            let Some(stored) = stored else {
                rows.push(None);
                continue;
            };
            let header = RowView::parse(&stored)?.header();
            if header.deleted {
                rows.push(None);
                continue;
            }
            let (reader, projection) = match readers.entry(header.schema_version) {
                std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let written = target.entry.versions.get(&header.schema_version).ok_or_else(|| {
                        Error::corrupted(format!(
                            "a row of '{}' names schema version {}, which does not exist",
                            target.entry.definition.name, header.schema_version
                        ))
                    })?;
                    place.insert((RowReader::new(written), Projection::new(written, target.schema())))
                }
            };
            let row = projection.apply(reader.row(&stored)?.to_row()?);
            rows.push(Some(StoredRow { seq: header.seq, stored, row }));
        }
    }
    Ok(rows)
}
