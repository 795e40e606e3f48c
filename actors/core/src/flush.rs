//! Flushing one table: hot rows become segments (ARCHITECTURE: the protocol is that of `Committer::begin_flush`).
//!
//! Works through the table's partitions in groups, so that what is in memory is bounded whatever the table's size is. Who
//! flushes what, and when, is the `FlushCoordinator`'s affair. Whatever fails: rows that are not in a committed group are
//! hot still, and files of one that was not committed are on the list of pending files.

mod encode;
mod sweep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kalamdb_commons::{Error, ErrorCode, Result, TableId};
use kalamdb_segments::{SegmentPath, shard_of_partition};
use kalamdb_store::codec::files::StoredFile;
use kalamdb_store::codec::meta::LocalLocation;
use kalamdb_store::manifest::PartitionWalk;
use kalamdb_store::{
    Acknowledgement, Batch, FlushError, HotRows, Lease, NewSegment, PartitionId, PendingFile, SegmentRows, failpoint,
    location,
};
use ulid::Ulid;

use crate::catalog::TableEntry;
use crate::engine::{Runtime, Store, now_micros};
use crate::segments::{Destination, LOCAL_STORAGE};
use encode::{Encoded, OpenFiles, Target, encode};
pub(crate) use sweep::{Sweeper, forget_old_jobs, sweep_storage};

/// Partitions of a group.
const GROUP_PARTITIONS: usize = 256;
/// Bytes of hot rows of a group, about: what it takes in memory while it is written.
const GROUP_BYTES: u64 = 64 << 20;
/// Bytes of memory for the keys of one file's rows. A partition with more goes into several files, one after the other: some
/// two million rows each, where keys are short.
const FILE_KEY_BYTES: usize = 64 << 20;
/// Partitions that may fail before a flush gives up the rest: it is not they then.
const MOST_FAILED: usize = 8;
/// After which time a group that failed is not tried partition by partition.
const HANGS: Duration = Duration::from_secs(10);
/// Rows after whose flush the backend is told to [tidy up](kalamdb_store::Committer::tidy).
const MANY_ROWS: u64 = 10_000;

/// What a flush has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    pub(crate) rows: u64,
    pub(crate) segments: u64,
    pub(crate) location: String,
}

/// Flushes the rows that are hot when it begins, group by group; `done` is told after each.
///
/// # Errors
/// [`ErrorCode::TableNotFound`] for a table that is gone; [`ErrorCode::StorageUnavailable`]; [`ErrorCode::Internal`]. What
/// `done` was told stays done.
///
/// # Cancel safety
/// Not safe: run it in a task that ends by itself.
pub(crate) async fn flush_table(
    runtime: &Arc<Runtime>,
    table: TableId,
    mut done: impl FnMut(&Flushed),
) -> Result<Flushed> {
    let store = runtime.store();
    let entry = present(runtime, table)?;
    let mut flushed = Flushed { location: runtime.segments().location(&entry)?, ..Flushed::default() };
    if store.committer.totals(table).buffered_rows == 0 {
        return Ok(flushed);
    }
    let lease = store.committer.raise_lease(table, now_micros()).await?;
    store.committer.reach(failpoint::LEASE_RAISED).await;
    let snapshot = store.backend.snapshot().await?;
    let mut walk = PartitionWalk::new(snapshot.as_ref(), table);
    let mut group = Group::default();
    let mut failed = Failed::default();
    while let Some(records) = walk.next_chunk().await? {
        for (partition, record) in records {
            if record.hot_rows + record.hot_tombstones == 0 {
                continue;
            }
            group.bytes += record.hot_bytes;
            group.partitions.push((partition, record.hot_rows + record.hot_tombstones));
            if group.is_full() {
                let group = std::mem::take(&mut group).partitions;
                let result = flush_what_can(runtime, &store, &lease, group, &mut flushed, &mut failed).await;
                // What was committed before an error is.
                done(&flushed);
                result?;
            }
        }
    }
    let result = flush_what_can(runtime, &store, &lease, group.partitions, &mut flushed, &mut failed).await;
    done(&flushed);
    if flushed.rows >= MANY_ROWS && !store.has_failed() {
        // What was flushed is flushed: this is for the speed of later scans alone.
        if let Err(error) = store.committer.tidy().await {
            tracing::warn!(%table, %error, "the store did not tidy up after a flush");
        }
    }
    result?;
    failed.first.map_or(Ok(flushed), Err)
}

/// Partitions that could not be flushed by themselves either.
#[derive(Debug, Default)]
struct Failed {
    partitions: usize,
    first: Option<Error>,
}

