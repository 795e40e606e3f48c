//! Whether a data directory is the one that wrote its records, or a copy of it (FL-8).
//!
//! A copy names the same segments as the original, in the same storages, and has its lists of files to be deleted: what
//! either of them deleted the other might still read. So who finds to be a copy forgets these lists, and draws a
//! boundary: segments from before it are shared from now on, and their files are nobody's to delete.

use std::collections::{BTreeMap, BTreeSet};

use kalamdb_commons::{Family, Result};
use ulid::Ulid;

use crate::backend::{Batch, Durability, FoundHome, Snapshot, StorageBackend};
use crate::codec::meta::{Home, SharedBelow};
use crate::codec::system;
use crate::manifest::{ManifestItem, ManifestWalk};

/// What a database shares with the one it was copied from, or restored over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Segments with a smaller id may be another server's, too.
    pub below: u128,
    /// The storages in which the manifest names such segments.
    pub storages: BTreeSet<String>,
}

/// Compares the data directory with the one that is recorded, and records it. To be called before anything else is
/// written. None for a database that shares nothing.
///
/// # Errors
/// When the backend or its directory cannot be read or written, or a record does not decode.
///
/// # Cancel safety
/// Safe: it begins anew, with a later boundary.
pub async fn settle(backend: &dyn StorageBackend) -> Result<Option<Shared>> {
    let values = backend.get_many(Family::System, &[system::home(), system::shared_below()]).await?;
    let stored = |at: usize| values.get(at).and_then(Option::as_ref);
    let recorded = stored(0).map(|bytes| Home::decode(bytes)).transpose()?;
    let below = stored(1).map(|bytes| SharedBelow::decode(bytes)).transpose()?.map(|SharedBelow(below)| below);
    let moved = match (backend.home().await?, recorded) {
        (None, _) => None,
        // From before there were such records: there is no telling.
        (Some(found), None) => {
            record(backend, Batch::new(), &found.home).await?;
            None
        }
        (Some(FoundHome { home, is_new: false }), Some(recorded)) if home == recorded => None,
        (Some(found), Some(_)) => Some(found.home),
    };
    let snapshot = backend.snapshot().await?;
    let Some(home) = moved else {
        return Ok(match below {
            Some(below) => Some(Shared { below, storages: survey(snapshot.as_ref()).await?.storages_below(below) }),
            None => None,
        });
    };
    let segments = survey(snapshot.as_ref()).await?;
    // Behind what it reads of the other's, and no more: what is kept by this is kept for good.
    let below = segments.newest().map_or(0, |newest| newest.saturating_add(1)).max(below.unwrap_or(0));
    let mut batch = Batch::new();
    batch.delete_range(system::all_pending_files().range());
    batch.delete_range(system::all_garbage().range());
    batch.put(Family::System, system::shared_below(), SharedBelow(below).encode());
    record(backend, batch, &home).await?;
    let shared = Shared { below, storages: segments.storages_below(below) };
    tracing::warn!(
        boundary = %Ulid(below),
        storages = ?shared.storages,
        "the data directory is a copy, was restored, or was moved to another file system: files of segments from before \
         the boundary are left to the server it came from"
    );
    Ok(Some(shared))
}

async fn record(backend: &dyn StorageBackend, mut batch: Batch, home: &Home) -> Result<()> {
    batch.put(Family::System, system::home(), home.encode());
    Ok(backend.write(batch, Durability::Synced).await?)
}

/// The oldest and the newest segment that the manifest names in each storage.
#[derive(Debug, Default)]
struct Segments(BTreeMap<String, (u128, u128)>);

impl Segments {
    fn newest(&self) -> Option<u128> {
        self.0.values().map(|(_, newest)| *newest).max()
    }

    fn storages_below(self, below: u128) -> BTreeSet<String> {
        self.0.into_iter().filter(|(_, (oldest, _))| *oldest < below).map(|(storage, _)| storage).collect()
    }
}

async fn survey(snapshot: &dyn Snapshot) -> Result<Segments> {
    let mut segments = Segments::default();
    let mut walk = ManifestWalk::of_everything(snapshot);
    while let Some(items) = walk.next_chunk().await? {
        for item in items {
            match item {
                ManifestItem::Record(..) => {}
                ManifestItem::Entry(_, entry) => {
                    let id = entry.segment_id;
                    let (oldest, newest) = segments.0.entry(entry.storage).or_insert((id, id));
                    (*oldest, *newest) = (id.min(*oldest), id.max(*newest));
                }
            }
        }
    }
    Ok(segments)
}
