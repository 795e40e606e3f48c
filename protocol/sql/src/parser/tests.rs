use kalamdb_commons::{NamespaceId, Position, TableType};

use super::*;
use crate::{
    ColumnDefault, ColumnType, CreateTable, DefaultFunction, DefaultSpec, Delete, Insert, InsertSource, OnConflictAction,
    TableRef, Update, Value, is_default_keyword,
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
fn statements_come_one_by_one() {
    let sql = "CREATE NAMESPACE a;\n  INSERT INTO t VALUES ('a;b');;\n/* ; */ SELEC 1; SELECT 2";
    let mut all = statements(sql);
    assert_eq!(all.len(), 4);
    let first = all.next().expect("first").expect("first");
    assert_eq!((first.text.as_str(), first.position), ("CREATE NAMESPACE a", Position { line: 1, column: 1 }));
    let second = all.next().expect("second").expect("second");
    assert_eq!((second.text.as_str(), second.position), ("INSERT INTO t VALUES ('a;b')", Position { line: 2, column: 3 }));
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
fn namespaces() {
    assert!(matches!(one("create namespace Chat"), Ok(Statement::CreateNamespace { name, if_not_exists: false }) if name.as_str() == "chat"));
    assert!(matches!(one("CREATE NAMESPACE IF NOT EXISTS \"Chat\""), Ok(Statement::CreateNamespace { name, if_not_exists: true }) if name.as_str() == "Chat"));
    assert!(matches!(one("DROP NAMESPACE a"), Ok(Statement::DropNamespace { if_exists: false, cascade: false, .. })));
    assert!(matches!(one("DROP NAMESPACE IF EXISTS a CASCADE"), Ok(Statement::DropNamespace { if_exists: true, cascade: true, .. })));
    assert!(matches!(one("SHOW NAMESPACES"), Ok(Statement::ShowNamespaces)));
    for sql in [
        "CREATE NAMESPACE system", "CREATE NAMESPACE User", "CREATE NAMESPACE \"information_schema\"", "DROP NAMESPACE system",
        "CREATE NAMESPACE \"1st\"", "CREATE NAMESPACE größe", "CREATE NAMESPACE \"\"", "CREATE NAMESPACE a$b",
    ] {
        let error = refused(sql, ErrorCode::InvalidName);
        assert!(error.position.is_some(), "{sql}");
    }
    for sql in ["CREATE NAMESPACE", "CREATE NAMESPACE a b", "CREATE NAMESPACE 'a'", "CREATE NAMESPACE $1", "DROP NAMESPACE a.b"] {
        refused(sql, ErrorCode::InvalidSql);
    }
}

#[test]
fn tables_are_shown_described_and_dropped() {
    assert!(matches!(one("SHOW TABLES"), Ok(Statement::ShowTables { namespace: None })));
    assert!(matches!(one("SHOW TABLES IN System"), Ok(Statement::ShowTables { namespace: Some(ns) }) if ns.as_str() == "system"));
    assert!(matches!(one("DESCRIBE default.t"), Ok(Statement::Describe { table }) if name(&table) == "default t"));
    assert!(matches!(one("DROP TABLE t"), Ok(Statement::DropTable { table_type: None, if_exists: false, .. })));
    assert!(matches!(one("DROP SHARED TABLE IF EXISTS a.T"),
        Ok(Statement::DropTable { table, table_type: Some(TableType::Shared), if_exists: true }) if name(&table) == "a t"));
    refused("DROP TABLE a.user.t", ErrorCode::InvalidSql);
    refused("DESCRIBE a.b.c", ErrorCode::InvalidSql);
    refused("DROP TABLE system.jobs", ErrorCode::Forbidden);
    refused("DROP TABLE t, u", ErrorCode::InvalidSql);
    refused("SHOW TABLES LIKE 'a'", ErrorCode::InvalidSql);
}

#[test]
fn a_table_with_everything() {
    let table = table(
        "CREATE USER TABLE IF NOT EXISTS Chat.Messages (
            id BIGINT DEFAULT SNOWFLAKE_ID(), conv TEXT, \"Body\" VARCHAR NOT NULL DEFAULT 'none', user STRING NULL,
            n INT DEFAULT -5, at TIMESTAMP NOT NULL DEFAULT NOW (), price DECIMAL(8,3) DEFAULT (1 + 2) * 3 NOT NULL,
            key JSON DEFAULT '{}', position BOOLEAN DEFAULT true, by TEXT DEFAULT CURRENT_USER(),
            PRIMARY KEY (conv, id)
        ) WITH (flush_rows = '7')",
    );
    assert_eq!(name(&table.name), "chat messages");
    assert!(table.if_not_exists);
    assert_eq!(table.table_type, TableType::User);
    assert_eq!(table.options.flush_rows, Some(7));
    let key: Vec<&str> = table.primary_key.iter().map(|column| column.as_str()).collect();
    assert_eq!(key, ["conv", "id"]);
    let shown: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let default = column.default.as_ref().map_or("-", |default| default.text.as_str());
            format!("{} {} {} {default}", column.name, column.column_type, if column.nullable { "null" } else { "not null" })
        })
        .collect();
    let expected = [
        "id BIGINT not null SNOWFLAKE_ID()", "conv TEXT not null -", "Body TEXT not null 'none'", "user TEXT null -",
        "n INT null -5", "at TIMESTAMP not null NOW ()", "price DECIMAL(8,3) not null (1 + 2) * 3", "key JSON null '{}'",
        "position BOOLEAN null true", "by TEXT null CURRENT_USER()",
    ];
    assert_eq!(shown, expected);
    let single = self::table("CREATE SHARED TABLE s (id BIGINT PRIMARY KEY)");
    assert_eq!(single.primary_key.len(), 1);
    assert!(!single.columns[0].nullable);
    assert!(self::table("CREATE USER TABLE b (v TEXT)").primary_key.is_empty());
}

