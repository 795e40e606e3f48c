//! The storages there are: `local` by the settings, all others by CREATE STORAGE.
//!
//! What always holds: a storage that a manifest entry, a pending file or a garbage file names is there under its name.
//! Whoever writes into one says so before it names it anywhere ([`Writing`]); whoever takes one away, or moves it, first
//! keeps new ones out ([`Closed`]), and does so only where nobody writes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_segments::{SegmentPath, SegmentStorage, StorageDefinition, open_storage};
use kalamdb_store::codec::catalog::StorageRecord;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::manifest::{ManifestItem, ManifestWalk};
use kalamdb_store::{Snapshot, files};
use parking_lot::Mutex;

/// Segments that are looked for where a storage is said to be now.
const SAMPLES: usize = 8;

/// Opens what a record describes; reaches nothing.
///
/// # Errors
/// [`ErrorCode::InvalidOption`], naming the option.
pub(crate) fn open(record: &StorageRecord) -> Result<Arc<dyn SegmentStorage>> {
    let definition =
        StorageDefinition { storage_type: record.storage_type, location: &record.location, options: &record.options };
    Ok(open_storage(&definition)?)
}

/// A storage that CREATE STORAGE made.
#[derive(Debug)]
pub(super) struct OpenStorage {
    pub(super) record: Arc<StorageRecord>,
    /// Or why it cannot be opened: its record was written by another version.
    files: Result<Arc<dyn SegmentStorage>>,
    writers: Arc<Writers>,
}

impl OpenStorage {
    pub(super) fn files(&self) -> Result<Arc<dyn SegmentStorage>> {
        self.files.clone()
    }

    /// Says that somebody is going to write into it.
    pub(super) fn begin_writing(&self) -> Result<Writing> {
        let mut state = self.writers.0.lock();
        if state.closed {
            let message = format!("Storage '{}' is being altered or dropped: try again.", self.record.name);
            return Err(Error::new(ErrorCode::StorageUnavailable, message));
        }
        state.writing += 1;
        Ok(Writing(Arc::clone(&self.writers)))
    }

    fn close(&self) -> Result<Closed> {
        let mut state = self.writers.0.lock();
        if state.writing > 0 || state.closed {
            return Err(in_use(&self.record.name, "a flush is writing into it"));
        }
        state.closed = true;
        Ok(Closed(Arc::clone(&self.writers)))
    }
}

#[derive(Default)]
struct Writers(Mutex<WritersState>);

#[derive(Default)]
struct WritersState {
    writing: usize,
    closed: bool,
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").field("writing", &self.0.lock().writing).finish_non_exhaustive()
    }
}

/// Somebody writes into a storage, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Writing(Arc<Writers>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.0.lock().writing -= 1;
    }
}

/// Nobody begins to write into a storage, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Closed(Arc<Writers>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.0.lock().closed = false;
    }
}

/// All of them but `local`, by name.
#[derive(Debug, Default)]
pub(super) struct Storages(ArcSwap<BTreeMap<String, Arc<OpenStorage>>>);

impl Storages {
    pub(super) fn get(&self, name: &str) -> Result<Arc<OpenStorage>> {
        self.0.load().get(name).cloned().ok_or_else(|| crate::catalog::missing_storage(name))
    }

    /// Keeps what is open of storages that are as they were.
    pub(super) fn adopt(&self, records: &BTreeMap<String, Arc<StorageRecord>>) {
        let before = self.0.load();
        let same = before.len() == records.len()
            && records.iter().all(|(name, record)| before.get(name).is_some_and(|open| open.record == *record));
        if same {
            return;
        }
        let open = |(name, record): (&String, &Arc<StorageRecord>)| {
            let known = before.get(name);
            let same_place = |known: &&Arc<OpenStorage>| {
                let known = &known.record;
                known.storage_type == record.storage_type
                    && known.location == record.location
                    && known.options == record.options
            };
            let files = match known.filter(same_place) {
                Some(known) => known.files.clone(),
                None => open(record),
            };
            if let Err(error) = &files {
                tracing::error!(storage = name, error = error.message, "a storage cannot be opened");
            }
            let writers = known.map(|known| Arc::clone(&known.writers)).unwrap_or_default();
            (name.clone(), Arc::new(OpenStorage { record: Arc::clone(record), files, writers }))
        };
        self.0.store(Arc::new(records.iter().map(open).collect()));
    }

    pub(super) fn close(&self, name: &str) -> Result<Closed> {
        self.get(name)?.close()
    }
}

