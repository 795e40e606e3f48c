//! The rows. What one holds is computed from its id, so that every answer can be checked.

use std::fmt::Write;

/// The columns, as DDL.
pub(crate) const COLUMNS: &str = "id BIGINT PRIMARY KEY, body TEXT NOT NULL, n BIGINT NOT NULL";

/// Their names.
pub(crate) const NAMES: [&str; 3] = ["id", "body", "n"];

/// An INSERT of one row.
pub(crate) fn insert(table: &str) -> String {
    insert_of(table, &NAMES, 1)
}

/// An INSERT of so many rows of these columns, with numbered parameters.
pub(crate) fn insert_of(table: &str, columns: &[&str], rows: usize) -> String {
    let group = |row: usize| {
        let numbers: Vec<String> =
            (1..=columns.len()).map(|column| format!("${}", row * columns.len() + column)).collect();
        format!("({})", numbers.join(", "))
    };
    let groups: Vec<String> = (0..rows).map(group).collect();
    format!("INSERT INTO {table} ({}) VALUES {}", columns.join(", "), groups.join(", "))
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
    fn parameters_are_numbered_row_by_row() {
        assert_eq!(insert("t"), "INSERT INTO t (id, body, n) VALUES ($1, $2, $3)");
        assert_eq!(insert_of("t", &["a", "b"], 2), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
    }

    #[test]
    fn rows_differ_and_repeat() {
        assert_eq!(body(7), body(7));
        assert_eq!(body(7).len(), 64);
        assert_ne!(body(7), body(8));
        assert!(number(7) < 1 << 31);
        assert_ne!(number(7), number(8));
    }
}