/// Flushes a group; where that fails, partition by partition, so that one that cannot be flushed keeps no other.
async fn flush_what_can(
    runtime: &Arc<Runtime>,
    store: &Arc<Store>,
    lease: &Lease,
    group: Vec<(PartitionId, u64)>,
    flushed: &mut Flushed,
    failed: &mut Failed,
) -> Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    let error = match flush_group(runtime, store, lease, group.clone(), flushed).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let alone = group.len() == 1;
    // A storage that does not answer would not answer for each of them either.
    let hangs = error.code == ErrorCode::StorageUnavailable && begun.elapsed() > HANGS;
    if hangs || store.has_failed() || present(runtime, lease.table()).is_err() {
        return Err(error);
    }
    tracing::warn!(table = %lease.table(), partitions = group.len(), %error, "a group was not flushed");
    let mut error = Some(error);
    for single in group {
        let result = match error.take().filter(|_| alone) {
            Some(error) => Err(error),
            None => flush_group(runtime, store, lease, vec![single], flushed).await,
        };
        let Err(error) = result else { continue };
        failed.partitions += 1;
        if failed.partitions >= MOST_FAILED || store.has_failed() || present(runtime, lease.table()).is_err() {
            return Err(failed.first.take().unwrap_or(error));
        }
        failed.first.get_or_insert(error);
    }
    Ok(())
}

/// Before the first segment there is in storage `local`: makes its directory, and writes down where it is. Later nothing
/// makes it: one that is missing was moved or unmounted, and a new one in its place would hide its files.
async fn ready_local(runtime: &Runtime, store: &Store) -> Result<()> {
    let path = runtime.segments().local_root().display().to_string();
    let location = LocalLocation { path };
    let recorded = location::local(store.backend.snapshot().await?.as_ref()).await?.as_ref() == Some(&location);
    if recorded && store.committer.all_totals().iter().any(|(_, totals)| totals.segments > 0) {
        return Ok(());
    }
    runtime.segments().prepare_local().await?;
    if recorded {
        return Ok(());
    }
    let mut batch = Batch::new();
    location::put_local(&mut batch, &location);
    store.committer.write_synced(batch).await
}

/// Partitions that become files together.
#[derive(Debug, Default)]
struct Group {
    /// Each with the number of its rows, about.
    partitions: Vec<(PartitionId, u64)>,
    bytes: u64,
}

impl Group {
    fn is_full(&self) -> bool {
        self.partitions.len() >= GROUP_PARTITIONS || self.bytes >= GROUP_BYTES
    }
}

/// The table as the catalog has it now.
fn present(runtime: &Runtime, table: TableId) -> Result<Arc<TableEntry>> {
    runtime
        .catalog()
        .table_of(table)
        .cloned()
        .ok_or_else(|| Error::new(ErrorCode::TableNotFound, "the table was dropped"))
}

/// A file of a group on its way.
struct Planned {
    rows: HotRows,
    expected_rows: u64,
    segment_id: u128,
    shard: String,
    path: SegmentPath,
}

async fn flush_group(
    runtime: &Arc<Runtime>,
    store: &Arc<Store>,
    lease: &Lease,
    mut group: Vec<(PartitionId, u64)>,
    flushed: &mut Flushed,
) -> Result<()> {
    while !group.is_empty() {
        group = flush_round(runtime, store, lease, group, FILE_KEY_BYTES, flushed).await?;
    }
    Ok(())
}

