//! The storages there are: `local` by the settings, all others by CREATE STORAGE.
//!
//! What always holds: a storage that a manifest entry, a pending file or a garbage file names is there under its name.
//! Whoever writes into one says so before it names it anywhere ([`Writing`]); whoever takes one away, or moves it, first
//! keeps new ones out ([`Closed`]), and does so only where nobody writes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_segments::{SegmentPath, SegmentStorage, StorageDefinition, open_storage};
use kalamdb_store::Snapshot;
use kalamdb_store::codec::catalog::StorageRecord;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::manifest::{ManifestItem, ManifestWalk};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long those who write into a storage are waited for when it is altered or dropped.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Segments that are looked for at the same time where a storage is said to be now.
const CHECKS_AT_ONCE: usize = 16;

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
    /// None where it could not be opened: a file that an option names is missing, or another version wrote the record.
    files: Mutex<Option<Arc<dyn SegmentStorage>>>,
    writers: Arc<Writers>,
}

impl OpenStorage {
    fn new(record: Arc<StorageRecord>, writers: Arc<Writers>) -> Self {
        let files = match open(&record) {
            Ok(files) => Some(files),
            Err(error) => {
                tracing::error!(storage = record.name, error = error.message, "a storage cannot be opened");
                None
            }
        };
        Self { record, files: Mutex::new(files), writers }
    }

    /// Its files; one that could not be opened is tried again.
    pub(super) fn files(&self) -> Result<Arc<dyn SegmentStorage>> {
        let mut files = self.files.lock();
        if let Some(files) = &*files {
            return Ok(Arc::clone(files));
        }
        let opened = open(&self.record).map_err(|error| {
            let message = format!("storage '{}' cannot be opened: {}", self.record.name, error.message);
            Error::new(ErrorCode::StorageUnavailable, message)
        })?;
        Ok(Arc::clone(files.insert(opened)))
    }

    /// Says that somebody is going to write into it.
    fn begin_writing(&self) -> Result<Writing> {
        let mut state = self.writers.state.lock();
        if state.closed {
            let message = format!("Storage '{}' is being altered or dropped: try again.", self.record.name);
            return Err(Error::new(ErrorCode::StorageUnavailable, message));
        }
        state.writing += 1;
        Ok(Writing(Arc::clone(&self.writers)))
    }
}

/// Flushes that write into a storage, and whether others may begin.
#[derive(Default)]
struct Writers {
    state: Mutex<WritersState>,
    left: Notify,
}

#[derive(Default)]
struct WritersState {
    writing: usize,
    closed: bool,
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").field("writing", &self.state.lock().writing).finish_non_exhaustive()
    }
}

/// Somebody writes into a storage, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Writing(Arc<Writers>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.state.lock().writing -= 1;
        self.0.left.notify_waiters();
    }
}

/// Nobody begins to write into a storage, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Closed(Arc<Writers>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.state.lock().closed = false;
    }
}

/// All of them but `local`, by name.
#[derive(Debug, Default)]
pub(super) struct Storages(ArcSwap<BTreeMap<String, Arc<OpenStorage>>>);

impl Storages {
    pub(super) fn get(&self, name: &str) -> Result<Arc<OpenStorage>> {
        self.0.load().get(name).cloned().ok_or_else(|| crate::catalog::missing_storage(name))
    }

    /// Keeps open what is as it was.
    pub(super) fn adopt(&self, records: &BTreeMap<String, Arc<StorageRecord>>) {
        let before = self.0.load();
        let unchanged =
            |name: &String, record: &Arc<StorageRecord>| before.get(name).filter(|open| open.record == *record);
        if before.len() == records.len() && records.iter().all(|(name, record)| unchanged(name, record).is_some()) {
            return;
        }
        let opened = records.iter().map(|(name, record)| {
            let open = match (unchanged(name, record), before.get(name)) {
                (Some(open), _) => Arc::clone(open),
                // Who writes into it still does.
                (None, Some(known)) => Arc::new(OpenStorage::new(Arc::clone(record), Arc::clone(&known.writers))),
                (None, None) => Arc::new(OpenStorage::new(Arc::clone(record), Arc::default())),
            };
            (name.clone(), open)
        });
        self.0.store(Arc::new(opened.collect()));
    }

    /// A storage that is what it is for as long as somebody writes into it.
    pub(super) fn write_into(&self, name: &str) -> Result<(Arc<OpenStorage>, Writing)> {
        let writing = self.get(name)?.begin_writing()?;
        // Again: it may have been altered in between, or dropped, and another one made under its name.
        let open = self.get(name)?;
        if Arc::ptr_eq(&open.writers, &writing.0) {
            return Ok((open, writing));
        }
        Err(Error::new(ErrorCode::StorageUnavailable, format!("Storage '{name}' was made anew just now: try again.")))
    }

    /// Keeps new writers out, and waits until those that are there have left.
    ///
    /// # Cancel safety
    /// Safe: it is open again.
    pub(super) async fn close(&self, name: &str) -> Result<Closed> {
        self.close_within(LONGEST_WAIT, name).await
    }