#[test]
fn defaults_are_folded_where_they_fit() {
    let default = |column: &str| {
        let parsed = table(&format!("CREATE USER TABLE t (c {column})"));
        parsed.columns[0].default.clone().expect("a default").value
    };
    let known = |column: &str| match default(column) {
        DefaultSpec::Known(known) => known,
        DefaultSpec::Expr(expr) => panic!("{column}: {expr:?}"),
    };
    for (column, value) in [
        ("INT DEFAULT 5", Value::Int(5)),
        ("SMALLINT DEFAULT (-5)", Value::SmallInt(-5)),
        ("BIGINT DEFAULT -9223372036854775808", Value::BigInt(i64::MIN)),
        ("DOUBLE DEFAULT 1.5", Value::Double(1.5)),
        ("FLOAT DEFAULT -0.0", Value::Float(0.0)),
        ("BOOLEAN DEFAULT FALSE", Value::Boolean(false)),
        ("TEXT DEFAULT 'it''s'", Value::Text("it's".to_owned())),
        ("TEXT DEFAULT E'a\\nb'", Value::Text("a\nb".to_owned())),
        ("JSON DEFAULT '[1]'", Value::Json("[1]".to_owned())),
        ("DATE DEFAULT NULL", Value::Null),
    ] {
        assert_eq!(known(column), ColumnDefault::Constant(value), "{column}");
    }
    for (column, function) in [
        ("TIMESTAMP DEFAULT NOW()", DefaultFunction::Now),
        ("TIMESTAMP DEFAULT CURRENT_TIMESTAMP", DefaultFunction::Now),
        ("TEXT DEFAULT current_user", DefaultFunction::CurrentUser),
        ("BIGINT DEFAULT (SNOWFLAKE_ID())", DefaultFunction::SnowflakeId),
        ("UUID DEFAULT uuid_v7()", DefaultFunction::UuidV7),
        ("TEXT DEFAULT Ulid()", DefaultFunction::Ulid),
    ] {
        assert_eq!(known(column), ColumnDefault::Function(function), "{column}");
    }
    for column in [
        "DECIMAL(5,2) DEFAULT 1.5", "DATE DEFAULT '2025-01-01'", "TIMESTAMP DEFAULT TIMESTAMP '2025-01-01 00:00:00'",
        "INT DEFAULT 1 + 1", "INT DEFAULT '5'", "TEXT DEFAULT upper('a') || 'b'", "INT DEFAULT 1.5", "BYTES DEFAULT X'00'",
    ] {
        assert!(matches!(default(column), DefaultSpec::Expr(_)), "{column}");
    }
}

