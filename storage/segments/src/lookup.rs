//! Where keys are in a segment: bounds and bloom filters in memory first, then the pages that are left.
//!
//! What always holds: a key that is in the file is found; one that is not found is not there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use futures::TryStreamExt as _;
use kalamdb_sql::Value;

use crate::bloom::Probe;
use crate::cache::LoadedSegment;
use crate::error::{Result, SegmentError};
use crate::key::KeyColumns;
use crate::marks::RowRanges;
use crate::projection::{KeyedProjection, SegmentProjection};
use crate::segment::{RowRead, Segment};
use crate::writer::PAGE_ROWS;

/// Most rows of which all columns are decoded to read one: two pages, between whose bounds a key may lie.
const MOST_ROWS_AT_ONCE: u64 = 2 * PAGE_ROWS as u64;
/// About so many bytes of the pages they are in, before compression: wide rows are read one by one.
const MOST_BYTES_AT_ONCE: u64 = 384 << 10;
/// Keys that are looked for without giving way.
const FEW_KEYS: usize = 16;
/// Of many keys, those that are looked at in one go.
const KEYS_AT_ONCE: usize = 1024;
/// Columns of a row that is found quickly: each has a page of its own.
const FEW_COLUMNS: usize = 16;

/// Where keys are, and what it took to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// For each key its row's place in the file, marked or not; none where the file does not have it.
    pub positions: Vec<Option<u64>>,
    /// What it took.
    pub work: LookupWork,
}

/// What a lookup did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LookupWork {
    /// Keys outside the bounds of every page.
    pub keys_out_of_range: u64,
    /// Keys that a bloom filter knew to be absent.
    pub keys_rejected_by_bloom: u64,
    /// Pages read.
    pub pages_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
}

/// A key that may be in the file.
struct Candidate<'a> {
    key: &'a [u8],
    /// Its place among the keys asked for.
    at: usize,
    rows: Range<u64>,
}

impl Segment {
    /// Looks for encoded keys (row numbers, in a table without primary key).
    ///
    /// # Errors
    /// [`SegmentError::Misused`] for bytes that are no key of the table, else as for a scan.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn find(&self, keys: &[&[u8]]) -> Result<Lookup> {
        let mut lookup = Lookup { positions: vec![None; keys.len()], work: LookupWork::default() };
        let mut candidates = Vec::new();
        for (at, key) in keys.iter().copied().enumerate() {
            if at % KEYS_AT_ONCE == KEYS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let rows = self.rows_to_search(key, &mut lookup.work)?;
            if !rows.is_empty() {
                candidates.push(Candidate { key, at, rows });
            }
        }
        if candidates.is_empty() {
            return Ok(lookup);
        }
        let ranges = RowRanges::new(candidates.iter().map(|candidate| candidate.rows.clone()).collect());
        let projection = KeyPages::projection(self)?;
        let is_few = keys.len() <= FEW_KEYS && ranges.rows() <= MOST_ROWS_AT_ONCE;
        let read = RowRead::of(projection, is_few);
        let stream = self.read_rows(&ranges, &read, None)?;
        let pages = KeyPages::new(self, &ranges, &stream.try_collect::<Vec<_>>().await?)?;
        lookup.work.pages_read += read.counters.ranges();
        lookup.work.bytes_read += read.counters.bytes();
        for (count, candidate) in candidates.into_iter().enumerate() {
            if count % KEYS_AT_ONCE == KEYS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let position = pages.position(&candidate).map_err(|message| self.damaged(message))?;
            if let Some(place) = lookup.positions.get_mut(candidate.at) {
                *place = position;
            }
        }
        Ok(lookup)
    }

    /// The rows among which a key may be; none where bounds or filters know that it is not there.
    fn rows_to_search(&self, key: &[u8], work: &mut LookupWork) -> Result<Range<u64>> {
        let rows = self.loaded.zones.rows_of(key);
        if rows.is_empty() {
            work.keys_out_of_range += 1;
            return Ok(rows);
        }
        let values = self.loaded.layout.values(key)?;
        let rows = self.loaded.rows_past_blooms(&values, rows);
        work.keys_rejected_by_bloom += u64::from(rows.is_empty());
        Ok(rows)
    }

    /// The row under one encoded key: its place in the file, marked or not, and its columns, as a batch of one.
    ///
    /// Where a few pages are left to look in, their keys and the columns are one read: cheaper than a [`find`](Self::find) and
    /// a [`fetch`](Self::fetch), each of which sets up a reader of its own.
    ///
    /// # Errors
    /// As those two.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn find_row(&self, key: &[u8], columns: &KeyedProjection) -> Result<Option<(u64, RecordBatch)>> {
        let rows = self.rows_to_search(key, &mut LookupWork::default())?;
        if rows.is_empty() {
            return Ok(None);
        }
        let bound = self.bind(columns.with_key())?;
        if rows.end - rows.start > MOST_ROWS_AT_ONCE
            || self.loaded.bytes_of(&rows, bound.decoded.iter().copied()) > MOST_BYTES_AT_ONCE
        {
            let Some(position) = self.find(&[key]).await?.positions.first().copied().flatten() else { return Ok(None) };
            return Ok(Some((position, self.fetch(&[position], columns.own()).await?)));
        }
        let read = RowRead::of(bound, true);
        let stream = self.read_rows(&RowRanges::new(vec![rows.clone()]), &read, None)?;
        let batches: Vec<_> = stream.try_collect().await?;
        let batch = match batches.as_slice() {
            [only] => only,
            several => &concat_batches(columns.with_key().schema(), several)?,
        };
        let (row, keys) = columns.split(batch);
        let keys = KeyColumns::new(&self.loaded.layout, keys).map_err(|message| self.damaged(message))?;
        let found = search(&keys, 0..keys.rows(), key).map_err(|message| self.damaged(message))?;
        let Some(at) = found else { return Ok(None) };
        let row = row.iter().map(|column| column.slice(at, 1)).collect();
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::clone(columns.own().schema()), row, &one)?;
        Ok(Some((rows.start + at as u64, row)))
    }

    /// Reads rows by their places, each once, in ascending order.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] for a place past the end, else as for a scan.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn fetch(&self, positions: &[u64], projection: &Arc<SegmentProjection>) -> Result<RecordBatch> {
        if let Some(past) = positions.iter().find(|position| **position >= self.rows()) {
            return Err(SegmentError::Misused(format!("row {past} of a segment of {}", self.rows())));
        }
        let bound = self.bind(projection)?;
        let ranges = RowRanges::new(positions.iter().map(|position| *position..*position + 1).collect());
        let stream = self.read_rows(&ranges, &RowRead::of(bound, positions.len() <= FEW_KEYS), None)?;
        let batches: Vec<_> = stream.try_collect().await?;
        match batches.as_slice() {
            [only] => Ok(only.clone()),
            several => Ok(concat_batches(projection.schema(), several)?),
        }
    }
}

