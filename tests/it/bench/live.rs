//! `kalamdb-bench live`: every scenario with a handful of users, and what it says when nobody answers.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::report;
use kalamdb_tests::{BinaryServer, SECRET, program, unique};

/// Small enough for a test.
const SMALL: &[&str] = &[
    "--users",
    "7",
    "--rate",
    "200",
    "--duration",
    "500ms",
    "--in-flight",
    "3",
    "--fan",
    "25",
    "--inserts",
    "6",
    "--each",
    "4",
    "--connections",
    "9",
    "--initial",
    "3,120",
    "--warm-up",
    "10ms",
];

fn run(base: &str, namespace: &str, more: &[&[&str]]) -> Output {
    let mut command = Command::new(program("kalamdb-bench"));
    command
        .args(["live", "--json", "-", "--url", base, "--namespace", namespace])
        .args(more.concat())
        .env_remove("KALAMDB__AUTH__JWT_SECRET");
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[tokio::test]
async fn everything_is_measured_and_nothing_stays() {
    let server = BinaryServer::start().await;
    let (namespace, pid) = (unique("live"), server.pid().expect("it runs").to_string());
    let output = run(&server.url(), &namespace, &[SMALL, &["--secret", SECRET, "--server-pid", &pid]]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    let latency = &report["latency"];
    assert_eq!((&latency["inserts"], &latency["users"]), (&json!(100), &json!(7)), "{latency}");
    let p50 = |what: &str| latency[what]["p50"].as_f64().unwrap_or_else(|| panic!("{latency}"));
    assert!(p50("insert_ms") > 0.0 && p50("notification_ms") > 0.0, "{latency}");
    let fan_out = &report["fan_out"];
    assert_eq!((&fan_out["subscriptions"], &fan_out["inserts"]), (&json!(30), &json!(6)), "{fan_out}");
    assert_eq!(report["subscribe"]["subscriptions"], json!(28));
    assert_eq!(report["idle"]["connections"], json!(9));
    let rows: Vec<Value> =
        report["initial_rows"].as_array().expect("a list").iter().map(|one| one["rows"].clone()).collect();
    assert_eq!(rows, [json!(3), json!(120)]);
    let left = server.admin().sql("SELECT count(*) FROM system.namespaces WHERE namespace_id LIKE 'live%'").await;
    assert_eq!(left.success().number(), 0, "the namespace is gone");
    let live = server.admin().sql("SELECT count(*) FROM system.live_queries").await;
    assert_eq!(live.success().number(), 0);
}

#[tokio::test]
async fn a_limit_of_the_server_makes_the_run_a_failure() {
    let server = BinaryServer::start_with(&[("live.max_subscriptions_per_user", "2")]).await;
    let scenarios = ["--scenarios", "subscribe", "--secret", SECRET];
    let output = run(&server.url(), &unique("few"), &[SMALL, &scenarios]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let aborted = report(&output)["aborted"].as_str().unwrap_or_default().to_owned();
    assert!(aborted.contains("SUBSCRIPTION_LIMIT"), "{aborted}");
}
