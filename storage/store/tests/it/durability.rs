//! What RocksDB's files hold when the process ends without closing them, and after a power cut.

use std::fs::{self, OpenOptions};
use std::path::Path;

use kalamdb_commons::Family;
use kalamdb_store::{Batch, Durability};
use tempfile::TempDir;

use crate::support::{Harness, RocksDb, bytes, contents, copy_directory, number_key, open_rocksdb, put};

/// Batch `number` over two families.
fn batch(number: u32) -> Batch {
    let mut batch = Batch::new();
    batch.put(Family::Rows, number_key(number), bytes([number as u8; 100]));
    batch.put(Family::Log, number_key(number), bytes([number as u8; 100]));
    batch.put(Family::Manifest, "last", number_key(number));
    batch
}

/// How many batches a directory holds; they must be the first so many, each of them whole.
async fn whole_batches(directory: &Path) -> u32 {
    let backend = open_rocksdb(directory).await.unwrap();
    let rows = contents(&*backend, Family::Rows).await;
    let expected: Vec<_> =
        (0..rows.len() as u32).map(|number| (number_key(number), bytes([number as u8; 100]))).collect();
    assert_eq!(rows, expected);
    assert_eq!(contents(&*backend, Family::Log).await, expected);
    let last = contents(&*backend, Family::Manifest).await;
    let expected_last = expected.last().map(|(key, _)| (bytes("last"), key.clone()));
    assert_eq!(last, expected_last.into_iter().collect::<Vec<_>>());
    backend.close().await.unwrap();
    rows.len() as u32
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_survives_a_drop_without_close() {
    let harness = RocksDb::new();
    for round in 0..3 {
        let backend = harness.open().await;
        backend.write(batch(round * 2), Durability::Synced).await.unwrap();
        backend.write(batch(round * 2 + 1), Durability::Logged).await.unwrap();
        drop(backend);
    }
    assert_eq!(whole_batches(&harness.directory()).await, 6);
}

/// The files as they are while the server runs are those that a killed server leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_leaves_all_that_was_acknowledged() {
    let harness = RocksDb::new();
    let backend = harness.open().await;
    let copies = TempDir::new().unwrap();
    for (round, last) in [1, 40, 200].into_iter().enumerate() {
        let first = contents(&*backend, Family::Rows).await.len() as u32;
        for number in first..last {
            let durability = if number % 3 == 0 { Durability::Synced } else { Durability::Logged };
            backend.write(batch(number), durability).await.unwrap();
        }
        let copy = copies.path().join(round.to_string());
        copy_directory(&harness.directory(), &copy);
        assert_eq!(whole_batches(&copy).await, last);
        // Recovered once, it is recovered again.
        assert_eq!(whole_batches(&copy).await, last);
    }
}

/// Writes that wait for a sync go into the log with the next write that does not, or with the sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deferred_writes_are_in_the_log_from_the_next_sync_on() {
    let harness = RocksDb::new();
    let backend = harness.open().await;
    let copies = TempDir::new().unwrap();
    let survivors = async |name: &str| {
        let copy = copies.path().join(name);
        copy_directory(&harness.directory(), &copy);
        whole_batches(&copy).await
    };
    for number in 0..10 {
        backend.write(batch(number), Durability::Deferred).await.unwrap();
    }
    assert_eq!(contents(&*backend, Family::Rows).await.len(), 10, "readable at once");
    assert!(survivors("before").await < 10, "nothing has asked for the log");
    backend.write(batch(10), Durability::Logged).await.unwrap();
    assert_eq!(survivors("logged").await, 11);
    backend.write(batch(11), Durability::Deferred).await.unwrap();
    backend.sync().await.unwrap();
    assert_eq!(survivors("synced").await, 12);
    backend.write(batch(12), Durability::Deferred).await.unwrap();
    backend.write(batch(13), Durability::Synced).await.unwrap();
    assert_eq!(survivors("with another").await, 14);
    backend.write(batch(14), Durability::Deferred).await.unwrap();
    backend.close().await.unwrap();
    assert_eq!(survivors("closed").await, 15);
}

/// A power cut tears the log anywhere behind the last sync: what is left is a beginning of what was
/// written, in whole batches, in every family.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_log_leaves_a_prefix_of_whole_batches() {
    let harness = RocksDb::new();
    let backend = harness.open().await;
    let mut synced_bytes = 0;
    for number in 0..60 {
        backend.write(batch(number), Durability::Logged).await.unwrap();
        if number == 20 {
            backend.sync().await.unwrap();
            synced_bytes = log_length(&harness.directory());
        }
    }
    let whole = log_length(&harness.directory());
    assert!(synced_bytes > 0 && whole > synced_bytes);
    let copies = TempDir::new().unwrap();
    let mut survivors = Vec::new();
    for (round, length) in
        [synced_bytes, synced_bytes + 1, synced_bytes + 700, whole - 400, whole - 1, whole].into_iter().enumerate()
    {
        let copy = copies.path().join(round.to_string());
        copy_directory(&harness.directory(), &copy);
        let log = OpenOptions::new().write(true).open(log_file(&copy)).unwrap();
        log.set_len(length).unwrap();
        survivors.push(whole_batches(&copy).await);
    }
    assert_eq!((survivors[0], survivors[1]), (21, 21));
    assert!(survivors.is_sorted(), "{survivors:?}");
    assert!((22..60).contains(&survivors[2]), "{survivors:?}");
    assert_eq!(survivors[3..], [58, 59, 60]);
}

/// A block that was torn or filled with zeros in the middle of the log: nothing behind it is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_behind_a_damaged_record_is_taken() {
    let harness = RocksDb::new();
    let backend = harness.open().await;
    for number in 0..50 {
        backend.write(batch(number), Durability::Logged).await.unwrap();
    }
    let copies = TempDir::new().unwrap();
    let copy = copies.path().join("copy");
    copy_directory(&harness.directory(), &copy);
    let file = log_file(&copy);
    let mut log = fs::read(&file).unwrap();
    let middle = log.len() / 2;
    log[middle..middle + 64].fill(0xee);
    fs::write(&file, log).unwrap();
    let survivors = whole_batches(&copy).await;
    assert!((20..30).contains(&survivors), "{survivors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_that_opens_leaves_nothing_open() {
    let harness = RocksDb::new();
    for _ in 0..5 {
        // Polled once, then dropped: the thread that opens goes on.
        let mut open = Box::pin(harness.try_open());
        tokio::select! {
            biased;
            opened = &mut open => drop(opened),
            () = tokio::task::yield_now() => {}
        }
        drop(open);
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let backend = loop {
        match harness.try_open().await {
            Ok(backend) => break backend,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still in use: {error}"),
        }
        tokio::task::yield_now().await;
    };
    put(&*backend, Family::Rows, b"a", b"1").await;
}

fn log_file(directory: &Path) -> std::path::PathBuf {
    let mut logs: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

fn log_length(directory: &Path) -> u64 {
    fs::metadata(log_file(directory)).unwrap().len()
}
