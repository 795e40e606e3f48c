//! Random bytes and SQL fragments thrown at the door. Every answer is one of the contract's, none is a
//! defect of the server, and what was there before is there after.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use kalamdb_tests::{Answer, Client, RawConnection, TestServer};

fn config() -> Config {
    // The number of cases is proptest's own, from PROPTEST_CASES, 256 if unset.
    Config { failure_persistence: None, max_shrink_iters: 200, ..Config::default() }
}

/// A server with something in it, and a runtime for the cases, which are not asynchronous.
struct Door {
    runtime: tokio::runtime::Runtime,
    server: TestServer,
}

impl Door {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = runtime.block_on(async {
            let server = TestServer::start().await;
            let sql = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, i INT, v TEXT, d DOUBLE, at TIMESTAMP, p DECIMAL(6,2), b BOOLEAN);
                CREATE USER TABLE kept (id BIGINT PRIMARY KEY); CREATE SHARED TABLE s (id BIGINT PRIMARY KEY, v TEXT)";
            server.admin().sql(sql).await.ok();
            let rows = "INSERT INTO kept VALUES (1), (2), (3)";
            server.user("ann").sql(rows).await.ok();
            server
        });
        Self { runtime, server }
    }

    fn caller(&self) -> Client {
        self.server.user("bob")
    }

    fn post(&self, body: &Value) -> Answer {
        self.runtime.block_on(self.caller().post(body))
    }

    fn is_healthy(&self) {
        self.runtime.block_on(async {
            assert_eq!(self.server.anonymous().get("/health").await.status, 200);
            assert_eq!(self.server.anonymous().get("/ready").await.status, 200);
            let kept = self.server.user("ann").sql("SELECT count(*) FROM kept").await.success();
            assert_eq!(kept.number(), 3, "another user's rows");
        });
    }
}

/// A success, or an error of the caller's with a code and a message that can be read.
fn judge(answer: &Answer) -> Result<(), TestCaseError> {
    let shown = || format!("{}\n{} {}", answer.asked, answer.status, answer.text);
    if answer.status == 200 {
        prop_assert_eq!(&answer.body["status"], "success", "{}", shown());
        return Ok(());
    }
    prop_assert!((400..500).contains(&answer.status), "{}", shown());
    prop_assert!(!answer.code().is_empty(), "{}", shown());
    prop_assert!(answer.body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", shown());
    prop_assert!(answer.request_id.is_some(), "{}", shown());
    Ok(())
}

const FRAGMENTS: &[&str] = &[
    "SELECT",
    "INSERT INTO",
    "UPDATE",
    "DELETE FROM",
    "FROM",
    "WHERE",
    "VALUES",
    "SET",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "UNION ALL",
    "EXCEPT",
    "INTERSECT",
    "WITH",
    "RECURSIVE",
    "AS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST(",
    "EXISTS (",
    "IN (",
    "NOT",
    "AND",
    "OR",
    "IS NULL",
    "LIKE",
    "BETWEEN",
    "DISTINCT",
    "ALL",
    "ANY(",
    "OVER (",
    "PARTITION BY",
    "ROWS",
    "RETURNING",
    "ON CONFLICT",
    "DO NOTHING",
    "DO UPDATE SET",
    "DEFAULT",
    "NULL",
    "TRUE",
    "INTERVAL",
    "CREATE",
    "USER TABLE",
    "SHARED TABLE",
    "TABLE",
    "DROP",
    "NAMESPACE",
    "IF EXISTS",
    "PRIMARY KEY",
    "SHOW",
    "TABLES",
    "DESCRIBE",
    "EXPLAIN",
    "ANALYZE",
    "LATERAL",
    "UNNEST(",
    "VALUES (1)",
    "t",
    "s",
    "kept",
    "t.id",
    "id",
    "i",
    "v",
    "d",
    "at",
    "p",
    "b",
    "_seq",
    "_deleted",
    "nowhere.t",
    "t.user.t",
    "system.tables",
    "information_schema.columns",
    "count(*)",
    "sum(",
    "max(id)",
    "abs(",
    "NOW()",
    "CURRENT_USER()",
    "SNOWFLAKE_ID()",
    "UUID_V7()",
    "coalesce(",
    "concat(",
    "substr(v, 1)",
    "to_timestamp(",
    "date_trunc('day', at)",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "1e308",
    "1.5",
    "''",
    "'x'",
    "'ж'",
    "'2025-10-21'",
    "\"t\"",
    "\"T x\"",
    "$1",
    "$2",
    "$0",
    "$",
    "?",
    ":x",
    "@",
    "#",
    "~",
    "!~",
    "||",
    "::",
    "::INT",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "<>",
    "<",
    ">=",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ",",
    ";",
    ".",
    "..",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "`",
    "\\",
    "\0",
    "\u{1}",
    "😀",
    "e'\\n'",
    "x'0f'",
    "$$",
    "AT TIME ZONE 'UTC'",
];

fn fragments() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(FRAGMENTS), 0..14).prop_map(|parts| parts.join(" "))
}

