//! Files written under temporary names, then made durable, renamed, and made findable, all together.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::Shared;
use super::directories::sync_directory;
use crate::error::{Result, SegmentError, SinkError};
use crate::path::SegmentPath;
use crate::storage::{SegmentGroup, SegmentSink};

/// A group of [`LocalStorage`](super::LocalStorage).
pub(super) struct LocalGroup {
    storage: Arc<Shared>,
    files: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    /// Everything that was begun.
    begun: Vec<SegmentPath>,
    /// What has all of its bytes.
    finished: Vec<(SegmentPath, File)>,
    /// Directories below the root that are not known to be durable.
    new_directories: BTreeSet<PathBuf>,
}

impl LocalGroup {
    pub(super) fn new(storage: Arc<Shared>) -> Self {
        Self { storage, files: Arc::default() }
    }

    fn make_directories(&self, path: &SegmentPath) -> Result<()> {
        self.storage.check_root("write", path)?;
        for directory in path.directories() {
            let absolute = self.storage.root.join(directory);
            match fs::create_dir(&absolute) {
                Ok(()) => {
                    self.storage.durable.forget(&absolute);
                    self.files.lock().new_directories.insert(absolute);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SegmentError::io("create directory", directory, &error)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for LocalGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalGroup").field("begun", &self.files.lock().begun).finish_non_exhaustive()
    }
}

#[async_trait]
impl SegmentGroup for LocalGroup {
    fn create(&self, path: &SegmentPath) -> Result<Box<dyn SegmentSink>> {
        let temporary = self.storage.temporary(path);
        // What an earlier try of the same file left is overwritten: nobody else writes this segment.
        let open = || OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
        self.files.lock().begun.push(path.clone());
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directories(path)?;
                open()
            }
            other => other,
        };
        let file = file.map_err(|error| SegmentError::io("create", path.as_str(), &error))?;
        let mut files = self.files.lock();
        for directory in path.directories() {
            let absolute = self.storage.root.join(directory);
            if !self.storage.durable.is_known(&absolute) {
                files.new_directories.insert(absolute);
            }
        }
        drop(files);
        Ok(Box::new(LocalSink { path: path.clone(), file, files: Arc::clone(&self.files) }))
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let outcome = self.make_durable().await;
        if outcome.is_err() {
            self.abort().await;
        }
        outcome
    }

    async fn abort(self: Box<Self>) {
        let begun = std::mem::take(&mut self.files.lock().begun);
        let storage = Arc::clone(&self.storage);
        let removed = self.storage.syncers.run(move || storage.delete(&begun)).await;
        if let Err(error) = removed {
            tracing::debug!(%error, "files of a group given up remain, for the pending list to remove");
        }
    }
}

impl LocalGroup {
    async fn make_durable(&self) -> Result<()> {
        let (finished, new_directories) = {
            let mut files = self.files.lock();
            if files.begun.len() != files.finished.len() {
                let (begun, finished) = (files.begun.len(), files.finished.len());
                return Err(SegmentError::Misused(format!("a group of {begun} files has {finished} finished ones")));
            }
            (std::mem::take(&mut files.finished), std::mem::take(&mut files.new_directories))
        };
        let storage = &self.storage;
        let mut to_sync: BTreeSet<PathBuf> =
            finished.iter().filter_map(|(path, _)| storage.absolute(path).parent().map(Path::to_path_buf)).collect();
        to_sync.extend(new_directories.iter().filter_map(|directory| directory.parent().map(Path::to_path_buf)));
        let paths: Vec<SegmentPath> = finished.iter().map(|(path, _)| path.clone()).collect();

        let sync = |(path, file): (SegmentPath, File)| {
            // Closed here too: a group holds no handle longer than it must.
            file.sync_all().map_err(|error| SegmentError::io("sync", path.as_str(), &error))
        };
        storage.syncers.for_each(finished, sync).await?;
        let renaming = Arc::clone(storage);
        storage.syncers.run(move || renaming.rename(&paths)).await?;
        let root = storage.root.clone();
        let sync_names = move |directory: PathBuf| {
            sync_directory(&directory).map_err(|error| {
                let shown = directory.strip_prefix(&root).unwrap_or(&directory).to_string_lossy();
                SegmentError::io("sync directory", &shown, &error)
            })
        };
        storage.syncers.for_each(to_sync.into_iter().collect(), sync_names).await?;
        for directory in new_directories {
            storage.durable.remember(directory);
        }
        Ok(())
    }
}

impl Shared {
    fn rename(&self, paths: &[SegmentPath]) -> Result<()> {
        for path in paths {
            fs::rename(self.temporary(path), self.absolute(path))
                .map_err(|error| SegmentError::io("rename", path.as_str(), &error))?;
        }
        Ok(())
    }
}

/// One file of the group.
struct LocalSink {
    path: SegmentPath,
    file: File,
    files: Arc<Mutex<Files>>,
}

impl fmt::Debug for LocalSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSink").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Write for LocalSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let ours = SegmentError::io("write", self.path.as_str(), &error);
            io::Error::new(error.kind(), SinkError::from(ours))
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentSink for LocalSink {
    fn finish(self: Box<Self>) -> Result<()> {
        let Self { path, file, files } = *self;
        files.lock().finished.push((path, file));
        Ok(())
    }
}
