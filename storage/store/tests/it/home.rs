//! FL-8: a data directory and its copy: which of them forgets what.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kalamdb_commons::{Family, SchemaVersion, Seq, UserId};
use kalamdb_store::codec::files::{GarbageEntry, PendingFiles, StoredFile};
use kalamdb_store::codec::keys;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::codec::meta::SharedBelow;
use kalamdb_store::codec::system;
use kalamdb_store::home::{Shared, settle};
use kalamdb_store::{Batch, Durability, MemoryBackend, StorageBackend, files};
use tempfile::TempDir;
use ulid::Ulid;

use crate::committer::fixture::{NOW, TABLE};
use crate::support::{Backend, open_rocksdb};

async fn open(directory: &Path) -> Backend {
    open_rocksdb(directory).await.unwrap()
}

/// As `cp -a` does with what a server that was killed left behind.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let copied = to.join(entry.file_name().unwrap());
        fs::copy(&entry, &copied).unwrap();
        let times = fs::metadata(&entry).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&copied).unwrap().set_modified(times).unwrap();
    }
}

fn file(name: &str) -> StoredFile {
    StoredFile { storage: "local".into(), path: name.into() }
}

fn entry(segment_id: u128, storage: &str) -> ManifestEntry {
    ManifestEntry {
        segment_id,
        storage: storage.into(),
        path: "a".into(),
        shard: String::new(),
        rows: 1,
        bytes: 1,
        schema_version: SchemaVersion::FIRST,
        min_seq: Seq(1),
        max_seq: Seq(1),
        min_key: vec![1],
        max_key: vec![1],
        deleted_rows: 0,
        created_at: NOW,
        level: 0,
    }
}

/// A segment in each of these storages, a pending file and one that is garbage.
async fn fill(backend: &dyn StorageBackend, segments: &[(u128, &str)]) {
    let mut batch = Batch::new();
    for (id, storage) in segments {
        let key = keys::manifest_entry_key(TABLE, Some(&UserId::new("ann").unwrap()), *id);
        batch.put(Family::Manifest, key, entry(*id, storage).encode());
    }
    let pending = PendingFiles { lease_generation: 3, files: vec![file("pending")] };
    batch.put(Family::System, system::pending_files(TABLE, 3, 0), pending.encode());
    let garbage = GarbageEntry { file: file("garbage"), bytes: 1, retired_at: NOW };
    batch.put(Family::System, system::garbage(5, 7), garbage.encode());
    backend.write(batch, Durability::Synced).await.unwrap();
}

async fn listed(backend: &dyn StorageBackend) -> (usize, usize) {
    let snapshot = backend.snapshot().await.unwrap();
    (files::pending(&*snapshot).await.unwrap().len(), files::garbage(&*snapshot, None, 10).await.unwrap().len())
}

