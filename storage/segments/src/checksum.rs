//! Checksums of a segment's data, block by block, for Parquet's own are not written by our encoder.
//!
//! What always holds (SE-5): no byte of a page or bloom filter reaches a decoder before the CRC-32 of its block was compared with
//! the footer's. The indexes and the footer itself are behind the last block, the *tail*: its own checksum stands in the footer, and is
//! computed with zeros in its place. It is compared before anything that the footer says is used.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;

/// Bytes of a block; the last one may be shorter. A point read of a page of some kilobytes reads and checks one or two.
pub(crate) const BLOCK_BYTES: u64 = 16 << 10;

const ALGORITHM: &str = "crc32";

/// What the tail's checksum looks like while it is not known. The last text of a footer that begins like that: bounds of
/// columns may hold any text, and come before.
pub(crate) const TAIL_PLACEHOLDER: &str = "crc32-of-tail 00000000";
const TAIL_MARK: &str = "crc32-of-tail ";

/// The bytes of the tail's checksum in it.
fn tail_digits(tail: &[u8]) -> Option<Range<usize>> {
    let start = tail.windows(TAIL_MARK.len()).rposition(|window| window == TAIL_MARK.as_bytes())? + TAIL_MARK.len();
    (start + 8 <= tail.len()).then_some(start..start + 8)
}

/// Puts the tail's checksum in its place; false where there is none for it.
pub(crate) fn seal_tail(tail: &mut [u8]) -> bool {
    let Some(digits) = tail_digits(tail) else { return false };
    let checksum = format!("{:08x}", crc32fast::hash(tail));
    tail.get_mut(digits).is_some_and(|place| {
        place.copy_from_slice(checksum.as_bytes());
        true
    })
}

/// Checks a tail; `Err` says what is wrong with it.
pub(crate) fn verify_tail(tail: &[u8]) -> Result<(), String> {
    let digits = tail_digits(tail).ok_or_else(|| "its footer has no checksum".to_owned())?;
    let (before, rest) = tail.split_at(digits.start);
    let (found, after) = rest.split_at(digits.end - digits.start);
    let mut hasher = crc32fast::Hasher::new();
    for part in [before, b"00000000".as_slice(), after] {
        hasher.update(part);
    }
    let expected = format!("{:08x}", hasher.finalize());
    if found == expected.as_bytes() { Ok(()) } else { Err("its footer is not as it was written".to_owned()) }
}

/// Checksums of bytes as they are written.
#[derive(Debug, Default)]
pub(crate) struct ChecksumWriter {
    finished: Vec<u32>,
    current: crc32fast::Hasher,
    bytes: u64,
}

impl ChecksumWriter {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK_BYTES - self.bytes % BLOCK_BYTES).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.current.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(BLOCK_BYTES) {
                self.finished.push(std::mem::take(&mut self.current).finalize());
            }
            bytes = later;
        }
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksums of everything so far.
    pub(crate) fn checksums(&self) -> Checksums {
        let mut blocks = self.finished.clone();
        if !self.bytes.is_multiple_of(BLOCK_BYTES) {
            blocks.push(self.current.clone().finalize());
        }
        Checksums { end: self.bytes, blocks }
    }
}

/// The checksums of the first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checksums {
    /// How many bytes they cover.
    end: u64,
    blocks: Vec<u32>,
}

impl Checksums {
    /// As text for the footer: algorithm, bytes of a block, bytes covered, and 8 hex digits for each block.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{ALGORITHM} {BLOCK_BYTES} {} ", self.end);
        for block in &self.blocks {
            let _ = write!(text, "{block:08x}");
        }
        text
    }

    /// Reads the text; `Err` says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split(' ');
        let header = (words.next(), words.next().and_then(|word| word.parse().ok()), words.next());
        let (Some(ALGORITHM), Some(BLOCK_BYTES), Some(end)) = header else {
            return Err("its checksums are not of a kind known here".to_owned());
        };
        let end: u64 = end.parse().map_err(|_| "its checksums do not say how far they reach".to_owned())?;
        let digits = words.next().unwrap_or_default();
        let blocks = digits
            .as_bytes()
            .chunks(8)
            .map(|digits| std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok()))
            .collect::<Option<Vec<u32>>>()
            .ok_or_else(|| "its checksums are no numbers".to_owned())?;
        if words.next().is_some() || !digits.len().is_multiple_of(8) || blocks.len() as u64 != end.div_ceil(BLOCK_BYTES)
        {
            return Err("its checksums are not as many as its blocks".to_owned());
        }
        Ok(Self { end, blocks })
    }

    /// Where the tail begins.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.blocks.len() * 4
    }

    /// The blocks that hold these ranges, as ranges that ascend and do not touch; `Err` names one that is not covered.
    pub(crate) fn blocks_of(&self, ranges: &[Range<u64>]) -> Result<Vec<Range<u64>>, String> {
        if let Some(Range { start, end }) = ranges.iter().find(|range| range.start > range.end || range.end > self.end)
        {
            return Err(format!("its footer names bytes {start} to {end} of {}", self.end));
        }
        let mut wanted: Vec<Range<u64>> = ranges
            .iter()
            .filter(|range| !range.is_empty())
            .map(|range| {
                let start = range.start / BLOCK_BYTES * BLOCK_BYTES;
                start..range.end.next_multiple_of(BLOCK_BYTES).min(self.end)
            })
            .collect();
        wanted.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(wanted.len());
        for range in wanted {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Ok(merged)
    }

    /// Checks what was read of [`Self::blocks_of`] and gives the ranges asked for, in their order; `Err` names a block that is not as
    /// it was written.
    pub(crate) fn verified(
        &self,
        ranges: &[Range<u64>],
        blocks: &[Range<u64>],
        read: &[Bytes],
    ) -> Result<Vec<Bytes>, String> {
        for (range, bytes) in blocks.iter().zip(read) {
            self.verify(range, bytes)?;
        }
        let slice = |range: &Range<u64>| {
            if range.is_empty() {
                return Some(Bytes::new());
            }
            let at = blocks.partition_point(|block| block.start <= range.start).checked_sub(1)?;
            let (block, bytes) = (blocks.get(at)?, read.get(at)?);
            let start = usize::try_from(range.start - block.start).ok()?;
            let end = usize::try_from(range.end - block.start).ok()?;
            (end <= bytes.len()).then(|| bytes.slice(start..end))
        };
        ranges.iter().map(slice).collect::<Option<_>>().ok_or_else(|| "less was read than asked for".to_owned())
    }

    fn verify(&self, range: &Range<u64>, bytes: &Bytes) -> Result<(), String> {
        if bytes.len() as u64 != range.end - range.start {
            return Err("less was read than asked for".to_owned());
        }
        let first = range.start / BLOCK_BYTES;
        let size = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        for (number, block) in (first..).zip(bytes.chunks(size)) {
            let expected = usize::try_from(number).ok().and_then(|number| self.blocks.get(number));
            if expected != Some(&crc32fast::hash(block)) {
                return Err(format!("the checksum of its bytes from {} is wrong", number * BLOCK_BYTES));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
