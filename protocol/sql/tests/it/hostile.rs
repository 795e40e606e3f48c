//! Texts made to cost time, memory or stack are answered at once.

use std::time::{Duration, Instant};

use crate::{on_callers_stack, parse_all};

/// Generous: these run unoptimised, beside other tests.
const AT_ONCE: Duration = Duration::from_secs(60);

/// Whether each statement parsed, in time.
fn answered(sql: String) -> Vec<bool> {
    let shown: String = sql.chars().take(60).collect();
    let begun = Instant::now();
    let answers = on_callers_stack(move || parse_all(&sql).iter().map(Result::is_ok).collect());
    assert!(begun.elapsed() < AT_ONCE, "{shown}: {:?}", begun.elapsed());
    answers
}

#[test]
fn sixteen_megabytes_of_anything_are_answered() {
    const BYTES: usize = 16 << 20;
    for part in ["(", "1+", "1,", " ", ";", "'", "a"] {
        let answers = answered(part.repeat(BYTES / part.len()));
        assert_eq!(answers, [false], "{part}");
    }
}

#[test]
fn much_of_anything_is_answered() {
    const BYTES: usize = 256 << 10;
    for part in [
        "(",
        ")",
        "[",
        "1+",
        "1 + ",
        "- ",
        "NOT ",
        "CASE ",
        "a.",
        ",",
        ", ",
        "1,",
        "a ",
        " ",
        "\n",
        ";",
        "1;",
        "'",
        "''",
        "\"",
        "$$",
        "$a$",
        "/*",
        "-- x\n",
        "E'\\'",
        "a",
        "9",
        "é",
        "\u{a0}",
        "?",
        ":a ",
        "$1",
        "$1,",
        "SELECT ",
        "SELECT 1 UNION ",
        "(SELECT ",
        "f(",
        "x IN (",
        "::int",
        "ARRAY<",
        "WITH a AS (",
        "JOIN a ",
        "\0",
        "`",
        "\\",
        "{",
        "CREATE USER TABLE t (",
    ] {
        for begin in ["", "SELECT ", "INSERT INTO t VALUES (", "CREATE USER TABLE t (a INT DEFAULT "] {
            let answers = answered(format!("{begin}{}", part.repeat(BYTES / part.len())));
            assert!(!answers.is_empty(), "{begin}{part}");
        }
    }
}

#[test]
fn alternatives_within_alternatives_take_no_exponential_time() {
    for (begin, open, inner, close) in [
        ("SELECT ", "position(", "1", ", 1)"),
        ("SELECT ", "a IN ((SELECT * FROM t WHERE ", "1", "), 1)"),
        ("SELECT ", "a IN ((SELECT * FROM t WHERE ", "1 1", "))"),
        ("SELECT * FROM ", "((SELECT * FROM ", "t", ") AS a JOIN b ON true)"),
        ("SELECT * FROM ", "((SELECT * FROM ", "t t t", "))"),
        ("SELECT * FROM ", "(((SELECT * FROM ", "1", ")))"),
        ("SELECT ", "CAST(", "1 1", " AS TEXT)"),
        ("SELECT ", "extract(year from ", "1 1", ")"),
        ("SELECT ", "trim(", "1 1", ")"),
        ("SELECT ", "substring(", "1 1", ")"),
        ("SELECT ", "overlay(", "1 1", ")"),
        ("SELECT ", "ceil(", "1 1", ")"),
        ("SELECT ", "INTERVAL (", "1 1", ")"),
        ("SELECT ", "INTERVAL ", "1 1", ""),
        ("SELECT ", "CASE WHEN ", "1 1", " THEN 1 END"),
        ("SELECT ", "a.f(", "1 1", ")"),
        ("SELECT ", "a.(", "1 1", ")"),
        ("SELECT ", "f(a => ", "1 1", ")"),
        ("SELECT ", "f(", "1 1", ")"),
        ("SELECT ", "EXISTS(SELECT ", "1 1", ")"),
        ("SELECT ", "ARRAY[", "1 1", "]"),
        ("SELECT ", "{'a': ", "1 1", "}"),
        ("", "INSERT INTO t WITH a AS (SELECT 1) ", "x", ""),
        ("", "WITH a AS (", "1", ") SELECT 1"),
        ("CREATE USER TABLE t (a INT DEFAULT ", "CAST(", "1 1", " AS INT)"),
    ] {
        for levels in [30, 300] {
            let answers = answered(format!("{begin}{}{inner}{}", open.repeat(levels), close.repeat(levels)));
            assert_eq!(answers.len(), 1, "{open}");
        }
    }
}

#[test]
fn a_column_definition_cannot_hide_depth() {
    for part in ["INT[]", "ARRAY<", "(", "DEFAULT 1 ", "NOT NULL ", "PRIMARY KEY ", ","] {
        let answers = answered(format!("CREATE USER TABLE t (a {}", part.repeat(100_000)));
        assert_eq!(answers, [false], "{part}");
    }
}
