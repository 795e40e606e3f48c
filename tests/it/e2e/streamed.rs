//! Rows of one SELECT in a format of their own, sent while the query runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kalamdb_tests::{RawConnection, TestServer, eventually, token};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// The whole answer to a request on a connection of its own, head and chunks as they came.
async fn ask(server: &TestServer, accept: &str, sql: &str) -> String {
    let mut connection = send(server, "ann", accept, sql).await;
    connection.read_to_end(LIMIT).await.expect("the answer ends")
}

async fn send(server: &TestServer, user: &str, accept: &str, sql: &str) -> RawConnection {
    send_by(server, user, accept, sql, "HTTP/1.1").await
}

async fn send_by(server: &TestServer, user: &str, accept: &str, sql: &str, version: &str) -> RawConnection {
    let mut connection = RawConnection::open_narrow(server.base()).await;
    let body = json!({"sql": sql, "namespace": server.namespace()}).to_string();
    let token = token(user, kalamdb_tests::Role::User, server.secret());
    let head = format!(
        "POST /api/sql {version}\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(format!("{head}{body}")).await;
    connection
}

/// The chunks' content, and whether there was a final one.
fn unchunked(answer: &str) -> (String, bool) {
    let (head, mut rest) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
    assert!(head.to_ascii_lowercase().contains("x-request-id"), "{head}");
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = after.get(..size) else { return (body, false) };
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}

async fn with_rows(server: &TestServer, count: usize, width: usize) {
    // All of them hot, and so in the order of their keys.
    let by_hand = "WITH (flush_interval = 'off', flush_rows = '1000000000000')";
    server.admin().sql(format!("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT) {by_hand}")).await.ok();
    let (ann, filler) = (server.user("ann"), "x".repeat(width));
    for from in (0..count).step_by(1000) {
        let rows: Vec<String> = (from..count.min(from + 1000)).map(|id| format!("({id}, '{filler}')")).collect();
        ann.sql(format!("INSERT INTO t VALUES {}", rows.join(","))).await.ok();
    }
}

#[tokio::test]
async fn rows_come_in_the_format_that_was_asked_for() {
    let server = TestServer::start_in_memory().await;
    let sql = "SELECT * FROM (VALUES (1, 'a,\"b\"', 1.5), (2, '', 2.5), (3, NULL, 3.5)) AS t (id, v, d) ORDER BY id";
    let (lines, whole) = unchunked(&ask(&server, "application/x-ndjson", sql).await);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows, server.user("ann").sql(sql).await.success().rows(), "the same as in JSON");
    assert!(whole && lines.ends_with('\n'));
    let (csv, whole) = unchunked(&ask(&server, "text/csv", "SELECT 1 AS a, 'x\"y' AS a, '' AS c, NULL AS d").await);
    assert_eq!((csv.as_str(), whole), ("a,a_2,c,d\r\n1,\"x\"\"y\",\"\",\r\n", true));
    let arrow = ask(&server, "application/vnd.apache.arrow.stream", "SELECT 1 AS a").await;
    assert!(arrow.contains("application/vnd.apache.arrow.stream") && arrow.contains("\r\n0\r\n\r\n"), "{arrow}");
    let none = "SELECT 1 AS a WHERE false";
    assert_eq!(unchunked(&ask(&server, "text/csv", none).await), ("a\r\n".to_owned(), true));
    assert_eq!(unchunked(&ask(&server, "application/x-ndjson", none).await), (String::new(), true));
}

#[tokio::test]
async fn all_else_is_answered_in_json() {
    let server = TestServer::start_in_memory().await;
    for (accept, sql, status) in [
        ("text/csv", "SELECT 1; SELECT 2", "200"),
        ("text/csv", "EXPLAIN SELECT 1", "200"),
        ("text/csv", "SHOW NAMESPACES", "200"),
        ("image/png", "SELECT 1", "200"),
        ("text/csv;q=0.1, application/json", "SELECT 1", "200"),
        ("text/csv", "SELECT * FROM missing", "404"),
        ("application/x-ndjson", "SELECT 1 / (id - id) AS v FROM (VALUES (1)) AS t (id)", "400"),
    ] {
        let answer = ask(&server, accept, sql).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{sql}: {answer}");
        assert!(answer.contains("content-type: application/json"), "{sql}: {answer}");
    }
}