    async fn close_within(&self, longest: Duration, name: &str) -> Result<Closed> {
        let writers = Arc::clone(&self.get(name)?.writers);
        {
            let mut state = writers.state.lock();
            if state.closed {
                return Err(in_use(name, "another statement is altering or dropping it"));
            }
            state.closed = true;
        }
        let closed = Closed(Arc::clone(&writers));
        let wait = async {
            loop {
                let left = writers.left.notified();
                if writers.state.lock().writing == 0 {
                    return;
                }
                left.await;
            }
        };
        match tokio::time::timeout(longest, wait).await {
            Ok(()) => Ok(closed),
            Err(_) => Err(in_use(name, "a flush is writing into it")),
        }
    }
}

/// [`ErrorCode::StorageInUse`].
pub(crate) fn in_use(name: &str, why: &str) -> Error {
    Error::new(ErrorCode::StorageInUse, format!("Storage '{name}' is in use: {why}."))
}

/// A segment that lies in a storage; none if none does. Reads the manifest: for statements on storages only.
pub(crate) async fn segment_in(snapshot: &dyn Snapshot, storage: &str) -> Result<Option<ManifestEntry>> {
    let mut walk = ManifestWalk::of_everything(snapshot);
    while let Some(items) = walk.next_chunk().await? {
        if let Some(entry) = items.into_iter().find_map(|item| entry_in(item, storage)) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// That all segments of a storage are in `files`, in full length.
///
/// # Errors
/// [`ErrorCode::StorageUnavailable`], naming the first that is not.
pub(crate) async fn check_segments(snapshot: &dyn Snapshot, name: &str, files: &dyn SegmentStorage) -> Result<()> {
    let mut walk = ManifestWalk::of_everything(snapshot);
    while let Some(items) = walk.next_chunk().await? {
        let check = |entry: ManifestEntry| async move {
            let path = SegmentPath::parse(&entry.path)?;
            // The last byte: what is in it is checked by whoever reads it.
            let problem = match files.read_tail(&path, entry.bytes, 1).await {
                Ok(tail) if tail.size == entry.bytes => return Ok(()),
                Ok(tail) => format!("segment '{path}' has {} bytes instead of {}", tail.size, entry.bytes),
                Err(error) => error.to_string(),
            };
            Err(not_moved(name, &problem))
        };
        let entries = items.into_iter().filter_map(|item| entry_in(item, name));
        stream::iter(entries).map(check).buffer_unordered(CHECKS_AT_ONCE).try_collect::<()>().await?;
    }
    Ok(())
}

/// The segments of a storage are not where it is said to be.
pub(crate) fn not_moved(name: &str, problem: &dyn fmt::Display) -> Error {
    let message = format!("{problem}: move all segments of storage '{name}' first, then alter it");
    Error::new(ErrorCode::StorageUnavailable, message)
}

fn entry_in(item: ManifestItem, storage: &str) -> Option<ManifestEntry> {
    match item {
        ManifestItem::Entry(_, entry) if entry.storage == storage => Some(entry),
        ManifestItem::Entry(..) | ManifestItem::Record(..) => None,
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

    #[tokio::test]
    async fn nobody_writes_into_a_closed_storage_and_none_is_closed_while_somebody_writes() {
        let open = Arc::new(Storages::default());
        open.adopt(&storages(&[record("a", "/srv/a")]));
        let (_, writing) = open.write_into("a").expect("nobody is in the way");
        // What is known of writers outlives an alteration.
        open.adopt(&storages(&[record("a", "/srv/b")]));
        let error = open.close_within(Duration::from_millis(10), "a").await.expect_err("somebody writes");
        assert_eq!(error.code, ErrorCode::StorageInUse);

        let (closed, ()) = tokio::join!(open.close("a"), async {
            let error = open.write_into("a").expect_err("new ones are kept out while it waits");
            assert_eq!(error.code, ErrorCode::StorageUnavailable);
            drop(writing);
        });
        let closed = closed.expect("the last one has left");
        assert_eq!(open.close("a").await.expect_err("closed already").code, ErrorCode::StorageInUse);
        drop(closed);
        drop(open.write_into("a").expect("open again"));
        // Whoever does not wait to the end leaves it open.
        let (_, writing) = open.write_into("a").expect("open");
        assert!(tokio::time::timeout(Duration::from_millis(10), open.close("a")).await.is_err());
        drop(writing);
        drop(open.write_into("a").expect("open again"));
    }

    #[test]
    fn what_is_open_stays_open_unless_it_is_altered() {
        let open = Storages::default();
        open.adopt(&storages(&[record("a", "/srv/a"), record("b", "/srv/b")]));
        let (a, b) = (open.get("a").expect("a"), open.get("b").expect("b"));
        let altered = StorageRecord { updated_at: 2, ..StorageRecord::clone(&b.record) };
        open.adopt(&storages(&[record("a", "/srv/a"), Arc::new(altered)]));
        assert!(Arc::ptr_eq(&a, &open.get("a").expect("a")));
        let files = |one: &OpenStorage| one.files().expect("it opens");
        assert!(!Arc::ptr_eq(&files(&b), &files(&open.get("b").expect("b"))), "what an option names may have changed");
        open.adopt(&storages(&[]));
        assert_eq!(open.get("a").expect_err("gone").code, ErrorCode::StorageNotFound);
    }

    #[test]
    fn one_that_cannot_be_opened_says_so_each_time() {
        let open = Storages::default();
        open.adopt(&storages(&[record("a", "not absolute")]));
        for _ in 0..2 {
            let error = open.get("a").and_then(|one| one.files()).expect_err("no directory");
            assert!(error.code == ErrorCode::StorageUnavailable && error.message.contains("'a'"), "{}", error.message);
        }
    }
}
