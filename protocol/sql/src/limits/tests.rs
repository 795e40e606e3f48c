use super::*;
use crate::scan::Scanner;
use crate::source::Source;

fn check(sql: &str) -> Result<()> {
    Source::read(&mut Scanner::new(sql)).map(|_| ())
}

fn refused(sql: &str, limit: &str) {
    let error = check(sql).expect_err(sql.get(..60).unwrap_or(sql));
    assert_eq!(error.code, ErrorCode::InvalidSql);
    assert!(error.message.contains(limit), "{:?}: {}", sql.get(..60), error.message);
    assert!(error.position.is_some());
}

#[test]
fn nesting_ends_at_a_thousand() {
    let nested = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("SELECT {}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("f(", "1", ")"),
        ("[", "1", "]"),
        ("(SELECT ", "1", ")"),
        ("CASE WHEN ", "1", " THEN 2 END"),
        ("CASE ", "1", " WHEN 1 THEN 2 END"),
        ("x IN (", "1", ")"),
        ("CAST(", "1", " AS TEXT)"),
        ("1 + (", "1", ") * 2"),
    ] {
        assert!(check(&nested(open, inner, close, 1000)).is_ok(), "{open}");
        refused(&nested(open, inner, close, 1001), "1000 levels");
    }
    refused(&"(".repeat(1 << 20), "1000 levels");
    refused(&"CASE ".repeat(10_000), "1000 levels");
    refused(&format!("SELECT CAST(1 AS INT{})", "[]".repeat(10_000)), "1000 levels");
    refused(&format!("SELECT a{}", "[1]".repeat(10_000)), "1000 levels");
    refused(&format!("SELECT CAST(1 AS {}", "ARRAY<".repeat(10_000)), "1000 levels");
}

#[test]
fn chains_end_at_five_thousand() {
    for (begin, link) in [
        ("SELECT 1", " + 1"),
        ("SELECT 1", "+1"),
        ("SELECT a", " OR a"),
        ("SELECT a", " OR a = 1"),
        ("SELECT a", " AND b BETWEEN 1 AND 2"),
        ("SELECT a", " || 'x'"),
        ("SELECT a", "::text"),
        ("SELECT a", " IS NULL"),
        ("SELECT a", " IS DISTINCT FROM b"),
        ("SELECT a", " AT TIME ZONE 'x'"),
        ("SELECT a", " COLLATE x"),
        ("SELECT a", " LIKE b"),
        ("SELECT a", " NOT LIKE b"),
        ("SELECT a", ".b"),
        ("SELECT 1", " UNION ALL SELECT 1"),
        ("SELECT * FROM a", " JOIN b ON true"),
        ("SELECT * FROM a", ", b"),
    ] {
        assert!(check(&format!("{begin}{}", link.repeat(4990))).is_ok(), "{link}");
        refused(&format!("{begin}{}", link.repeat(5001)), "5000");
    }
    for prefix in ["- ", "NOT ", "~ ", "a.NOT NOT ", "a = NOT "] {
        assert!(check(&format!("SELECT {}1", prefix.repeat(2400))).is_ok(), "{prefix}");
        refused(&format!("SELECT {}1", prefix.repeat(7000)), "5000");
    }
    let exactly = format!("SELECT 1{}", "+1".repeat(5000));
    assert!(check(&exactly).is_ok());
    refused(&"1+".repeat(2 << 20), "5000");
}

#[test]
fn chains_at_different_levels_add_up_where_the_tree_does() {
    // Left operands all the way down: a thousand levels of five thousand would be a tree of millions.
    let long = "+1".repeat(4000);
    let nested = format!("SELECT {}1{}", "(".repeat(5), format!("{long})").repeat(5));
    refused(&nested, "5000");
    let products_in_sums = format!("SELECT 1{}{} = 1", "*1".repeat(4000), "+1".repeat(4000));
    refused(&products_in_sums, "5000");
    // Side by side they do not.
    let side_by_side = format!("SELECT 1{long}, 1{long}, f(1{long}, 1{long})");
    assert!(check(&side_by_side).is_ok());
    let cases = format!("SELECT CASE {} END", "WHEN a = 1 + 2 THEN b + c ".repeat(20_000));
    assert!(check(&cases).is_ok());
    let rows = vec!["(1 + 1, -2)"; 50_000].join(",");
    assert!(check(&format!("INSERT INTO t VALUES {rows}")).is_ok());
}

#[test]
fn columns_end_at_ten_thousand() {
    let list = |columns: usize| vec!["1"; columns].join(",");
    for (before, after) in [
        ("SELECT ", ""),
        ("SELECT ", " FROM t"),
        ("SELECT DISTINCT ", ""),
        ("SELECT * FROM (SELECT ", ") AS x"),
        ("INSERT INTO t VALUES (", ")"),
        ("INSERT INTO t VALUES (1), (", ")"),
        ("WITH a AS (SELECT 1) SELECT ", ""),
    ] {
        assert!(check(&format!("{before}{}{after}", list(10_000))).is_ok(), "{before}");
        refused(&format!("{before}{}{after}", list(10_001)), "10000 columns");
    }
    // A list of values is no list of columns.
    assert!(check(&format!("SELECT a FROM t WHERE a IN ({})", list(20_000))).is_ok());
    assert!(check(&format!("SELECT a IS DISTINCT FROM b, {}", list(9_999))).is_ok());
    refused(&format!("SELECT a IS DISTINCT FROM b, {}", list(10_000)), "10000 columns");
}

#[test]
fn tokens_end_at_two_million() {
    refused(&format!("SELECT f({})", "1,".repeat(1 << 20)), "2000000 tokens");
    let spaces = format!("SELECT{}1", " ".repeat(3 << 20));
    assert!(check(&spaces).is_ok());
}

#[test]
fn brackets_that_do_not_match_are_left_to_the_parser() {
    for sql in [")))", "SELECT )1", "(((", "END END", "SELECT CASE 1)", "]["] {
        assert!(check(sql).is_ok(), "{sql}");
    }
}
