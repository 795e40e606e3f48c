//! Files that nobody needs: pending ones whose flush is gone, and garbage that nobody reads any more. Exactly those are
//! deleted that the backend's lists name; no directory is searched. Of these, files that another server may read, too, stay
//! where they are, and are only forgotten.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_segments::SegmentPath;
use kalamdb_store::codec::files::StoredFile;
use kalamdb_store::files::{GarbagePlace, GarbageRecord, PendingPlace, PendingRecord};
use kalamdb_store::{Batch, failpoint, jobs};

use crate::engine::{Runtime, Store, now_micros};

/// Entries of each list that are looked at in one go.
const AT_ONCE: usize = 1000;
/// Files that are deleted with one call.
const HAND: usize = 64;
/// The longest time for the deletions in one storage in one go.
const LONGEST: Duration = Duration::from_secs(60);

/// Where the last sweep ended. Files that cannot be deleted, however many there are, keep no others: the next sweep goes
/// on behind them, and takes them up again when it has seen the rest.
#[derive(Debug)]
pub(crate) struct Sweeper {
    at_once: usize,
    pending: Option<PendingPlace>,
    garbage: Option<GarbagePlace>,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self::new(AT_ONCE)
    }
}

impl Sweeper {
    /// One that looks at so many entries of each list in one go.
    fn new(at_once: usize) -> Self {
        Self { at_once, pending: None, garbage: None }
    }

    /// Deletes what can be deleted now. What fails is tried again by a later call.
    ///
    /// # Errors
    /// When the backend cannot be read or written.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub(crate) async fn sweep(&mut self, runtime: &Arc<Runtime>) -> Result<()> {
        let store = runtime.store();
        if store.has_failed() {
            return Ok(());
        }
        runtime.segments().leave_boundaries().await;
        let committer = &store.committer;
        let mut pending = committer.unowned_pending().await?;
        pending.retain(|record| self.pending.is_none_or(|after| record.place() > after));
        pending.truncate(self.at_once);
        self.pending = self.next(pending.len(), pending.last().map(PendingRecord::place));
        delete_pending(runtime, &store, pending).await?;
        let garbage = committer.collectable(self.garbage, self.at_once).await?;
        self.garbage = self.next(garbage.len(), garbage.last().map(GarbageRecord::place));
        delete_garbage(runtime, &store, garbage).await?;
        committer.reach(failpoint::COLLECTED).await;
        Ok(())
    }

    /// Behind the last of a full hand; from the front again where the list has ended.
    fn next<T>(&self, taken: usize, last: Option<T>) -> Option<T> {
        last.filter(|_| taken == self.at_once)
    }
}