/// [`ErrorCode::StorageInUse`].
pub(crate) fn in_use(name: &str, why: &str) -> Error {
    Error::new(ErrorCode::StorageInUse, format!("Storage '{name}' is in use: {why}."))
}

/// What lies in a storage, as one snapshot shows it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Some of its segments: the first and the last that are found are among them.
    pub(crate) segments: Vec<ManifestEntry>,
    /// Files that are being written, or are to be deleted.
    pub(crate) other_files: usize,
}

impl Contents {
    /// Reads the whole manifest: for statements on storages only.
    pub(crate) async fn read(snapshot: &dyn Snapshot, storage: &str) -> Result<Self> {
        let mut contents = Self::default();
        let mut walk = ManifestWalk::of_everything(snapshot);
        while let Some(items) = walk.next_chunk().await? {
            for item in items {
                let ManifestItem::Entry(_, entry) = item else { continue };
                if entry.storage != storage {
                    continue;
                }
                if contents.segments.len() >= SAMPLES {
                    contents.segments.pop();
                }
                contents.segments.push(entry);
            }
        }
        let pending = files::pending(snapshot).await?;
        let pending = pending.iter().flat_map(|record| &record.pending.files);
        let garbage = files::garbage(snapshot, usize::MAX).await?;
        let all = pending.chain(garbage.iter().map(|record| &record.entry.file));
        contents.other_files = all.filter(|file| file.storage == storage).count();
        Ok(contents)
    }

    /// That the segments are where the storage is said to be.
    pub(crate) async fn check_place(&self, name: &str, files: &dyn SegmentStorage) -> Result<()> {
        for entry in &self.segments {
            let path = SegmentPath::parse(&entry.path)?;
            // A byte of it: whether it is the right one is found out by whoever reads it.
            if let Err(error) = files.read(&path, std::slice::from_ref(&(0..1))).await {
                let message = format!("{error}: move the segments of storage '{name}' first, then alter it");
                return Err(Error::new(ErrorCode::StorageUnavailable, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_store::codec::catalog::StorageType;

    use super::*;

    fn record(name: &str, location: &str) -> Arc<StorageRecord> {
        Arc::new(StorageRecord {
            name: name.to_owned(),
            storage_type: StorageType::Filesystem,
            location: location.to_owned(),
            user_path_template: None,
            shared_path_template: None,
            options: BTreeMap::new(),
            created_at: 1,
            updated_at: 1,
        })
    }

    fn storages(records: &[Arc<StorageRecord>]) -> BTreeMap<String, Arc<StorageRecord>> {
        records.iter().map(|record| (record.name.clone(), Arc::clone(record))).collect()
    }

    #[test]
    fn nobody_writes_into_a_closed_storage_and_none_is_closed_while_somebody_writes() {
        let open = Storages::default();
        open.adopt(&storages(&[record("a", "/srv/a")]));
        let writing = open.get("a").and_then(|one| one.begin_writing()).expect("nobody is in the way");
        // What is known of writers outlives an alteration.
        open.adopt(&storages(&[record("a", "/srv/b")]));
        let error = open.close("a").expect_err("somebody writes");
        assert_eq!(error.code, ErrorCode::StorageInUse);
        drop(writing);
        let closed = open.close("a").expect("nobody writes");
        let error = open.get("a").and_then(|one| one.begin_writing()).expect_err("closed");
        assert_eq!(error.code, ErrorCode::StorageUnavailable);
        drop(closed);
        drop(open.get("a").and_then(|one| one.begin_writing()).expect("open again"));
    }

    #[test]
    fn what_is_open_stays_open_unless_its_place_changes() {
        let open = Storages::default();
        open.adopt(&storages(&[record("a", "/srv/a"), record("b", "/srv/b")]));
        let (a, b) = (open.get("a").expect("a"), open.get("b").expect("b"));
        let mut template = StorageRecord::clone(&record("a", "/srv/a"));
        template.user_path_template = Some("{storageLocation}/{userId}/".to_owned());
        open.adopt(&storages(&[Arc::new(template), record("b", "/srv/c")]));
        let files = |one: &OpenStorage| one.files().expect("it opens");
        assert!(Arc::ptr_eq(&files(&a), &files(&open.get("a").expect("a"))));
        assert!(!Arc::ptr_eq(&files(&b), &files(&open.get("b").expect("b"))));
        open.adopt(&storages(&[]));
        assert_eq!(open.get("a").expect_err("gone").code, ErrorCode::StorageNotFound);
    }
}
