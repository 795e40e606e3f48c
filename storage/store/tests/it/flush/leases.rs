//! FL-3: only who holds the current lease commits.

use kalamdb_commons::{ErrorCode, Family, TableId};
use kalamdb_faults::Machine;
use kalamdb_store::codec::files::StoredFile;
use kalamdb_store::codec::meta::FlushLease;
use kalamdb_store::codec::system;
use kalamdb_store::{Batch, Committer, Durability, FlushError, FlushLimits, SyncMode, Write};

use super::fixture::{Disk, World};
use crate::committer::fixture::{NOW, TABLE, partition};
use crate::support::{Harness, Memory, get};

fn is_lost<T>(result: &Result<T, FlushError>) -> bool {
    matches!(result, Err(FlushError::LeaseLost))
}

async fn world() -> World {
    World::new(Memory::new().open().await, SyncMode::Buffered, &Disk::default()).await
}

fn file() -> StoredFile {
    StoredFile { storage: "local".to_owned(), path: "file".to_owned() }
}

#[tokio::test]
async fn a_flush_that_outlived_its_lease_commits_nothing() {
    let world = world().await;
    let ann = partition("ann");
    world.insert(&ann, 0..5).await;
    let first = world.lease().await;
    let files = world.write_files(&first, vec![ann.clone()], 2, FlushLimits::default()).await.unwrap();
    let merged = world.merge(&first, &ann, true).await.unwrap();
    assert!(merged.is_none(), "there is nothing to merge");
    let second = world.lease().await;
    assert_eq!((first.generation(), second.generation()), (1, 2));
    for file in files {
        assert!(is_lost(&world.commit_file(file).await));
    }
    assert!(is_lost(&world.committer.record_pending(&first, vec![file()]).await));
    assert!(is_lost(&world.committer.begin_flush(&first, vec![ann.clone()]).await));
    assert_eq!(world.rows(&ann).await.len(), 5);
    world.assert_counted(std::slice::from_ref(&ann)).await;
    drop((first, second));
    assert_eq!(world.collect().await, 3, "its files go when it is gone");
    world.assert_files_are_named().await;
    assert_eq!(world.flush(vec![ann]).await[0].rows, 5);
}

#[tokio::test]
async fn a_compaction_that_outlived_its_lease_commits_nothing() {
    let world = world().await;
    let ann = partition("ann");
    world.insert(&ann, 0..5).await;
    world.flush(vec![ann.clone()]).await;
    let lease = world.lease().await;
    let merged = world.merge(&lease, &ann, true).await.unwrap().unwrap();
    world.lease().await;
    assert!(is_lost(&world.commit_merged(merged).await));
    world.assert_counted(&[ann]).await;
    world.assert_files_are_named().await;
}

#[tokio::test]
async fn a_lease_is_on_the_disk_before_it_is_given_and_grows_over_restarts() {
    for mode in [SyncMode::Sync, SyncMode::Buffered] {
        let (machine, disk) = (Machine::new(1), Disk::default());
        for boot in 1..4 {
            let world = World::new(machine.boot().await.unwrap(), mode, &disk).await;
            assert_eq!(world.lease().await.generation(), boot);
            machine.cut_power().await.unwrap();
        }
    }
}

/// The server was opened again, and an old flush has the number of a new lease.
#[tokio::test]
async fn a_lease_of_another_life_is_none() {
    let (machine, disk) = (Machine::new(1), Disk::default());
    let before = World::new(machine.boot().await.unwrap(), SyncMode::Buffered, &disk).await;
    before.insert(&partition("ann"), 0..3).await;
    before.backend.sync().await.unwrap();
    let lease = before.lease().await;
    machine.cut_power().await.unwrap();
    let after = World::new(machine.boot().await.unwrap(), SyncMode::Buffered, &disk).await;
    let mut batch = Batch::new();
    batch.put(Family::System, system::flush_lease(TABLE), FlushLease { generation: 0, started_at: NOW }.encode());
    after.backend.write(batch, Durability::Synced).await.unwrap();
    assert_eq!(after.lease().await.generation(), lease.generation());
    assert!(is_lost(&after.committer.record_pending(&lease, vec![file()]).await));
    assert!(is_lost(&after.committer.begin_flush(&lease, vec![partition("ann")]).await));
}