impl LoadedSegment {
    /// Whether bounds and filters know that the file has no row under an encoded key. Reads nothing.
    pub(crate) fn is_without(&self, key: &[u8]) -> bool {
        let rows = self.zones.rows_of(key);
        if rows.is_empty() {
            return true;
        }
        // Of bytes that are no key nothing is said: whoever looks for them is told.
        self.layout.values(key).is_ok_and(|values| self.rows_past_blooms(&values, rows).is_empty())
    }

    /// Whether few pages of few columns are left to look for a key in, and few bytes.
    pub(crate) fn finds_quickly(&self, key: &[u8], columns: usize) -> bool {
        let rows = self.zones.rows_of(key);
        let Ok(values) = self.layout.values(key) else { return false };
        let rows = self.rows_past_blooms(&values, rows);
        columns <= FEW_COLUMNS
            && rows.end - rows.start <= MOST_ROWS_AT_ONCE
            && self.bytes_of(&rows, 0..self.leaves.len()) <= MOST_BYTES_AT_ONCE
    }

    /// About how many bytes the pages of some columns have in which some rows are, before compression.
    fn bytes_of(&self, rows: &Range<u64>, leaves: impl Iterator<Item = usize> + Clone) -> u64 {
        let mut bytes = 0_u64;
        for (number, borders) in self.row_group_starts.windows(2).enumerate() {
            let &[start, end] = borders else { continue };
            let here = rows.start.max(start)..rows.end.min(end);
            let Some(group) = self.metadata.row_groups().get(number).filter(|_| !here.is_empty()) else { continue };
            for leaf in leaves.clone() {
                let Some(column) = group.columns().get(leaf) else { continue };
                let whole = u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX);
                let index = self.metadata.offset_index().and_then(|index| index.get(number)?.get(leaf));
                let Some(index) = index else {
                    bytes = bytes.saturating_add(whole);
                    continue;
                };
                let pages = index.page_locations();
                let row = |row: u64| i64::try_from(row - start).unwrap_or(i64::MAX);
                let first = pages.partition_point(|page| page.first_row_index <= row(here.start)).saturating_sub(1);
                let last = pages.partition_point(|page| page.first_row_index < row(here.end));
                let compressed: u64 = pages
                    .get(first..last)
                    .unwrap_or_default()
                    .iter()
                    .map(|page| u64::try_from(page.compressed_page_size).unwrap_or(u64::MAX))
                    .fold(0, u64::saturating_add);
                // They grow as the column does, of which the widest rows are the most.
                let all = u128::try_from(column.compressed_size()).unwrap_or_default().max(1);
                let grown = u128::from(compressed) * u128::from(whole) / all;
                bytes = bytes.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX));
            }
        }
        bytes
    }

    /// Takes away the rows of row groups whose filters do not know the key.
    fn rows_past_blooms(&self, values: &[Value], rows: Range<u64>) -> Range<u64> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mut probes: Option<Vec<Option<Probe>>> = None;
        let mut left: Option<Range<u64>> = None;
        for (blooms, borders) in self.blooms.iter().zip(self.row_group_starts.windows(2)) {
            let &[start, end] = borders else { continue };
            let here = rows.start.max(start)..rows.end.min(end);
            if here.is_empty() {
                continue;
            }
            let probes = probes.get_or_insert_with(|| {
                let leaves = self.layout.parts().iter().zip(&self.key_leaves).zip(values);
                leaves
                    .map(|((part, leaf), value)| {
                        let column = schema.column(*leaf);
                        Probe::new(part.kind, value, column.physical_type(), column.type_length())
                    })
                    .collect()
            });
            let may_be_here = blooms.iter().zip(probes.iter()).all(|(filter, probe)| match (filter, probe) {
                (Some(filter), Some(probe)) => probe.may_be_in(filter),
                (None, _) | (_, None) => true,
            });
            if may_be_here {
                left = Some(left.map_or(here.start, |before: Range<u64>| before.start)..here.end);
            }
        }
        left.unwrap_or(0..0)
    }
}

