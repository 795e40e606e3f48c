//! The end of a backend.

use std::sync::Arc;

use kalamdb_commons::Family;
use kalamdb_store::{Batch, Direction, Durability, ScanRequest, StoreError};
use tokio::task::JoinSet;

use crate::support::{Harness, all, bytes, contents, fill, get, number_key};

fn is_closed<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Closed))
}

pub(super) async fn closed_is_closed_for_all(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 10).await;
    let snapshot = backend.snapshot().await.unwrap();
    backend.close().await.unwrap();

    let mut batch = Batch::new();
    batch.put(Family::Rows, "late", "");
    assert!(is_closed(backend.write(batch.clone(), Durability::Logged).await));
    assert!(is_closed(backend.write(batch, Durability::Synced).await));
    assert!(is_closed(backend.get_many(Family::Rows, &[number_key(1)]).await));
    assert!(is_closed(backend.snapshot().await));
    assert!(is_closed(backend.sync().await));
    assert!(is_closed(backend.size_on_disk().await));
    assert!(is_closed(backend.checkpoint(std::path::Path::new("never made")).await));
    assert!(is_closed(backend.close().await));
    assert!(is_closed(snapshot.get_many(Family::Rows, &[number_key(1)]).await));
    for limit in [10, 1000] {
        let request = ScanRequest { range: all(Family::Rows), direction: Direction::Forward, limit, max_bytes: 1000 };
        assert!(is_closed(snapshot.scan(request).await));
    }
}

/// Whatever runs while the backend closes ends well or as closed; what ended well is there afterwards.
pub(super) async fn closing_waits_for_what_runs<H: Harness>(harness: &H) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 2000).await;
    let mut tasks: JoinSet<Vec<u32>> = JoinSet::new();
    for task in 0..16_u32 {
        let backend = Arc::clone(&backend);
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let mut batch = Batch::new();
                let key = 1_000_000 * (task + 1) + number;
                batch.put(Family::Log, number_key(key), bytes([1; 500]));
                let durability = if task % 2 == 0 { Durability::Synced } else { Durability::Logged };
                match backend.write(batch, durability).await {
                    Ok(()) => acknowledged.push(key),
                    Err(StoreError::Closed) => break,
                    Err(error) => panic!("neither written nor closed: {error}"),
                }
                let scanned = async {
                    let snapshot = backend.snapshot().await?;
                    let range = all(Family::Rows);
                    let limit = 5000;
                    snapshot.scan(ScanRequest { range, direction: Direction::Forward, limit, max_bytes: 1 << 20 }).await
                };
                match scanned.await {
                    Ok(chunk) => assert_eq!(chunk.entries.len(), 2000),
                    Err(StoreError::Closed) => break,
                    Err(error) => panic!("neither read nor closed: {error}"),
                }
                tokio::task::yield_now().await;
            }
            acknowledged
        });
    }
    // All are under way: each has written something.
    while contents(&*backend, Family::Log).await.len() < 64 {
        tokio::task::yield_now().await;
    }
    backend.close().await.unwrap();
    let mut acknowledged = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        acknowledged.extend(ended.unwrap());
    }
    assert!(acknowledged.len() >= 64);
    if H::KEEPS_DATA {
        let backend = harness.open().await;
        for key in acknowledged {
            assert!(get(&*backend, Family::Log, &key.to_be_bytes()).await.is_some(), "{key} was acknowledged");
        }
    }
}

/// A snapshot that somebody forgot holds nothing up, and the files are free at once.
pub(super) async fn closing_needs_no_snapshot_dropped<H: Harness>(harness: &H) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 10).await;
    let forgotten = backend.snapshot().await.unwrap();
    backend.close().await.unwrap();
    if H::KEEPS_DATA {
        let reopened = harness.open().await;
        assert_eq!(contents(&*reopened, Family::Rows).await.len(), 10);
        drop(forgotten);
        assert_eq!(contents(&*reopened, Family::Rows).await.len(), 10);
    }
}
