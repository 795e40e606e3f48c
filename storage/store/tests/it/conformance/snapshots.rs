//! Reading at one instant.

use kalamdb_commons::Family;
use kalamdb_store::{Batch, Direction, Durability, ScanRequest};

use crate::support::{Harness, all, bytes, contents, fill, number_key, put, scan};

pub(super) async fn later_writes_are_not_seen(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 20).await;
    let before = contents(&*backend, Family::Rows).await;
    let snapshot = backend.snapshot().await.unwrap();

    let mut batch = Batch::new();
    batch.put(Family::Rows, number_key(0), "changed");
    batch.delete(Family::Rows, number_key(1));
    batch.delete_range(all(Family::Rows));
    batch.put(Family::Rows, number_key(99), "new");
    backend.write(batch, Durability::Synced).await.unwrap();

    assert_eq!(scan(&*snapshot, all(Family::Rows), Direction::Forward, 7).await, before);
    let keys = [number_key(0), number_key(1), number_key(99)];
    let values = snapshot.get_many(Family::Rows, &keys).await.unwrap();
    assert_eq!(values, [Some(bytes([7; 16])), Some(bytes([7; 16])), None]);
    assert_eq!(contents(&*backend, Family::Rows).await, [(number_key(99), bytes("new"))]);
}

pub(super) async fn each_sees_its_own_instant(harness: &impl Harness) {
    let backend = harness.open().await;
    let mut snapshots = Vec::new();
    for number in 0..50_u32 {
        put(&*backend, Family::System, b"counter", &number.to_be_bytes()).await;
        snapshots.push((number, backend.snapshot().await.unwrap()));
    }
    // Every other one is given back before the rest is read.
    snapshots.retain(|(number, _)| number % 2 == 0);
    for (number, snapshot) in snapshots {
        let values = snapshot.get_many(Family::System, &[bytes("counter")]).await.unwrap();
        assert_eq!(values, [Some(number_key(number))]);
    }
}

pub(super) async fn a_scan_goes_on_at_its_instant(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 30).await;
    let snapshot = backend.snapshot().await.unwrap();
    let mut seen = Vec::new();
    let mut rest = Some(all(Family::Rows));
    while let Some(range) = rest {
        let request = ScanRequest { range, direction: Direction::Forward, limit: 4, max_bytes: usize::MAX };
        let chunk = snapshot.scan(request).await.unwrap();
        seen.extend(chunk.entries.owned().map(|(key, _)| key));
        rest = chunk.rest;
        // What the next chunk would find is taken away, and more is put behind it.
        let mut batch = Batch::new();
        batch.delete_range(all(Family::Rows));
        batch.put(Family::Rows, number_key(1000 + seen.len() as u32), "");
        backend.write(batch, Durability::Logged).await.unwrap();
    }
    assert_eq!(seen, (0..30).map(number_key).collect::<Vec<_>>());
}

pub(super) async fn gets_count_their_keys(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 10).await;
    let snapshot = backend.snapshot().await.unwrap();
    assert_eq!(snapshot.keys_read(), 0);
    snapshot.get_many(Family::Rows, &[number_key(1), number_key(77)]).await.unwrap();
    assert_eq!(snapshot.keys_read(), 2);
    // Snapshots count apart.
    assert_eq!(backend.snapshot().await.unwrap().keys_read(), 0);
}