/// Statements that mostly parse, so that what lies behind the parser gets its share.
fn nearly_right() -> impl Strategy<Value = String> {
    let expression = proptest::sample::select(
        &[
            "id",
            "i",
            "v",
            "d",
            "at",
            "p",
            "b",
            "1",
            "NULL",
            "'x'",
            "-i",
            "i + 1",
            "id / i",
            "i / 0",
            "v || v",
            "p * 2",
            "d / 0",
            "CAST(v AS INT)",
            "CAST(i AS TEXT)",
            "at + INTERVAL '1 day'",
            "at - at",
            "NOT b",
            "i % 0",
            "abs(i)",
            "count(*)",
            "sum(i)",
            "max(v)",
            "avg(p)",
            "row_number() OVER ()",
            "CASE WHEN b THEN i END",
            "(SELECT max(id) FROM s)",
            "id IN (1, 2)",
            "v LIKE '%'",
            "_seq",
            "_deleted",
            "CURRENT_USER()",
            "NOW()",
            "length(v)",
            "9223372036854775807 + id",
            "$1",
            "-$1",
            "b AND $1",
        ][..],
    );
    let condition = expression.clone();
    let table = proptest::sample::select(
        &["t", "s", "kept", "t AS a", "t JOIN s USING (id)", "t, s", "(SELECT 1) AS q", "nowhere"][..],
    );
    let template = proptest::sample::select(
        &[
            "SELECT {e} FROM {t}",
            "SELECT {e}, * FROM {t} WHERE {c}",
            "SELECT {e} FROM {t} GROUP BY {c}",
            "SELECT {e} FROM {t} ORDER BY {c} LIMIT 3",
            "INSERT INTO t (id, i) VALUES ({e}, {c})",
            "INSERT INTO t (id, v) SELECT {e}, {c} FROM {t}",
            "INSERT INTO t (id) VALUES ({e}) ON CONFLICT (id) DO UPDATE SET i = {c} RETURNING {e}",
            "UPDATE t SET i = {e} WHERE {c}",
            "UPDATE t SET v = {e}, d = {c}",
            "DELETE FROM t WHERE {c} RETURNING {e}",
            "SELECT {e} UNION SELECT {c} FROM {t}",
            "EXPLAIN SELECT {e} FROM {t} WHERE {c}",
        ][..],
    );
    (template, expression, condition, table).prop_map(|(template, expression, condition, table)| {
        template.replace("{e}", expression).replace("{c}", condition).replace("{t}", table)
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<String>().prop_map(|value| json!(value)),
        Just(json!("2025-10-21T00:00:00Z")),
        Just(json!("NaN")),
    ]
}

fn run<T: std::fmt::Debug>(
    strategy: &impl Strategy<Value = T>,
    door: &Door,
    check: impl Fn(T) -> Result<(), TestCaseError>,
) {
    let outcome = TestRunner::new(config()).run(strategy, check);
    door.is_healthy();
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn sql_fragments() {
    let door = Door::open();
    run(&fragments(), &door, |sql| judge(&door.post(&json!({"sql": sql, "namespace": door.server.namespace()}))));
}

#[test]
fn nearly_right_statements() {
    let door = Door::open();
    run(&(nearly_right(), proptest::option::of(scalar())), &door, |(sql, param)| {
        let params: Vec<Value> = param.into_iter().filter(|_| sql.contains('$')).collect();
        judge(&door.post(&json!({"sql": sql, "params": params, "namespace": door.server.namespace()})))
    });
}

#[test]
fn any_text_as_sql() {
    let door = Door::open();
    run(&any::<String>(), &door, |sql| judge(&door.post(&json!({"sql": sql}))));
}

#[test]
fn any_bytes_as_a_body() {
    let door = Door::open();
    run(&proptest::collection::vec(any::<u8>(), 0..300), &door, |bytes| {
        let answer = door.runtime.block_on(door.caller().post_bytes("application/json", bytes));
        answer.fails(400, "INVALID_REQUEST");
        Ok(())
    });
}

#[test]
fn any_value_as_a_parameter() {
    let door = Door::open();
    let columns = proptest::sample::select(&["id", "i", "v", "d", "at", "p", "b"][..]);
    run(&(columns, scalar()), &door, |(column, value)| {
        let sql = format!("SELECT count(*) FROM t WHERE {column} = $1");
        let answer = door.post(&json!({"sql": sql, "params": [value], "namespace": door.server.namespace()}));
        let fits = answer.status == 200 || answer.code() == "PARAM_TYPE_MISMATCH";
        prop_assert!(fits, "{} {}", answer.asked, answer.text);
        Ok(())
    });
}

#[test]
fn any_bytes_on_the_wire() {
    let door = Door::open();
    let line = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        any::<String>().prop_map(|text| format!("POST /{text} HTTP/1.1\r\nHost: {text}\r\n\r\n").into_bytes()),
        any::<String>()
            .prop_map(
                |text| format!("GET /api/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {text}\r\n\r\n").into_bytes()
            ),
    ];
    run(&line, &door, |bytes| {
        let ended = door.runtime.block_on(async {
            let mut connection = RawConnection::open(door.server.base()).await;
            connection.send(&bytes).await;
            connection.finish().await;
            connection.read_to_end(Duration::from_secs(20)).await
        });
        let answer = ended.map_err(|got| TestCaseError::fail(format!("kept open after {got:?}")))?;
        prop_assert!(!answer.starts_with("HTTP/1.1 5") || answer.starts_with("HTTP/1.1 505"), "{answer}");
        Ok(())
    });
}
