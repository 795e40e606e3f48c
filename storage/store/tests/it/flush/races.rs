//! Flushes, compactions and the collection of files while several threads write and read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kalamdb_store::{FlushError, FlushLimits, SyncMode};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::fixture::{Disk, Wanted, World};
use crate::committer::fixture::partition;
use crate::support::{Harness, Memory, RocksDb};

const USERS: [&str; 2] = ["ann", "bob"];
const WRITERS: i64 = 3;
const IDS: i64 = 8;

/// Each writer has ids of its own, and goes on until there is a segment; gives what is there of them when it ends.
async fn write(
    world: Arc<World>,
    user: &'static str,
    writer: i64,
    steps: usize,
    segments: Arc<AtomicUsize>,
) -> BTreeMap<i64, String> {
    let mut rng = StdRng::seed_from_u64(writer.cast_unsigned());
    let mut model = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    for step in 0.. {
        if step >= steps && (segments.load(Ordering::Acquire) > 0 || Instant::now() > deadline) {
            break;
        }
        let id = writer * IDS + rng.random_range(0..IDS);
        let name = step.to_string();
        let wanted = match model.get(&id) {
            None => Wanted::Insert(id, name.clone()),
            Some(_) if rng.random_range(0..3) == 0 => Wanted::Delete(id),
            Some(_) => Wanted::Update(id, id, name.clone()),
        };
        match &wanted {
            Wanted::Delete(_) => model.remove(&id),
            Wanted::Insert(..) | Wanted::Update(..) => model.insert(id, name),
        };
        world.run(&partition(user), &[wanted]).await.unwrap();
    }
    model
}

/// One flush after the other, now and then a compaction; counts the segments that come of it.
async fn flush(world: Arc<World>, stop: Arc<AtomicBool>, segments: Arc<AtomicUsize>) {
    let mut rng = StdRng::seed_from_u64(7);
    let count = |is_there: bool| segments.fetch_add(usize::from(is_there), Ordering::AcqRel);
    while !stop.load(Ordering::Acquire) {
        let lease = world.lease().await;
        if rng.random_range(0..4) == 0 {
            for user in USERS {
                if let Some(merged) = world.merge(&lease, &partition(user), true).await.unwrap() {
                    count(world.commit_merged(merged).await.unwrap().entry.is_some());
                }
            }
        } else {
            let limits = FlushLimits { deleted_keys: rng.random_range(0..20), ..FlushLimits::default() };
            let files = world.write_files(&lease, USERS.map(partition).into(), usize::MAX, limits).await.unwrap();
            tokio::task::yield_now().await;
            for file in files {
                count(world.commit_file(file).await.unwrap().entry.is_some());
            }
        }
    }
}

async fn collect(world: Arc<World>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Acquire) {
        world.collect().await;
        tokio::task::yield_now().await;
    }
}

async fn read(world: Arc<World>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Acquire) {
        let _pin = world.committer.pin();
        let snapshot = world.snapshot().await;
        tokio::task::yield_now().await;
        for user in USERS {
            // Panics where a key is there twice, or a file is gone.
            world.versions(&*snapshot, &partition(user)).await;
        }
    }
}

async fn flushes_race_with_writers(harness: &impl Harness, steps: usize) {
    let world = Arc::new(World::new(harness.open().await, SyncMode::Buffered, &Disk::default()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut background = JoinSet::new();
    background.spawn(collect(Arc::clone(&world), Arc::clone(&stop)));
    background.spawn(read(Arc::clone(&world), Arc::clone(&stop)));
    let mut flushes = JoinSet::new();
    let segments = Arc::new(AtomicUsize::new(0));
    flushes.spawn(flush(Arc::clone(&world), Arc::clone(&stop), Arc::clone(&segments)));
    let mut writers = JoinSet::new();
    for user in USERS {
        for writer in 0..WRITERS {
            let (world, segments) = (Arc::clone(&world), Arc::clone(&segments));
            writers.spawn(async move { (user, write(world, user, writer, steps, segments).await) });
        }
    }
    let mut expected: BTreeMap<&str, BTreeMap<i64, String>> = BTreeMap::new();
    while let Some(ended) = writers.join_next().await {
        let (user, model) = ended.unwrap();
        expected.entry(user).or_default().extend(model);
    }
    stop.store(true, Ordering::Release);
    flushes.join_all().await;
    background.join_all().await;
    assert!(segments.load(Ordering::Acquire) > 0, "a race with nobody");
    let snapshot = world.snapshot().await;
    for user in USERS {
        assert_eq!(world.live(&*snapshot, &partition(user)).await, expected[user]);
    }
    world.assert_counted(&USERS.map(partition)).await;
    world.assert_files_are_named().await;
    world.backend.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flushes_race_with_writers_in_memory() {
    flushes_race_with_writers(&Memory::new(), 120).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flushes_race_with_writers_on_rocksdb() {
    flushes_race_with_writers(&RocksDb::new(), 60).await;
}

/// Of two flushes at once the one that began later wins, whatever the order of their commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_flushes_at_once_move_each_row_once() {
    for _ in 0..20 {
        let world = Arc::new(World::new(Memory::new().open().await, SyncMode::Buffered, &Disk::default()).await);
        world.insert(&partition("ann"), 0..50).await;
        let mut flushes = JoinSet::new();
        for _ in 0..4 {
            let world = Arc::clone(&world);
            flushes.spawn(async move {
                let lease = world.lease().await;
                let partitions = vec![partition("ann")];
                let files = match world.write_files(&lease, partitions, usize::MAX, FlushLimits::default()).await {
                    Ok(files) => files,
                    Err(FlushError::LeaseLost) => return 0,
                    Err(other) => panic!("{other:?}"),
                };
                let mut moved = 0;
                for file in files {
                    match world.commit_file(file).await {
                        Ok(commit) => moved += commit.rows,
                        Err(FlushError::LeaseLost) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                moved
            });
        }
        let moved: u64 = flushes.join_all().await.into_iter().sum();
        assert_eq!(moved, 50);
        assert_eq!(world.live(&*world.snapshot().await, &partition("ann")).await.len(), 50);
        world.assert_counted(&[partition("ann")]).await;
    }
}
