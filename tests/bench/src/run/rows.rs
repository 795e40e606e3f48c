//! The rows. What one holds is computed from its id, so that every answer can be checked.

use std::fmt::Write;

/// The columns, as DDL.
pub(crate) const COLUMNS: &str = "id BIGINT PRIMARY KEY, body TEXT NOT NULL, n BIGINT NOT NULL";

/// An INSERT of one row.
pub(crate) fn insert(table: &str) -> String {
    format!("INSERT INTO {table} (id, body, n) VALUES ($1, $2, $3)")
}

/// Bits without order, the same for the same number (the finaliser of `SplitMix64`).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The text of a row: 64 characters that need no escaping.
pub(crate) fn body(id: u64) -> String {
    let mut text = String::with_capacity(64);
    for part in 0..4 {
        // Writing to a String cannot fail.
        let _ = write!(text, "{:016x}", scatter(id.wrapping_mul(4).wrapping_add(part)));
    }
    text
}

/// The number of a row.
pub(crate) fn number(id: u64) -> u64 {
    scatter(!id) >> 33
}

/// The parameters of [`insert`], without brackets.
pub(crate) fn write_params(out: &mut String, id: u64) {
    let _ = write!(out, "{id},\"{}\",{}", body(id), number(id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_differ_and_repeat() {
        assert_eq!(body(7), body(7));
        assert_eq!(body(7).len(), 64);
        assert_ne!(body(7), body(8));
        assert!(number(7) < 1 << 31);
        assert_ne!(number(7), number(8));
    }
}
