//! FL-4 and FL-5: which files go, and when; what a dropped table leaves.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kalamdb_commons::{Family, SchemaVersion, Seq, TableId};
use kalamdb_faults::Machine;
use kalamdb_store::codec::files::StoredFile;
use kalamdb_store::codec::keys;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::codec::marks::DeleteMarks;
use kalamdb_store::codec::meta::FlushSchedule;
use kalamdb_store::codec::system;
use kalamdb_store::{
    Batch, Durability, FlushError, FlushLimits, KeyRange, PartitionId, SyncMode, TableTotals, Write, catalog,
    failpoint, files, manifest, schedule,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::fixture::{Disk, Wanted, World, define};
use crate::committer::fixture::{NOW, TABLE, partition};
use crate::support::{Backend, Harness, Memory, contents, get};

async fn world() -> World {
    World::new(Memory::new().open().await, SyncMode::Buffered, &Disk::default()).await
}

/// As DROP TABLE does.
async fn drop_table(world: &World, table: TableId) {
    let mut batch = Batch::new();
    catalog::delete_table(&mut batch, table);
    let gate = world.committer.close_gate(table).await;
    world.committer.drop_tables(batch, &[table], NOW).await.unwrap();
    drop(gate);
    world.committer.forget_table(table);
}

fn paths(records: &[files::GarbageRecord]) -> Vec<&str> {
    records.iter().map(|record| record.entry.file.path.as_str()).collect()
}

#[tokio::test]
async fn pending_files_belong_to_whoever_holds_their_lease() {
    let world = world().await;
    let lease = world.lease().await;
    let stored = |path: &str| StoredFile { storage: "s".into(), path: path.into() };
    let files = world.committer.record_pending(&lease, vec![stored("a"), stored("b")]).await.unwrap();
    assert_eq!(files.iter().map(|file| file.file().path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(world.committer.unowned_pending().await.unwrap(), []);
    // Somebody else's turn has come; the files are being written all the same.
    let next = world.lease().await;
    drop(lease);
    assert_eq!(world.committer.unowned_pending().await.unwrap(), [], "a pending file holds its lease");
    drop(files);
    let unowned = world.committer.unowned_pending().await.unwrap();
    assert_eq!(unowned.iter().map(|record| record.pending.files[0].path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let more = world.committer.record_pending(&next, vec![stored("c")]).await.unwrap();
    world.committer.forget_pending(&unowned).await.unwrap();
    let left = files::pending(&*world.snapshot().await).await.unwrap();
    assert_eq!((left.len(), left[0].number, left[0].pending.lease_generation), (1, 0, 2));
    drop((next, more));
    assert_eq!(world.committer.record_pending(&world.lease().await, Vec::new()).await.unwrap().len(), 0);
}

/// The list was read, then the flush committed and ended, then somebody asks who owns the file.
#[tokio::test]
async fn a_file_that_was_committed_meanwhile_is_not_taken_for_abandoned() {
    let world = Arc::new(world().await);
    let ann = partition("ann");
    world.insert(&ann, 0..3).await;
    let lease = world.lease().await;
    let file = world.write_files(&lease, vec![ann.clone()], usize::MAX, FlushLimits::default()).await.unwrap().pop();
    drop(lease);
    let (waiting, hook_world) = (Arc::new(Mutex::new(file)), Arc::downgrade(&world));
    world.committer.set_failpoints(move |place| {
        let file = if place == failpoint::PENDING_LISTED { waiting.lock().take() } else { None };
        let world = hook_world.upgrade();
        Box::pin(async move {
            if let (Some(world), Some(file)) = (world, file) {
                world.commit_file(file).await.unwrap();
            }
        })
    });
    assert_eq!(world.committer.unowned_pending().await.unwrap(), []);
    assert_eq!(world.live(&*world.snapshot().await, &ann).await.len(), 3);
    assert_eq!(world.rows(&ann).await, [], "it was committed");
    world.assert_files_are_named().await;
}

#[tokio::test]
async fn many_files_are_recorded_with_one_sync() {
    let machine = Machine::new(1);
    let world = World::new(machine.boot().await.unwrap(), SyncMode::Buffered, &Disk::default()).await;
    let lease = world.lease().await;
    let syncs = machine.faults().syncs();
    let stored = (0..256).map(|number| StoredFile { storage: "s".into(), path: number.to_string() }).collect();
    let files = world.committer.record_pending(&lease, stored).await.unwrap();
    assert_eq!((files.len(), machine.faults().syncs() - syncs), (256, 1));
}

/// One reader in the middle of a scan keeps what it reads, and nothing that was replaced before it began.
#[tokio::test]
async fn a_file_goes_when_nobody_reads_its_generation() {
    let world = world().await;
    let ann = partition("ann");
    world.insert(&ann, 0..3).await;
    world.flush(vec![ann.clone()]).await;
    let replace = async || {
        let lease = world.lease().await;
        let merged = world.merge(&lease, &ann, true).await.unwrap().unwrap();
        world.commit_merged(merged).await.unwrap();
    };
    replace().await;
    let early = world.committer.pin();
    let snapshot = world.snapshot().await;
    assert_eq!(world.committer.collectable(None, 10).await.unwrap().len(), 1, "replaced before it began");
    replace().await;
    let late = world.committer.pin();
    assert!(late.generation() > early.generation());
    assert_eq!(world.committer.oldest_pin(), Some(early.generation()));
    assert_eq!(world.collect().await, 1);
    assert_eq!(world.collect().await, 0, "the first reader has the other");
    world.versions(&*snapshot, &ann).await;
    drop(early);
    assert_eq!(world.collect().await, 1);
    drop(late);
    assert_eq!(world.collect().await, 0);
    world.assert_files_are_named().await;
}

/// A power cut would bring the manifest back that names it.
#[tokio::test]
async fn a_file_goes_only_when_its_end_is_on_the_disk() {
    for mode in [SyncMode::Sync, SyncMode::Buffered] {
        let machine = Machine::new(3);
        let disk = Disk::default();
        let world = World::new(machine.boot().await.unwrap(), mode, &disk).await;
        let ann = partition("ann");
        world.insert(&ann, 0..3).await;
        world.flush(vec![ann.clone()]).await;
        let lease = world.lease().await;
        let merged = world.merge(&lease, &ann, true).await.unwrap().unwrap();
        machine.faults().hold_syncs();
        world.commit_merged(merged).await.unwrap();
        let mut collectable = pin!(world.committer.collectable(None, 10));
        // It waits for the sync that it asks for, or for the one that runs.
        let deadline = Instant::now() + Duration::from_secs(30);
        while machine.faults().waiting() == 0 {
            assert!(Instant::now() < deadline);
            assert!(waits(collectable.as_mut()), "{mode:?}: it did not wait for a sync");
            tokio::task::yield_now().await;
        }
        machine.faults().release_syncs();
        assert_eq!(collectable.await.unwrap().len(), 1);
        machine.cut_power().await.unwrap();
        let world = World::new(machine.boot().await.unwrap(), mode, &disk).await;
        assert_eq!(files::garbage(&*world.snapshot().await, None, 10).await.unwrap().len(), 1, "{mode:?}");
    }
}

fn waits<F: Future>(future: Pin<&mut F>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

#[tokio::test]
async fn a_flush_of_rows_that_all_moved_on_leaves_garbage_and_no_segment() {
    let world = world().await;
    let ann = partition("ann");
    world.insert(&ann, 0..3).await;
    let lease = world.lease().await;
    let file =
        world.write_files(&lease, vec![ann.clone()], usize::MAX, FlushLimits::default()).await.unwrap().remove(0);
    let changed = (0..3).map(|id| Wanted::Update(id, id, "changed".into())).collect::<Vec<_>>();
    world.run(&ann, &changed).await.unwrap();
    let before = manifest::partition(&*world.snapshot().await, &ann).await.unwrap();
    let path = file.file.file().path.clone();
    let commit = world.commit_file(file).await.unwrap();
    assert!(commit.entry.is_none() && commit.rows == 0);
    assert_eq!(manifest::partition(&*world.snapshot().await, &ann).await.unwrap(), before);
    assert_eq!(paths(&world.committer.collectable(None, 10).await.unwrap()), [path]);
    world.assert_counted(&[ann]).await;
    world.assert_files_are_named().await;
}

#[tokio::test]
async fn a_compaction_of_nothing_but_old_tombstones_leaves_no_segment() {
    let world = world().await;
    let ann = partition("ann");
    world.insert(&ann, 0..3).await;
    world.run(&ann, &[Wanted::Delete(0), Wanted::Delete(1), Wanted::Delete(2)]).await.unwrap();
    world.flush(vec![ann.clone()]).await;
    let lease = world.lease().await;
    let merged = world.merge(&lease, &ann, false).await.unwrap().unwrap();
    assert!(merged.file.is_none());
    let commit = world.commit_merged(merged).await.unwrap();
    assert!(commit.entry.is_none());
    assert_eq!(world.committer.totals(TABLE), TableTotals::default());
    assert_eq!(manifest::entries(&*world.snapshot().await, &ann).await.unwrap(), []);
    assert_eq!(world.collect().await, 1);
    world.assert_files_are_named().await;
}

#[tokio::test]
async fn a_dropped_table_leaves_its_files_on_the_list_and_nothing_else() {
    let world = world().await;
    let other = TableId(8);
    define(&world.backend, other).await;
    let (ann, bob) = (partition("ann"), partition("bob"));
    let kept = PartitionId { table: other, user: ann.user.clone() };
    for partition in [&ann, &bob, &kept] {
        world.insert(partition, 0..3).await;
    }
    world.flush(vec![ann.clone(), bob.clone()]).await;
    world.run(&ann, &[Wanted::Delete(1)]).await.unwrap();
    let mut batch = Batch::new();
    schedule::put(&mut batch, TABLE, &FlushSchedule { due_at: NOW, last_flush_at: None });
    world.backend.write(batch, Durability::Logged).await.unwrap();
    let lease = world.lease().await;
    world.insert_at(&bob, 7).await;
    let file =
        world.write_files(&lease, vec![bob.clone()], usize::MAX, FlushLimits::default()).await.unwrap().remove(0);
    let reader = world.committer.pin();
    let snapshot = world.snapshot().await;

    drop_table(&world, TABLE).await;
    assert_eq!(world.committer.totals(TABLE), TableTotals::default());
    assert_eq!(world.committer.totals(other).buffered_rows, 3);
    assert!(matches!(world.commit_file(file).await, Err(FlushError::LeaseLost)), "a flush that the DROP overtook");
    assert!(world.committer.raise_lease(TABLE, NOW).await.is_err());
    assert_eq!(world.live(&*snapshot, &ann).await.len(), 2, "a query that runs ends on its snapshot");
    assert_eq!(world.collect().await, 0, "it reads both files, and the flush holds its lease");
    drop((reader, lease));
    assert_eq!(world.collect().await, 3);
    world.assert_files_are_named().await;
    for family in [Family::Rows, Family::Manifest, Family::Log] {
        let keys = contents(&*world.backend, family).await;
        assert!(keys.iter().all(|(key, _)| key.starts_with(&other.0.to_be_bytes())), "{family:?}");
    }
    for key in [system::flush_lease(TABLE), system::flush_due(TABLE), system::table(TABLE)] {
        assert_eq!(get(&*world.backend, Family::System, &key).await, None);
    }
    assert_eq!(files::garbage(&*world.snapshot().await, None, 10).await.unwrap(), []);
}

async fn put_segments(backend: &Backend, count: u128) {
    let ann = partition("ann");
    for first in (0..count).step_by(1000) {
        let mut batch = Batch::new();
        for segment_id in first..first + 1000 {
            let entry = ManifestEntry {
                segment_id,
                storage: "local".into(),
                path: format!("default/users/ann/messages/{segment_id:026}.parquet"),
                shard: String::new(),
                rows: 10,
                bytes: 1000,
                schema_version: SchemaVersion::FIRST,
                min_seq: Seq(1),
                max_seq: Seq(10),
                min_key: vec![0; 9],
                max_key: vec![1; 9],
                deleted_rows: 1,
                created_at: NOW,
                level: 0,
            };
            batch.put(Family::Manifest, keys::manifest_entry_key(TABLE, ann.user.as_ref(), segment_id), entry.encode());
            let key = keys::delete_mark_key(TABLE, ann.user.as_ref(), segment_id, 0);
            batch.put(Family::Manifest, key, DeleteMarks::new().encode());
        }
        backend.write(batch, Durability::Logged).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_of_a_hundred_thousand_segments_is_dropped_by_one_batch_of_bounded_size() {
    const SEGMENTS: usize = 100_000;
    let machine = Machine::new(1);
    let backend = machine.boot().await.unwrap();
    put_segments(&backend, SEGMENTS as u128).await;
    let world = World::new(backend, SyncMode::Buffered, &Disk::default()).await;
    let totals = world.committer.totals(TABLE);
    assert_eq!((totals.segments, totals.flushed_rows, totals.segment_bytes), (100_000, 900_000, 100_000_000));
    machine.taken_batches();
    drop_table(&world, TABLE).await;
    let batches = machine.taken_batches();
    let drops: Vec<_> = batches.iter().filter(|(batch, _)| batch.writes().len() > 1).collect();
    assert_eq!(drops.len(), 1);
    assert!(drops[0].0.bytes() < 20 << 20, "{} bytes", drops[0].0.bytes());
    let ranges = drops[0].0.writes().iter().filter(|write| matches!(write, Write::DeleteRange(KeyRange { .. })));
    assert_eq!(ranges.count(), 4);
    let some = world.committer.collectable(None, 1000).await.unwrap();
    assert_eq!(some.len(), 1000);
    assert!(some.is_sorted_by_key(|record| record.segment));
    world.committer.forget_garbage(&some).await.unwrap();
    assert_eq!(files::garbage(&*world.snapshot().await, None, usize::MAX).await.unwrap().len(), SEGMENTS - 1000);
}

/// A number is never given again, whatever becomes of what had it.
#[tokio::test]
async fn generations_grow_over_drops_collections_and_restarts() {
    let (machine, disk) = (Machine::new(1), Disk::default());
    let mut last = 0;
    for round in 0..5 {
        let world = World::new(machine.boot().await.unwrap(), SyncMode::Sync, &disk).await;
        let ann = partition("ann");
        world.insert_at(&ann, round).await;
        for commit in world.flush(vec![ann.clone()]).await {
            commit.acknowledgement.wait().await.unwrap();
        }
        let generation = manifest::record(&*world.snapshot().await, &ann).await.unwrap().manifest_generation;
        assert!(generation > last, "{generation} after {last}");
        last = generation;
        drop_table(&world, TABLE).await;
        // Behind older ones whose end the last power cut took back.
        let garbage = world.committer.collectable(None, 10).await.unwrap().pop().unwrap();
        assert!(garbage.generation > last);
        last = garbage.generation;
        world.collect().await;
        machine.cut_power().await.unwrap();
    }
}
