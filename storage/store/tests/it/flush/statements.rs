//! Statements over rows that lie in segments: what they write, and on which premises.

use kalamdb_commons::{ErrorCode, Family, Seq};
use kalamdb_faults::Machine;
use kalamdb_store::codec::changelog::ChangeKind;
use kalamdb_store::{
    Changes, CommitError, Committed, FlushedRow, PartitionId, RowChange, RowState, SegmentsRead, SyncMode, Write,
    manifest,
};

use super::fixture::{Disk, Place, Wanted, World};
use crate::committer::fixture::{insert, is_stale, key, partition, refused, values};
use crate::support::{Harness, Memory};

async fn flushed(ids: std::ops::Range<i64>) -> (World, PartitionId) {
    let world = World::new(Memory::new().open().await, SyncMode::Buffered, &Disk::default()).await;
    let ann = partition("ann");
    world.insert(&ann, ids).await;
    world.flush(vec![ann.clone()]).await;
    (world, ann)
}

async fn prepared(world: &World, partition: &PartitionId, wanted: &[Wanted]) -> Changes {
    world.change(&*world.snapshot().await, partition, wanted).await
}

async fn commit(world: &World, partition: &PartitionId, changes: Changes) -> Result<Committed, CommitError> {
    world.committer.begin(partition.clone()).await.commit(changes).await
}

fn update(id: i64) -> Wanted {
    Wanted::Update(id, id, "changed".to_owned())
}

#[tokio::test]
async fn an_update_and_a_delete_mark_the_rows_and_write_hot_ones() {
    let machine = Machine::new(1);
    let world = World::new(machine.boot().await.unwrap(), SyncMode::Buffered, &Disk::default()).await;
    let ann = partition("ann");
    world.insert(&ann, 0..5).await;
    world.flush(vec![ann.clone()]).await;
    let before = manifest::partition(&*world.snapshot().await, &ann).await.unwrap();
    machine.taken_batches();
    let changes = prepared(&world, &ann, &[update(1), Wanted::Delete(3), Wanted::Update(4, 9, "moved".into())]).await;
    let seqs = commit(&world, &ann, changes.clone()).await.unwrap().seqs;
    let batches = machine.taken_batches();
    assert_eq!(batches.len(), 1, "one batch");
    let manifest_puts =
        batches[0].0.writes().iter().filter(|write| matches!(write, Write::Put { family: Family::Manifest, .. }));
    assert_eq!(manifest_puts.count(), 3, "the container, the entry, the record");

    let after = manifest::partition(&*world.snapshot().await, &ann).await.unwrap();
    let [entry] = &after.entries[..] else { panic!("{after:?}") };
    assert_eq!(entry.deleted_rows, 3);
    assert_eq!(after.record.manifest_generation, before.record.manifest_generation, "no segment came or went");
    assert_eq!((after.record.hot_rows, after.record.hot_tombstones, after.record.last_seq), (2, 2, seqs[2]));
    let snapshot = world.snapshot().await;
    let marks = manifest::marks(&*snapshot, &ann, entry.segment_id).await.unwrap();
    assert_eq!(marks.iter().collect::<Vec<_>>(), [1, 3, 4]);
    assert!(manifest::is_marked(&*snapshot, &ann, entry.segment_id, 3).await.unwrap());
    assert!(!manifest::is_marked(&*snapshot, &ann, entry.segment_id, 2).await.unwrap());
    let versions = world.versions(&*snapshot, &ann).await;
    assert_eq!((versions[&key(1)].seq, versions[&key(1)].row.clone()), (seqs[0], values(1, "changed")));
    assert!(versions[&key(3)].deleted && versions[&key(4)].deleted);
    assert_eq!(versions[&key(9)].place, Place::Hot);
    world.assert_counted(std::slice::from_ref(&ann)).await;

    let (_, entry) = world.log(&ann).await.pop().unwrap();
    let kinds: Vec<ChangeKind> = entry.changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Update, ChangeKind::Delete, ChangeKind::Update]);
    for (change, row) in entry.changes.iter().zip(&changes.rows) {
        let (RowChange::Update { old_stored, .. } | RowChange::Delete { old_stored, .. }) = row else { panic!() };
        assert_eq!(change.old.as_ref(), Some(old_stored));
    }
}

