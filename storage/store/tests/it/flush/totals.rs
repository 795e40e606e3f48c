//! FL-7: the sums over a table, rebuilt at a start; and the notice when its hot rows are many.

use std::sync::Arc;

use kalamdb_commons::TableId;
use kalamdb_store::{SyncMode, TableTotals};
use parking_lot::Mutex;

use super::fixture::{Disk, Wanted, World};
use crate::committer::fixture::{TABLE, partition};
use crate::support::{Harness, Memory};

#[tokio::test]
async fn sums_follow_every_commit_and_are_found_again_at_a_start() {
    let (backend, disk) = (Memory::new().open().await, Disk::default());
    let world = World::new(Arc::clone(&backend), SyncMode::Buffered, &disk).await;
    let partitions = [partition("ann"), partition("bob")];
    assert_eq!(world.committer.totals(TABLE), TableTotals::default());
    world.insert(&partitions[0], 0..10).await;
    world.insert(&partitions[1], 0..5).await;
    world.run(&partitions[0], &[Wanted::Delete(3)]).await.unwrap();
    assert_eq!(world.committer.totals(TABLE).buffered_rows, 15, "a tombstone is flushed like a row");
    world.flush(vec![partitions[0].clone()]).await;
    world.run(&partitions[0], &[Wanted::Delete(4)]).await.unwrap();
    let totals = world.committer.totals(TABLE);
    assert_eq!((totals.buffered_rows, totals.flushed_rows, totals.segments), (6, 9, 1));
    world.assert_counted(&partitions).await;
    assert_eq!(world.committer.all_totals(), [(TABLE, totals)]);
    drop(world);
    let again = World::new(backend, SyncMode::Buffered, &disk).await;
    assert_eq!(again.committer.totals(TABLE), totals);
    again.assert_counted(&partitions).await;
}

#[tokio::test]
async fn a_threshold_is_noticed_once_each_time_it_is_crossed() {
    let world = World::new(Memory::new().open().await, SyncMode::Buffered, &Disk::default()).await;
    let noticed: Arc<Mutex<Vec<TableId>>> = Arc::default();
    let notices = Arc::clone(&noticed);
    assert!(world.committer.on_row_threshold(move |table| notices.lock().push(table)));
    assert!(!world.committer.on_row_threshold(|_| panic!("a second one")));
    let ann = partition("ann");
    world.insert(&ann, 0..20).await;
    assert_eq!(noticed.lock().len(), 0, "nobody has asked");
    assert!(world.committer.set_row_threshold(TABLE, Some(20)), "it is there already");
    assert!(!world.committer.set_row_threshold(TABLE, Some(25)));
    world.insert(&ann, 20..24).await;
    assert_eq!(noticed.lock().len(), 0);
    world.insert(&partition("bob"), 0..3).await;
    assert_eq!(*noticed.lock(), [TABLE], "rows of all users together");
    world.insert(&ann, 24..50).await;
    assert_eq!(noticed.lock().len(), 1);
    world.flush(vec![ann.clone()]).await;
    world.insert_at(&ann, 100).await;
    assert_eq!(noticed.lock().len(), 1);
    world.insert(&partition("bob"), 3..30).await;
    assert_eq!(noticed.lock().len(), 2, "fallen, and come up again");
    assert!(!world.committer.set_row_threshold(TABLE, None));
    world.flush(vec![ann.clone(), partition("bob")]).await;
    world.insert(&partition("eve"), 0..100).await;
    assert_eq!(noticed.lock().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_one_crosses_the_threshold() {
    let world = Arc::new(World::new(Memory::new().open().await, SyncMode::Buffered, &Disk::default()).await);
    let noticed: Arc<Mutex<usize>> = Arc::default();
    let notices = Arc::clone(&noticed);
    world.committer.on_row_threshold(move |_| *notices.lock() += 1);
    world.committer.set_row_threshold(TABLE, Some(100));
    let mut writers = tokio::task::JoinSet::new();
    for user in 0..8 {
        let world = Arc::clone(&world);
        writers.spawn(async move {
            for id in 0..20 {
                world.insert(&partition(&format!("user {user}")), [id]).await;
            }
        });
    }
    writers.join_all().await;
    assert_eq!((*noticed.lock(), world.committer.totals(TABLE).buffered_rows), (1, 160));
}
