//! Change logs are shortened from the old end: by age, by size, and a part of the partitions at a time.

use kalamdb_commons::{ErrorCode, Seq};
use kalamdb_store::reader::read_log;
use kalamdb_store::{LogBounds, PartitionId, SyncMode};

use super::fixture::{Fixture, NOW, insert, partition};
use crate::support::{Harness, Memory, RocksDb};

const MINUTE: i64 = 60_000_000;
const ANY_SIZE: u64 = u64::MAX;

/// One row, committed at a moment; its number.
async fn insert_at(fixture: &Fixture, partition: &PartitionId, id: i64, now: i64) -> Seq {
    let mut changes = fixture.changes(None, vec![insert(id, "new")]);
    changes.now = now;
    let committed = fixture.committer.begin(partition.clone()).await.commit(changes).await.unwrap();
    committed.seqs[0]
}

async fn logged(fixture: &Fixture, partition: &PartitionId) -> Vec<Seq> {
    fixture.log(partition).await.into_iter().map(|(seq, _)| seq).collect()
}

/// Reads a log from a number on, as whoever follows it; none where it says that it is too short.
async fn follow(fixture: &Fixture, partition: &PartitionId, after: Seq) -> Option<Vec<Seq>> {
    let snapshot = fixture.backend.snapshot().await.unwrap();
    match read_log(snapshot.as_ref(), partition, after, Seq(Seq::LIMIT - 1), usize::MAX).await {
        Ok(page) => Some(page.entries.into_iter().map(|(seq, _)| seq).collect()),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::ResumeTooOld, "{error:?}");
            None
        }
    }
}

async fn by_age(harness: &impl Harness) {
    let fixture = Fixture::new(harness.open().await, SyncMode::Buffered).await;
    let (ann, bob) = (partition("ann"), partition("bob"));
    let mut seqs = Vec::new();
    for minute in 0..5 {
        seqs.push(insert_at(&fixture, &ann, minute, NOW + minute * MINUTE).await);
    }
    let of_bob = insert_at(&fixture, &bob, 0, NOW + 4 * MINUTE).await;
    let before = fixture.record(&ann).await;
    let rows = fixture.rows(&ann).await;

    let nothing = LogBounds { since: NOW, bytes: ANY_SIZE };
    assert_eq!(fixture.committer.trim_logs(None, 100, nothing).await.unwrap(), None);
    assert_eq!(fixture.record(&ann).await, before, "what is just old enough to stay stays");

    let bounds = LogBounds { since: NOW + 2 * MINUTE, bytes: ANY_SIZE };
    assert_eq!(fixture.committer.trim_logs(None, 100, bounds).await.unwrap(), None, "all had their turn");
    assert_eq!(logged(&fixture, &ann).await, seqs[2..]);
    assert_eq!(logged(&fixture, &bob).await, [of_bob]);
    let record = fixture.record(&ann).await;
    assert_eq!((record.log_begin, record.last_seq), (seqs[1], seqs[4]));
    assert!(record.log_bytes > 0 && record.log_bytes < before.log_bytes, "{record:?}");
    assert_eq!(fixture.rows(&ann).await, rows, "rows are no log");
    assert_eq!((record.hot_rows, record.hot_bytes), (before.hot_rows, before.hot_bytes));

    assert_eq!(follow(&fixture, &ann, seqs[0]).await, None, "the second is gone");
    assert_eq!(follow(&fixture, &ann, seqs[1]).await.as_deref(), Some(&seqs[2..]), "who had it goes on");
    assert_eq!(follow(&fixture, &ann, seqs[3]).await.as_deref(), Some(&seqs[4..]));

    let everything = LogBounds { since: i64::MAX, bytes: ANY_SIZE };
    fixture.committer.trim_logs(None, 100, everything).await.unwrap();
    let record = fixture.record(&ann).await;
    assert_eq!((record.log_begin, record.log_bytes), (seqs[4], 0));
    assert_eq!(follow(&fixture, &ann, seqs[3]).await, None);
    assert_eq!(follow(&fixture, &ann, seqs[4]).await, Some(Vec::new()));
    let next = insert_at(&fixture, &ann, 9, NOW).await;
    assert_eq!(follow(&fixture, &ann, seqs[4]).await, Some(vec![next]), "and it grows again");
}

#[tokio::test]
async fn by_age_in_memory() {
    by_age(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_age_on_rocksdb() {
    by_age(&RocksDb::new()).await;
}

/// More entries than are looked at in one step, the last few of them young.
#[tokio::test]
async fn in_several_steps() {
    const OLD: i64 = 700;
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let mut seqs = Vec::new();
    for id in 0..OLD + 3 {
        seqs.push(insert_at(&fixture, &ann, id, if id < OLD { NOW } else { NOW + MINUTE }).await);
    }
    let bounds = LogBounds { since: NOW + MINUTE, bytes: ANY_SIZE };
    fixture.committer.trim_logs(None, 1, bounds).await.unwrap();
    assert_eq!(logged(&fixture, &ann).await, seqs[700..]);
    assert_eq!(fixture.record(&ann).await.log_begin, seqs[699]);
}

#[tokio::test]
async fn a_part_of_the_partitions_at_a_time() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let users: Vec<PartitionId> = (0..20).map(|at| partition(&format!("user{at:02}"))).collect();
    for user in &users {
        insert_at(&fixture, user, 1, NOW).await;
    }
    let bounds = LogBounds { since: NOW + MINUTE, bytes: ANY_SIZE };
    let mut place = None;
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns <= users.len() + 1, "it comes to an end: {place:?}");
        place = fixture.committer.trim_logs(place.take(), 1, bounds).await.unwrap();
        if place.is_none() {
            break;
        }
    }
    for user in &users {
        assert_eq!(logged(&fixture, user).await, [], "{user:?} after {turns} turns");
    }
}

#[tokio::test]
async fn those_that_have_grown_too_large_are_found_without_looking() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let (ann, bob) = (partition("ann"), partition("bob"));
    let first = insert_at(&fixture, &ann, 0, NOW).await;
    let bytes = 5 * fixture.record(&ann).await.log_bytes;
    let bounds = LogBounds { since: 0, bytes };
    // From here on it is known what is too large.
    fixture.committer.trim_overfull_logs(bounds).await.unwrap();
    insert_at(&fixture, &bob, 0, NOW).await;
    let mut last = first;
    for id in 1..20 {
        last = insert_at(&fixture, &ann, id, NOW).await;
    }
    assert!(fixture.record(&ann).await.log_bytes > bytes);
    fixture.committer.trim_overfull_logs(bounds).await.unwrap();
    let record = fixture.record(&ann).await;
    assert!(record.log_bytes <= bytes && record.log_bytes > 0, "{record:?}");
    let left = logged(&fixture, &ann).await;
    assert_eq!(left.last(), Some(&last), "the newest stay: {left:?}");
    assert!(!left.contains(&first) && record.log_begin >= first, "{left:?}");
    assert_eq!(logged(&fixture, &bob).await.len(), 1);
}
