//! Random bytes and SQL fragments thrown at the door. Every answer is one of the contract's, none is a
//! defect of the server, and what was there before is there after.

mod sql;

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
    run(&sql::fragments(), &door, |sql| judge(&door.post(&json!({"sql": sql, "namespace": door.server.namespace()}))));
}

#[test]
fn nearly_right_statements() {
    let door = Door::open();
    run(&(sql::nearly_right(), proptest::option::of(scalar())), &door, |(sql, param)| {
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
