mod defaults;
mod rows;
mod storages;
mod tables;
mod users;

use kalamdb_commons::{NamespaceId, Position, TableType};

use super::*;
use crate::{
    ColumnDefault, ColumnType, CreateTable, DefaultFunction, DefaultSpec, Delete, Insert, InsertSource,
    OnConflictAction, TableRef, Update, Value, is_default_keyword,
};

fn one(sql: &str) -> Result<Statement> {
    let mut statements = statements(sql);
    assert_eq!(statements.len(), 1, "{sql}");
    statements.next().expect("one statement").map(|parsed| parsed.statement)
}

fn refused(sql: &str, code: ErrorCode) -> Error {
    let error = one(sql).expect_err(sql);
    assert_eq!(error.code, code, "{sql}: {}", error.message);
    error
}

fn table(sql: &str) -> CreateTable {
    match one(sql).expect(sql) {
        Statement::CreateTable(table) => table,
        other => panic!("{sql}: {other:?}"),
    }
}

fn insert(sql: &str) -> Insert {
    match one(sql).expect(sql) {
        Statement::Insert(insert) => insert,
        other => panic!("{sql}: {other:?}"),
    }
}

fn update(sql: &str) -> Update {
    match one(sql).expect(sql) {
        Statement::Update(update) => update,
        other => panic!("{sql}: {other:?}"),
    }
}

fn delete(sql: &str) -> Delete {
    match one(sql).expect(sql) {
        Statement::Delete(delete) => delete,
        other => panic!("{sql}: {other:?}"),
    }
}

fn name(table: &TableRef) -> String {
    let namespace = table.namespace.as_ref().map_or("-", NamespaceId::as_str);
    format!("{namespace}{}{}", if table.user_qualifier { " user " } else { " " }, table.table)
}

#[test]
fn caches_are_cleared() {
    assert!(matches!(one("clear plan cache").expect("it parses"), Statement::ClearPlanCache));
    assert!(matches!(one("CLEAR SESSION CACHE").expect("it parses"), Statement::ClearSessionCache { user: None }));
    let Statement::ClearSessionCache { user: Some(user) } = one("CLEAR SESSION CACHE 'Ann'").expect("it parses") else {
        panic!("of a user")
    };
    assert_eq!(user.as_str(), "Ann");
    for sql in ["CLEAR", "CLEAR CACHE", "CLEAR SESSION", "CLEAR SESSION CACHE ann", "CLEAR SESSION CACHE 'a' 'b'"] {
        refused(sql, ErrorCode::InvalidSql);
    }
    refused("CLEAR SESSION CACHE ''", ErrorCode::InvalidName);
}

#[test]
fn statements_come_one_by_one() {
    let sql = "CREATE NAMESPACE a;\n  INSERT INTO t VALUES ('a;b');;\n/* ; */ SELEC 1; SELECT 2";
    let mut all = statements(sql);
    assert_eq!(all.len(), 4);
    let first = all.next().expect("first").expect("first");
    assert_eq!((&*first.text, first.position), ("CREATE NAMESPACE a", Position { line: 1, column: 1 }));
    let second = all.next().expect("second").expect("second");
    assert_eq!((&*second.text, second.position), ("INSERT INTO t VALUES ('a;b')", Position { line: 2, column: 3 }));
    assert_eq!(all.len(), 2);
    let error = all.next().expect("third").expect_err("third");
    assert_eq!((error.code, error.position), (ErrorCode::InvalidSql, Some(Position { line: 3, column: 9 })));
    assert!(all.next().is_none(), "nothing comes after an error");
    assert_eq!(all.len(), 0);
}

#[test]
fn a_text_without_statements_or_without_end_is_one_error() {
    for sql in ["", " ", ";", ";;;", "-- nothing", "/* nothing */", "\u{a0}\n;"] {
        refused(sql, ErrorCode::InvalidSql);
    }
    for sql in ["SELECT 1; SELECT 'a", "SELECT 1; SELECT \0"] {
        let error = refused(sql, ErrorCode::InvalidSql);
        assert!(error.position.is_some_and(|position| position.column > 10), "{sql}");
    }
}