#[tokio::test]
async fn a_row_that_was_marked_meanwhile_is_read_again() {
    let (world, ann) = flushed(0..5).await;
    let (first, second) = (prepared(&world, &ann, &[update(1)]).await, prepared(&world, &ann, &[update(1)]).await);
    let other = prepared(&world, &ann, &[update(2)]).await;
    commit(&world, &ann, first).await.unwrap();
    assert!(is_stale(&commit(&world, &ann, second).await));
    commit(&world, &ann, other).await.expect("another row of the segment");
    world.assert_counted(&[ann]).await;
}

#[tokio::test]
async fn a_statement_from_before_a_flush_reads_again() {
    let (world, ann) = flushed(0..3).await;
    world.insert_at(&ann, 10).await;
    let hot = prepared(&world, &ann, &[update(10)]).await;
    let in_segment = prepared(&world, &ann, &[update(1)]).await;
    let new = prepared(&world, &ann, &[Wanted::Insert(11, "new".into())]).await;
    let moved = prepared(&world, &ann, &[Wanted::Update(10, 12, "moved".into())]).await;
    world.flush(vec![ann.clone()]).await;
    for (what, changes) in [("hot row", hot), ("flushed row", in_segment), ("new key", new), ("moved", moved)] {
        assert!(is_stale(&commit(&world, &ann, changes).await), "{what}");
    }
    world.assert_counted(&[ann]).await;
}

/// What compaction replaced cannot be marked any more.
#[tokio::test]
async fn a_statement_from_before_a_compaction_reads_again() {
    let (world, ann) = flushed(0..3).await;
    let changes = prepared(&world, &ann, &[update(1)]).await;
    let lease = world.lease().await;
    let merged = world.merge(&lease, &ann, true).await.unwrap().unwrap();
    world.commit_merged(merged).await.unwrap();
    // Also if it had the new generation, by whatever mistake.
    let generation = manifest::record(&*world.snapshot().await, &ann).await.unwrap().manifest_generation;
    let segments = SegmentsRead { generation, ..changes.segments.clone() };
    let mistaken = Changes { segments, ..changes.clone() };
    assert!(is_stale(&commit(&world, &ann, changes).await));
    assert!(is_stale(&commit(&world, &ann, mistaken).await));
    world.run(&ann, &[update(1)]).await.unwrap();
    world.assert_counted(&[ann]).await;
}