/// Without chunks nobody could tell rows that were cut off from all of them.
#[tokio::test]
async fn a_client_of_http_1_0_is_answered_in_json() {
    let server = TestServer::start_in_memory().await;
    let mut connection = send_by(&server, "ann", "text/csv", "SELECT 1 AS a", "HTTP/1.0").await;
    let answer = connection.read_to_end(LIMIT).await.expect("the answer ends");
    assert!(answer.contains("content-type: application/json") && answer.contains(r#""rows":[{"a":1}]"#), "{answer}");
}

#[tokio::test]
async fn an_error_after_the_first_row_ends_the_answer_visibly() {
    let server = TestServer::start_in_memory().await;
    with_rows(&server, 40_000, 10).await;
    let sql = "SELECT 1 / (39999 - id) AS q, v FROM t";
    let (lines, whole) = unchunked(&ask(&server, "application/x-ndjson", sql).await);
    let last: Value = serde_json::from_str(lines.lines().last().expect("lines")).expect("JSON");
    assert_eq!(last["error"]["code"], "EVALUATION_ERROR", "{last}");
    assert!(whole && lines.lines().count() > 1000, "{whole} {}", lines.lines().count());
    for accept in ["text/csv", "application/vnd.apache.arrow.stream"] {
        let answer = ask(&server, accept, sql).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("\r\n0\r\n\r\n"), "{accept}");
    }
}

#[tokio::test]
async fn a_client_that_stalls_or_leaves_gives_its_place_back() {
    let settings =
        [("storage.backend", "memory"), ("query.max_concurrent_per_user", "1"), ("server.request_timeout", "5s")];
    let server = TestServer::start_with(&settings).await;
    with_rows(&server, 20_000, 100).await;
    // Far more than sockets hold.
    let sql = "SELECT a.id, a.v, b.v AS w FROM t AS a CROSS JOIN t AS b";
    let stalled = send(&server, "ann", "text/csv", sql).await;
    let next = wait_for_place(&server).await;
    assert_eq!(next, 1, "one that takes nothing is ended");
    drop(stalled);
    let leaving = send(&server, "ann", "application/x-ndjson", sql).await;
    drop(leaving);
    assert_eq!(wait_for_place(&server).await, 1);
}

/// Asks until the user's only place is free.
async fn wait_for_place(server: &TestServer) -> i64 {
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let answer = server.user("ann").sql("SELECT 1").await;
        if answer.status == 200 {
            return answer.number();
        }
        answer.fails(504, "TIMEOUT");
        assert!(std::time::Instant::now() < deadline, "the place never came back");
    }
}

/// How many messages the housekeeper has handled: its ticks, some ten in a second, one of them a look for garbage.
async fn housekeeping(server: &TestServer) -> u64 {
    let tree = server.admin().get("/api/actors").await.body;
    let children = tree["children"].as_array().expect("the root's children");
    let housekeeper = children.iter().find(|node| node["name"] == "housekeeper").expect("a housekeeper");
    housekeeper["messages_handled"].as_u64().expect("a number")
}

fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    paths.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// FL-5 from outside: what a running query reads is there until its client has it.
#[tokio::test]
async fn a_table_dropped_under_an_answer_is_read_to_its_end() {
    const IN_SEGMENT: usize = 4000;
    const SEGMENTS: usize = 3;
    let storage = tempfile::tempdir().expect("a directory");
    let location = storage.path().join("storage");
    let server = TestServer::start_with(&[("storage.default_location", &location.display().to_string())]).await;
    with_rows(&server, 500, 1000).await;
    let (admin, ann) = (server.admin(), server.user("ann"));
    for count in [500, 1000, 2000] {
        ann.sql(format!("INSERT INTO t SELECT id + {count}, v FROM t")).await.ok();
    }
    for segment in 0..SEGMENTS {
        if segment > 0 {
            let from = segment * IN_SEGMENT;
            ann.sql(format!("INSERT INTO t SELECT id + {from}, v FROM t WHERE id < {IN_SEGMENT}")).await.ok();
        }
        admin.sql("FLUSH TABLE t").await.ok();
    }
    assert_eq!(files(&location), SEGMENTS);

    // Far more than sockets hold.
    let mut slow = send(&server, "ann", "application/x-ndjson", "SELECT id, v FROM t").await;
    slow.has_begun(LIMIT).await;
    admin.sql("DROP TABLE t").await.ok();
    ann.sql("SELECT 1 FROM t").await.fails(404, "TABLE_NOT_FOUND");
    let before = housekeeping(&server).await;
    let looked = async || (housekeeping(&server).await > before + 22).then_some(());
    eventually("garbage is looked for", LIMIT, looked).await;
    assert_eq!(files(&location), SEGMENTS, "they are being read");

    let answer = slow.read_to_end(LIMIT).await.expect("the answer ends");
    let (lines, whole) = unchunked(&answer);
    assert!(whole, "it breaks off after {} bytes", lines.len());
    let mut ids = BTreeSet::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(row["v"].as_str().map(str::len), Some(1000), "{line}");
        assert!(ids.insert(row["id"].as_u64().expect("an id")), "twice: {line}");
    }
    assert_eq!((ids.len(), ids.last().copied()), (IN_SEGMENT * SEGMENTS, Some((IN_SEGMENT * SEGMENTS - 1) as u64)));
    eventually("nobody reads them any more", LIMIT, async || (files(&location) == 0).then_some(())).await;
}
