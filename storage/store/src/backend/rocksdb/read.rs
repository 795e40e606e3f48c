//! Gets and scans, on whichever thread they are called.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use kalamdb_commons::Family;
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions};

use super::database::Database;
use super::shared::RawSnapshot;
use super::{KeysRead, failed};
use crate::StoreError;
use crate::backend::{Direction, KeyRange, ScanChunk, ScanRequest};

/// So many entries as the first of a scan are made room for: a buffer that grows is copied again and again.
const FEW_ENTRIES: usize = 256;

/// All values at one instant, that of the snapshot or now.
pub(super) fn get_many(
    database: &Database,
    snapshot: Option<&RawSnapshot<'_>>,
    family: Family,
    keys: &[Bytes],
) -> Result<Vec<Option<Bytes>>, StoreError> {
    let mut options = ReadOptions::default();
    if let Some(snapshot) = snapshot {
        options.set_snapshot(snapshot);
    }
    let handle = database.family(family)?;
    let copy = |value: Option<rocksdb::DBPinnableSlice<'_>>| value.map(|value| Bytes::copy_from_slice(&value));
    match keys {
        [] => Ok(Vec::new()),
        [key] => {
            let value = database.db.get_pinned_cf_opt(handle, key, &options).map_err(failed("read"))?;
            Ok(vec![copy(value)])
        }
        keys => {
            let values = database.db.batched_multi_get_cf_opt(handle, keys, false, &options);
            values.into_iter().map(|value| value.map(copy).map_err(failed("read"))).collect()
        }
    }
}

/// One part of a range; looks one entry beyond it, never beyond the range.
pub(super) fn scan(
    database: &Database,
    snapshot: &RawSnapshot<'_>,
    request: &ScanRequest,
    keys_read: &KeysRead,
) -> Result<ScanChunk, StoreError> {
    let mut chunk = ScanChunk::default();
    let Some(options) = bounds(&request.range) else {
        return Ok(chunk);
    };
    let skipped = SkippedDeletions::begin();
    let mut iterator = snapshot.raw_iterator_cf_opt(database.family(request.range.family)?, options);
    match request.direction {
        Direction::Forward => iterator.seek_to_first(),
        Direction::Backward => iterator.seek_to_last(),
    }
    let mut looked_at = 0;
    while let Some((key, value)) = iterator.item() {
        looked_at += 1;
        if request.is_full(&chunk.entries) {
            chunk.rest = request.rest(key, &chunk.entries);
            break;
        }
        if looked_at == 1 {
            chunk.entries.expect(request.limit.min(FEW_ENTRIES), key.len() + value.len());
        }
        chunk.entries.push(key, value);
        match request.direction {
            Direction::Forward => iterator.next(),
            Direction::Backward => iterator.prev(),
        }
    }
    keys_read.fetch_add(looked_at + skipped.count(), Ordering::Relaxed);
    iterator.status().map_err(failed("scan"))?;
    Ok(chunk)
}

/// The last key of a family, of whatever is written by now.
pub(super) fn last_key(database: &Database, family: Family) -> Result<Option<Bytes>, StoreError> {
    let handle = database.family(family)?;
    let mut iterator: DBRawIteratorWithThreadMode<'_, _> = database.db.raw_iterator_cf(handle);
    iterator.seek_to_last();
    let last = iterator.key().map(Bytes::copy_from_slice);
    iterator.status().map_err(failed("read"))?;
    Ok(last)
}

/// The range as the iterator's own bounds, so that it stops there even among deletions; none if empty.
fn bounds(range: &KeyRange) -> Option<ReadOptions> {
    let mut options = ReadOptions::default();
    if let Some(end) = &range.end {
        if *end <= range.start {
            return None;
        }
        options.set_iterate_upper_bound(end.to_vec());
    }
    if !range.start.is_empty() {
        options.set_iterate_lower_bound(range.start.to_vec());
    }
    // Files that were waiting for this iterator are deleted in the background, not by the reader.
    options.set_background_purge_on_iterator_cleanup(true);
    Some(options)
}

/// Deleted entries that this thread's iterators step over: no caller sees them, every caller pays.
struct SkippedDeletions {
    context: PerfContext,
    before: u64,
}

impl SkippedDeletions {
    fn begin() -> Self {
        set_perf_stats(PerfStatsLevel::EnableCount);
        let context = PerfContext::default();
        let before = context.metric(PerfMetric::InternalDeleteSkippedCount);
        Self { context, before }
    }

    fn count(&self) -> u64 {
        self.context.metric(PerfMetric::InternalDeleteSkippedCount).saturating_sub(self.before)
    }
}
