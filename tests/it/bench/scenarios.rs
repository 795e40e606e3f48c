//! `kalamdb-bench scenarios`: every scenario with a handful of operations, what it leaves behind, how scenarios are named,
//! and what it says when a server fails it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{parts, report};
use kalamdb_tests::{BinaryServer, SECRET, TestServer, program, unique};

/// Small enough for a test: rows that no number of segments divides.
const SMALL: &[&str] = &[
    "--count",
    "7",
    "--in-flight",
    "1,3",
    "--clients",
    "12",
    "--flushed-rows",
    "1203",
    "--segments",
    "4",
    "--json",
    "-",
];

fn command(more: &[&[&str]]) -> Output {
    let mut command = Command::new(program("kalamdb-bench"));
    command.arg("scenarios").args(more.concat()).env_remove("KALAMDB__AUTH__JWT_SECRET");
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The names that `--list` gives.
fn listed() -> BTreeSet<String> {
    let output = command(&[&["--list"]]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn scenarios_are_listed_and_named() {
    let listed = listed();
    for name in ["create-table", "insert-50", "join", "crud", "flushed-aggregate"] {
        assert!(listed.contains(name), "{name}: {listed:?}");
    }
    // Before anything is asked of a server: nobody listens there.
    let unknown = command(&[SMALL, &["--url", "http://127.0.0.1:9", "insert", "inserts"]]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_ne!(unknown.status.code(), Some(0), "{unknown:?}");
    assert!(said.contains("'inserts'") && listed.iter().all(|name| said.contains(name.as_str())), "{said}");
    let nobody = command(&[SMALL, &["--url", "http://127.0.0.1:9", "insert"]]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("cannot connect"), "{nobody:?}");
}

#[tokio::test]
async fn everything_is_measured_and_nothing_stays() {
    let server = BinaryServer::start().await;
    let (prefix, pid) = (unique("scen"), server.pid().expect("it runs").to_string());
    let whole = [
        "--url",
        &server.url(),
        "--namespace",
        &prefix,
        "--secret",
        SECRET,
        "--server-pid",
        &pid,
        "--warm-up",
        "5ms",
        "all",
    ];
    let output = command(&[SMALL, &whole]);
    let report = report(&output);
    assert_eq!((output.status.code(), &report["unfinished"]), (Some(0), &json!([])), "{report:#}");

    let mut lines: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for part in parts(&report) {
        assert_eq!(
            (&part["succeeded"], &part["failed"], &part["errors"]),
            (&json!(7), &json!(0), &json!({})),
            "{part}"
        );
        let number = |name: &str| part["latency_ms"][name].as_f64().unwrap_or_else(|| panic!("{part}"));
        assert!(number("p50") > 0.0 && number("p50") <= number("p95") && number("p95") <= number("p99"), "{part}");
        assert!(number("mean") > 0.0 && number("mean") <= number("max") * 1.01, "{part}");
        assert!(part["rate"].as_f64() > Some(0.0), "{part}");
        assert_eq!(part["share_of_health"].is_null(), part["scenario"] == "health", "{part}");
        if cfg!(target_os = "linux") {
            assert!(part["client"]["cpu_share"].is_number() && part["server"]["cpu_share"].is_number(), "{part}");
        }
        let name = part["scenario"].as_str().unwrap_or_default().to_owned();
        lines.entry(name).or_default().push(part["in_flight"].as_u64().unwrap_or_default());
    }
    assert_eq!(lines.remove("health"), Some(vec![1, 3, 12]), "the floor of every number in flight");
    assert_eq!(lines.remove("concurrent-selects"), Some(vec![12]));
    for (name, in_flight) in &lines {
        assert_eq!(in_flight, &[1, 3], "{name}");
    }
    let mut expected = listed();
    assert!(expected.remove("concurrent-selects"));
    assert_eq!(lines.into_keys().collect::<BTreeSet<_>>(), expected);

    let namespaces = server.admin().sql("SHOW NAMESPACES").await.success();
    assert!(!format!("{:?}", namespaces.rows()).contains(&prefix), "{:?}", namespaces.rows());
}

#[tokio::test]
async fn what_is_asked_for_has_namespaces_of_its_own() {
    let server = BinaryServer::start_with(&[("auth.localhost_bypass", "true")]).await;
    let prefix = unique("kept");
    let run = || {
        let url = server.url();
        let words = ["--url", &url, "--namespace", &prefix, "--keep", "--warm-up", "0s"];
        let output = command(&[SMALL, &words, &["insert-50", "update", "insert-50"]]);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        let names: Vec<Value> = parts(&report).iter().map(|part| part["scenario"].clone()).collect();
        assert_eq!(names, ["health", "health", "insert-50", "insert-50", "update", "update"]);
    };
    run();
    // A second run meets nothing of the first.
    run();
    let names = server.admin().sql("SELECT namespace_id FROM system.namespaces ORDER BY namespace_id").await.success();
    let names = names.rows().iter().filter_map(|row| row["namespace_id"].as_str().map(str::to_owned));
    let ours: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    assert_eq!(ours.len(), 4, "{ours:?}");
    for name in ours.iter().filter(|name| name.ends_with("_insert_50")) {
        let user = server.admin().as_user("bench-one").in_namespace(name);
        let count = user.sql("SELECT count(*) FROM rows_one_user").await.success().number();
        assert_eq!(count, 700, "two lines of seven statements of 50 rows");
    }
}

#[tokio::test]
async fn an_error_of_the_server_makes_the_run_a_failure_and_the_others_go_on() {
    // A batch of 50 rows does not fit, one row does.
    let server = BinaryServer::start_with(&[("query.max_write_bytes", "2KiB")]).await;
    let prefix = unique("limited");
    let some = ["--url", &server.url(), "--namespace", &prefix, "--secret", SECRET, "--warm-up", "5ms"];
    let output = command(&[SMALL, &some, &["insert-50", "join", "insert"]]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    let of = |name: &str| parts(&report).into_iter().filter(|part| part["scenario"] == name).collect::<Vec<_>>();
    for part in of("insert-50") {
        assert_eq!(part["succeeded"], json!(0), "{part}");
        assert!(part["errors"]["RESOURCES_EXHAUSTED"].as_u64() >= Some(7), "{part}");
    }
    assert!(of("join").is_empty(), "its rows could not be put in");
    assert_eq!(report["unfinished"][0]["scenario"], "join");
    assert!(report["unfinished"][0]["why"].as_str().unwrap_or_default().contains("RESOURCES_EXHAUSTED"), "{report:#}");
    assert_eq!(of("insert").len(), 2);
    assert!(of("insert").iter().all(|part| part["succeeded"] == json!(7)), "{report:#}");
    let namespaces = server.admin().sql("SHOW NAMESPACES").await.success();
    assert!(!format!("{:?}", namespaces.rows()).contains(&prefix), "failed ones are cleared away too");
}

#[tokio::test]
async fn what_may_not_be_made_is_said_once_for_each_scenario() {
    let server = TestServer::start().await;
    let wrong = "wrong ".repeat(8);
    let output =
        command(&[SMALL, &["--url", server.base(), "--warm-up", "0s", "--secret", &wrong, "insert", "update"]]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    let unfinished = report["unfinished"].as_array().cloned().unwrap_or_default();
    assert_eq!(unfinished.len(), 2, "{report:#}");
    for one in unfinished {
        let why = one["why"].as_str().unwrap_or_default();
        assert!(why.contains("UNAUTHORIZED") && !why.contains("wrong wrong"), "{why}");
    }
}
