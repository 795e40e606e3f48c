//! What is refused, and what has to be read again.

use kalamdb_commons::{ErrorCode, Seq};
use kalamdb_store::SyncMode;

use super::fixture::{Fixture, insert, is_stale, partition, refused, values};
use crate::support::{Harness, Memory, RocksDb};

async fn keys_are_unique(harness: &impl Harness) {
    let fixture = Fixture::new(harness.open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let twice = fixture.commit(&ann, None, vec![insert(1, "a"), insert(1, "b")]).await;
    assert_eq!(refused(twice), ErrorCode::DuplicateKey);
    fixture.insert(&ann, [1, 2]).await;
    let before = fixture.rows(&ann).await;
    let record = fixture.record(&ann).await;

    // One row of many, and by a move; nothing of the statement is there.
    let mixed = fixture.commit(&ann, None, vec![insert(8, "x"), insert(2, "x"), insert(9, "x")]).await;
    assert_eq!(refused(mixed), ErrorCode::DuplicateKey);
    let moved = fixture.commit(&ann, None, vec![before[0].update(2, "x")]).await;
    assert_eq!(refused(moved), ErrorCode::DuplicateKey);
    let both = fixture.commit(&ann, None, vec![before[0].update(3, "x"), before[1].update(3, "x")]).await;
    assert_eq!(refused(both), ErrorCode::DuplicateKey);
    assert_eq!(fixture.rows(&ann).await, before);
    assert_eq!(fixture.record(&ann).await, record);

    // Another user's key is another key, also where one name begins the other.
    for user in ["anna", "an", "bob", "ann\u{e9}"] {
        fixture.insert(&partition(user), [1]).await;
        assert_eq!(fixture.rows(&partition(user)).await.len(), 1);
    }
    assert_eq!(fixture.rows(&ann).await, before);
}

#[tokio::test]
async fn keys_are_unique_in_memory() {
    keys_are_unique(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_unique_on_rocksdb() {
    keys_are_unique(&RocksDb::new()).await;
}

#[tokio::test]
async fn a_deleted_key_can_be_inserted_again() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let first = fixture.insert(&ann, [1]).await[0];
    let one = fixture.row(&ann, 1).await.unwrap();
    fixture.commit(&ann, None, vec![one.delete()]).await.unwrap();
    assert_eq!(fixture.row(&ann, 1).await, None);
    let again = fixture.insert(&ann, [1]).await[0];
    assert!(again > first);
    assert_eq!(fixture.row(&ann, 1).await.unwrap().header.seq, again);
}

#[tokio::test]
async fn a_partition_that_moved_on_is_read_again() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let base = fixture.insert(&ann, [1]).await[0];
    fixture.insert(&ann, [2]).await;
    assert!(is_stale(&fixture.commit(&ann, Some(base), vec![insert(3, "x")]).await));
    // A statement that would change nothing, too: what it found nothing in has moved on.
    assert!(is_stale(&fixture.commit(&ann, Some(base), Vec::new()).await));
    assert!(is_stale(&fixture.commit(&partition("new"), Some(Seq(5)), vec![insert(3, "x")]).await));
    let base = fixture.record(&ann).await.last_seq;
    // Other partitions do not count.
    fixture.insert(&partition("bob"), [1]).await;
    fixture.commit(&ann, Some(base), vec![insert(3, "x")]).await.unwrap();
}

#[tokio::test]
async fn a_row_that_moved_on_is_read_again() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    fixture.insert(&ann, [1, 2]).await;
    let one = fixture.row(&ann, 1).await.unwrap();
    fixture.insert(&ann, [3]).await;
    // Named by key, the row itself has not moved.
    fixture.commit(&ann, None, vec![one.update(1, "first")]).await.unwrap();
    assert!(is_stale(&fixture.commit(&ann, None, vec![one.update(1, "second")]).await));
    assert!(is_stale(&fixture.commit(&ann, None, vec![one.delete()]).await));
    // Stale before duplicate: what the row is now decides whether it goes to 2 at all.
    assert!(is_stale(&fixture.commit(&ann, None, vec![one.update(2, "second")]).await));
    let now = fixture.row(&ann, 1).await.unwrap();
    fixture.commit(&ann, None, vec![now.delete()]).await.unwrap();
    assert!(is_stale(&fixture.commit(&ann, None, vec![now.update(1, "risen")]).await));
    assert!(is_stale(&fixture.commit(&ann, None, vec![now.delete()]).await));
    assert_eq!(fixture.row(&ann, 1).await, None);
    assert_eq!(fixture.row(&ann, 2).await.unwrap().row, values(2, "new"));
}

#[tokio::test]
async fn no_row_is_changed_twice_by_one_statement() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    fixture.insert(&ann, [1]).await;
    let one = fixture.row(&ann, 1).await.unwrap();
    let twice = fixture.commit(&ann, None, vec![one.update(1, "a"), one.delete()]).await;
    assert_eq!(refused(twice), ErrorCode::Internal);
    assert_eq!(fixture.row(&ann, 1).await, Some(one));
}
