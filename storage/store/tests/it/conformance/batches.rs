//! Writing and getting.

use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{Batch, Durability, KeyRange};

use crate::support::{Harness, all, between, bytes, contents, fill, get, number_key, put};

pub(super) async fn written_is_read(harness: &impl Harness) {
    let backend = harness.open().await;
    for durability in [Durability::Deferred, Durability::Logged, Durability::Synced] {
        let mut batch = Batch::new();
        batch.put(Family::Rows, "key", format!("{durability:?}"));
        backend.write(batch, durability).await.unwrap();
        assert_eq!(get(&*backend, Family::Rows, b"key").await.unwrap(), format!("{durability:?}"));
    }
    let mut batch = Batch::new();
    batch.delete(Family::Rows, "key");
    batch.delete(Family::Rows, "never there");
    backend.write(batch, Durability::Logged).await.unwrap();
    assert_eq!(get(&*backend, Family::Rows, b"key").await, None);
    backend.sync().await.unwrap();
}

pub(super) async fn an_empty_batch_changes_nothing(harness: &impl Harness) {
    let backend = harness.open().await;
    put(&*backend, Family::Rows, b"a", b"1").await;
    backend.write(Batch::new(), Durability::Logged).await.unwrap();
    backend.write(Batch::new(), Durability::Synced).await.unwrap();
    assert_eq!(contents(&*backend, Family::Rows).await, [(bytes("a"), bytes("1"))]);
}

pub(super) async fn writes_of_a_batch_apply_in_order(harness: &impl Harness) {
    let backend = harness.open().await;
    put(&*backend, Family::Rows, b"b", b"before").await;
    let mut batch = Batch::new();
    batch.put(Family::Rows, "a", "1");
    batch.put(Family::Rows, "a", "2");
    batch.put(Family::Rows, "d", "gone");
    batch.delete(Family::Rows, "d");
    batch.delete(Family::Rows, "e");
    batch.put(Family::Rows, "e", "back");
    batch.put(Family::Rows, "c", "gone with its range");
    batch.delete_range(between(Family::Rows, "b", "d"));
    batch.put(Family::Rows, "bb", "put back into it");
    backend.write(batch, Durability::Logged).await.unwrap();
    let expected =
        [("a", "2"), ("bb", "put back into it"), ("e", "back")].map(|(key, value)| (bytes(key), bytes(value)));
    assert_eq!(contents(&*backend, Family::Rows).await, expected);
}

pub(super) async fn range_deletes_keep_to_their_range(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 100).await;
    fill(&*backend, Family::Log, 100).await;
    let mut batch = Batch::new();
    batch.delete_range(between(Family::Rows, 10_u32.to_be_bytes(), 90_u32.to_be_bytes()));
    // Ranges without keys: the same ends, and the wrong way round.
    batch.delete_range(between(Family::Rows, 5_u32.to_be_bytes(), 5_u32.to_be_bytes()));
    batch.delete_range(between(Family::Rows, 9_u32.to_be_bytes(), 2_u32.to_be_bytes()));
    backend.write(batch, Durability::Logged).await.unwrap();
    let left: Vec<Bytes> = contents(&*backend, Family::Rows).await.into_iter().map(|(key, _)| key).collect();
    let expected: Vec<Bytes> = (0..10).chain(90..100).map(number_key).collect();
    assert_eq!(left, expected);
    assert_eq!(contents(&*backend, Family::Log).await.len(), 100);
}

pub(super) async fn an_open_range_deletes_to_the_end(harness: &impl Harness) {
    let backend = harness.open().await;
    let top = bytes([0xff; 40]);
    put(&*backend, Family::Rows, b"keep", b"").await;
    put(&*backend, Family::Rows, &top, b"").await;
    let mut batch = Batch::new();
    // Beyond the last key there was, within the same batch.
    batch.put(Family::Rows, bytes([0xff; 50]), "");
    batch.delete_range(KeyRange { family: Family::Rows, start: bytes("keeq"), end: None });
    batch.put(Family::Rows, bytes([0xff; 60]), "after");
    backend.write(batch, Durability::Logged).await.unwrap();
    assert_eq!(
        contents(&*backend, Family::Rows).await,
        [(bytes("keep"), bytes("")), (bytes([0xff; 60]), bytes("after"))]
    );

    let mut batch = Batch::new();
    batch.delete_range(all(Family::Rows));
    batch.delete_range(all(Family::Log));
    backend.write(batch, Durability::Synced).await.unwrap();
    assert_eq!(contents(&*backend, Family::Rows).await, []);
}

pub(super) async fn families_are_apart(harness: &impl Harness) {
    let backend = harness.open().await;
    let mut batch = Batch::new();
    for family in Family::ALL {
        batch.put(*family, "key", family.as_str());
    }
    backend.write(batch, Durability::Logged).await.unwrap();
    for family in Family::ALL {
        assert_eq!(contents(&*backend, *family).await, [(bytes("key"), bytes(family.as_str()))]);
    }
    let mut batch = Batch::new();
    batch.delete(Family::Rows, "key");
    batch.delete_range(all(Family::Log));
    backend.write(batch, Durability::Logged).await.unwrap();
    for family in Family::ALL {
        let gone = [Family::Rows, Family::Log].contains(family);
        assert_eq!(contents(&*backend, *family).await.is_empty(), gone, "{family:?}");
    }
}

pub(super) async fn empty_keys_and_values_are_kept(harness: &impl Harness) {
    let backend = harness.open().await;
    put(&*backend, Family::Rows, b"", b"of the empty key").await;
    put(&*backend, Family::Rows, b"\0", b"").await;
    let expected = [(bytes(""), bytes("of the empty key")), (bytes("\0"), bytes(""))];
    assert_eq!(contents(&*backend, Family::Rows).await, expected);
    assert_eq!(get(&*backend, Family::Rows, b"\0").await, Some(Bytes::new()));
}

pub(super) async fn large_batches_are_whole(harness: &impl Harness) {
    let backend = harness.open().await;
    let value = bytes(vec![b'x'; 100_000]);
    let mut batch = Batch::new();
    for number in 0..100 {
        batch.put(Family::Rows, number_key(number), value.clone());
    }
    assert!(batch.bytes() > 10_000_000);
    backend.write(batch, Durability::Logged).await.unwrap();
    let entries = contents(&*backend, Family::Rows).await;
    assert_eq!(entries.len(), 100);
    assert!(entries.iter().all(|(_, found)| *found == value));
}

pub(super) async fn get_many_answers_in_order(harness: &impl Harness) {
    let backend = harness.open().await;
    assert_eq!(backend.get_many(Family::Rows, &[]).await.unwrap(), []);
    let mut batch = Batch::new();
    for number in (0..1000).step_by(2) {
        batch.put(Family::Rows, number_key(number), format!("value {number}"));
    }
    backend.write(batch, Durability::Logged).await.unwrap();
    let snapshot = backend.snapshot().await.unwrap();
    // Few are read at once, many on another thread; neither sorted nor distinct.
    for count in [1, 2, 40, 3000] {
        let numbers: Vec<u32> = (0..count).map(|at| at * 7919 % 1000).collect();
        let keys: Vec<Bytes> = numbers.iter().copied().map(number_key).collect();
        let expected: Vec<Option<Bytes>> =
            numbers.iter().map(|number| (number % 2 == 0).then(|| bytes(format!("value {number}")))).collect();
        assert_eq!(backend.get_many(Family::Rows, &keys).await.unwrap(), expected);
        assert_eq!(snapshot.get_many(Family::Rows, &keys).await.unwrap(), expected);
    }
}
