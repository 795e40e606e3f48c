//! The SQL files of `tests/slt`, run over HTTP.
//!
//! Each file gets a server and a namespace of its own. A statement runs as the user `ann` with the role
//! `service`, who may write shared tables; DDL runs as an administrator. `connection bob` makes `bob`
//! the caller of the next record. Errors read `404 TABLE_NOT_FOUND: …`, so that a file names the
//! code. A value is shown as in the JSON answer, text without quotes, an empty text as `(empty)`.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use serde_json::Value;
use sqllogictest::{AsyncDB, Connection, DBOutput, DefaultColumnType, Record, Runner, parse_file};

use kalamdb_tests::{Answer, Client, Role, TestServer, repository_path};

/// An answer that is an error.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// One caller, in two roles.
struct Caller {
    service: Client,
    admin: Client,
}

impl Caller {
    fn new(server: &TestServer, user: &str) -> Self {
        Self { service: server.as_role(user, Role::Service), admin: server.as_role(user, Role::Dba) }
    }
}

fn is_ddl(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default().to_uppercase();
    ["CREATE", "DROP", "ALTER"].contains(&first.as_str())
}

/// A value as the files write it. How many digits a float is sent with is the server's choice, so that
/// it is written as Rust writes it.
fn shown(value: &Value, column: &DefaultColumnType) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if *column == DefaultColumnType::FloatingPoint => {
            number.as_f64().map_or_else(|| number.to_string(), |float| format!("{float:?}"))
        }
        other => other.to_string(),
    }
}

fn column_type(column: &Value) -> DefaultColumnType {
    match column["type"].as_str().unwrap_or_default() {
        "BIGINT" | "INT" | "SMALLINT" => DefaultColumnType::Integer,
        "FLOAT" | "DOUBLE" => DefaultColumnType::FloatingPoint,
        "TEXT" => DefaultColumnType::Text,
        _ => DefaultColumnType::Any,
    }
}

fn output(answer: &Answer) -> Result<DBOutput<DefaultColumnType>, Refused> {
    if answer.status != 200 {
        let message = answer.body["error"]["message"].as_str().unwrap_or(&answer.text);
        return Err(Refused(format!("{} {}: {message}", answer.status, answer.code())));
    }
    let result = answer.results().last().ok_or_else(|| Refused("no result".to_owned()))?;
    let columns = result["columns"].as_array().ok_or_else(|| Refused("no columns".to_owned()))?;
    if columns.is_empty() {
        return Ok(DBOutput::StatementComplete(answer.row_count()));
    }
    let types: Vec<DefaultColumnType> = columns.iter().map(column_type).collect();
    let row = |row: &Vec<Value>| row.iter().zip(&types).map(|(value, column)| shown(value, column)).collect();
    let rows = answer.values().iter().map(row).collect();
    Ok(DBOutput::Rows { types, rows })
}

#[async_trait]
impl AsyncDB for Caller {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let client = if is_ddl(sql) { &self.admin } else { &self.service };
        output(&client.sql(sql).await)
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "kalamdb"
    }
}

/// The types a file writes are checked where it writes `I`, `R` or `T`; `?` takes any.
fn types_fit(actual: &[DefaultColumnType], expected: &[DefaultColumnType]) -> bool {
    actual.len() == expected.len()
        && actual.iter().zip(expected).all(|(got, wanted)| *wanted == DefaultColumnType::Any || got == wanted)
}

/// Runs every record and panics with all that failed.
async fn run_file(server: &TestServer, path: &Path) {
    let records = parse_file::<DefaultColumnType>(path).unwrap_or_else(|error| panic!("{error}"));
    let mut runners = HashMap::new();
    let mut failures = Vec::new();
    let mut checked = 0;
    for mut record in records {
        let user = take_connection(&mut record);
        checked += usize::from(matches!(record, Record::Statement { .. } | Record::Query { .. }));
        let runner = runners.entry(user.clone()).or_insert_with(|| {
            let mut runner = Runner::new(move || {
                let caller = Caller::new(server, &user);
                async move { Ok(caller) }
            });
            runner.with_column_validator(|actual, expected| types_fit(actual, expected));
            runner
        });
        if let Err(error) = runner.run_async(record).await {
            failures.push(error.to_string());
        }
    }
    assert!(checked > 0, "{} checks nothing", path.display());
    assert!(failures.is_empty(), "{} of {checked} failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// The record's caller; what is left runs on a runner's only connection.
fn take_connection(record: &mut Record<DefaultColumnType>) -> String {
    match record {
        Record::Statement { connection, .. } | Record::Query { connection, .. } => match std::mem::take(connection) {
            Connection::Default => "ann".to_owned(),
            Connection::Named(name) => name,
        },
        _ => "ann".to_owned(),
    }
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        /// Files with a test below.
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[tokio::test]
        async fn $name() {
            let server = TestServer::start().await;
            run_file(&server, &repository_path(concat!("tests/slt/", stringify!($name), ".slt"))).await;
        })*
    };
}

files!(
    aggregates,
    alter_table,
    casts,
    constraints,
    cte,
    delete,
    describe,
    expressions,
    flushed,
    functions,
    insert,
    joins,
    limits,
    literals,
    names,
    nulls,
    on_conflict,
    overflow,
    primary_keys,
    returning,
    set_operations,
    shared_tables,
    stream_tables,
    subqueries,
    system_columns,
    types,
    unsupported,
    update,
    user_rows,
    users,
    windows,
);

/// The same answers from the backend that keeps everything in memory.
#[tokio::test]
async fn in_memory() {
    for name in ["insert", "update", "delete", "primary_keys", "on_conflict", "system_columns"] {
        let server = TestServer::start_in_memory().await;
        run_file(&server, &repository_path(&format!("tests/slt/{name}.slt"))).await;
    }
}

#[test]
fn every_file_has_a_test() {
    let directory = repository_path("tests/slt");
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<String> = entries
        .filter_map(|entry| entry.expect("a readable directory").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".slt").map(str::to_owned))
        .collect();
    found.sort();
    assert_eq!(found, FILES, "files of tests/slt and the list of tests, both in order");
}