/// Deletes what can be deleted now in one storage.
///
/// # Errors
/// When the backend cannot be read or written.
///
/// # Cancel safety
/// Not safe: run it in a task that ends by itself.
pub(crate) async fn sweep_storage(runtime: &Arc<Runtime>, storage: &str) -> Result<()> {
    let store = runtime.store();
    let mut pending = store.committer.unowned_pending().await?;
    pending.retain(|record| record.pending.files.iter().all(|file| file.storage == storage));
    delete_pending(runtime, &store, pending).await?;
    let mut after = None;
    loop {
        let mut garbage = store.committer.collectable(after, AT_ONCE).await?;
        let last = garbage.last().map(GarbageRecord::place).filter(|_| garbage.len() == AT_ONCE);
        garbage.retain(|record| record.entry.file.storage == storage);
        delete_garbage(runtime, &store, garbage).await?;
        match last {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

async fn delete_pending(runtime: &Arc<Runtime>, store: &Store, mut pending: Vec<PendingRecord>) -> Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    let files = pending.iter().flat_map(|record| record.pending.files.iter().cloned());
    store.committer.reach(failpoint::BEFORE_PENDING_DELETED).await;
    let done_with = delete(runtime, files).await;
    store.committer.reach(failpoint::PENDING_DELETED).await;
    pending.retain(|record| record.pending.files.iter().all(|file| done_with.contains(file)));
    store.committer.forget_pending(&pending).await?;
    store.committer.reach(failpoint::PENDING_FORGOTTEN).await;
    Ok(())
}

async fn delete_garbage(runtime: &Arc<Runtime>, store: &Store, mut garbage: Vec<GarbageRecord>) -> Result<()> {
    if garbage.is_empty() {
        return Ok(());
    }
    for record in &garbage {
        runtime.segments().forget(record.segment);
    }
    store.committer.reach(failpoint::BEFORE_GARBAGE_DELETED).await;
    let done_with = delete(runtime, garbage.iter().map(|record| record.entry.file.clone())).await;
    store.committer.reach(failpoint::GARBAGE_DELETED).await;
    garbage.retain(|record| done_with.contains(&record.entry.file));
    store.committer.forget_garbage(&garbage).await
}

/// Deletes files; those that the lists are done with: they are gone now, or may be another server's. All storages at once,
/// each within a bounded time: one that does not answer keeps no other.
async fn delete(runtime: &Arc<Runtime>, files: impl Iterator<Item = StoredFile>) -> HashSet<StoredFile> {
    let mut by_storage: BTreeMap<String, Vec<StoredFile>> = BTreeMap::new();
    for file in files {
        by_storage.entry(file.storage.clone()).or_default().push(file);
    }
    let each = by_storage.into_iter().map(|(storage, files)| async move {
        let (count, mut done_with) = (files.len(), HashSet::new());
        if tokio::time::timeout(LONGEST, delete_in(runtime, &storage, files, &mut done_with)).await.is_err() {
            let error = Error::new(ErrorCode::StorageUnavailable, "the storage does not answer, or not soon enough");
            kept(&storage, count - done_with.len(), &error);
        }
        // Also of one that took too long.
        done_with
    });
    join_all(each).await.into_iter().flatten().collect()
}

async fn delete_in(runtime: &Arc<Runtime>, storage: &str, files: Vec<StoredFile>, done_with: &mut HashSet<StoredFile>) {
    let below = match runtime.segments().keep_below(storage).await {
        Ok(below) => below,
        Err(error) => return kept(storage, files.len(), &error),
    };
    let (shared, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_shared(file, below));
    if !shared.is_empty() {
        tracing::info!(storage, files = shared.len(), "files of segments are left to the servers that share them");
        done_with.extend(shared);
    }
    let mut failed = (0, None);
    for hand in files.chunks(HAND) {
        if delete_of(runtime, storage, hand).await.is_ok() {
            done_with.extend(hand.iter().cloned());
            continue;
        }
        // One that cannot be deleted keeps no other.
        for file in hand {
            match delete_of(runtime, storage, std::slice::from_ref(file)).await {
                Ok(()) => drop(done_with.insert(file.clone())),
                Err(error) => failed = (failed.0 + 1, Some(error)),
            }
        }
    }
    if let (files, Some(error)) = failed {
        kept(storage, files, &error);
    }
}

fn kept(storage: &str, files: usize, error: &Error) {
    let error = error.detail.as_deref().unwrap_or(&error.message);
    tracing::warn!(storage, files, error, "files of segments cannot be deleted yet");
}

/// Whether a file may be another server's, too. Where anything is shared, so may be what is not named like a segment.
fn is_shared(file: &StoredFile, below: u128) -> bool {
    let id = SegmentPath::parse(&file.path).ok().and_then(|path| path.segment_id());
    below > 0 && id.is_none_or(|id| id < below)
}

async fn delete_of(runtime: &Runtime, storage: &str, files: &[StoredFile]) -> Result<()> {
    let paths = files.iter().map(|file| SegmentPath::parse(&file.path)).collect::<Result<Vec<_>, _>>()?;
    Ok(runtime.segments().storage(storage)?.delete(&paths).await?)
}

/// Forgets jobs that finished long ago, or are too many.
///
/// # Errors
/// When the backend cannot be read or written.
///
/// # Cancel safety
/// Not safe: run it in a task that ends by itself.
pub(crate) async fn forget_old_jobs(runtime: &Arc<Runtime>) -> Result<()> {
    let store = runtime.store();
    if store.has_failed() {
        return Ok(());
    }
    let settings = &runtime.settings().jobs;
    let retention = i64::try_from(settings.retention.as_micros()).unwrap_or(i64::MAX);
    let before = now_micros().saturating_sub(retention);
    let most = usize::try_from(settings.max_rows).unwrap_or(usize::MAX);
    loop {
        let expired = jobs::expired(store.backend.snapshot().await?.as_ref(), before, most, AT_ONCE).await?;
        let mut batch = Batch::new();
        for id in &expired {
            jobs::delete(&mut batch, id);
        }
        if !expired.is_empty() {
            store.committer.write_synced(batch).await?;
        }
        if expired.len() < AT_ONCE {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
