//! `kalamdb-bench live`: every scenario with a handful of users, what becomes of those who do not read, and what it says
//! when the server fails it.

use std::path::Path;
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
    "--rounds",
    "23",
    "--repeats",
    "2",
    "--write-for",
    "100ms",
    "--fast",
    "2",
    "--slow",
    "3",
    "--body-bytes",
    "2000",
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

/// Checks that so many inserts were offered at a steady rate, and all were right.
#[track_caller]
fn open(figures: &Value, inserts: u64) {
    let found = (&figures["loop"], &figures["offered_rate"], &figures["succeeded"], &figures["failed"]);
    assert_eq!(found, (&json!("open"), &json!(200.0), &json!(inserts), &json!(0)), "{figures}");
    assert!(positive(&figures["rate"]) && positive(&figures["response_ms"]["p50"]), "{figures}");
}

fn positive(number: &Value) -> bool {
    number.as_f64() > Some(0.0)
}

#[tokio::test]
async fn everything_is_measured_and_nothing_stays() {
    let server = BinaryServer::start().await;
    let (namespace, pid) = (unique("live"), server.pid().expect("it runs").to_string());
    let output = run(&server.url(), &namespace, &[SMALL, &["--secret", SECRET, "--server-pid", &pid]]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    let latency = &report["latency"];
    open(&latency["insert"], 100);
    assert_eq!((&latency["users"], &latency["in_flight"]), (&json!(7), &json!(3)), "{latency}");
    assert!(positive(&latency["notification_ms"]["p50"]) && positive(&latency["p50_ratio"]), "{latency}");
    let slow = &report["slow"];
    for phase in ["without", "with"] {
        open(&slow[phase]["insert"], 100);
        assert!(positive(&slow[phase]["notification_ms"]["p50"]), "{slow}");
    }
    // A hundred rows of two kilobytes are less than what may wait for somebody who does not read.
    assert_eq!(slow["ends"], json!({"counted": 0, "slow_consumer": 0, "open": 3, "gone": 0}), "{slow}");
    let writers = &report["writers"];
    assert_eq!(writers["repeats"].as_array().map(Vec::len), Some(2), "{writers}");
    for repeat in writers["repeats"].as_array().expect("a list") {
        for part in ["alone", "followed", "one_user", "shared"] {
            let figures = &repeat[part];
            assert_eq!((&figures["loop"], &figures["failed"]), (&json!("closed"), &json!(0)), "{part}: {figures}");
            assert!(positive(&figures["rate"]), "{part}: {figures}");
        }
    }
    assert!(positive(&writers["followed_ratio"]) && positive(&writers["change_log_ratio"]), "{writers}");
    let churn = &report["churn"];
    assert_eq!((&churn["rounds"], &churn["users"]), (&json!(23), &json!(7)), "{churn}");
    assert_eq!(churn["counts"], json!({"connections": 0, "subscriptions": 0, "actors": 0}), "{churn}");
    assert!(positive(&churn["rounds_per_second"]), "{churn}");
    if Path::new("/proc/self/stat").is_file() {
        // Before, after each quarter, at the end.
        assert_eq!(churn["memory_bytes"].as_array().map(Vec::len), Some(6), "{churn}");
        assert!(latency["insert"]["client"]["cpu_share"].as_f64() >= Some(0.0), "{latency}");
        assert!(latency["insert"]["server"]["rss_bytes"].as_u64() > Some(1 << 20), "{latency}");
    }
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
async fn who_does_not_read_is_a_slow_consumer_and_nobody_else_is() {
    let server = BinaryServer::start().await;
    // Together more than may wait on the way and in the server.
    let large = ["--scenarios", "slow", "--rate", "200", "--duration", "1s", "--body-bytes", "65536"];
    let few = ["--fast", "2", "--slow", "3", "--in-flight", "3", "--warm-up", "10ms", "--secret", SECRET];
    let output = run(&server.url(), &unique("slow"), &[&large, &few]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    let slow = &report["slow"];
    open(&slow["with"]["insert"], 200);
    assert_eq!(slow["ends"], json!({"counted": 3, "slow_consumer": 3, "open": 0, "gone": 0}), "{slow}");
    assert!(positive(&slow["p50_ratio"]) && positive(&slow["p99_ratio"]), "{slow}");
    for other in ["latency", "writers", "churn", "idle"] {
        assert_eq!(report[other], Value::Null, "{other}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_inserts_makes_the_run_a_failure() {
    // The rows of `latency` fit, those of `slow` do not.
    let server = BinaryServer::start_with(&[("query.max_write_bytes", "1024")]).await;
    let both = ["--scenarios", "latency,slow", "--secret", SECRET];
    let output = run(&server.url(), &unique("refused"), &[SMALL, &both]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    open(&report["latency"]["insert"], 100);
    for phase in ["without", "with"] {
        let found = &report["slow"][phase];
        assert_eq!(found["insert"]["succeeded"], json!(0), "{found}");
        assert!(found["insert"]["errors"]["RESOURCES_EXHAUSTED"].as_u64() > Some(0), "{found}");
        assert_eq!(found["notification_ms"], Value::Null, "{found}");
    }
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
