//! Data directories that are refused, with one line and without a trace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kalamdb_commons::Family;
use kalamdb_commons::settings::StorageSettings;
use kalamdb_store::{BackendRegistry, IfMissing, StoreError};
use tempfile::TempDir;

use crate::support::{Harness, RocksDb, contents, open_rocksdb, put, tree};

/// The one line with which a directory is refused; checks that nothing in it changed.
async fn refusal(directory: &Path) -> String {
    let before = tree(directory);
    let error = open_rocksdb(directory).await.expect_err("to be refused");
    assert_eq!(tree(directory), before, "touched: {error}");
    let StoreError::Directory(line) = error else { panic!("refused for another reason: {error}") };
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains(&directory.display().to_string()), "{line}");
    line
}

/// A directory with a closed database of one row.
async fn closed_database() -> RocksDb {
    let harness = RocksDb::new();
    let backend = harness.open().await;
    put(&*backend, Family::Rows, b"key", b"value").await;
    backend.close().await.unwrap();
    harness
}

async fn assert_whole(harness: &RocksDb) {
    let backend = harness.open().await;
    assert_eq!(contents(&*backend, Family::Rows).await.len(), 1);
    backend.close().await.unwrap();
}

/// Without what the holder itself writes meanwhile: its own log.
fn quiet_tree(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut files = tree(directory);
    files.remove(&directory.join("LOG"));
    files
}

fn names(directory: &Path) -> Vec<PathBuf> {
    tree(directory).into_keys().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_another_server_holds() {
    let harness = RocksDb::new();
    let holder = harness.open().await;
    put(&*holder, Family::Rows, b"key", b"value").await;
    holder.sync().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = (quiet_tree(&harness.directory()), names(&harness.directory()));
        for _ in 0..3 {
            let Err(StoreError::Directory(line)) = harness.try_open().await else { panic!("not refused") };
            assert_eq!(line, format!("data directory {} is in use by another server", harness.directory().display()));
        }
        // The holder itself may still have tidied up after its opening.
        let after = (quiet_tree(&harness.directory()), names(&harness.directory()));
        if after == before {
            break;
        }
        assert!(Instant::now() < deadline, "touched: {:?} {:?}", before.1, after.1);
    }
    put(&*holder, Family::Rows, b"another key", b"value").await;
    assert_eq!(contents(&*holder, Family::Rows).await.len(), 2);
    holder.close().await.unwrap();
    harness.open().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_another_backend() {
    let harness = closed_database().await;
    let marker = harness.directory().join("KALAMDB");
    fs::write(&marker, "backend = \"slatedb\"\nformat = 1\n").unwrap();
    let line = refusal(&harness.directory()).await;
    assert!(line.contains("was written by backend \"slatedb\", not by \"rocksdb\""), "{line}");
    assert!(line.contains("BACKUP DATABASE") && line.contains("kalamdb-server restore"), "{line}");
    fs::write(&marker, "backend = \"rocksdb\"\nformat = 1\n").unwrap();
    assert_whole(&harness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_newer_format() {
    let harness = closed_database().await;
    fs::write(harness.directory().join("KALAMDB"), "backend = \"rocksdb\"\nformat = 2\nfamilies = 9\n").unwrap();
    let line = refusal(&harness.directory()).await;
    assert!(line.contains("newer version: its format is 2, this version reads up to 1"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_with_a_damaged_marker() {
    let harness = closed_database().await;
    for marker in ["", "\u{0}\u{0}\u{0}", "backend = \"rocksdb\"", "backend = 1\nformat = 1", "format = 1", "[["] {
        fs::write(harness.directory().join("KALAMDB"), marker).unwrap();
        let line = refusal(&harness.directory()).await;
        assert!(line.contains("has a damaged file KALAMDB"), "{line}");
    }
    fs::write(harness.directory().join("KALAMDB"), [0xff, 0xfe]).unwrap();
    let line = refusal(&harness.directory()).await;
    assert!(line.contains("KALAMDB"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_full_of_foreign_files() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("photos")).unwrap();
    fs::write(directory.path().join("photos/cat.png"), "meow").unwrap();
    fs::write(directory.path().join("CURRENT"), "not a database's\n").unwrap();
    let line = refusal(directory.path()).await;
    assert!(line.contains("is not empty and not KalamDB's"), "{line}");
}

/// RocksDB's files, of somebody else's program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_with_the_engine_but_not_our_marker() {
    let directory = TempDir::new().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    drop(rocksdb::DB::open(&options, directory.path()).unwrap());
    let line = refusal(directory.path()).await;
    assert!(line.contains("is not empty and not KalamDB's"), "{line}");
}

/// RocksDB would begin a new database over the data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_current_file_is_gone() {
    let harness = closed_database().await;
    let current = fs::read(harness.directory().join("CURRENT")).unwrap();
    fs::remove_file(harness.directory().join("CURRENT")).unwrap();
    let line = refusal(&harness.directory()).await;
    assert!(line.contains("is damaged: it has data files but no file CURRENT"), "{line}");
    fs::write(harness.directory().join("CURRENT"), current).unwrap();
    assert_whole(&harness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_made() {
    let parent = TempDir::new().unwrap();
    fs::write(parent.path().join("file"), "").unwrap();
    for path in ["file", "file/below"] {
        let error = open_rocksdb(&parent.path().join(path)).await.expect_err("to be refused");
        assert!(matches!(&error, StoreError::Directory(line) if line.contains("file")), "{error}");
    }
    assert_eq!(tree(parent.path()).len(), 1);
}

/// A copy that a crash left without its marker is one of ours by its families.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_without_a_marker_is_taken_up() {
    let harness = closed_database().await;
    fs::remove_file(harness.directory().join("KALAMDB")).unwrap();
    assert_whole(&harness).await;
    let marker = fs::read_to_string(harness.directory().join("KALAMDB")).unwrap();
    assert_eq!(marker, "backend = \"rocksdb\"\nformat = 1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_name_backend_and_directory() {
    let harness = RocksDb::new();
    let settings = |backend: &str| StorageSettings {
        backend: backend.to_owned(),
        rocksdb_dir: harness.directory(),
        memory: 16 << 20,
        ..StorageSettings::default()
    };
    let registry = BackendRegistry::standard();
    let memory = registry.open(&settings("memory"), IfMissing::Create).await.unwrap();
    assert_eq!(memory.name(), "memory");
    assert!(!harness.directory().try_exists().unwrap(), "memory makes no directory");

    let rocksdb = registry.open(&settings("rocksdb"), IfMissing::Create).await.unwrap();
    assert_eq!(rocksdb.name(), "rocksdb");
    assert!(harness.directory().join("KALAMDB").try_exists().unwrap());
    rocksdb.close().await.unwrap();

    // Without its data, a server would look as if it had lost them.
    let before = tree(&harness.directory());
    let error = registry.open(&settings("memory"), IfMissing::Create).await.unwrap_err();
    assert!(error.to_string().contains("was written by backend \"rocksdb\", not by \"memory\""), "{error}");
    assert_eq!(tree(&harness.directory()), before);

    let error = registry.open(&settings("sled"), IfMissing::Create).await.unwrap_err();
    assert_eq!(error.to_string(), "storage backend \"sled\" is not one of: memory, rocksdb");
}
