//! Reading and writing the parts that values are made of: fixed-width little-endian numbers, and
//! lengths (`u32`) before text and bytes.

use kalamdb_commons::Seq;

use super::{check_format, corrupted};
use crate::StoreError;

/// Takes a value apart from the front; every method fails with [`StoreError::Corrupted`] at the end of
/// the input.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Starts reading a value behind its format byte, which is at most `newest`.
    pub(super) fn of_format(what: &'static str, bytes: &'a [u8], newest: u8) -> Result<Self, StoreError> {
        let mut reader = Self::new(what, bytes);
        check_format(what, reader.u8()?, newest)?;
        Ok(reader)
    }

    pub(super) fn error(&self, message: impl Into<String>) -> StoreError {
        corrupted(self.what, message)
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.error(format!("{count} bytes expected, {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error(format!("{N} bytes expected, {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, StoreError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, StoreError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, StoreError> {
        self.array().map(i64::from_le_bytes)
    }

    /// An identifier of 16 bytes, in the order of its text form.
    pub(super) fn u128_be(&mut self) -> Result<u128, StoreError> {
        self.array().map(u128::from_be_bytes)
    }

    /// A sequence number, which is below 2^53.
    pub(super) fn seq(&mut self) -> Result<Seq, StoreError> {
        let number = self.u64()?;
        if number < Seq::LIMIT { Ok(Seq(number)) } else { Err(self.error(format!("seq {number} is not below 2^53"))) }
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// A length and that many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str, StoreError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| self.error(error.to_string()))
    }

    /// A count of items that take at least `least_bytes` each, so that a wrong count cannot make the
    /// caller reserve more memory than the input justifies.
    pub(super) fn count(&mut self, least_bytes: usize) -> Result<usize, StoreError> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count.saturating_mul(least_bytes) > self.rest.len() {
            return Err(self.error(format!("{count} items in {} bytes", self.rest.len())));
        }
        Ok(count)
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(format!("{} bytes too many", self.rest.len()))) }
    }
}

/// A length as it is written.
///
/// # Panics
/// From 4 GiB on: statements are bounded far below.
pub(super) fn length(count: usize) -> [u8; 4] {
    let Ok(count) = u32::try_from(count) else { panic!("{count} bytes or items in one value") };
    count.to_le_bytes()
}

/// Writes a length and the bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()));
    out.extend_from_slice(bytes);
}
