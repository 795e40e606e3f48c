//! `kalamdb-bench flush`: every scenario with a handful of rows, what it leaves behind, and what it says when a server
//! fails it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::report;
use kalamdb_tests::{BinaryServer, TestServer, program, unique};

/// Small enough for a test: rows that no number of segments divides, users with a row more than others.
const SMALL: &[&str] = &[
    "--users",
    "7",
    "--rows",
    "1203",
    "--rate",
    "400",
    "--in-flight",
    "3",
    "--quiet",
    "100ms",
    "--rounds",
    "2",
    "--point-rows",
    "610",
    "--reads",
    "40",
    "--aggregate-rows",
    "1205",
    "--runs",
    "3",
    "--segments",
    "4",
    "--small-flushes",
    "6",
    "--churns",
    "2",
    "--queries",
    "5",
    "--warm-up",
    "10ms",
];

fn run(base: &str, namespace: &str, more: &[&[&str]]) -> Output {
    let mut command = Command::new(program("kalamdb-bench"));
    command
        .args(["flush", "--url", base, "--namespace", namespace])
        .args(more.concat())
        .env_remove("KALAMDB__AUTH__JWT_SECRET");
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Checks that so many answers were right and none wrong, and that their times are in order.
#[track_caller]
fn right(figures: &Value, answers: u64) {
    assert_eq!(
        (&figures["succeeded"], &figures["failed"], &figures["not_begun"]),
        (&json!(answers), &json!(0), &json!(0)),
        "{figures}"
    );
    let number = |name: &str| figures["latency_ms"][name].as_f64().unwrap_or_else(|| panic!("{figures}"));
    assert!(number("p50") > 0.0 && number("p50") <= number("p99") && number("p99") <= number("max") * 1.01);
}

#[tokio::test]
async fn everything_is_measured_and_nothing_stays() {
    let server = TestServer::start().await;
    let namespace = unique("flushes");
    let output = run(server.base(), &namespace, &[SMALL, &["--json", "-", "--secret", server.secret()]]);
    let report = report(&output);
    assert_eq!((output.status.code(), &report["aborted"]), (Some(0), &Value::Null), "{report:#}");

    let fill = &report["fill"];
    assert_eq!((&fill["users"], &fill["insert"]["rows"]), (&json!(7), &json!(1203)));
    assert_eq!((&fill["flush"]["rows"], &fill["flush"]["segments"]), (&json!(1203), &json!(7)));
    assert!(fill["flush"]["seconds"].as_f64() > Some(0.0) && fill["flush"]["rows_per_second"].as_f64() > Some(0.0));
    assert_eq!(fill["memory"], Value::Null, "no process was named");

    let writers = &report["writers"];
    let rounds = writers["rounds"].as_array().unwrap_or_else(|| panic!("{writers}"));
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        assert_eq!((&round["quiet"]["loop"], &round["flushing"]["loop"]), (&json!("open"), &json!("open")));
        right(&round["quiet"], 40);
        let beside = round["flushing"]["succeeded"].as_u64().unwrap_or_default();
        right(&round["flushing"], beside);
        assert!(beside > 0 && round["flush"]["rows"].as_u64() >= Some(1203), "{round}");
        assert_eq!(round["flush"]["segments"], json!(7));
        assert!(round["p99_ratio"].as_f64() > Some(0.0), "{round}");
    }
    assert!(writers["p99_ratio"].as_f64() > Some(0.0));

    let reads = &report["point_read"];
    assert_eq!((&reads["rows"], &reads["segments"]), (&json!(610), &json!(4)));
    right(&reads["hot"], 40);
    right(&reads["flushed"], 40);
    assert!(reads["p50_ratio"].as_f64() > Some(0.0));

    let aggregate = &report["aggregate"];
    assert_eq!((&aggregate["rows"], &aggregate["segments"]), (&json!(1205), &json!(4)));
    right(&aggregate["query"], 3);
    assert!(aggregate["mean_seconds"].as_f64() > Some(0.0));

    let small = &report["small_flushes"];
    assert_eq!((&small["rows"], &small["churns"]), (&json!(60), &json!(2)));
    assert_eq!((&small["flushed"]["flushes"], &small["flushed"]["segments"]), (&json!(6), &json!(6)));
    assert_eq!(small["churned"]["flushes"], json!(20), "two deletions, and twice six flushes of new rows");
    assert!(small["churned"]["segments"].as_u64() >= Some(6), "{small}");
    right(&small["flushed"]["query"], 5);
    right(&small["churned"]["query"], 5);

    let namespaces = server.admin().sql("SHOW NAMESPACES").await.success();
    assert!(!format!("{:?}", namespaces.rows()).contains(&namespace), "{:?}", namespaces.rows());
}

