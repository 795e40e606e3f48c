//! Definitions, and what becomes of the segments of a dropped table.

use std::sync::atomic::Ordering;

use kalamdb_commons::{Family, Outcome, Result, TableId};

use super::Committer;
use crate::backend::{Batch, Snapshot};
use crate::codec::files::{GarbageEntry, StoredFile};
use crate::codec::manifest::ManifestEntry;
use crate::codec::system;
use crate::files;
use crate::manifest::{ManifestItem, ManifestWalk};

/// The file of a segment that nothing names from now on.
pub(super) fn garbage_of(entry: &ManifestEntry, now: i64) -> GarbageEntry {
    let file = StoredFile { storage: entry.storage.clone(), path: entry.path.clone() };
    GarbageEntry { file, bytes: entry.bytes, retired_at: now }
}

impl Committer {
    /// Writes a batch of definitions, like [`write_synced`](Self::write_synced). Where its outcome is unknown, nothing can be
    /// read until the store is opened again: nobody could tell which tables there are.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn write_definitions(&self, batch: Batch) -> Result<()> {
        self.noting_unknown(self.write_synced(batch).await)
    }

    /// Writes the batch that takes tables out of the catalog, and with it everything else of them: their segments
    /// become garbage, their leases and schedules go. Synced on return, like
    /// [`write_definitions`](Self::write_definitions). The caller holds the tables' gates closed.
    ///
    /// Pending files stay on their list until their flush, which commits nothing any more, has ended.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`](kalamdb_commons::ErrorCode::StorageUnavailable); the error says whether its
    /// outcome is known.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn drop_tables(&self, batch: Batch, tables: &[TableId], now: i64) -> Result<()> {
        self.noting_unknown(self.write_drop(batch, tables, now).await)
    }

    /// From a definition of unknown outcome on nobody can tell which tables there are.
    fn noting_unknown(&self, result: Result<()>) -> Result<()> {
        if result.as_ref().is_err_and(|error| error.outcome == Outcome::Unknown) {
            self.catalog_unknown.store(true, Ordering::Release);
        }
        result
    }

    async fn write_drop(&self, mut batch: Batch, tables: &[TableId], now: i64) -> Result<()> {
        // With the gates closed nobody changes what is read here.
        let snapshot = self.backend.snapshot().await?;
        let mut retired = Vec::new();
        for table in tables {
            retire(snapshot.as_ref(), *table, now, &mut retired).await?;
            batch.delete(Family::System, system::flush_lease(*table));
            batch.delete(Family::System, system::flush_due(*table));
        }
        drop(snapshot);
        let acknowledgement = {
            let _writer = self.writer.lock().await;
            self.check_writable()?;
            let generation = if retired.is_empty() { None } else { Some(self.take_generation().await?) };
            for (segment, encoded) in retired {
                files::put_garbage(&mut batch, generation.unwrap_or_default(), segment, encoded);
            }
            let acknowledgement = self.write_next(batch).await?;
            for table in tables {
                if let Some(table) = self.tables.get(table) {
                    table.clear();
                }
            }
            if let Some(generation) = generation {
                self.pins.raise(generation);
            }
            acknowledgement
        };
        self.wait_durable(acknowledgement).await
    }
}

/// Encoded at once, a fraction of what the entries take in memory.
async fn retire(snapshot: &dyn Snapshot, table: TableId, now: i64, retired: &mut Vec<(u128, Vec<u8>)>) -> Result<()> {
    let mut walk = ManifestWalk::of_table(snapshot, table);
    while let Some(items) = walk.next_chunk().await? {
        for item in items {
            match item {
                ManifestItem::Record(..) => {}
                ManifestItem::Entry(_, entry) => {
                    let mut encoded = garbage_of(&entry, now).encode();
                    encoded.shrink_to_fit();
                    retired.push((entry.segment_id, encoded));
                }
            }
        }
    }
    Ok(())
}