#[test]
fn defaults_that_do_not_fit_or_vary_are_refused() {
    for (column, code) in [
        ("SMALLINT DEFAULT 40000", ErrorCode::TypeMismatch),
        ("INT DEFAULT 99999999999", ErrorCode::TypeMismatch),
        ("JSON DEFAULT '{broken'", ErrorCode::TypeMismatch),
        ("TEXT DEFAULT NOW()", ErrorCode::TypeMismatch),
        ("INT DEFAULT SNOWFLAKE_ID()", ErrorCode::TypeMismatch),
        ("DOUBLE DEFAULT 1e999", ErrorCode::TypeMismatch),
        ("INT DEFAULT other", ErrorCode::InvalidSql),
        ("INT DEFAULT t.other + 1", ErrorCode::InvalidSql),
        ("INT DEFAULT $1", ErrorCode::InvalidSql),
        ("INT DEFAULT (SELECT 1)", ErrorCode::Unsupported),
        ("INT DEFAULT 1 + (SELECT max(a) FROM b)", ErrorCode::Unsupported),
        ("TIMESTAMP DEFAULT NOW() + INTERVAL '1 day'", ErrorCode::Unsupported),
        ("TEXT DEFAULT 'by ' || CURRENT_USER()", ErrorCode::Unsupported),
        ("DATE DEFAULT CURRENT_DATE", ErrorCode::Unsupported),
        ("DOUBLE DEFAULT random() * 2", ErrorCode::Unsupported),
        ("INT DEFAULT", ErrorCode::InvalidSql),
        ("INT DEFAULT 1 DEFAULT 2", ErrorCode::InvalidSql),
    ] {
        let error = refused(&format!("CREATE USER TABLE t (c {column})"), code);
        assert!(error.position.is_some(), "{column}");
    }
}

#[test]
fn what_a_table_cannot_be() {
    for (sql, code) in [
        ("CREATE USER TABLE t (id BIGINT, x HSTORE)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (id INTERVAL)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (id INT, ID TEXT)", ErrorCode::Conflict),
        ("CREATE USER TABLE t (id INT, PRIMARY KEY (nope))", ErrorCode::ColumnNotFound),
        ("CREATE USER TABLE t (id INT, PRIMARY KEY (id, id))", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (id INT PRIMARY KEY, PRIMARY KEY (id))", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT NULL, PRIMARY KEY (a))", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT NOT NULL NULL)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (_seq BIGINT)", ErrorCode::InvalidName),
        ("CREATE USER TABLE t (\"a b\" BIGINT)", ErrorCode::InvalidName),
        ("CREATE USER TABLE \"ta/ble\" (id BIGINT)", ErrorCode::InvalidName),
        ("CREATE USER TABLE t ()", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT,)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT b)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t ('a' INT)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT) x", ErrorCode::InvalidSql),
        ("CREATE USER TABLE a.user.t (a INT)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE system.t (a INT)", ErrorCode::Forbidden),
        ("CREATE USER TABLE t (a INT UNIQUE)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (a INT REFERENCES b)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (a INT, CHECK (a > 0))", ErrorCode::Unsupported),
        ("CREATE USER TABLE t AS SELECT 1", ErrorCode::Unsupported),
        ("CREATE TABLE t (a INT)", ErrorCode::InvalidOption),
        ("CREATE STREAM TABLE t (a INT)", ErrorCode::Unsupported),
        ("CREATE STREAM TABLE t (a INT) WITH (flush_rows = '1')", ErrorCode::InvalidOption),
    ] {
        refused(sql, code);
    }
    let long = "n".repeat(64);
    refused(&format!("CREATE USER TABLE {long} (id BIGINT)"), ErrorCode::InvalidName);
    let columns: Vec<String> = (0..10_001).map(|number| format!("c{number} INT")).collect();
    let error = refused(&format!("CREATE USER TABLE t ({})", columns.join(",")), ErrorCode::InvalidSql);
    assert!(error.message.contains("10000 columns"), "{}", error.message);
    assert!(one(&format!("CREATE USER TABLE t ({})", columns[..10_000].join(","))).is_ok());
}

