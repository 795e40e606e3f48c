//! What cannot be seen through the trait: poisoning, memory, open range deletes beside writers.

use std::time::Duration;

use ::rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::backend::{Direction, KeyRange, ScanRequest};

const MEMORY: u64 = 16 << 20;

async fn open(directory: &TempDir) -> RocksDbBackend {
    let options =
        RocksDbOptions { directory: directory.path().join("data"), memory_bytes: MEMORY, missing: IfMissing::Create };
    RocksDbBackend::open(options).await.unwrap()
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Family::Rows, key, value);
    batch
}

/// An error as RocksDB words them.
fn an_io_error(directory: &TempDir) -> ::rocksdb::Error {
    let missing = directory.path().join("missing");
    ::rocksdb::DB::open_for_read_only(&::rocksdb::Options::default(), missing, false).unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_write_only_reads_go_on() {
    let directory = TempDir::new().unwrap();
    let backend = open(&directory).await;
    backend.write(put("before", "1"), Durability::Synced).await.unwrap();
    let failure = backend.shared.with(|database| database.note("write", Err::<(), _>(an_io_error(&directory))));
    assert!(matches!(failure, Err(StoreError::Backend { action: "write", .. })), "{failure:?}");

    for durability in [Durability::Deferred, Durability::Logged, Durability::Synced] {
        let refused = backend.write(put("after", "2"), durability).await;
        assert!(matches!(refused, Err(StoreError::Poisoned)), "{refused:?}");
    }
    assert!(matches!(backend.sync().await, Err(StoreError::Poisoned)));
    let keys = [Bytes::from("before"), Bytes::from("after")];
    assert_eq!(backend.get_many(Family::Rows, &keys).await.unwrap(), [Some(Bytes::from("1")), None]);
    backend.snapshot().await.unwrap();

    // Closing says that it could not sync, and closes; opened again, the files are the truth.
    assert!(matches!(backend.close().await, Err(StoreError::Poisoned)));
    let reopened = open(&directory).await;
    reopened.write(put("after", "2"), Durability::Logged).await.unwrap();
    assert_eq!(reopened.get_many(Family::Rows, &keys[..1]).await.unwrap(), [Some(Bytes::from("1"))]);
}

/// Four times the budget is written, and read again; what RocksDB holds of it stays within.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_and_buffers_stay_within_their_memory() {
    let directory = TempDir::new().unwrap();
    let backend = open(&directory).await;
    let value =
        Bytes::from((0..16 * 1024_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    for number in 0..4096_u32 {
        let mut batch = Batch::new();
        let family = Family::ALL[number as usize % Family::ALL.len()];
        batch.put(family, Bytes::copy_from_slice(&number.to_be_bytes()), value.clone());
        backend.write(batch, Durability::Logged).await.unwrap();
    }
    let snapshot = backend.snapshot().await.unwrap();
    for family in Family::ALL {
        let mut rest = Some(KeyRange { family: *family, start: Bytes::new(), end: None });
        let mut entries = 0;
        while let Some(range) = rest {
            let request = ScanRequest { range, direction: Direction::Forward, limit: 256, max_bytes: 1 << 20 };
            let chunk = snapshot.scan(request).await.unwrap();
            entries += chunk.entries.len();
            rest = chunk.rest;
        }
        assert_eq!(entries, 1024);
    }
    let held = || {
        backend
            .shared
            .with(|database| {
                let property = |family: Family, name: &str| {
                    let value = database.db.property_int_value_cf(database.family(family)?, name);
                    value.map(Option::unwrap_or_default).map_err(failed("read a property"))
                };
                let mut buffers = 0;
                for family in Family::ALL {
                    buffers += property(*family, "rocksdb.cur-size-all-mem-tables")?;
                }
                Ok((buffers, property(Family::Rows, "rocksdb.block-cache-usage")?))
            })
            .unwrap()
    };
    // Write buffers are charged to the cache, so its usage is the whole; a flush that runs still holds its own.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (buffers, cache) = held();
        if buffers <= MEMORY && cache <= MEMORY {
            assert!(cache > 0);
            break;
        }
        assert!(Instant::now() < deadline, "{buffers} bytes of buffers, {cache} bytes of cache");
        tokio::task::yield_now().await;
    }
}

/// A range without an end is deleted up to the last key there is; no key may slip in behind it unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_range_delete_is_one_instant_among_writers() {
    let directory = TempDir::new().unwrap();
    let backend = Arc::new(open(&directory).await);
    let mut tasks = JoinSet::new();
    for writer in 0..4_u8 {
        let backend = Arc::clone(&backend);
        tasks.spawn(async move {
            for number in 0..200_u32 {
                // Ever larger keys, two per batch: both are deleted or none.
                let mut batch = Batch::new();
                let end = number.to_be_bytes();
                batch.put(Family::Rows, [[writer].as_slice(), &end].concat(), "");
                batch.put(Family::Rows, [[0xf0 + writer].as_slice(), &end].concat(), "");
                backend.write(batch, Durability::Logged).await.unwrap();
            }
        });
    }
    for _ in 0..50 {
        let mut batch = Batch::new();
        batch.delete_range(KeyRange { family: Family::Rows, start: Bytes::new(), end: None });
        backend.write(batch, Durability::Logged).await.unwrap();
        tokio::task::yield_now().await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let range = KeyRange { family: Family::Rows, start: Bytes::new(), end: None };
    let request = ScanRequest { range, direction: Direction::Forward, limit: 10_000, max_bytes: usize::MAX };
    let chunk = backend.snapshot().await.unwrap().scan(request).await.unwrap();
    let keys: Vec<&[u8]> = chunk.entries.iter().map(|(key, _)| key).collect();
    let halves =
        |high: bool| keys.iter().filter(move |key| (key[0] >= 0xf0) == high).map(|key| (key[0] & 0xf, &key[1..]));
    assert_eq!(halves(false).collect::<Vec<_>>(), halves(true).collect::<Vec<_>>());
}

/// A write that would have to wait for a flush is not made on the caller's thread, and is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_writes_do_not_wait_for_those_that_are_alone() {
    let directory = TempDir::new().unwrap();
    let backend = open(&directory).await;
    let attempt = backend
        .shared
        .with(|database| {
            let _alone = database.appending.write();
            write::try_write(database, &put("a", "1"), Durability::Logged)
        })
        .unwrap();
    assert_eq!(attempt, write::Attempt::WouldWait);
    assert_eq!(backend.get_many(Family::Rows, &[Bytes::from("a")]).await.unwrap(), [None]);
    let attempt =
        backend.shared.with(|database| write::try_write(database, &put("a", "1"), Durability::Logged)).unwrap();
    assert_eq!(attempt, write::Attempt::Done);
    assert_eq!(backend.get_many(Family::Rows, &[Bytes::from("a")]).await.unwrap(), [Some(Bytes::from("1"))]);
}

