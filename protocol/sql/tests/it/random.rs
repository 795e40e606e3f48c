//! Random texts: no panic, no endless loop, and what is answered hangs together.

use kalamdb_commons::ErrorCode;
use kalamdb_sql::statements;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::on_callers_stack;

/// Pieces that statements are made of, and pieces that break them.
const FRAGMENTS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "t",
    "ns.user.t",
    "a",
    "\"B c\"",
    "*",
    ",",
    ",",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    "1",
    "1.5e3",
    "'x'",
    "E'\\n'",
    "$1",
    "$2",
    "$0",
    "?",
    ":x",
    ";",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "<",
    ">",
    ">=",
    "<>",
    "||",
    "::",
    "->",
    "~",
    "!",
    "AND",
    "OR",
    "NOT",
    "IS",
    "NULL",
    "IN",
    "BETWEEN",
    "LIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "AS",
    "TEXT",
    "BIGINT",
    "DECIMAL(5,2)",
    "INTERVAL",
    "'1 day'",
    "DATE",
    "EXTRACT",
    "position",
    "substring",
    "trim",
    "user",
    "CURRENT_USER",
    "NOW",
    "()",
    "DISTINCT",
    "ON",
    "JOIN",
    "LEFT",
    "USING",
    "LATERAL",
    "UNION",
    "ALL",
    "EXCEPT",
    "WITH",
    "RECURSIVE",
    "VALUES",
    "INSERT INTO",
    "UPDATE",
    "SET",
    "DELETE FROM",
    "RETURNING",
    "ON CONFLICT",
    "DO NOTHING",
    "DO UPDATE SET",
    "DEFAULT",
    "CREATE",
    "DROP",
    "NAMESPACE",
    "USER",
    "SHARED",
    "STREAM",
    "TABLE",
    "IF NOT EXISTS",
    "IF EXISTS",
    "PRIMARY KEY",
    "NOT NULL",
    "flush_rows",
    "type",
    "'shared'",
    "SHOW",
    "TABLES",
    "NAMESPACES",
    "DESCRIBE",
    "EXPLAIN",
    "ANALYZE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "OVER",
    "PARTITION BY",
    "FILTER",
    "EXISTS",
    "ARRAY",
    "INTO",
    "FOR UPDATE",
    ".",
    "..",
    "{",
    "}",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "$$",
    "$q$",
    "\\",
    "`",
    "\0",
    "\u{1b}",
    "é",
    "😀",
    "\n",
    "\t",
    "BEGIN",
    "COMMIT",
    "ALTER",
    "AT TIME ZONE",
    "COLLATE",
    "SIMILAR TO",
];

fn check(sql: &str) -> Result<(), TestCaseError> {
    let parsed = statements(sql);
    let count = parsed.len();
    let mut yielded = 0;
    for statement in parsed {
        yielded += 1;
        match statement {
            Ok(statement) => {
                prop_assert!(sql.contains(&*statement.text), "{sql:?}: {:?}", statement.text);
                prop_assert!(statement.parameters <= sql.matches('$').count());
                // A statement's own text is the statement.
                let mut again = statements(&statement.text);
                prop_assert_eq!(again.len(), 1);
                let again = again.next().and_then(Result::ok);
                prop_assert!(again.is_some(), "{:?} does not parse again", statement.text);
                if let Some(again) = again {
                    prop_assert_eq!(again.column_names, statement.column_names);
                    prop_assert_eq!(again.parameters, statement.parameters);
                }
            }
            Err(error) => {
                prop_assert!(!error.message.is_empty() && error.message.len() < 2000);
                prop_assert_ne!(error.code, ErrorCode::Internal, "{:?}: {:?}", sql, error.detail);
                if let Some(position) = error.position {
                    let lines = sql.split('\n').count() as u64;
                    prop_assert!(
                        position.line >= 1 && position.line <= lines && position.column >= 1,
                        "{:?}",
                        position
                    );
                }
            }
        }
    }
    prop_assert!(yielded >= 1 && yielded <= count);
    Ok(())
}

fn run<S>(cases: u32, strategy: S)
where
    S: Strategy<Value = String> + Send + 'static,
{
    on_callers_stack(move || {
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        if let Err(failure) = runner.run(&strategy, |sql| check(&sql)) {
            panic!("{failure}");
        }
    });
}

#[test]
fn random_bytes_are_answered() {
    run(3000, vec(any::<u8>(), 0..200).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
}

#[test]
fn random_characters_are_answered() {
    run(3000, vec(any::<char>(), 0..100).prop_map(|characters| characters.into_iter().collect()));
}

#[test]
fn random_fragments_are_answered() {
    let separated = (select(FRAGMENTS), select(&["", " ", " ", " ", "\n"][..]));
    run(
        8000,
        vec(separated, 0..40).prop_map(|parts| parts.into_iter().map(|(part, gap)| format!("{part}{gap}")).collect()),
    );
}

#[test]
fn statements_with_a_random_end_are_answered() {
    let begins = select(
        &[
            "SELECT ",
            "SELECT a FROM t WHERE ",
            "INSERT INTO t VALUES (",
            "UPDATE t SET a = ",
            "DELETE FROM t WHERE ",
            "CREATE USER TABLE t (a INT ",
            "CREATE USER TABLE t (a INT) WITH (",
            "WITH x AS (SELECT 1) SELECT ",
            "INSERT INTO t SELECT 1 ON CONFLICT ",
            "EXPLAIN SELECT ",
            "SELECT * FROM (",
            "SELECT CAST(a AS ",
        ][..],
    );
    let parts = vec(select(FRAGMENTS), 0..15);
    run(8000, (begins, parts).prop_map(|(begin, parts)| format!("{begin}{}", parts.join(" "))));
}