#[test]
fn inserts() {
    let values = insert("INSERT INTO chat.user.Messages AS m (Id, \"Body\") VALUES (1, 'x'), ($1, DEFAULT) RETURNING *");
    assert_eq!(name(&values.table), "chat user messages");
    assert_eq!(values.alias.map(|alias| alias.value).as_deref(), Some("m"));
    let columns: Vec<String> = values.columns.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(columns, ["id", "Body"]);
    assert_eq!(values.returning.map(|items| items.len()), Some(1));
    match values.source {
        InsertSource::Values(rows) => assert!(rows.len() == 2 && is_default_keyword(&rows[1][1])),
        other => panic!("{other:?}"),
    }
    assert!(matches!(insert("INSERT INTO t DEFAULT VALUES").source, InsertSource::DefaultValues));
    assert!(matches!(insert("INSERT INTO t SELECT * FROM u").source, InsertSource::Query(_)));
    assert!(matches!(insert("INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x").source, InsertSource::Query(_)));
    assert!(matches!(insert("INSERT INTO default.t (SELECT 1)").source, InsertSource::Query(_)));
    assert!(insert("INSERT INTO t (user, position) VALUES (1, 2)").columns.is_some());
    let nothing = insert("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING").on_conflict.expect("a clause");
    assert!(nothing.target.is_empty() && matches!(nothing.action, OnConflictAction::DoNothing));
    let sql = "INSERT INTO t VALUES (1) ON CONFLICT (a, b) DO UPDATE SET n = excluded.n, m = 1 WHERE t.n < 5";
    let change = insert(sql).on_conflict.expect("a clause");
    assert_eq!(change.target.len(), 2);
    match change.action {
        OnConflictAction::DoUpdate { assignments, selection } => assert!(assignments.len() == 2 && selection.is_some()),
        OnConflictAction::DoNothing => panic!("an update"),
    }
    for (sql, code) in [
        ("INSERT INTO t (id, id) VALUES (1, 1)", ErrorCode::InvalidSql),
        ("INSERT INTO t (id, n) VALUES (9)", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1), (1, 2)", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES ()", ErrorCode::InvalidSql),
        ("INSERT INTO t (id, _deleted) VALUES (9, true)", ErrorCode::InvalidSql),
        ("INSERT INTO t (t.id) VALUES (9)", ErrorCode::InvalidSql),
        ("INSERT INTO t (\"a b\") VALUES (9)", ErrorCode::ColumnNotFound),
        ("INSERT INTO t", ErrorCode::InvalidSql),
        ("INSERT t VALUES (1)", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1, a = 2", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING", ErrorCode::Unsupported),
        ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1", ErrorCode::Unsupported),
        ("INSERT INTO a.b.c VALUES (1)", ErrorCode::InvalidSql),
        ("INSERT INTO t SELECT 1 INTO u", ErrorCode::Unsupported),
        ("INSERT OVERWRITE t VALUES (1)", ErrorCode::InvalidSql),
        ("INSERT INTO t WITH x AS (DELETE FROM u RETURNING a) SELECT * FROM x", ErrorCode::Unsupported),
    ] {
        refused(sql, code);
    }
}