#[tokio::test]
async fn files_of_one_lease_are_not_committed_under_another() {
    let world = world().await;
    let ann = partition("ann");
    world.insert(&ann, 0..5).await;
    let first = world.lease().await;
    let mut written =
        world.write_files(&first, vec![ann.clone()], usize::MAX, FlushLimits::default()).await.unwrap().remove(0);
    written.lease = world.lease().await;
    assert!(matches!(world.commit_file(written).await, Err(FlushError::Refused(_))));
    assert_eq!(world.rows(&ann).await.len(), 5);
    let lease = world.lease().await;
    let mut files = world.write_files(&lease, vec![ann.clone()], usize::MAX, FlushLimits::default()).await.unwrap();
    let written = files.remove(0);
    let mut bob = world.committer.begin(partition("bob")).await;
    let other = bob.commit_flush(&written.lease, written.file, written.segment, written.rows).await;
    assert!(matches!(other, Err(FlushError::Refused(_))), "rows of another partition");
}

#[tokio::test]
async fn a_table_that_is_not_there_has_no_lease() {
    let world = world().await;
    let error = world.committer.raise_lease(TableId(99), NOW).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TableNotFound);
    assert_eq!(get(&*world.backend, Family::System, &system::flush_lease(TableId(99))).await, None);
}

#[tokio::test]
async fn a_failed_write_gives_no_lease_and_commits_nothing() {
    let machine = Machine::new(1);
    let world = World::new(machine.boot().await.unwrap(), SyncMode::Sync, &Disk::default()).await;
    let ann = partition("ann");
    world.insert(&ann, 0..3).await;
    let lease = world.lease().await;
    let file = world.write_files(&lease, vec![ann], usize::MAX, FlushLimits::default()).await.unwrap().remove(0);
    machine.taken_batches();
    machine.faults().fail_writes(true);
    assert!(matches!(world.commit_file(file).await, Err(FlushError::Refused(_))));
    assert!(world.committer.is_poisoned());
    assert_eq!(world.committer.raise_lease(TABLE, NOW).await.unwrap_err().code, ErrorCode::StorageUnavailable);
    assert!(machine.taken_batches().iter().all(|(batch, _)| {
        batch.writes().iter().all(|write| !matches!(write, Write::Put { family: Family::Manifest, .. }))
    }));
}

/// A store that failed is opened again while a flush of before still writes its file, and a statement still reads.
#[tokio::test]
async fn what_is_held_of_a_store_that_failed_is_held_of_its_successor() {
    let machine = Machine::new(1);
    let world = World::new(machine.boot().await.unwrap(), SyncMode::Buffered, &Disk::default()).await;
    let ann = partition("ann");
    world.insert(&ann, 0..5).await;
    world.flush(vec![ann.clone()]).await;
    let pin = world.committer.pin();
    let lease = world.lease().await;
    let merged = world.merge(&lease, &ann, true).await.unwrap().unwrap();
    world.commit_merged(merged).await.unwrap();
    drop(lease);
    let lease = world.lease().await;
    let files = world.committer.record_pending(&lease, vec![file()]).await.unwrap();
    world.backend.close().await.unwrap();

    let backend = machine.boot().await.unwrap();
    let again = Committer::open_after(backend, SyncMode::Buffered, Some(&world.committer)).await.unwrap();
    assert_eq!(again.unowned_pending().await.unwrap(), [], "a file is being written");
    assert_eq!(again.collectable(None, 10).await.unwrap(), [], "a file is being read");
    assert!(is_lost(&again.record_pending(&lease, vec![file()]).await), "nothing is committed by it");
    // A lease of now is another one, and its end is not that of the old one.
    drop(again.raise_lease(TABLE, NOW).await.unwrap());
    assert_eq!(again.unowned_pending().await.unwrap(), []);
    assert!(again.pin().generation() > pin.generation());
    drop((lease, files));
    assert_eq!(again.unowned_pending().await.unwrap().len(), 1);
    drop(pin);
    assert_eq!(again.collectable(None, 10).await.unwrap().len(), 1);
}
