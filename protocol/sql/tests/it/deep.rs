//! Statements at the limits parse, and are dropped; statements beyond them are refused.

use kalamdb_commons::ErrorCode;

use crate::{on_callers_stack, parse_all};

/// What may be nested: the opening, the innermost, the closing.
const NESTED: &[(&str, &str, &str)] = &[
    ("(", "1", ")"),
    ("abs(", "1", ")"),
    ("(1 + ", "1", ") * 2"),
    ("(SELECT ", "1", ")"),
    ("CASE WHEN ", "true", " THEN true ELSE false END"),
    ("CASE ", "1", " WHEN 1 THEN 2 END"),
    ("CAST(", "1", " AS TEXT)"),
    ("EXTRACT(YEAR FROM ", "a", ")"),
    ("ceil(", "1", ")"),
    ("trim(", "a", ")"),
    ("substring(", "a", " FROM 1)"),
    ("a IN (", "1", ")"),
    ("a IN (SELECT ", "1", ")"),
    ("EXISTS (SELECT ", "1", ")"),
    ("NOT (", "true", ")"),
    ("ARRAY[", "1", "]"),
    ("a[", "1", "]"),
    ("coalesce(1, ", "1", ", 2)"),
];

#[test]
fn nesting_at_the_limit_is_parsed_and_dropped() {
    for &(open, inner, close) in NESTED {
        let nested = |levels: usize| format!("SELECT {}{inner}{}", open.repeat(levels), close.repeat(levels));
        let (allowed, over) = (nested(1000), nested(1001));
        let (parsed, refused) = on_callers_stack(move || {
            let parsed = parse_all(&allowed).remove(0).map(|parsed| parsed.text.len());
            (parsed, parse_all(&over).remove(0).map(|parsed| parsed.text.len()))
        });
        assert!(parsed.is_ok(), "{open}: {parsed:?}");
        let error = refused.expect_err(open);
        assert_eq!(error.code, ErrorCode::InvalidSql);
        assert!(error.message.contains("1000"), "{open}: {}", error.message);
    }
}

#[test]
fn nested_tables_at_the_limit_are_parsed_and_dropped() {
    for (open, inner, close) in [
        ("(SELECT * FROM ", "t", ") AS x"),
        ("(SELECT * FROM a, ", "t", ") AS x"),
        ("(", "a JOIN b ON true", ")"),
        ("(a JOIN ", "b", " ON true)"),
    ] {
        let sql = format!("SELECT * FROM {}{inner}{}", open.repeat(1000), close.repeat(1000));
        let parsed = on_callers_stack(move || parse_all(&sql).remove(0).map(|parsed| parsed.parameters));
        assert!(parsed.is_ok(), "{open}: {parsed:?}");
    }
    let sql = format!("{}SELECT 1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(on_callers_stack(move || parse_all(&sql).remove(0).is_ok()));
    let sql = format!("{}SELECT 1{}", "WITH a AS (".repeat(1000), ") SELECT * FROM a".repeat(1000));
    assert!(on_callers_stack(move || parse_all(&sql).remove(0).is_ok()));
}

#[test]
fn chains_at_the_limit_are_parsed_and_dropped() {
    for (begin, link, end) in [
        ("SELECT 1", " + 1", ""),
        ("SELECT a", " OR a = 1", ""),
        ("SELECT a", " || 'x'", ""),
        ("SELECT a", "::TEXT", ""),
        ("SELECT a", " IS NULL", ""),
        ("SELECT 1", " UNION ALL SELECT 1", ""),
        ("SELECT * FROM a", " JOIN b ON true", ""),
        ("SELECT ", "- ", "1"),
        ("SELECT ", "NOT ", "true"),
        ("UPDATE t SET a = 1", " + 1", " WHERE b"),
        ("DELETE FROM t WHERE a", " AND a", ""),
        ("INSERT INTO t VALUES (1", " + 1", ")"),
        ("CREATE USER TABLE t (a INT DEFAULT 1", " + 1", ")"),
    ] {
        let chain = |links: usize| format!("{begin}{}{end}", link.repeat(links));
        let (allowed, over) = (chain(5000), chain(5001));
        let (parsed, refused) = on_callers_stack(move || {
            let parsed = parse_all(&allowed).remove(0).map(|parsed| parsed.text.len());
            (parsed, parse_all(&over).remove(0).map(|parsed| parsed.text.len()))
        });
        assert!(parsed.is_ok(), "{link}: {parsed:?}");
        let error = refused.expect_err(link);
        assert_eq!(error.code, ErrorCode::InvalidSql);
        assert!(error.message.contains("5000"), "{link}: {}", error.message);
    }
}

#[test]
fn large_statements_within_the_limits_are_parsed() {
    let rows = vec!["($1, 'text; with \"quotes\"', -1.5, NULL, $2)"; 20_000].join(",\n");
    let sql = format!("INSERT INTO t (a, b, c, d, e) VALUES {rows}");
    let parameters = on_callers_stack(move || parse_all(&sql).remove(0).map(|parsed| parsed.parameters));
    assert_eq!(parameters.expect("an INSERT"), 2);
    let list = vec!["1"; 100_000].join(", ");
    let sql = format!("SELECT a FROM t WHERE a IN ({list})");
    assert!(on_callers_stack(move || parse_all(&sql).remove(0).is_ok()));
    let literal = format!("SELECT '{}'", "x;(".repeat(5 << 20));
    assert!(on_callers_stack(move || parse_all(&literal).remove(0).is_ok()));
}