#[test]
fn updates_and_deletes() {
    let change = update("UPDATE ns.user.T AS x SET a = a + 1, \"B\" = DEFAULT WHERE x.id IN (SELECT 1) RETURNING a");
    assert_eq!(name(&change.table), "ns user t");
    assert!(change.alias.is_some() && change.selection.is_some() && change.returning.is_some());
    let columns: Vec<&str> = change.assignments.iter().map(|(column, _)| column.as_str()).collect();
    assert_eq!(columns, ["a", "B"]);
    assert!(is_default_keyword(&change.assignments[1].1));
    let removal = delete("DELETE FROM t WHERE id = $1 RETURNING *");
    assert!(removal.selection.is_some() && removal.returning.is_some() && removal.alias.is_none());
    assert!(delete("DELETE FROM ns.t x").alias.is_some());
    for (sql, code) in [
        ("UPDATE t SET _seq = 1", ErrorCode::InvalidSql),
        ("UPDATE t SET a = 1, A = 2", ErrorCode::InvalidSql),
        ("UPDATE t SET t.a = 1", ErrorCode::InvalidSql),
        ("UPDATE t SET (a, b) = (1, 2)", ErrorCode::Unsupported),
        ("UPDATE t SET a = 1 FROM u", ErrorCode::Unsupported),
        ("UPDATE t JOIN u ON true SET a = 1", ErrorCode::Unsupported),
        ("UPDATE (SELECT 1) x SET a = 1", ErrorCode::Unsupported),
        ("UPDATE t SET", ErrorCode::InvalidSql),
        ("UPDATE t SET a", ErrorCode::InvalidSql),
        ("DELETE FROM t USING u WHERE true", ErrorCode::Unsupported),
        ("DELETE FROM t, u", ErrorCode::Unsupported),
        ("DELETE t", ErrorCode::InvalidSql),
        ("DELETE FROM t WHERE", ErrorCode::InvalidSql),
        ("DELETE FROM t LIMIT 1", ErrorCode::Unsupported),
    ] {
        refused(sql, code);
    }
}

