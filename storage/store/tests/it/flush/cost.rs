//! FL-6: what a flush costs while it holds its partition, and what it leaves for later scans.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_faults::Machine;
use kalamdb_store::codec::keys;
use kalamdb_store::{
    Batch, Direction, Durability, FlushLimits, ScanRequest, SegmentCommit, Snapshot, StorageBackend, StoreError,
    SyncMode, Write, manifest,
};

use super::fixture::{Disk, Wanted, World};
use crate::committer::fixture::{key, partition};
use crate::support::{Backend, Harness, Memory, RocksDb};

/// Counts what is read of family `rows`.
#[derive(Debug)]
struct Counting {
    inner: Backend,
    keys: Arc<AtomicUsize>,
    snapshots: Arc<AtomicUsize>,
}

#[async_trait]
impl StorageBackend for Counting {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.snapshots.fetch_add(1, Ordering::AcqRel);
        self.inner.snapshot().await
    }

    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if family == Family::Rows {
            self.keys.fetch_add(keys.len(), Ordering::AcqRel);
        }
        self.inner.get_many(family, keys).await
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.inner.write(batch, durability).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync().await
    }

    async fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.inner.size_on_disk().await
    }

    async fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.inner.checkpoint(directory).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

/// What a commit read and wrote of family `rows`.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    keys_read: usize,
    snapshots: usize,
    puts: usize,
    deletes: usize,
    ranges: usize,
}

/// Inserts rows 0 to `rows`, reads them for a flush, then changes six of them or beside them, and commits.
async fn flush_changed(rows: i64, limits: FlushLimits) -> (World, SegmentCommit, Cost) {
    let machine = Machine::new(1);
    let (keys_read, snapshots) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let inner = machine.boot().await.unwrap();
    let backend = Counting { inner, keys: Arc::clone(&keys_read), snapshots: Arc::clone(&snapshots) };
    let world = World::new(Arc::new(backend), SyncMode::Buffered, &Disk::default()).await;
    let ann = partition("ann");
    world.insert(&ann, 0..rows).await;
    let lease = world.lease().await;
    let file = world.write_files(&lease, vec![ann.clone()], usize::MAX, limits).await.unwrap().remove(0);
    let name = || "changed".to_owned();
    let changes = [
        Wanted::Update(3, 3, name()),
        Wanted::Update(4, rows + 10, name()),
        Wanted::Delete(5),
        Wanted::Insert(rows + 11, name()),
        Wanted::Insert(rows + 12, name()),
    ];
    world.run(&ann, &changes).await.unwrap();
    let (read_before, snapshots_before) = (keys_read.load(Ordering::Acquire), snapshots.load(Ordering::Acquire));
    machine.taken_batches();
    let commit = world.commit_file(file).await.unwrap();
    let mut cost = Cost {
        keys_read: keys_read.load(Ordering::Acquire) - read_before,
        snapshots: snapshots.load(Ordering::Acquire) - snapshots_before,
        puts: 0,
        deletes: 0,
        ranges: 0,
    };
    let batches = machine.taken_batches();
    assert_eq!(batches.len(), 1, "FL-1: one batch");
    for write in batches[0].0.writes() {
        match write {
            Write::Put { family: Family::Rows, .. } => cost.puts += 1,
            Write::Delete { family: Family::Rows, .. } => cost.deletes += 1,
            Write::DeleteRange(range) => {
                assert_eq!(range.family, Family::Rows);
                cost.ranges += 1;
            }
            Write::Put { .. } | Write::Delete { .. } => {}
        }
    }
    let live = world.live(&*world.snapshot().await, &ann).await;
    assert_eq!(live.len() as i64, rows + 1);
    assert_eq!(live[&3], "changed");
    world.assert_counted(std::slice::from_ref(&ann)).await;
    (world, commit, cost)
}