fn storages(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn now() -> u128 {
    Ulid::new().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_forgets_the_lists_and_draws_a_boundary() {
    let parent = TempDir::new().unwrap();
    let (original, copied) = (parent.path().join("original"), parent.path().join("copied"));
    let backend = open(&original).await;
    assert_eq!(settle(&*backend).await.unwrap(), None);
    fill(&*backend, &[(7, "local"), (9, "archive")]).await;
    backend.close().await.unwrap();
    copy(&original, &copied);

    let backend = open(&copied).await;
    let shared = settle(&*backend).await.unwrap().expect("a copy");
    assert_eq!(shared, Shared { below: 10, storages: storages(&["archive", "local"]) });
    assert_eq!(listed(&*backend).await, (0, 0));
    // Its own segments are not shared, and it is no copy of itself.
    fill(&*backend, &[(now(), "later")]).await;
    backend.close().await.unwrap();
    let backend = open(&copied).await;
    assert_eq!(settle(&*backend).await.unwrap(), Some(shared.clone()));
    assert_eq!(listed(&*backend).await, (1, 1));
    backend.close().await.unwrap();

    // The original has noticed nothing.
    let backend = open(&original).await;
    assert_eq!(settle(&*backend).await.unwrap(), None);
    assert_eq!(listed(&*backend).await, (1, 1));
    backend.close().await.unwrap();

    // A copy of the copy has a boundary of its own.
    let third = parent.path().join("third");
    copy(&copied, &third);
    let backend = open(&third).await;
    let again = settle(&*backend).await.unwrap().expect("a copy");
    assert!(again.below > shared.below, "{again:?} {shared:?}");
    assert_eq!(again.storages, storages(&["archive", "later", "local"]));
    assert_eq!(listed(&*backend).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_renamed_keeps_its_lists() {
    let parent = TempDir::new().unwrap();
    let (one, other) = (parent.path().join("one"), parent.path().join("other"));
    let backend = open(&one).await;
    settle(&*backend).await.unwrap();
    fill(&*backend, &[(7, "local")]).await;
    backend.close().await.unwrap();
    fs::rename(&one, &other).unwrap();
    let backend = open(&other).await;
    assert_eq!(settle(&*backend).await.unwrap(), None);
    assert_eq!(listed(&*backend).await, (1, 1));
}

/// The machine that wrote the newest segment was ahead of its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_boundary_is_behind_every_segment_whatever_the_clocks_say() {
    let parent = TempDir::new().unwrap();
    let (original, copied) = (parent.path().join("original"), parent.path().join("copied"));
    let backend = open(&original).await;
    settle(&*backend).await.unwrap();
    let ahead = now() + (1 << 112);
    fill(&*backend, &[(7, "local"), (ahead, "local")]).await;
    backend.close().await.unwrap();
    copy(&original, &copied);
    let backend = open(&copied).await;
    assert_eq!(settle(&*backend).await.unwrap(), Some(Shared { below: ahead + 1, storages: storages(&["local"]) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_without_its_mark_is_a_copy_and_one_without_a_record_is_none() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("data");
    let backend = open(&directory).await;
    // From before there were such records.
    fill(&*backend, &[(7, "local")]).await;
    assert_eq!(settle(&*backend).await.unwrap(), None);
    assert_eq!(listed(&*backend).await, (1, 1));
    backend.close().await.unwrap();
    fs::remove_file(directory.join("KALAMDB.home")).unwrap();
    let backend = open(&directory).await;
    assert!(settle(&*backend).await.unwrap().is_some());
    assert_eq!(listed(&*backend).await, (0, 0));
    assert!(fs::exists(directory.join("KALAMDB.home")).unwrap());
}

/// What a backup holds is RocksDB's files and the marker of the format.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_a_copy() {
    let parent = TempDir::new().unwrap();
    let (original, copied) = (parent.path().join("original"), parent.path().join("copied"));
    let backend = open(&original).await;
    settle(&*backend).await.unwrap();
    fill(&*backend, &[(7, "local")]).await;
    backend.checkpoint(&copied).await.unwrap();
    let restored = open(&copied).await;
    assert_eq!(settle(&*restored).await.unwrap().expect("a copy").storages, storages(&["local"]));
    assert_eq!(listed(&*restored).await, (0, 0));
    assert_eq!(listed(&*backend).await, (1, 1));
}

#[tokio::test]
async fn what_has_no_directory_cannot_be_copied() {
    let backend = MemoryBackend::new();
    fill(&backend, &[(7, "local")]).await;
    assert_eq!(settle(&backend).await.unwrap(), None);
    assert_eq!(listed(&backend).await, (1, 1));
    let mut batch = Batch::new();
    batch.put(Family::System, system::shared_below(), SharedBelow(8).encode());
    backend.write(batch, Durability::Synced).await.unwrap();
    let shared = settle(&backend).await.unwrap();
    assert_eq!(shared, Some(Shared { below: 8, storages: storages(&["local"]) }), "a boundary stays one");
}
