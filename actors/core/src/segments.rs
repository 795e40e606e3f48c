//! Segments as the engine uses them: the storages they lie in, what of them is kept in memory, and one partition's
//! segments as a statement sees them.
//!
//! What always holds: a statement reads the manifest at its own snapshot, with its generation pinned, so the files that
//! the manifest names are there for as long as the statement is.

mod boundaries;
mod partition;
mod ranges;
mod storages;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kalamdb_commons::settings::StorageSettings;
use kalamdb_commons::{Error, PathTemplate, Result, TableType, UserId};
use kalamdb_segments::{
    KeyLayout, LocalStorage, OpenSegment, PartitionName, Segment, SegmentCache, SegmentStorage, ShardingStrategy,
    sharding_strategy,
};
use kalamdb_store::PartitionId;
use kalamdb_store::codec::catalog::StorageRecord;
use kalamdb_store::codec::manifest::ManifestEntry;

use self::boundaries::Boundaries;
pub(crate) use self::partition::{PartitionSegments, Search, SegmentRead};
pub(crate) use self::ranges::{KeyRanges, KnownRanges};
use self::storages::Storages;
pub(crate) use self::storages::{Closed, Writing, check_segments, in_use, not_moved, open, segment_in};
use crate::catalog::TableEntry;

/// The storage that always exists.
pub(crate) const LOCAL_STORAGE: &str = "local";

/// Segments that are looked through for a row where others wait.
const FEW_SEGMENTS: usize = 4;
/// Of `storage.memory`, what footers and filters of segments may take: an eighth, beside what the backend takes.
const CACHE_SHARE: u64 = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct SegmentStores {
    local: Arc<dyn SegmentStorage>,
    local_files: Arc<LocalStorage>,
    local_root: PathBuf,
    others: Storages,
    boundaries: Boundaries,
    cache: SegmentCache,
    ranges: KnownRanges,
    user_template: String,
    shared_template: String,
}

/// Where a table's new segments go.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The storage's name.
    pub(crate) storage: String,
    pub(crate) files: Arc<dyn SegmentStorage>,
    pub(crate) template: PathTemplate,
    pub(crate) sharding: Arc<dyn ShardingStrategy>,
    /// The storage stays what it is for as long as this lives; none is needed for `local`.
    pub(crate) writing: Option<Arc<Writing>>,
}

impl SegmentStores {
    /// The storages of a server with these settings; touches nothing.
    pub(crate) fn new(settings: &StorageSettings) -> Result<Self> {
        let local_root = std::path::absolute(&settings.default_location).map_err(Error::internal)?;
        let local_files = Arc::new(LocalStorage::new(&local_root));
        Ok(Self {
            local: Arc::clone(&local_files) as Arc<dyn SegmentStorage>,
            local_files,
            local_root,
            others: Storages::default(),
            boundaries: Boundaries::default(),
            cache: SegmentCache::new(settings.memory / CACHE_SHARE),
            ranges: KnownRanges::default(),
            user_template: settings.user_path_template.clone(),
            shared_template: settings.shared_path_template.clone(),
        })
    }

    /// Which keys the segments of partitions may hold.
    pub(crate) fn ranges(&self) -> &KnownRanges {
        &self.ranges
    }

    /// Whether one of a partition's segments may hold a key, by what is in memory of them.
    pub(crate) fn may_hold(&self, known: &KeyRanges, key: &[u8]) -> bool {
        known.may_hold(key, |segment| self.cache.knows_absent(segment, key))
    }

    /// Whether a row under a key, with so many columns, is found quickly among some segments: few of them may hold it, and
    /// each is in memory as far as finding it there takes.
    pub(crate) fn find_quickly(&self, segments: &PartitionSegments, key: &[u8], columns: usize) -> bool {
        let bounds = (Bound::Included(key), Bound::Included(key));
        let mut around = segments.segments.iter().filter(|read| read.overlaps(bounds));
        let is_quick = |read: &SegmentRead| self.cache.finds_quickly(read.manifest.segment_id, key, columns);
        around.by_ref().take(FEW_SEGMENTS).all(is_quick) && around.next().is_none()
    }

    /// Those of a partition's segments that may hold a key, oldest first, by what is in memory of them.
    fn around(&self, known: &KeyRanges, key: &[u8]) -> Vec<u128> {
        known.around(key, |segment| self.cache.knows_absent(segment, key))
    }