#[test]
fn errors_have_a_place_and_words() {
    for (sql, line, column, words) in [
        ("SELECT 1,\n  FROM WHERE", 2, 8, "found FROM"),
        ("SELECT 1 +", 1, 11, "end of the statement"),
        ("SELEC 1", 1, 1, "found SELEC"),
        ("1", 1, 1, "expected a statement, found 1"),
        ("CREATE\n\n NAMESPAC x", 3, 2, "NAMESPACE, TABLE, USER or STORAGE"),
        ("INSERT INTO t VALUES (1,)", 1, 25, "expected"),
        ("SELECT 1; SELECT 2\n,", 2, 2, "end of the statement"),
    ] {
        let error = statements(sql).find_map(Result::err).expect(sql);
        assert_eq!(error.position, Some(Position { line, column }), "{sql}: {}", error.message);
        assert!(error.message.contains(words), "{sql}: {}", error.message);
        assert!(!error.message.contains("Line:"), "{}", error.message);
    }
    let long = format!("SELECT 1 '{}' 2", "x".repeat(100_000));
    assert!(one(&long).expect_err("two strings").message.len() < 1000);
}

#[test]
fn what_is_not_offered_is_named() {
    for (sql, named) in [
        ("COPY t TO 'file.csv'", "COPY"),
        ("CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
        ("SET x = 1", "SET"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("TRUNCATE TABLE t", "TRUNCATE"),
        ("BEGIN", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("CREATE DATABASE d", "CREATE DATABASE"),
        ("CREATE SCHEMA s", "CREATE SCHEMA"),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX"),
        ("GRANT SELECT ON t TO a", "GRANT"),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "MERGE"),
        ("DROP VIEW v", "DROP VIEW"),
        ("ALTER TABLE t ALTER COLUMN c TYPE BIGINT", "ALTER TABLE … ALTER"),
        ("ALTER TABLE t RENAME TO u", "RENAME TO"),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", "ADD CONSTRAINT"),
        ("ALTER TABLE t ADD c INT PRIMARY KEY", "primary key"),
        ("ALTER TABLE t ADD c INT NOT NULL", "needs a DEFAULT"),
        ("ALTER TABLE t ADD c INT COLLATE x", "COLLATE"),
        ("ALTER VIEW v RENAME TO w", "ALTER VIEW"),
        ("COMPACT TABLE t", "COMPACT"),
        ("CREATE ROLE a", "CREATE ROLE"),
        ("BACKUP DATABASE TO 'd'", "BACKUP"),
        ("KILL JOB 'x'", "KILL"),
        ("SHOW BACKUPS", "BACKUPS"),
        ("SHOW COLUMNS FROM t", "SHOW COLUMNS"),
        ("CREATE OR REPLACE TABLE t (a INT)", "CREATE OR"),
        ("DESC t", "DESCRIBE"),
        ("CREATE TEMP TABLE t (a INT)", "CREATE TEMP"),
    ] {
        let error = refused(sql, ErrorCode::Unsupported);
        assert!(error.message.contains(named), "{sql}: {}", error.message);
    }
    for sql in ["FROBNICATE t", "CREATE FOO", "DROP", "SHOW nothing", "SHOW", "CREATE"] {
        refused(sql, ErrorCode::InvalidSql);
    }
}

#[test]
fn explain() {
    for (sql, expected) in [
        ("EXPLAIN SELECT 1", (false, false)),
        ("EXPLAIN ANALYZE VERBOSE DELETE FROM t", (true, true)),
        ("explain verbose (SELECT 1)", (false, true)),
        ("EXPLAIN INSERT INTO t VALUES ($1)", (false, false)),
    ] {
        match one(sql) {
            Ok(Statement::Explain { analyze, verbose, statement }) => {
                assert_eq!((analyze, verbose), expected, "{sql}");
                assert!(statement.is_query_or_dml());
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    for sql in ["EXPLAIN", "EXPLAIN EXPLAIN SELECT 1", "EXPLAIN CREATE NAMESPACE a", "EXPLAIN (ANALYZE) SELECT 1"] {
        refused(sql, ErrorCode::InvalidSql);
    }
}

#[test]
fn parameters_stand_in_queries_and_dml() {
    for (sql, expected) in [
        ("SELECT $1, $2, $1", 2),
        ("INSERT INTO t VALUES ($1, $2)", 2),
        ("UPDATE t SET a = $1 WHERE b = $1", 1),
        ("EXPLAIN DELETE FROM t WHERE a = $1", 1),
        ("SHOW TABLES", 0),
    ] {
        let parsed = statements(sql).next().expect("one").expect(sql);
        assert_eq!(parsed.parameters, expected, "{sql}");
    }
    refused("SELECT $1 + $3", ErrorCode::InvalidSql);
    refused("CREATE USER TABLE t (a INT DEFAULT $1)", ErrorCode::InvalidSql);
    refused("CREATE USER TABLE t (a INT) WITH (flush_rows = $1)", ErrorCode::InvalidSql);
}
