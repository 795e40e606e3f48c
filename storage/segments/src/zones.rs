//! Where in a segment a key can be: bounds of the encoded key for each stretch of rows, made of the page indexes of the key
//! columns when a segment is first read.
//!
//! What always holds: rows ascend by key (SE-1), so what is learned of one zone holds for all before or after it; a
//! bound that the file does not have is taken as open. Zones are a superset of the truth, never less.

use std::ops::{Bound, Range};

use kalamdb_sql::{ColumnType, Value};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::key::{KeyKind, KeyLayout, encode_component, parse_uuid};

/// Bounds of text and bytes may be cut at this length or a little above.
const CUT_BOUND_BYTES: usize = 60;

/// Rows between two page borders of the key columns.
#[derive(Debug, Clone)]
struct Zone {
    rows: Range<u64>,
    /// No key of this zone or a later one is below it.
    lower: Box<[u8]>,
    /// Whether it is the first key of the zone: then all keys of earlier zones are below it.
    is_exact: bool,
    /// No key of this zone is above it, except for those that it begins; none: open.
    upper: Option<Box<[u8]>>,
}

impl Zone {
    /// Whether all keys of the zone (and so of those before it) are below a key, or the first components of one.
    fn is_below(&self, key: &[u8]) -> bool {
        self.upper.as_ref().is_some_and(|upper| upper.as_ref() < key && !key.starts_with(upper))
    }
}

/// The zones of a segment, in the order of its rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyZones {
    zones: Vec<Zone>,
}

/// A page's least and greatest component; none where that is not known.
type LeastAndMost = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Bounds of one key column, page by page.
struct PageBounds {
    first_rows: Vec<u64>,
    bounds: Vec<LeastAndMost>,
    /// NaN counts in no bound, and is greater than all of them.
    is_float: bool,
}