/// Makes a file of each partition; those with rows for another are left, with about how many.
async fn flush_round(
    runtime: &Arc<Runtime>,
    store: &Arc<Store>,
    lease: &Lease,
    group: Vec<(PartitionId, u64)>,
    key_bytes: usize,
    flushed: &mut Flushed,
) -> Result<Vec<(PartitionId, u64)>> {
    let (partitions, rows): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let readers = store.committer.begin_flush(lease, partitions).await.map_err(refused)?;
    // After the snapshot of the readers: the catalog knows every version that their rows have.
    let entry = present(runtime, lease.table())?;
    let to = runtime.segments().destination(&entry)?;
    if to.storage == LOCAL_STORAGE {
        // Each time: the table may have been given another storage since the last group.
        ready_local(runtime, store).await?;
    }
    let planned = readers.into_iter().zip(rows).map(|(rows, expected)| plan(&entry, &to, rows, expected));
    let planned = planned.collect::<Result<Vec<_>>>()?;
    let files =
        planned.iter().map(|file| StoredFile { storage: to.storage.clone(), path: file.path.as_str().to_owned() });
    let pending = store.committer.record_pending(lease, files.collect()).await.map_err(refused)?;

    let files = OpenFiles::new(to.files.begin_group(), lease, to.writing.clone());
    // Half of the cores: whoever writes and reads meanwhile has the others.
    let at_once = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    let written = write_files(store, &entry, files, key_bytes, at_once, planned.into_iter().zip(pending)).await?;
    store.committer.reach(failpoint::FILES_DURABLE).await;

    let mut acknowledgements: Vec<Acknowledgement> = Vec::with_capacity(written.len());
    let mut left = Vec::new();
    for file in written {
        if file.rows_left > 0 {
            left.push((file.rows.partition().clone(), file.rows_left));
        }
        let mut guard = store.committer.begin(file.rows.partition().clone()).await;
        // With the gate held: a dropped table takes no segment.
        present(runtime, lease.table())?;
        let commit = guard.commit_flush(lease, file.pending, file.segment, file.rows).await.map_err(refused)?;
        drop(guard);
        acknowledgements.push(commit.acknowledgement);
        flushed.rows += commit.rows;
        flushed.segments += u64::from(commit.entry.is_some());
    }
    for acknowledgement in acknowledgements {
        acknowledgement.wait().await?;
    }
    store.committer.reach(failpoint::GROUP_ACKNOWLEDGED).await;
    Ok(left)
}

/// Writes the files of a group and makes them durable; partitions without rows have none. On an error no writer is left,
/// and the files are given up: whoever held the lease for them may let it go. `at_once` are written at the same time.
async fn write_files(
    store: &Store,
    entry: &Arc<TableEntry>,
    files: OpenFiles,
    key_bytes: usize,
    at_once: usize,
    planned: impl Iterator<Item = (Planned, PendingFile)>,
) -> Result<Vec<Written>> {
    let files = Arc::new(files);
    let work = planned.map(|(file, pending)| {
        let (entry, files) = (Arc::clone(entry), Arc::clone(&files));
        async move {
            let Planned { mut rows, expected_rows, segment_id, shard, path } = file;
            let to = Target { files: Arc::clone(&files), path, expected_rows, key_bytes };
            let encoded = encode(&entry, &mut rows, to).await.inspect_err(|error| files.fail(error)).ok().flatten();
            let at_end = rows.is_at_end();
            encoded.zip(rows.cut()).map(|(encoded, rows)| {
                let segment = new_segment(&encoded, segment_id, shard);
                let rows_left = if at_end { 0 } else { expected_rows.saturating_sub(rows.len() as u64).max(1) };
                Written { pending, rows, rows_left, segment }
            })
        }
    });
    // All of them to their end, also when one has failed.
    let written: Vec<Option<Written>> = stream::iter(work).buffered(at_once).collect().await;
    store.committer.reach(failpoint::FILES_WRITTEN).await;
    let files = Arc::into_inner(files);
    files.ok_or_else(|| Error::internal("a group of files is in use after its last one"))?.end().await?;
    Ok(written.into_iter().flatten().collect())
}

/// A file that has its bytes.
struct Written {
    pending: PendingFile,
    rows: SegmentRows,
    /// About how many rows of its partition are for the next file.
    rows_left: u64,
    segment: NewSegment,
}

fn plan(entry: &TableEntry, to: &Destination, rows: HotRows, expected_rows: u64) -> Result<Planned> {
    let name = &entry.definition.name;
    let user = rows.partition().user.clone();
    let shard = if to.template.has_shard() {
        shard_of_partition(to.sharding.as_ref(), &name.table, user.as_ref())
    } else {
        String::new()
    };
    let segment_id = Ulid::new().0;
    let values = kalamdb_segments::PathValues {
        namespace: &name.namespace,
        table: &name.table,
        user: user.as_ref(),
        shard: &shard,
    };
    let path = SegmentPath::new(&to.template, &values, segment_id)?;
    Ok(Planned { rows, expected_rows, segment_id, shard, path })
}

fn new_segment(encoded: &Encoded, segment_id: u128, shard: String) -> NewSegment {
    NewSegment {
        segment_id,
        shard,
        bytes: encoded.bytes,
        schema_version: encoded.schema_version,
        created_at: now_micros(),
        level: 0,
    }
}

fn refused(error: FlushError) -> Error {
    match error {
        FlushError::Refused(error) => error,
        FlushError::LeaseLost => {
            Error::new(ErrorCode::StorageUnavailable, "another flush of the table has taken the place of this one")
        }
        FlushError::Stale => Error::internal("a flush found what it read gone"),
    }
}

#[cfg(test)]
mod tests;