#[tokio::test]
async fn a_large_partition_leaves_by_one_range_delete_and_six_keys_are_looked_at() {
    let (world, commit, cost) = flush_changed(5000, FlushLimits::default()).await;
    assert_eq!(cost, Cost { keys_read: 6, snapshots: 0, puts: 6, deletes: 0, ranges: 1 });
    assert_eq!((commit.rows, commit.entry.map(|entry| entry.deleted_rows)), (4997, Some(3)));
    assert_eq!(world.rows(&partition("ann")).await.len(), 6);
}

#[tokio::test]
async fn a_small_partition_leaves_row_by_row() {
    let (_, commit, cost) = flush_changed(100, FlushLimits::default()).await;
    assert_eq!(cost, Cost { keys_read: 6, snapshots: 0, puts: 0, deletes: 97, ranges: 0 });
    assert_eq!(commit.rows, 97);
}

#[tokio::test]
async fn a_flush_that_cannot_remember_what_was_written_compares_everything() {
    let limits = FlushLimits { watch_bytes: 200, ..FlushLimits::default() };
    let (_, commit, cost) = flush_changed(5000, limits).await;
    assert_eq!(cost, Cost { keys_read: 0, snapshots: 1, puts: 6, deletes: 0, ranges: 1 });
    assert_eq!(commit.rows, 4997);
}

#[tokio::test]
async fn rows_that_cannot_be_put_back_stay_where_they_are() {
    let limits = FlushLimits { put_back_bytes: 100, ..FlushLimits::default() };
    let (_, commit, cost) = flush_changed(5000, limits).await;
    assert_eq!(cost, Cost { keys_read: 6, snapshots: 0, puts: 0, deletes: 4997, ranges: 0 });
    assert_eq!(commit.rows, 4997);
}

/// A scan of a partition that was flushed a hundred times, each time a few rows behind the last ones.
async fn scans_step_over_a_bounded_number_of_deleted_keys(harness: &impl Harness) {
    const ROUNDS: i64 = 100;
    const ROWS: i64 = 200;
    let world = World::new(harness.open().await, SyncMode::Buffered, &Disk::default()).await;
    let ann = partition("ann");
    for round in 0..ROUNDS {
        world.insert(&ann, round * ROWS..(round + 1) * ROWS).await;
        assert_eq!(world.flush(vec![ann.clone()]).await[0].rows, ROWS as u64);
    }
    world.insert(&ann, ROUNDS * ROWS..ROUNDS * ROWS + 20).await;
    let space = keys::rows_partition(ann.table, ann.user.as_ref());
    let steps = async |backend: &Backend| {
        let snapshot = backend.snapshot().await.unwrap();
        let request =
            ScanRequest { range: space.range(), direction: Direction::Forward, limit: 10, max_bytes: usize::MAX };
        let chunk = snapshot.scan(request).await.unwrap();
        assert_eq!(keys::row_key(&space, &key(ROUNDS * ROWS)), chunk.entries.get(0).unwrap().0);
        snapshot.keys_read()
    };
    let bound = FlushLimits::default().deleted_keys + 11;
    let stepped_over = steps(&world.backend).await;
    assert!(stepped_over <= bound, "{stepped_over} keys for ten rows");
    assert_eq!(manifest::entries(&*world.snapshot().await, &ann).await.unwrap().len() as i64, ROUNDS);
    if harness_keeps_data(harness) {
        world.backend.close().await.unwrap();
        drop(world);
        let reopened = harness.open().await;
        let stepped_over = steps(&reopened).await;
        assert!(stepped_over <= bound, "{stepped_over} keys for ten rows, reopened");
        reopened.close().await.unwrap();
    }
}

fn harness_keeps_data<H: Harness>(_: &H) -> bool {
    H::KEEPS_DATA
}

#[tokio::test]
async fn scans_step_over_a_bounded_number_of_deleted_keys_in_memory() {
    scans_step_over_a_bounded_number_of_deleted_keys(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_step_over_a_bounded_number_of_deleted_keys_on_rocksdb() {
    scans_step_over_a_bounded_number_of_deleted_keys(&RocksDb::new()).await;
}
