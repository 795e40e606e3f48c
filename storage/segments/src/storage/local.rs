//! Files on a local file system, by our own durable writer.
//!
//! What always holds:
//! - SE-2: when a group's commit returns, each of its files has its bytes, its name and all of its directories on disk.
//! - SE-3: a file gets its final name only after its bytes are on disk.
//! - SE-4: the storage's own directory is never created here while it is written: if it is gone, it was moved or
//!   unmounted, and a directory in its place would hide its files.

mod blocking;
mod directories;
mod group;
mod notes;
mod resident;

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use quick_cache::sync::Cache;

use self::blocking::BlockingPool;
use self::directories::{DurableDirectories, sync_directory};
use self::group::LocalGroup;
use super::{FileTail, SegmentGroup, SegmentStorage};
use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;

/// Added to a file's name until it is complete.
const TEMPORARY_SUFFIX: &str = ".tmp";
/// Files kept open for reading. A replaced file is read as it was until its handle is closed.
const OPEN_FILES: usize = 256;
/// Reads at the same time.
const READERS: usize = 16;
/// Syncs at the same time: a file system commits its journal once for many of them.
const SYNCERS: usize = 16;

/// Segments below a directory of the local file system.
pub struct LocalStorage {
    shared: Arc<Shared>,
}

/// What groups and reads share.
struct Shared {
    root: PathBuf,
    durable: DurableDirectories,
    open: Cache<SegmentPath, Arc<File>>,
    readers: BlockingPool,
    syncers: BlockingPool,
}

impl LocalStorage {
    /// Segments below `root`, which is created by [`prepare`](SegmentStorage::prepare) or was there.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            shared: Arc::new(Shared {
                root: root.into(),
                durable: DurableDirectories::new(),
                open: Cache::new(OPEN_FILES),
                readers: BlockingPool::new(READERS),
                syncers: BlockingPool::new(SYNCERS),
            }),
        }
    }
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStorage").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

#[async_trait]
impl SegmentStorage for LocalStorage {
    async fn prepare(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.shared
            .syncers
            .run(move || directories::create(&shared.root).and_then(|()| directories::probe(&shared.root)))
            .await
    }

    async fn probe(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.shared.syncers.run(move || directories::probe(&shared.root)).await
    }

    fn begin_group(&self) -> Box<dyn SegmentGroup> {
        Box::new(LocalGroup::new(Arc::clone(&self.shared)))
    }

    async fn read(&self, path: &SegmentPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(bytes) = self.shared.open.get(path).and_then(|file| resident::read(&file, ranges)) {
            return Ok(bytes);
        }
        let (shared, path, ranges) = (Arc::clone(&self.shared), path.clone(), ranges.to_vec());
        self.shared
            .readers
            .run(move || {
                let file = shared.open(&path)?;
                ranges.into_iter().map(|range| read_range(&file, &path, range)).collect()
            })
            .await
    }

    async fn read_tail(&self, path: &SegmentPath, _expected_size: u64, length: u64) -> Result<FileTail> {
        let (shared, path) = (Arc::clone(&self.shared), path.clone());
        self.shared
            .readers
            .run(move || {
                let file = shared.open(&path)?;
                let size = file.metadata().map_err(|error| SegmentError::io("read", path.as_str(), &error))?.len();
                let bytes = read_range(&file, &path, size.saturating_sub(length)..size)?;
                Ok(FileTail { bytes, size })
            })
            .await
    }

    async fn delete(&self, paths: &[SegmentPath]) -> Result<()> {
        let (shared, paths) = (Arc::clone(&self.shared), paths.to_vec());
        self.shared.syncers.run(move || shared.delete(&paths)).await
    }

    async fn read_note(&self, path: &SegmentPath) -> Result<Option<Bytes>> {
        let (shared, path) = (Arc::clone(&self.shared), path.clone());
        self.shared.readers.run(move || shared.read_note(&path)).await
    }

    async fn write_note(&self, path: &SegmentPath, content: Bytes) -> Result<()> {
        let (shared, path) = (Arc::clone(&self.shared), path.clone());
        self.shared.syncers.run(move || shared.write_note(&path, &content)).await
    }
}

impl Shared {
    fn absolute(&self, path: &SegmentPath) -> PathBuf {
        self.root.join(path.as_str())
    }

    fn temporary(&self, path: &SegmentPath) -> PathBuf {
        self.root.join(format!("{path}{TEMPORARY_SUFFIX}"))
    }

    fn open(&self, path: &SegmentPath) -> Result<Arc<File>> {
        if let Some(file) = self.open.get(path) {
            return Ok(file);
        }
        match File::open(self.absolute(path)) {
            Ok(file) => {
                let file = Arc::new(file);
                self.open.insert(path.clone(), Arc::clone(&file));
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_root("read", path)?;
                Err(SegmentError::Missing { path: path.to_string() })
            }
            Err(error) => Err(SegmentError::io("read", path.as_str(), &error)),
        }
    }

    /// A file that is not there says nothing where the whole storage is gone.
    fn check_root(&self, action: &'static str, path: &SegmentPath) -> Result<()> {
        match std::fs::metadata(&self.root) {
            Ok(_) => Ok(()),
            Err(error) => Err(SegmentError::Unavailable {
                action,
                path: path.to_string(),
                message: format!("the storage's directory cannot be opened: {error}"),
            }),
        }
    }

    fn delete(&self, paths: &[SegmentPath]) -> Result<()> {
        let mut changed: Vec<&Path> = Vec::new();
        let mut outcome = Ok(());
        let files: Vec<(&SegmentPath, PathBuf)> =
            paths.iter().flat_map(|path| [(path, self.temporary(path)), (path, self.absolute(path))]).collect();
        for (path, file) in &files {
            self.open.remove(*path);
            let removed = match std::fs::remove_file(file) {
                Ok(()) => {
                    changed.extend(file.parent());
                    Ok(())
                }
                // A component that is a file, not a directory: nothing of ours is below it.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    self.check_root("delete", path)
                }
                Err(error) => Err(SegmentError::io("delete", path.as_str(), &error)),
            };
            // One that cannot be deleted keeps no other.
            outcome = outcome.and(removed);
        }
        changed.sort_unstable();
        changed.dedup();
        for directory in changed {
            let shown = directory.strip_prefix(&self.root).unwrap_or(directory).to_string_lossy();
            let synced = sync_directory(directory).map_err(|error| SegmentError::io("sync", &shown, &error));
            outcome = outcome.and(synced);
        }
        outcome
    }
}

fn read_range(file: &File, path: &SegmentPath, range: Range<u64>) -> Result<Bytes> {
    let length = usize::try_from(range.end.saturating_sub(range.start))
        .map_err(|_| SegmentError::Misused(format!("a range of {} bytes", range.end - range.start)))?;
    let size = file.metadata().map_err(|error| SegmentError::io("read", path.as_str(), &error))?.len();
    if range.end > size {
        return Err(SegmentError::Damaged {
            path: path.to_string(),
            message: format!("it ends at byte {size}, where bytes up to {} are needed", range.end),
        });
    }
    let mut bytes = BytesMut::zeroed(length);
    match file.read_exact_at(&mut bytes, range.start) {
        Ok(()) => Ok(bytes.freeze()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(SegmentError::Damaged { path: path.to_string(), message: format!("it ends before byte {}", range.end) })
        }
        Err(error) => Err(SegmentError::io("read", path.as_str(), &error)),
    }
}

#[cfg(test)]
mod tests;