    /// Makes the directory of storage `local`, if it is missing, and finds out whether it can be written.
    pub(crate) async fn prepare_local(&self) -> Result<()> {
        Ok(self.local_files.prepare().await?)
    }

    /// Where storage `local` is.
    pub(crate) fn local_root(&self) -> &Path {
        &self.local_root
    }

    /// Takes up the storages of a catalog.
    pub(crate) fn adopt(&self, storages: &BTreeMap<String, Arc<StorageRecord>>) {
        self.others.adopt(storages);
    }

    /// Keeps writers out of a storage that is going to be moved or taken away; waits for those that are there.
    ///
    /// # Errors
    /// [`ErrorCode::StorageNotFound`](kalamdb_commons::ErrorCode::StorageNotFound);
    /// [`ErrorCode::StorageInUse`](kalamdb_commons::ErrorCode::StorageInUse) where they do not leave.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn close(&self, name: &str) -> Result<Closed> {
        self.others.close(name).await
    }

    /// A storage by its name.
    ///
    /// # Errors
    /// [`ErrorCode::StorageNotFound`].
    pub(crate) fn storage(&self, name: &str) -> Result<Arc<dyn SegmentStorage>> {
        if name == LOCAL_STORAGE { Ok(Arc::clone(&self.local)) } else { self.others.get(name)?.files() }
    }

    /// Where a table's new segments go, as people are told.
    ///
    /// # Errors
    /// [`ErrorCode::StorageNotFound`].
    pub(crate) fn location(&self, entry: &TableEntry) -> Result<String> {
        match entry.definition.options.storage.as_deref() {
            None | Some(LOCAL_STORAGE) => Ok(self.local_root.display().to_string()),
            Some(name) => Ok(self.others.get(name)?.record.location.clone()),
        }
    }

    /// What other servers may read, too.
    pub(crate) fn boundaries(&self) -> &Boundaries {
        &self.boundaries
    }

    /// Forgets what is kept of a segment whose file is going to be deleted.
    pub(crate) fn forget(&self, segment_id: u128) {
        self.cache.forget(segment_id);
    }

    /// Where a table's options send its new segments.
    ///
    /// # Errors
    /// [`ErrorCode::StorageNotFound`], [`ErrorCode::InvalidOption`]; [`ErrorCode::StorageUnavailable`] while the storage is
    /// being altered.
    pub(crate) fn destination(&self, entry: &TableEntry) -> Result<Destination> {
        let options = &entry.definition.options;
        let storage = options.storage.clone().unwrap_or_else(|| LOCAL_STORAGE.to_owned());
        let (files, other, writing) = if storage == LOCAL_STORAGE {
            (Arc::clone(&self.local), None, None)
        } else {
            let (other, writing) = self.others.write_into(&storage)?;
            (other.files()?, Some(other), Some(Arc::new(writing)))
        };
        let record = other.as_ref().map(|other| &other.record);
        let (own, default) = match entry.table_type() {
            TableType::User | TableType::Stream => {
                (record.and_then(|record| record.user_path_template.as_ref()), &self.user_template)
            }
            TableType::Shared => {
                (record.and_then(|record| record.shared_path_template.as_ref()), &self.shared_template)
            }
        };
        let template = options.path_template.as_ref().or(own).unwrap_or(default);
        Ok(Destination {
            template: PathTemplate::parse(template, entry.table_type())?,
            sharding: sharding_strategy(options.sharding.as_deref())?,
            writing,
            files,
            storage,
        })
    }

    /// Opens one of a partition's segments.
    ///
    /// # Errors
    /// [`ErrorCode::DataCorrupted`] naming a segment whose file is not it; [`ErrorCode::StorageUnavailable`].
    pub(crate) async fn segment(
        &self,
        entry: &TableEntry,
        partition: &PartitionId,
        manifest: &ManifestEntry,
    ) -> Result<Segment> {
        let name = partition_name(entry, partition.user.clone());
        let key = KeyLayout::new(&entry.schema)?;
        let storage = self.storage(&manifest.storage)?;
        let open = OpenSegment { storage: &storage, manifest, partition: &name, key: &key };
        Ok(self.cache.open(open).await?)
    }
}

/// A partition as its files name it.
pub(crate) fn partition_name(entry: &TableEntry, user: Option<UserId>) -> PartitionName {
    let name = &entry.definition.name;
    PartitionName { namespace: name.namespace.clone(), table: name.table.clone(), user }
}
