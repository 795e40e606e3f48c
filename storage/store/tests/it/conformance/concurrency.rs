//! Many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{Batch, Direction, Durability};
use tokio::task::JoinSet;

use crate::support::{Harness, all, bytes, contents, fill, number_key, scan};

pub(super) async fn every_batch_of_concurrent_writers_is_there(harness: &impl Harness) {
    const WRITERS: u32 = 8;
    const BATCHES: u32 = 60;
    let backend = harness.open().await;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let backend = Arc::clone(&backend);
        tasks.spawn(async move {
            for number in 0..BATCHES {
                let mut batch = Batch::new();
                batch.put(Family::Rows, number_key(writer * BATCHES + number), bytes([writer as u8]));
                batch.put(Family::Log, number_key(number * WRITERS + writer), bytes([writer as u8]));
                let durability = if number % 10 == 0 { Durability::Synced } else { Durability::Logged };
                backend.write(batch, durability).await.unwrap();
            }
            backend.sync().await.unwrap();
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let expected: Vec<(Bytes, Bytes)> =
        (0..WRITERS * BATCHES).map(|at| (number_key(at), bytes([(at / BATCHES) as u8]))).collect();
    assert_eq!(contents(&*backend, Family::Rows).await, expected);
    assert_eq!(contents(&*backend, Family::Log).await.len(), (WRITERS * BATCHES) as usize);
}

/// A snapshot shows all of a batch or nothing of it, in every family.
pub(super) async fn batches_are_seen_whole(harness: &impl Harness) {
    let backend = harness.open().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for writer in 0..3_u8 {
        let (backend, done) = (Arc::clone(&backend), Arc::clone(&done));
        tasks.spawn(async move {
            for number in 1..400_u32 {
                let mut batch = Batch::new();
                for family in Family::ALL {
                    for copy in 0..5_u8 {
                        batch.put(*family, bytes([writer, copy]), number_key(number));
                    }
                }
                backend.write(batch, Durability::Logged).await.unwrap();
            }
            done.store(true, Ordering::Release);
            0
        });
    }
    for _ in 0..2 {
        let (backend, done) = (Arc::clone(&backend), Arc::clone(&done));
        tasks.spawn(async move {
            let mut looks = 0;
            while !done.load(Ordering::Acquire) || looks == 0 {
                let snapshot = backend.snapshot().await.unwrap();
                for writer in 0..3_u8 {
                    let keys: Vec<Bytes> = (0..5).map(|copy| bytes([writer, copy])).collect();
                    let mut seen = Vec::new();
                    for family in Family::ALL {
                        seen.extend(snapshot.get_many(*family, &keys).await.unwrap());
                    }
                    assert!(seen.iter().all(|value| *value == seen[0]), "a torn batch: {seen:?}");
                }
                looks += 1;
                tokio::task::yield_now().await;
            }
            looks
        });
    }
    let mut looks = 0;
    while let Some(ended) = tasks.join_next().await {
        looks += ended.unwrap();
    }
    assert!(looks >= 2);
}

/// Long scans, of which few run at once, all come to their end beside writes.
pub(super) async fn readers_go_on_while_writers_write(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 5000).await;
    let mut tasks = JoinSet::new();
    for reader in 0..24_u32 {
        let backend = Arc::clone(&backend);
        tasks.spawn(async move {
            let snapshot = backend.snapshot().await.unwrap();
            let before = scan(&*snapshot, all(Family::Rows), Direction::Forward, 1000).await;
            let mut batch = Batch::new();
            batch.delete(Family::Rows, number_key(reader));
            batch.put(Family::Rows, number_key(1_000_000 + reader), "");
            backend.write(batch, Durability::Synced).await.unwrap();
            let mut again = scan(&*snapshot, all(Family::Rows), Direction::Backward, 1000).await;
            again.reverse();
            assert_eq!(again, before);
            assert_eq!(before.len(), 5000);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(contents(&*backend, Family::Rows).await.len(), 5000);
}
