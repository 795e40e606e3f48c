//! `kalamdb-bench run`: every scenario on every target with a handful of operations, what it leaves behind,
//! and what it says when a server fails it. `kalamdb-bench flush` is in `flush`, `kalamdb-bench live` in `live`,
//! `kalamdb-bench scenarios` in `scenarios`.

mod flush;
mod live;
mod scenarios;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use kalamdb_tests::{BinaryServer, TestServer, eventually, program, unique};

/// Small enough for a test, with more users than requests in flight.
const SMALL: &[&str] = &["--in-flight", "1,4", "--users", "5", "--rows", "60", "--warm-up", "10ms"];
const COUNTS: &[&str] = &["--count", "health=30,insert=40,insert-latency=20,point-read=50,mixed=30", "--rate", "400"];

fn command(base: &str, namespace: &str, more: &[&[&str]]) -> Command {
    let mut command = Command::new(program("kalamdb-bench"));
    command
        .args(["run", "--json", "-", "--url", base, "--namespace", namespace])
        .args(more.concat())
        .env_remove("KALAMDB__AUTH__JWT_SECRET");
    command
}

fn run(base: &str, namespace: &str, more: &[&[&str]]) -> Output {
    let mut command = command(base, namespace, more);
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[track_caller]
fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn parts(report: &Value) -> Vec<Value> {
    report["parts"].as_array().unwrap_or_else(|| panic!("{report}")).clone()
}

#[tokio::test]
async fn everything_is_measured_and_nothing_stays() {
    let server = TestServer::start().await;
    let namespace = unique("measured");
    let output = run(server.base(), &namespace, &[SMALL, COUNTS, &["--secret", server.secret()]]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let report = report(&output);
    assert_eq!(report["server"]["status"], "ok");
    assert_eq!(report["aborted"], Value::Null);

    let expected = [("insert", 40), ("insert-latency", 20), ("point-read", 50), ("mixed", 30)];
    let of = |scenario: &str, target: &Value, in_flight: u64| {
        let same =
            |part: &&Value| part["scenario"] == scenario && part["target"] == *target && part["in_flight"] == in_flight;
        let found = parts(&report);
        let found: Vec<&Value> = found.iter().filter(same).collect();
        assert_eq!(found.len(), 1, "{scenario} {target} {in_flight}");
        found[0].clone()
    };
    for in_flight in [1, 4] {
        let health = of("health", &Value::Null, in_flight);
        assert_eq!((&health["succeeded"], &health["share_of_health"]), (&json!(30), &Value::Null));
        for target in ["one-user", "users", "shared"] {
            for (scenario, count) in expected {
                let part = of(scenario, &json!(target), in_flight);
                assert_eq!(
                    (&part["succeeded"], &part["failed"], &part["errors"]),
                    (&json!(count), &json!(0), &json!({}))
                );
                let open = scenario == "insert-latency";
                assert_eq!(part["loop"], if open { "open" } else { "closed" });
                assert_eq!(part["share_of_health"].is_null(), open, "{part}");
                let number = |name: &str| part["latency_ms"][name].as_f64().unwrap_or_else(|| panic!("{part}"));
                assert!(number("p50") > 0.0 && number("p50") <= number("p99") && number("p99") <= number("max") * 1.01);
            }
        }
    }
    assert_eq!(parts(&report).len(), 2 + 2 * 3 * expected.len());
    let namespaces = server.admin().sql("SHOW NAMESPACES").await.success();
    assert!(!format!("{:?}", namespaces.rows()).contains(&namespace), "{:?}", namespaces.rows());
}

#[tokio::test]
async fn rows_are_where_the_target_says() {
    let server = TestServer::start().await;
    let (secret, namespace) = (["--secret", server.secret(), "--keep"], server.namespace());
    let few = ["--scenarios", "insert,mixed", "--in-flight", "2", "--users", "5", "--rows", "60"];
    let fixed = ["--warm-up", "0s", "--count", "health=5,insert=40,mixed=30"];
    let output = run(server.base(), namespace, &[&few, &fixed, &secret]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    let count = async |user: &str, table: &str| {
        server.user(user).sql(format!("SELECT count(*) FROM {table}")).await.success().number()
    };
    assert_eq!(count("bench-one", "inserts_one_user").await, 40);
    // 60 rows to read and two new ones of every ten operations.
    assert_eq!(count("bench-one", "rows_one_user").await, 66);
    assert_eq!(count("bench-one", "inserts_shared").await, 40);
    let mut of_all = (0, 0);
    for user in 0..5 {
        let user = format!("bench-{user}");
        assert_eq!(count(&user, "inserts_users").await, 8, "each user in turn");
        of_all.0 += count(&user, "rows_users").await;
        of_all.1 += count(&user, "rows_one_user").await;
    }
    assert_eq!(of_all, (66, 0));
    // A second run finds its own tables and makes them anew, in a namespace that it leaves alone.
    let output = run(server.base(), namespace, &[&few, &fixed, &["--secret", server.secret()]]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.admin().sql("SHOW TABLES").await.success().rows().len(), 0);
}

#[tokio::test]
async fn without_a_token_users_are_named() {
    let server = BinaryServer::start_with(&[("auth.localhost_bypass", "true")]).await;
    let (namespace, dir) = (unique("named"), TempDir::new().expect("a temporary directory"));
    let file = dir.path().join("report.json");
    let pid = server.pid().expect("it runs").to_string();
    let mut command = Command::new(program("kalamdb-bench"));
    command
        .args(["run", "--url", &server.url(), "--namespace", &namespace, "--server-pid", &pid, "--threads", "2"])
        .args(["--scenarios", "insert-latency,point-read", "--count", "health=30,insert-latency=30,point-read=30"])
        .args([SMALL, &["--closed-loop", "--json"]].concat())
        .arg(&file)
        .env_remove("KALAMDB__AUTH__JWT_SECRET");
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("insert-latency") && table.contains("p99 ms"), "{table}");
    let report: Value = serde_json::from_slice(&std::fs::read(&file).expect("the report")).expect("JSON");
    for part in parts(&report) {
        assert_eq!((&part["loop"], &part["succeeded"]), (&json!("closed"), &json!(30)));
        if Path::new("/proc/self/stat").is_file() {
            assert!(part["server"]["rss_bytes"].as_u64() > Some(1 << 20), "{part}");
            assert!(part["client"]["cpu_share"].as_f64() >= Some(0.0), "{part}");
        }
    }
}

#[tokio::test]
async fn a_server_that_dies_makes_the_run_a_failure() {
    let mut server = BinaryServer::start().await;
    let namespace = unique("dies");
    let mut command = command(&server.url(), &namespace, &[&["--secret", kalamdb_tests::SECRET]]);
    // No end of its own.
    command.args(["--scenarios", "insert", "--targets", "one-user", "--in-flight", "3", "--warm-up", "0s"]);
    command.args(["--count", "health=10,insert=1000000000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let ann = server.admin().as_user("bench-one").in_namespace(&namespace);
    eventually("rows come in", Duration::from_secs(60), async || {
        let answer = ann.sql("SELECT count(*) > 30 AS going FROM inserts_one_user").await;
        (answer.status == 200 && answer.scalar() == json!(true)).then_some(())
    })
    .await;
    server.kill9();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    let insert = parts(&report).pop().expect("the part that was under way");
    assert!(insert["errors"]["NO_ANSWER"].as_u64() > Some(0), "{insert}");
    assert!(insert["succeeded"].as_u64() > Some(20), "{insert}");
    assert_ne!(report["aborted"], Value::Null, "its tables could not be dropped");
}

#[tokio::test]
async fn what_cannot_be_measured_is_said() {
    let server = TestServer::start().await;
    let said = |output: &Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let wrong = "wrong ".repeat(8);
    let refused = run(server.base(), server.namespace(), &[SMALL, COUNTS, &["--secret", &wrong]]);
    let text = said(&refused);
    assert!(text.contains("UNAUTHORIZED") && !text.contains("wrong wrong"), "{text}");
    let nobody = run("http://127.0.0.1:9", server.namespace(), &[SMALL, COUNTS]);
    assert!(said(&nobody).contains("cannot connect"), "{nobody:?}");
    let https = run("https://127.0.0.1:9", server.namespace(), &[SMALL, COUNTS]);
    assert!(said(&https).contains("expected http://"), "{https:?}");
    assert_eq!(server.admin().sql("SHOW TABLES").await.success().rows().len(), 0);
}