/// The keys of some rows, decoded.
struct KeyPages {
    keys: KeyColumns,
    /// First row of each stretch in the file, and where it begins here.
    stretches: BTreeMap<u64, usize>,
}

impl KeyPages {
    fn projection(segment: &Segment) -> Result<crate::projection::BoundProjection> {
        let loaded = &segment.loaded;
        SegmentProjection::of_key(&loaded.layout)
            .bind(&loaded.leaves, loaded.columns.schema())
            .map_err(|message| segment.damaged(message))
    }

    fn new(segment: &Segment, ranges: &RowRanges, batches: &[RecordBatch]) -> Result<Self> {
        let columns = match batches {
            [only] => only.columns().to_vec(),
            [] => Vec::new(),
            [first, ..] => concat_batches(&first.schema(), batches)?.columns().to_vec(),
        };
        let mut stretches = BTreeMap::new();
        let mut rows = 0;
        for range in ranges.as_slice() {
            stretches.insert(range.start, rows);
            rows +=
                usize::try_from(range.end - range.start).map_err(|error| SegmentError::Misused(error.to_string()))?;
        }
        let keys = KeyColumns::new(&segment.loaded.layout, &columns).map_err(|message| segment.damaged(message))?;
        if keys.rows() != rows {
            return Err(segment.damaged(format!("{} keys where {rows} were read", keys.rows())));
        }
        Ok(Self { keys, stretches })
    }

    /// Where the key is in the file; `Err` says what is wrong with the keys there.
    fn position(&self, candidate: &Candidate<'_>) -> std::result::Result<Option<u64>, String> {
        let Some((first, place)) = self.stretches.range(..=candidate.rows.start).next_back() else { return Ok(None) };
        let offset =
            |row: u64| usize::try_from(row - first).map(|rows| place + rows).map_err(|error| error.to_string());
        let rows = offset(candidate.rows.start)?..offset(candidate.rows.end)?;
        Ok(search(&self.keys, rows, candidate.key)?.map(|found| first + (found - place) as u64))
    }
}

/// Where an encoded key is among rows in the order of their keys; `Err` says what is wrong with those.
fn search(keys: &KeyColumns, rows: Range<usize>, wanted: &[u8]) -> std::result::Result<Option<usize>, String> {
    let (mut low, mut high) = (rows.start, rows.end);
    let mut found = Vec::with_capacity(wanted.len());
    while low < high {
        let middle = low + (high - low) / 2;
        found.clear();
        keys.encode(middle, &mut found)?;
        match found.as_slice().cmp(wanted) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Ok(Some(middle)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
