//! Files that nobody needs: pending ones whose flush is gone, and garbage that nobody reads any more. Exactly those are
//! deleted that the backend's lists name; no directory is searched.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kalamdb_commons::Result;
use kalamdb_segments::SegmentPath;
use kalamdb_store::codec::files::StoredFile;
use kalamdb_store::{Batch, failpoint, jobs};

use crate::engine::{Runtime, now_micros};

/// Entries of each list that are looked at in one go.
const AT_ONCE: usize = 1000;

/// Deletes what can be deleted now. What fails is tried again by the next call.
///
/// # Errors
/// When the backend cannot be read or written.
///
/// # Cancel safety
/// Not safe: run it in a task that ends by itself.
pub(crate) async fn sweep(runtime: &Arc<Runtime>) -> Result<()> {
    let store = runtime.store();
    if store.has_failed() {
        return Ok(());
    }
    let committer = &store.committer;
    let mut pending = committer.unowned_pending().await?;
    pending.truncate(AT_ONCE);
    if !pending.is_empty() {
        let files = pending.iter().flat_map(|record| record.pending.files.iter().cloned());
        committer.reach(failpoint::BEFORE_PENDING_DELETED).await;
        let gone = delete(runtime, files).await;
        committer.reach(failpoint::PENDING_DELETED).await;
        pending.retain(|record| record.pending.files.iter().all(|file| gone.contains(file)));
        committer.forget_pending(&pending).await?;
        committer.reach(failpoint::PENDING_FORGOTTEN).await;
    }
    let mut garbage = committer.collectable(AT_ONCE).await?;
    if !garbage.is_empty() {
        for record in &garbage {
            runtime.segments().forget(record.segment);
        }
        committer.reach(failpoint::BEFORE_GARBAGE_DELETED).await;
        let gone = delete(runtime, garbage.iter().map(|record| record.entry.file.clone())).await;
        committer.reach(failpoint::GARBAGE_DELETED).await;
        garbage.retain(|record| gone.contains(&record.entry.file));
        committer.forget_garbage(&garbage).await?;
    }
    committer.reach(failpoint::COLLECTED).await;
    Ok(())
}

/// Deletes files, storage by storage; those that are gone now.
async fn delete(runtime: &Arc<Runtime>, files: impl Iterator<Item = StoredFile>) -> HashSet<StoredFile> {
    let mut by_storage: BTreeMap<String, Vec<StoredFile>> = BTreeMap::new();
    for file in files {
        by_storage.entry(file.storage.clone()).or_default().push(file);
    }
    let mut gone = HashSet::new();
    for (storage, files) in by_storage {
        if delete_of(runtime, &storage, &files).await.is_ok() {
            gone.extend(files);
            continue;
        }
        // One that cannot be deleted keeps no other.
        let mut kept = (0, None);
        for file in files {
            match delete_of(runtime, &storage, std::slice::from_ref(&file)).await {
                Ok(()) => {
                    gone.insert(file);
                }
                Err(error) => kept = (kept.0 + 1, Some(error)),
            }
        }
        if let (files, Some(error)) = kept {
            let error = error.detail.as_deref().unwrap_or(&error.message);
            tracing::warn!(storage, files, error, "files of segments cannot be deleted yet");
        }
    }
    gone
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
