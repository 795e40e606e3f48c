//! Backends under test, and small helpers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{
    Batch, Direction, Durability, Entry, IfMissing, KeyRange, MemoryBackend, RocksDbBackend, RocksDbOptions,
    ScanRequest, Snapshot, StorageBackend, StoreError,
};
use tempfile::TempDir;

pub(crate) type Backend = Arc<dyn StorageBackend>;

/// Makes backends of one kind.
pub(crate) trait Harness {
    /// A place for one database.
    fn new() -> Self;
    /// Opens it.
    async fn open(&self) -> Backend;
    /// Whether what was closed can be opened again.
    const KEEPS_DATA: bool;
}

#[derive(Debug)]
pub(crate) struct Memory;

impl Harness for Memory {
    const KEEPS_DATA: bool = false;

    fn new() -> Self {
        Self
    }

    async fn open(&self) -> Backend {
        Arc::new(MemoryBackend::new())
    }
}

#[derive(Debug)]
pub(crate) struct RocksDb {
    parent: TempDir,
}

impl RocksDb {
    pub(crate) fn directory(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    pub(crate) async fn try_open(&self) -> Result<Backend, StoreError> {
        open_rocksdb(&self.directory()).await
    }
}

impl Harness for RocksDb {
    const KEEPS_DATA: bool = true;

    fn new() -> Self {
        Self { parent: TempDir::new().unwrap() }
    }

    async fn open(&self) -> Backend {
        self.try_open().await.unwrap()
    }
}

pub(crate) async fn open_rocksdb(directory: &Path) -> Result<Backend, StoreError> {
    let options =
        RocksDbOptions { directory: directory.to_owned(), memory_bytes: 16 << 20, missing: IfMissing::Create };
    Ok(Arc::new(RocksDbBackend::open(options).await?))
}

pub(crate) fn bytes(content: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(content.as_ref())
}

pub(crate) fn number_key(number: u32) -> Bytes {
    bytes(number.to_be_bytes())
}

pub(crate) fn all(family: Family) -> KeyRange {
    KeyRange { family, start: Bytes::new(), end: None }
}

pub(crate) fn between(family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> KeyRange {
    KeyRange { family, start: bytes(start), end: Some(bytes(end)) }
}

pub(crate) async fn put(backend: &dyn StorageBackend, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(family, bytes(key), bytes(value));
    backend.write(batch, Durability::Logged).await.unwrap();
}

/// Puts keys 0 to `count`, each with 16 bytes, in one batch.
pub(crate) async fn fill(backend: &dyn StorageBackend, family: Family, count: u32) {
    let mut batch = Batch::new();
    for number in 0..count {
        batch.put(family, number_key(number), bytes([7; 16]));
    }
    backend.write(batch, Durability::Logged).await.unwrap();
}

pub(crate) async fn get(backend: &dyn StorageBackend, family: Family, key: &[u8]) -> Option<Bytes> {
    backend.get_many(family, &[bytes(key)]).await.unwrap().remove(0)
}

/// A whole range in chunks of `limit`; checks that each chunk is as promised.
pub(crate) async fn scan(snapshot: &dyn Snapshot, range: KeyRange, direction: Direction, limit: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut rest = Some(range);
    while let Some(range) = rest {
        let chunk = snapshot.scan(ScanRequest { range, direction, limit, max_bytes: usize::MAX }).await.unwrap();
        assert!(chunk.entries.len() <= limit);
        assert!(chunk.rest.is_none() || chunk.entries.len() == limit, "a rest only behind a full chunk");
        entries.extend(chunk.entries.owned());
        rest = chunk.rest;
    }
    entries
}

pub(crate) async fn contents(backend: &dyn StorageBackend, family: Family) -> Vec<Entry> {
    scan(backend.snapshot().await.unwrap().as_ref(), all(family), Direction::Forward, 1000).await
}

/// Every file below a directory with its bytes, every directory with none. One that goes meanwhile is not there.
pub(crate) fn tree(path: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path.clone());
                found.insert(path, None);
            } else {
                match std::fs::read(&path) {
                    Ok(content) => drop(found.insert(path, Some(content))),
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
                }
            }
        }
    }
    found
}

/// Copies a database as a killed process would leave it: every file as it is at this moment.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for (path, content) in tree(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        match content {
            Some(content) => std::fs::write(target, content).unwrap(),
            None => std::fs::create_dir_all(target).unwrap(),
        }
    }
}
