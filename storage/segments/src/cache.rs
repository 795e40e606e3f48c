//! What is kept of segments in memory: footers, page indexes, bloom filters of the key, bounded in bytes.
//!
//! Scans and lookups get a [`Segment`] here. What always holds: whatever is in the cache was checked against the manifest
//! entry it was first asked for with; a segment's id is never used for another file, so nothing here goes stale.

mod load;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_store::codec::manifest::ManifestEntry;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::ParquetMetaData;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::bloom::{self, RowGroupBlooms};
use crate::checksum::Checksums;
use crate::error::Result;
use crate::key::KeyLayout;
use crate::metadata::PartitionName;
use crate::path::SegmentPath;
use crate::segment::Segment;
use crate::storage::SegmentStorage;
use crate::zones::KeyZones;

/// Bytes of a part of the cache that locks by itself: more than the footer of the largest segment and its filters, some
/// 300 KiB for each row group.
const PART_BYTES: u64 = 32 << 20;
const MOST_PARTS: usize = 16;

/// What a file's footer holds, taken apart.
pub(crate) struct LoadedSegment {
    pub(crate) metadata: Arc<ParquetMetaData>,
    /// Columns as views where they are text or bytes; without and with the row's position as last column.
    pub(crate) columns: ArrowReaderMetadata,
    pub(crate) columns_and_position: ArrowReaderMetadata,
    /// The places of columns by `field_id`.
    pub(crate) leaves: HashMap<i32, usize>,
    pub(crate) layout: KeyLayout,
    /// The places of the key's columns, in key order.
    pub(crate) key_leaves: Vec<usize>,
    pub(crate) zones: KeyZones,
    pub(crate) blooms: Vec<RowGroupBlooms>,
    pub(crate) checksums: Arc<Checksums>,
    /// First row of each row group, and the number of rows at the end.
    pub(crate) row_group_starts: Vec<u64>,
}

impl LoadedSegment {
    fn memory_bytes(&self) -> usize {
        let blooms: usize = self.blooms.iter().flatten().flatten().map(bloom::memory_bytes).sum();
        // The Arrow schemas, and what is not counted one by one.
        let columns = self.leaves.len() * 512;
        self.metadata.memory_size()
            + self.zones.memory_bytes()
            + blooms
            + columns
            + self.checksums.memory_bytes()
            + self.row_group_starts.len() * 8
            + 1024
    }
}

impl fmt::Debug for LoadedSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedSegment").field("row_groups", &self.blooms.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
struct ByMemory;

impl Weighter<u128, Arc<LoadedSegment>> for ByMemory {
    fn weight(&self, _id: &u128, segment: &Arc<LoadedSegment>) -> u64 {
        segment.memory_bytes() as u64
    }
}

/// What a segment is opened with.
#[derive(Debug, Clone, Copy)]
pub struct OpenSegment<'a> {
    /// The storage that the manifest entry names.
    pub storage: &'a Arc<dyn SegmentStorage>,
    /// The entry.
    pub manifest: &'a ManifestEntry,
    /// Whose partition the entry is of.
    pub partition: &'a PartitionName,
    /// The table's key.
    pub key: &'a KeyLayout,
}

/// Footers and filters of segments, shared by everybody who reads.
pub struct SegmentCache {
    segments: Cache<u128, Arc<LoadedSegment>, ByMemory>,
    loads: AtomicU64,
}

impl SegmentCache {
    /// A cache of at most so many bytes.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        // A footer with its filters has some tens of kilobytes.
        let expected = usize::try_from(capacity_bytes / (32 << 10)).unwrap_or(usize::MAX).clamp(16, 1 << 16);
        // What does not fit into its part of the cache is never kept: each part takes the largest segment.
        // A power of two of them, which the cache would round up to.
        let parts = usize::try_from(capacity_bytes / PART_BYTES).unwrap_or(usize::MAX).clamp(1, MOST_PARTS);
        let parts = 1 << parts.ilog2();
        let options = OptionsBuilder::new()
            .estimated_items_capacity(expected)
            .weight_capacity(capacity_bytes)
            .shards(parts)
            .build();
        let segments = match options {
            Ok(options) => {
                Cache::with_options(options, ByMemory, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            // Only options that are not set are refused.
            Err(_) => Cache::with_weighter(expected, capacity_bytes, ByMemory),
        };
        Self { segments, loads: AtomicU64::new(0) }
    }

    /// A segment to read from: its footer is in memory then, and was checked. Of several callers who miss the same
    /// segment one reads it.
    ///
    /// # Errors
    /// [`Missing`](crate::SegmentError::Missing) or [`Damaged`](crate::SegmentError::Damaged) when the file is not the segment that the manifest
    /// takes it for, [`Unavailable`](crate::SegmentError::Unavailable) when its storage does not answer. Nothing is kept of a
    /// failure.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open(&self, open: OpenSegment<'_>) -> Result<Segment> {
        let path = SegmentPath::parse(&open.manifest.path)?;
        let load = async {
            self.loads.fetch_add(1, Ordering::Relaxed);
            load::load(&open, &path).await.map(Arc::new)
        };
        let loaded = self.segments.get_or_insert_async(&open.manifest.segment_id, load).await?;
        Ok(Segment::new(Arc::clone(open.storage), path, loaded, open.manifest))
    }

    /// Whether what is in memory of a segment says that it has no row under an encoded key. Opens nothing, and so needs no
    /// pin; `false` of a segment of which nothing is in memory.
    #[must_use]
    pub fn knows_absent(&self, segment_id: u128, key: &[u8]) -> bool {
        self.segments.get(&segment_id).is_some_and(|loaded| loaded.is_without(key))
    }

    /// Whether a row under an encoded key, with so many columns, is found in a segment by decoding a few pages: then that may
    /// be done where others wait. Opens nothing; `false` of a segment of which nothing is in memory.
    #[must_use]
    pub fn finds_quickly(&self, segment_id: u128, key: &[u8], columns: usize) -> bool {
        self.segments.get(&segment_id).is_some_and(|loaded| loaded.finds_quickly(key, columns))
    }

    /// Forgets a segment whose file is going to be deleted.
    pub fn forget(&self, segment_id: u128) {
        self.segments.remove(&segment_id);
    }

    /// Bytes in use.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.weight()
    }

    /// Segments in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Footers that were read so far.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for SegmentCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentCache")
            .field("segments", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
