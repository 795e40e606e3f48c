//! Many statements on several partitions at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use kalamdb_commons::Seq;
use kalamdb_sql::Value;
use kalamdb_store::{CommitError, SyncMode};
use tokio::task::JoinSet;

use super::fixture::{Fixture, insert, partition};
use crate::support::{Harness, Memory, RocksDb};

const PARTITIONS: usize = 6;
const WRITERS: usize = 4;
const COMMITS: usize = 25;

fn number(row: &[Value]) -> usize {
    match &row[1] {
        Value::Text(text) => text.parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Each writer adds one to its partition's counter and inserts a row of its own, so many times; it reads
/// without a lock, and again when the partition has moved on.
async fn count(fixture: Arc<Fixture>, user: usize, writer: usize) -> Vec<Seq> {
    let partition = partition(&format!("user {user}"));
    let mut given = Vec::new();
    for round in 0..COMMITS {
        loop {
            let base = fixture.record(&partition).await.last_seq;
            let counter = fixture.row(&partition, 0).await.unwrap();
            let next = (number(&counter.row) + 1).to_string();
            let own = i64::try_from(1 + writer * COMMITS + round).unwrap();
            let rows = vec![counter.update(0, &next), insert(own, "own")];
            // Half of them rely on the partition as a whole, half on the keys they name.
            let base = (round % 2 == 0).then_some(base);
            match fixture.commit(&partition, base, rows).await {
                Ok(committed) => {
                    committed.acknowledgement.unwrap().wait().await.unwrap();
                    given.extend(committed.seqs);
                    break;
                }
                Err(CommitError::Stale) => tokio::task::yield_now().await,
                Err(CommitError::Refused(error)) => panic!("{error:?}"),
            }
        }
    }
    given
}

async fn counters_miss_nothing(harness: &impl Harness, mode: SyncMode) {
    let fixture = Arc::new(Fixture::with_syncer(harness.open().await, mode).await);
    for user in 0..PARTITIONS {
        let partition = partition(&format!("user {user}"));
        fixture.commit(&partition, None, vec![insert(0, "0")]).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for user in 0..PARTITIONS {
        for writer in 0..WRITERS {
            tasks.spawn(count(Arc::clone(&fixture), user, writer));
        }
    }
    let mut given = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let seqs = ended.unwrap();
        assert!(seqs.is_sorted_by(|earlier, later| earlier < later), "each writer's own order");
        given.extend(seqs);
    }
    let distinct: BTreeSet<Seq> = given.iter().copied().collect();
    assert_eq!(distinct.len(), PARTITIONS * WRITERS * COMMITS * 2, "no number twice in the whole server");

    for user in 0..PARTITIONS {
        let partition = partition(&format!("user {user}"));
        let counter = fixture.row(&partition, 0).await.unwrap();
        assert_eq!(number(&counter.row), WRITERS * COMMITS, "no lost update");
        let record = fixture.record(&partition).await;
        assert_eq!(record.hot_rows as usize, 1 + WRITERS * COMMITS);
        // The log tells the same story, in the order of its numbers.
        let log = fixture.log(&partition).await;
        assert_eq!(log.len(), 1 + WRITERS * COMMITS);
        assert_eq!(log.last().unwrap().0, record.last_seq);
        let seqs: Vec<Seq> = log.iter().flat_map(|(_, entry)| entry.changes.iter().map(|change| change.seq)).collect();
        assert!(seqs.is_sorted_by(|earlier, later| earlier < later));
        let mut last = log[0].1.changes[0].new.clone();
        for (_, entry) in &log[1..] {
            assert_eq!(entry.changes[0].old, last, "each version follows the one before");
            last = entry.changes[0].new.clone();
        }
        assert_eq!(last, Some(counter.stored));
    }
    fixture.backend.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_miss_nothing_in_memory() {
    counters_miss_nothing(&Memory::new(), SyncMode::Sync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_miss_nothing_on_rocksdb() {
    counters_miss_nothing(&RocksDb::new(), SyncMode::Sync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_miss_nothing_buffered() {
    counters_miss_nothing(&RocksDb::new(), SyncMode::Buffered).await;
}