#[tokio::test]
async fn only_what_is_asked_for_is_measured() {
    let server = BinaryServer::start_with(&[("auth.localhost_bypass", "true")]).await;
    let (namespace, dir) = (unique("some"), TempDir::new().expect("a temporary directory"));
    let file = dir.path().join("report.json");
    let pid = server.pid().expect("it runs").to_string();
    let some: &[&str] = &["--scenarios", "aggregate,fill", "--server-pid", &pid, "--threads", "2", "--keep", "--json"];
    let output = run(&server.url(), &namespace, &[SMALL, some, &[file.to_str().expect("UTF-8")]]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("fill: 1203 rows of 7 users flushed") && table.contains("p99 ms"), "{table}");

    let report: Value = serde_json::from_slice(&std::fs::read(&file).expect("the report")).expect("JSON");
    for scenario in ["writers", "point_read", "small_flushes"] {
        assert_eq!(report[scenario], Value::Null, "{scenario}");
    }
    right(&report["aggregate"]["query"], 3);
    let memory = &report["fill"]["memory"];
    // Linux permits it to the process's own user.
    if Path::new("/proc/self/clear_refs").is_file() {
        let bytes = |member: &str| memory[member].as_u64().unwrap_or_else(|| panic!("{report}"));
        assert!(bytes("before_bytes") > 1 << 20);
        assert_eq!(bytes("above_bytes"), bytes("peak_bytes").saturating_sub(bytes("before_bytes")));
    }

    // The rows of each user are in a segment of its own, and were kept.
    let admin = server.admin().in_namespace(&namespace);
    let stats = admin.sql("SHOW TABLE STATS flush_fill_users").await.success();
    let row = &stats.rows()[0];
    assert_eq!((&row["flushed_rows"], &row["buffered_rows"], &row["segments"]), (&json!(1203), &json!(0), &json!(7)));
    let count = admin.as_user("bench-6").sql("SELECT count(*) FROM flush_fill_users").await.success();
    assert_eq!(count.number(), 171, "1203 rows are 172 of each of six users and 171 of the last");
}

#[tokio::test]
async fn a_flush_that_fails_is_said() {
    let server = BinaryServer::start().await;
    let namespace = unique("fails");
    // A file where the directory of segments would have to be, which is made by the first flush.
    std::fs::write(server.dir().join("storage"), "in the way").expect("a file");
    let secret: &[&str] = &["--json", "-", "--secret", kalamdb_tests::SECRET];
    let output = run(&server.url(), &namespace, &[SMALL, secret, &["--scenarios", "fill"]]);
    let report = report(&output);
    assert_eq!((output.status.code(), &report["fill"]), (Some(1), &Value::Null), "{report:#}");
    let why = report["aborted"].as_str().unwrap_or_else(|| panic!("{report}"));
    assert!(why.contains("FLUSH TABLE") && why.contains("STORAGE_UNAVAILABLE"), "{why}");
}

#[tokio::test]
async fn what_cannot_be_measured_is_said() {
    let server = TestServer::start().await;
    let refused = run(server.base(), server.namespace(), &[SMALL, &["--secret", &"wrong ".repeat(8)]]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(said.contains("UNAUTHORIZED") && !said.contains("wrong wrong"), "{said}");
    assert_eq!(server.admin().sql("SHOW TABLES").await.success().rows().len(), 0);
}