/// Deletions that a scan steps over are paid for, and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_count_the_deletions_they_step_over() {
    let directory = TempDir::new().unwrap();
    let backend = open(&directory).await;
    let mut batch = Batch::new();
    for number in 0..100_u32 {
        batch.put(Family::Rows, Bytes::copy_from_slice(&number.to_be_bytes()), "");
    }
    for number in 10..90_u32 {
        batch.delete(Family::Rows, Bytes::copy_from_slice(&number.to_be_bytes()));
    }
    backend.write(batch, Durability::Logged).await.unwrap();
    let snapshot = backend.snapshot().await.unwrap();
    let range = KeyRange { family: Family::Rows, start: Bytes::new(), end: None };
    let request = ScanRequest { range, direction: Direction::Forward, limit: 200, max_bytes: usize::MAX };
    assert_eq!(snapshot.scan(request).await.unwrap().entries.len(), 20);
    assert!(snapshot.keys_read() >= 100, "{}", snapshot.keys_read());
}

/// What a large flush leaves: a range delete over everything, and a few rows behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tidied_up_a_scan_steps_over_nothing_that_was_deleted() {
    const ROWS: u32 = 5000;
    let directory = TempDir::new().unwrap();
    let backend = open(&directory).await;
    let key = |number: u32| Bytes::copy_from_slice(&number.to_be_bytes());
    let mut batch = Batch::new();
    (0..ROWS).for_each(|number| batch.put(Family::Rows, key(number), "row"));
    batch.put(Family::Manifest, "record", "rows");
    backend.write(batch, Durability::Deferred).await.unwrap();
    let mut batch = Batch::new();
    batch.delete_range(KeyRange { family: Family::Rows, start: key(0), end: Some(key(ROWS)) });
    (ROWS..ROWS + 10).for_each(|number| batch.put(Family::Rows, key(number), "row"));
    backend.write(batch, Durability::Deferred).await.unwrap();

    // On this thread: RocksDB counts by thread.
    let stepped_over = async || {
        let range = KeyRange { family: Family::Rows, start: Bytes::new(), end: None };
        let snapshot = backend.snapshot().await.unwrap();
        let counted = || PerfContext::default().metric(PerfMetric::NextOnMemtableCount);
        set_perf_stats(PerfStatsLevel::EnableCount);
        let before = counted();
        let request = ScanRequest { range, direction: Direction::Forward, limit: 20, max_bytes: usize::MAX };
        assert_eq!(snapshot.scan(request).await.unwrap().entries.len(), 10);
        counted() - before
    };
    assert!(stepped_over().await >= u64::from(ROWS), "or this shows nothing");
    backend.tidy().await.unwrap();
    assert!(stepped_over().await <= 10);

    // Nothing of it was lost, nor half of a batch.
    drop(backend);
    let reopened = open(&directory).await;
    let read = reopened.get_many(Family::Manifest, &[Bytes::from("record")]).await.unwrap();
    assert_eq!(read, [Some(Bytes::from("rows"))]);
    assert_eq!(reopened.get_many(Family::Rows, &[key(0), key(ROWS)]).await.unwrap(), [None, Some(Bytes::from("row"))]);
}
