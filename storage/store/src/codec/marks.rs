//! Delete marks: which of 65 536 rows of a segment are deleted.
//!
//! Our own container encoding, the smallest of a list, a bitmap and runs, so that a mark rewrites at
//! most 8 KiB (and 6 bytes of header) and the bytes do not depend on a crate.

use std::fmt;

use roaring::RoaringBitmap;

use super::bytes::{Reader, length};
use crate::StoreError;

const WHAT: &str = "delete marks";
const FORMAT: u8 = 1;
const KIND_LIST: u8 = 1;
const KIND_BITMAP: u8 = 2;
const KIND_RUNS: u8 = 3;
const BITMAP_BYTES: usize = 8192;

/// The deleted rows of one container, by their last 16 bits.
#[derive(Clone, PartialEq, Default)]
pub struct DeleteMarks {
    /// Invariant: holds no number above 65 535.
    rows: RoaringBitmap,
}

impl DeleteMarks {
    /// No row marked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The container a row of a segment is in, and its number there.
    #[must_use]
    pub fn locate(row: u64) -> Option<(u32, u16)> {
        let container = u32::try_from(row >> 16).ok()?;
        let [low, high, ..] = row.to_le_bytes();
        Some((container, u16::from_le_bytes([low, high])))
    }

    /// Marks a row; whether it was not marked before.
    pub fn insert(&mut self, row: u16) -> bool {
        self.rows.insert(u32::from(row))
    }

    /// Whether a row is marked.
    #[must_use]
    pub fn contains(&self, row: u16) -> bool {
        self.rows.contains(u32::from(row))
    }

    /// The rows that are marked here and not there.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self { rows: &self.rows - &other.rows }
    }

    /// How many rows are marked.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The marked rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.rows.iter().filter_map(|row| u16::try_from(row).ok())
    }

    /// The marked rows as ranges (first, last), ascending, neither touching nor overlapping.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let mut rows = self.iter().peekable();
        std::iter::from_fn(move || {
            let first = rows.next()?;
            let mut last = first;
            while let Some(next) = rows.next_if(|next| Some(*next) == last.checked_add(1)) {
                last = next;
            }
            Some((first, last))
        })
    }

    /// The marks as they are stored: the smallest of the three forms.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let list_bytes = usize::try_from(self.len()).unwrap_or(usize::MAX).saturating_mul(2);
        let runs = self.ranges().count();
        let mut out = vec![FORMAT];
        if list_bytes <= BITMAP_BYTES.min(runs * 4) {
            out.push(KIND_LIST);
            out.extend_from_slice(&length(list_bytes / 2));
            out.extend(self.iter().flat_map(u16::to_le_bytes));
        } else if runs * 4 < BITMAP_BYTES {
            out.push(KIND_RUNS);
            out.extend_from_slice(&length(runs));
            for (first, last) in self.ranges() {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&last.to_le_bytes());
            }
        } else {
            out.push(KIND_BITMAP);
            out.extend_from_slice(&length(list_bytes / 2));
            let mut bitmap = vec![0_u8; BITMAP_BYTES];
            for row in self.iter() {
                if let Some(byte) = bitmap.get_mut(usize::from(row / 8)) {
                    *byte |= 1 << (row % 8);
                }
            }
            out.extend_from_slice(&bitmap);
        }
        out
    }

    /// Reads stored marks.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::of_format(WHAT, bytes, FORMAT)?;
        let rows = match reader.u8()? {
            KIND_LIST => read_list(&mut reader)?,
            KIND_BITMAP => read_bitmap(&mut reader)?,
            KIND_RUNS => read_runs(&mut reader)?,
            other => return Err(reader.error(format!("unknown form {other}"))),
        };
        reader.finish()?;
        Ok(Self { rows })
    }
}

impl fmt::Debug for DeleteMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges().map(|(first, last)| first..=last)).finish()
    }
}

fn read_list(reader: &mut Reader<'_>) -> Result<RoaringBitmap, StoreError> {
    let mut rows = RoaringBitmap::new();
    for _ in 0..reader.count(2)? {
        let row = u32::from(reader.u16()?);
        rows.try_push(row).map_err(|_| reader.error(format!("row {row} is out of order")))?;
    }
    Ok(rows)
}

fn read_bitmap(reader: &mut Reader<'_>) -> Result<RoaringBitmap, StoreError> {
    let count = u64::from(reader.u32()?);
    let rows = RoaringBitmap::from_lsb0_bytes(0, reader.take(BITMAP_BYTES)?);
    if rows.len() == count {
        Ok(rows)
    } else {
        Err(reader.error(format!("{} rows marked where {count} expected", rows.len())))
    }
}

fn read_runs(reader: &mut Reader<'_>) -> Result<RoaringBitmap, StoreError> {
    let mut rows = RoaringBitmap::new();
    let mut least = 0_u32;
    for _ in 0..reader.count(4)? {
        let (first, last) = (u32::from(reader.u16()?), u32::from(reader.u16()?));
        if first < least || last < first {
            return Err(reader.error(format!("run {first} to {last} is out of order")));
        }
        rows.insert_range(first..=last);
        // Runs that touch would have been written as one.
        least = last + 2;
    }
    Ok(rows)
}