#[tokio::test]
async fn keys_are_looked_up_where_there_are_segments() {
    let (world, ann) = flushed(0..3).await;
    // As a statement does that knows of no segments.
    let unseeing = |rows| world.changes(None, rows);
    assert!(is_stale(&commit(&world, &ann, unseeing(vec![insert(1, "x")])).await));
    assert!(is_stale(&commit(&world, &ann, unseeing(vec![insert(7, "x")])).await));
    assert!(world.committer.begin(ann.clone()).await.manifest_generation().await.unwrap() > 0);
    // Row numbers are given here: no segment has them.
    let numbered = RowChange::Insert { key: None, row: values(1, "x") };
    commit(&world, &ann, unseeing(vec![numbered])).await.unwrap();
    let bob = partition("bob");
    commit(&world, &bob, unseeing(vec![insert(1, "x")])).await.expect("no segments");
    assert_eq!(world.committer.begin(bob).await.manifest_generation().await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_in_a_segment_is_a_duplicate() {
    let (world, ann) = flushed(0..3).await;
    let again = Wanted::Insert(1, "again".into());
    assert_eq!(refused(world.run(&ann, std::slice::from_ref(&again)).await), ErrorCode::DuplicateKey);
    world.insert_at(&ann, 5).await;
    let onto = world.run(&ann, &[Wanted::Update(5, 1, "onto".into())]).await;
    assert_eq!(refused(onto), ErrorCode::DuplicateKey);
    // Found in the segment, and deleted before the commit: it is one no more.
    let found = prepared(&world, &ann, std::slice::from_ref(&again)).await;
    world.run(&ann, &[Wanted::Delete(1)]).await.unwrap();
    commit(&world, &ann, found).await.unwrap();
    // Its own statement makes room.
    world.run(&ann, &[Wanted::Update(2, 0, "swapped".into()), Wanted::Update(0, 2, "swapped".into())]).await.unwrap();
    world.assert_counted(&[ann]).await;
}

#[tokio::test]
async fn a_tombstone_in_a_segment_makes_room_for_its_key() {
    let (world, ann) = flushed(0..3).await;
    world.run(&ann, &[Wanted::Delete(1)]).await.unwrap();
    world.flush(vec![ann.clone()]).await;
    let snapshot = world.snapshot().await;
    let tombstone = world.versions(&*snapshot, &ann).await[&key(1)].clone();
    assert!(tombstone.deleted && tombstone.place != Place::Hot, "flushed as what it is");
    assert_eq!(manifest::record(&*snapshot, &ann).await.unwrap().hot_tombstones, 0);
    assert_eq!(world.committer.totals(ann.table).flushed_rows, 3, "it counts as a row");
    // Two that saw the same tombstone.
    let first = prepared(&world, &ann, &[Wanted::Insert(1, "first".into())]).await;
    let second = prepared(&world, &ann, &[Wanted::Insert(1, "second".into())]).await;
    commit(&world, &ann, first).await.unwrap();
    world.assert_counted(std::slice::from_ref(&ann)).await;
    assert_eq!(refused(commit(&world, &ann, second.clone()).await), ErrorCode::DuplicateKey);
    world.run(&ann, &[Wanted::Delete(1)]).await.unwrap();
    commit(&world, &ann, second).await.expect("it is marked already");
    world.assert_counted(std::slice::from_ref(&ann)).await;
    assert_eq!(world.live(&*world.snapshot().await, &ann).await[&1], "second");
}

#[tokio::test]
async fn mistakes_of_the_caller_change_nothing() {
    let (world, ann) = flushed(0..3).await;
    let good = prepared(&world, &ann, &[update(1)]).await;
    let row = good.segments.rows[0].clone();
    let with = |rows: Vec<FlushedRow>| {
        let segments = SegmentsRead { rows, ..good.segments.clone() };
        Changes { segments, ..good.clone() }
    };
    let mistakes = [
        ("a deleted row is changed", vec![FlushedRow { state: RowState::Deleted, ..row.clone() }]),
        ("a row that is not there", vec![FlushedRow { row: 3, ..row.clone() }]),
        ("no row at all", vec![FlushedRow { row: u64::MAX, ..row.clone() }]),
        ("a row nobody asked about", vec![row.clone(), FlushedRow { key: key(2), row: 2, ..row.clone() }]),
        ("one key twice", vec![row.clone(), FlushedRow { row: 2, ..row.clone() }]),
    ];
    for (what, rows) in mistakes {
        assert_eq!(refused(commit(&world, &ann, with(rows)).await), ErrorCode::Internal, "{what}");
    }
    assert!(is_stale(&commit(&world, &ann, with(vec![FlushedRow { segment: 1, ..row }])).await), "no such segment");
    assert!(is_stale(&commit(&world, &ann, with(Vec::new())).await), "taken for hot");
    world.assert_counted(std::slice::from_ref(&ann)).await;
    commit(&world, &ann, good).await.unwrap();
}

#[tokio::test]
async fn the_premise_on_the_whole_partition_outlives_a_flush() {
    let (world, ann) = flushed(0..3).await;
    let base = manifest::record(&*world.snapshot().await, &ann).await.unwrap().last_seq;
    let changes = prepared(&world, &ann, &[update(1)]).await;
    let on_base = Changes { base: Some(base), ..changes.clone() };
    let on_older = Changes { base: Some(Seq(base.0 - 1)), ..changes };
    assert!(is_stale(&commit(&world, &ann, on_older).await));
    commit(&world, &ann, on_base).await.expect("a flush is no change of the rows");
}

#[tokio::test]
async fn a_failed_read_of_marks_changes_nothing() {
    let machine = Machine::new(1);
    let world = World::new(machine.boot().await.unwrap(), SyncMode::Buffered, &Disk::default()).await;
    let ann = partition("ann");
    world.insert(&ann, 0..3).await;
    world.flush(vec![ann.clone()]).await;
    let changes = prepared(&world, &ann, &[update(1)]).await;
    machine.faults().fail_reads(true);
    assert_eq!(refused(commit(&world, &ann, changes.clone()).await), ErrorCode::StorageUnavailable);
    machine.faults().fail_reads(false);
    commit(&world, &ann, changes).await.unwrap();
    world.assert_counted(&[ann]).await;
}