#[test]
fn queries() {
    for sql in [
        "SELECT 1", "select * from T", "SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 5 OFFSET 2",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL SELECT 2", "VALUES (1, 'a'), (2, 'b')", "(SELECT 1)",
        "SELECT sum(n) OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON c.x = b.x CROSS JOIN d", "SELECT DISTINCT ON (a) a, b FROM t",
        "SELECT CASE WHEN a THEN 1 ELSE 2 END, CAST(a AS BIGINT), a::TEXT, a -> 'x' ->> 'y', a[1], ARRAY[1, 2]",
        "SELECT count(*) FILTER (WHERE a > 1), EXTRACT(YEAR FROM b), trim(both ' ' from c), substring(c from 1 for 2) FROM t",
        "SELECT now() - INTERVAL '1 hour', CURRENT_TIMESTAMP, CURRENT_DATE, position('a' IN b), ceil(1.5), floor(2)",
        "SELECT * FROM ns.user.t WHERE id = $1 LIMIT $2 OFFSET $3", "SELECT * FROM default.t", "SELECT user, t.user FROM t",
        "SELECT position, floor, interval, trim AS substring, date, timestamp, key, value, type, name FROM t",
        "SELECT a>-1, a<-1, a>=-1, a||-1, 5%-2, a<@b, -a, +a, ~a, a ~ '^x', a !~* 'y' FROM t", "SELECT E'\\n', $$a$$, N'x', X'00'",
        "SELECT * FROM (SELECT 1) AS x, LATERAL (SELECT 2) y", "SELECT a FROM t EXCEPT SELECT b FROM u INTERSECT SELECT 1",
        "SELECT * FROM t WHERE (a, b) IN ((1, 2), (3, 4)) AND NOT EXISTS (SELECT 1) AND x IS NOT DISTINCT FROM y",
        "SELECT point, line, box, circle, path, xml, point(1) FROM t", "SELECT a AS \"into\", b.into FROM b",
        "SELECT 1 WHERE a BETWEEN 1 AND 2 AND b NOT BETWEEN 3 AND 4", "SELECT f(a => 1, b := 2)", "SELECT {'a': 1}",
    ] {
        match one(sql) {
            Ok(Statement::Query(_)) => {}
            // What sqlparser does not know for PostgreSQL is an error with a place, not another statement.
            Err(error) if sql.contains('{') || sql.contains("=>") => assert_eq!(error.code, ErrorCode::InvalidSql, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    for sql in [
        "SELECT * INTO u FROM t", "SELECT (SELECT 1 INTO x)", "SELECT 1 FOR UPDATE", "SELECT * FROM (SELECT 1 FOR SHARE) x",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x", "WITH x AS (SELECT 1) DELETE FROM t",
        "WITH x AS (UPDATE t SET a = 1 RETURNING a) SELECT 1", "SELECT 1 OPERATOR(pg_catalog.+) 2", "TABLE t",
    ] {
        refused(sql, ErrorCode::Unsupported);
    }
    for sql in ["SELECT", "SELECT 1 1", "SELECT FROM", "SELECT (1", "SELECT 1)", "VALUES (1), (1, 2)", "SELECT * FROM t WHERE", "SELECT `a`"] {
        refused(sql, ErrorCode::InvalidSql);
    }
}

#[test]
fn errors_have_a_place_and_words() {
    for (sql, line, column, words) in [
        ("SELECT 1,\n  FROM WHERE", 2, 3, "found"),
        ("SELECT 1 +", 1, 11, "end of the statement"),
        ("SELEC 1", 1, 1, "found SELEC"),
        ("1", 1, 1, "expected a statement, found 1"),
        ("CREATE\n\n NAMESPAC x", 3, 2, "NAMESPACE or TABLE"),
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
        ("COPY t TO 'file.csv'", "COPY"), ("CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"), ("SET x = 1", "SET"), ("PREPARE p AS SELECT 1", "PREPARE"),
        ("TRUNCATE TABLE t", "TRUNCATE"), ("BEGIN", "BEGIN"), ("COMMIT", "COMMIT"), ("CREATE DATABASE d", "CREATE DATABASE"),
        ("CREATE SCHEMA s", "CREATE SCHEMA"), ("CREATE INDEX i ON t (a)", "CREATE INDEX"), ("GRANT SELECT ON t TO a", "GRANT"),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "MERGE"), ("DROP VIEW v", "DROP VIEW"),
        ("ALTER TABLE t ADD COLUMN c INT", "ALTER TABLE"), ("FLUSH ALL TABLES", "FLUSH ALL"), ("COMPACT TABLE t", "COMPACT"),
        ("CREATE STORAGE s WITH (type = 's3')", "CREATE STORAGE"), ("CREATE USER 'a'", "CREATE USER"),
        ("DROP USER 'a'", "DROP USER"), ("DROP STORAGE s", "DROP STORAGE"), ("BACKUP DATABASE TO 'd'", "BACKUP"),
        ("KILL LIVE QUERY 'x'", "KILL"), ("CLEAR PLAN CACHE", "CLEAR"), ("SHOW TABLE STATS t", "SHOW TABLE STATS"),
        ("SHOW STORAGES", "STORAGES"), ("SHOW BACKUPS", "BACKUPS"), ("SHOW COLUMNS FROM t", "SHOW COLUMNS"),
        ("CREATE OR REPLACE TABLE t (a INT)", "CREATE OR"), ("DESC t", "DESCRIBE"), ("CREATE TEMP TABLE t (a INT)", "CREATE TEMP"),
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

#[test]
fn types_in_casts_are_left_to_the_planner() {
    // The engine maps them with `column_type_of`, where the error has the type's name.
    assert!(matches!(one("SELECT CAST(1 AS INTEGER)"), Ok(Statement::Query(_))));
    assert_eq!(table("CREATE USER TABLE t (a DECIMAL(5))").columns[0].column_type, ColumnType::Decimal { precision: 5, scale: 0 });
}