impl KeyZones {
    /// `leaves` are the key columns' places in the file; `Err` says what is wrong with it.
    pub(crate) fn new(
        metadata: &ParquetMetaData,
        layout: &KeyLayout,
        leaves: &[usize],
    ) -> std::result::Result<Self, String> {
        let mut zones = Vec::new();
        let mut first_row = 0;
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let rows =
                u64::try_from(group.num_rows()).map_err(|_| "a row group has a negative number of rows".to_owned())?;
            let mut pages = Vec::with_capacity(leaves.len());
            for (part, leaf) in layout.parts().iter().zip(leaves) {
                pages.push(page_bounds(metadata, number, *leaf, part.kind)?);
            }
            let mut borders: Vec<u64> = pages.iter().flat_map(|pages| pages.first_rows.iter().copied()).collect();
            borders.push(0);
            borders.sort_unstable();
            borders.dedup();
            borders.retain(|border| *border < rows);
            for (at, start) in borders.iter().enumerate() {
                let end = borders.get(at + 1).copied().unwrap_or(rows);
                let ZoneBounds { lower, is_exact, upper } = bounds_of(&pages, *start);
                let rows = first_row + start..first_row + end;
                zones.push(Zone { rows, lower: lower.into(), is_exact, upper: upper.map(Into::into) });
            }
            first_row += rows;
        }
        let leads_with_float = matches!(layout.parts().first(), Some(part) if is_float(part.kind));
        if leads_with_float {
            bound_by_followers(&mut zones);
        }
        // Keys ascend, so a later zone is bounded by the earlier ones too.
        let mut least: Box<[u8]> = Box::default();
        for zone in &mut zones {
            if zone.lower < least {
                zone.lower.clone_from(&least);
            }
            least.clone_from(&zone.lower);
        }
        Ok(Self { zones })
    }

    /// The rows among which a key is, if it is there at all.
    pub(crate) fn rows_of(&self, key: &[u8]) -> Range<u64> {
        self.rows_between(Bound::Included(key), Bound::Included(key))
    }

    /// The rows among which all keys of a range are. A bound may be a key or the first components of one: included
    /// means every key that begins so, excluded none of them.
    pub(crate) fn rows_between(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Range<u64> {
        let past = match end {
            Bound::Unbounded => self.zones.len(),
            Bound::Included(key) => {
                self.zones.partition_point(|zone| zone.lower.as_ref() <= key || zone.lower.starts_with(key))
            }
            Bound::Excluded(key) => self.zones.partition_point(|zone| zone.lower.as_ref() < key),
        };
        let first = match start {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => {
                let mut first = self.zones.partition_point(|zone| zone.lower.as_ref() <= key).min(past);
                // A zone that ends below the key has only such zones before it, and so has one that begins at it or below.
                while let Some(before) = first.checked_sub(1).and_then(|at| self.zones.get(at)) {
                    if before.is_below(key) {
                        break;
                    }
                    first -= 1;
                    if before.is_exact {
                        break;
                    }
                }
                first
            }
        };
        match self.zones.get(first..past) {
            Some([first, .., last]) => first.rows.start..last.rows.end,
            Some([only]) => only.rows.clone(),
            Some([]) | None => 0..0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let bounds: usize =
            self.zones.iter().map(|zone| zone.lower.len() + zone.upper.as_ref().map_or(0, |upper| upper.len())).sum();
        self.zones.len() * size_of::<Zone>() + bounds
    }
}

/// What is known of the keys of one zone.
#[derive(Default)]
struct ZoneBounds {
    lower: Vec<u8>,
    is_exact: bool,
    upper: Option<Vec<u8>>,
}

/// Bounds of the key in the zone that begins at a row of its row group.
fn bounds_of(pages: &[PageBounds], row: u64) -> ZoneBounds {
    let mut lower = Vec::new();
    let mut upper = Vec::new();
    let mut has_upper = true;
    let mut is_exact = true;
    for (at, column) in pages.iter().enumerate() {
        let page = column.first_rows.partition_point(|first| *first <= row).checked_sub(1);
        let (least, most) = match page.and_then(|page| column.bounds.get(page)) {
            Some((least, most)) => (least.as_deref(), most.as_deref()),
            None => (None, None),
        };
        // Cut bounds and those of a page that began earlier are somewhere below.
        let begins_here = page.and_then(|page| column.first_rows.get(page)) == Some(&row);
        is_exact &= begins_here && least.is_some_and(|least| least.len() < CUT_BOUND_BYTES);
        lower.extend_from_slice(least.unwrap_or_default());
        match most.filter(|_| !column.is_float) {
            Some(most) => upper.extend_from_slice(most),
            None => has_upper = at > 0,
        }
        // A second component narrows the bounds only where the first is the same in the whole zone.
        if least.is_none() || least != most || column.is_float {
            is_exact &= at + 1 == pages.len();
            break;
        }
    }
    ZoneBounds { lower, is_exact, upper: has_upper.then_some(upper) }
}

fn page_bounds(
    metadata: &ParquetMetaData,
    number: usize,
    leaf: usize,
    kind: KeyKind,
) -> std::result::Result<PageBounds, String> {
    let pages = metadata.offset_index().and_then(|index| index.get(number)?.get(leaf));
    let locations = pages.ok_or_else(|| "it has no page index".to_owned())?.page_locations();
    let first_rows = locations
        .iter()
        .map(|page| u64::try_from(page.first_row_index).map_err(|_| "a page begins at a negative row".to_owned()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let ascending = first_rows.first() == Some(&0) && first_rows.is_sorted_by(|one, next| one < next);
    if !ascending {
        return Err("the pages of a key column are out of order".to_owned());
    }
    let bounds = metadata
        .column_index()
        .and_then(|index| index.get(number)?.get(leaf))
        .map(|index| (0..first_rows.len()).map(|page| bounds_of_page(index, page, kind)).collect())
        .unwrap_or_default();
    Ok(PageBounds { first_rows, bounds, is_float: is_float(kind) })
}

fn is_float(kind: KeyKind) -> bool {
    matches!(kind, KeyKind::Column(ColumnType::Float | ColumnType::Double))
}

/// Of a page of floats the greatest is not known, for it may be NaN; but the least of the next page is, exactly.
fn bound_by_followers(zones: &mut [Zone]) {
    let mut follower: Option<Box<[u8]>> = None;
    for zone in zones.iter_mut().rev() {
        if zone.upper.is_none() {
            zone.upper = follower.take();
        }
        follower = Some(zone.lower.clone()).filter(|lower| !lower.is_empty());
    }
}

/// A page's least and greatest value as components of a key; none where the file does not say.
fn bounds_of_page(index: &ColumnIndexMetaData, page: usize, kind: KeyKind) -> LeastAndMost {
    // Without bounds there is nothing else to ask for (a page of NaN alone leaves its column without).
    let has_bounds = !matches!(index, ColumnIndexMetaData::NONE)
        && u64::try_from(page).is_ok_and(|page| page < index.num_pages())
        && !index.is_null_page(page);
    if !has_bounds {
        return (None, None);
    }
    let both = |least: Option<Value>, most: Option<Value>| (component(kind, least), component(kind, most));
    match index {
        ColumnIndexMetaData::BOOLEAN(pages) => both(
            pages.min_value(page).map(|value| Value::Boolean(*value)),
            pages.max_value(page).map(|value| Value::Boolean(*value)),
        ),
        ColumnIndexMetaData::INT32(pages) => both(
            pages.min_value(page).and_then(|number| from_i32(kind, *number)),
            pages.max_value(page).and_then(|number| from_i32(kind, *number)),
        ),
        ColumnIndexMetaData::INT64(pages) => both(
            pages.min_value(page).and_then(|number| from_i64(kind, *number)),
            pages.max_value(page).and_then(|number| from_i64(kind, *number)),
        ),
        ColumnIndexMetaData::FLOAT(pages) => both(
            pages.min_value(page).map(|number| Value::Float(*number)),
            pages.max_value(page).map(|number| Value::Float(*number)),
        ),
        ColumnIndexMetaData::DOUBLE(pages) => both(
            pages.min_value(page).map(|number| Value::Double(*number)),
            pages.max_value(page).map(|number| Value::Double(*number)),
        ),
        ColumnIndexMetaData::BYTE_ARRAY(pages) | ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(pages) => both(
            pages.min_value(page).and_then(|bytes| from_bytes(kind, bytes)),
            pages.max_value(page).and_then(|bytes| from_bytes(kind, bytes)),
        ),
        ColumnIndexMetaData::NONE | ColumnIndexMetaData::INT96(_) => (None, None),
    }
}

fn component(kind: KeyKind, value: Option<Value>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    encode_component(&mut out, kind, &value?).ok()?;
    Some(out)
}

fn from_i32(kind: KeyKind, number: i32) -> Option<Value> {
    match kind {
        KeyKind::Column(ColumnType::SmallInt) => i16::try_from(number).ok().map(Value::SmallInt),
        KeyKind::Column(ColumnType::Int) => Some(Value::Int(number)),
        KeyKind::Column(ColumnType::Date) => Some(Value::Date(number)),
        KeyKind::Column(ColumnType::Decimal { .. }) => Some(Value::Decimal(number.into())),
        KeyKind::Column(_) | KeyKind::RowNumber => None,
    }
}

fn from_i64(kind: KeyKind, number: i64) -> Option<Value> {
    match kind {
        KeyKind::RowNumber | KeyKind::Column(ColumnType::BigInt) => Some(Value::BigInt(number)),
        KeyKind::Column(ColumnType::Timestamp) => Some(Value::Timestamp(number)),
        KeyKind::Column(ColumnType::Decimal { .. }) => Some(Value::Decimal(number.into())),
        KeyKind::Column(_) => None,
    }
}

fn from_bytes(kind: KeyKind, bytes: &[u8]) -> Option<Value> {
    match kind {
        // Cut text need not be text; its bytes sort and encode the same.
        KeyKind::Column(ColumnType::Text | ColumnType::Json | ColumnType::Bytes) => Some(Value::Bytes(bytes.to_vec())),
        KeyKind::Column(ColumnType::Uuid) => parse_uuid(std::str::from_utf8(bytes).ok()?).ok().map(Value::Uuid),
        KeyKind::Column(ColumnType::Decimal { .. }) => from_big_endian(bytes).map(Value::Decimal),
        KeyKind::Column(_) | KeyKind::RowNumber => None,
    }
}

/// A big-endian number of up to 16 bytes, two's complement.
fn from_big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [fill; 16];
    whole.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

#[cfg(test)]
mod tests;
