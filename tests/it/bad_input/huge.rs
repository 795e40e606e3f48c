//! DO-2: what is too large, too deep or too long is refused before anything recurses over it.

use std::time::{Duration, Instant};

use serde_json::json;

use kalamdb_tests::{Answer, BinaryServer, Client, TestServer};

/// Far below what a statement may take, far above what a refusal should, in any build.
const AT_ONCE: Duration = Duration::from_secs(25);
const MIB: usize = 1 << 20;

async fn timed(caller: &Client, sql: &str) -> Answer {
    let began = Instant::now();
    let answer = caller.sql(sql).await;
    let took = began.elapsed();
    let start: String = sql.chars().take(60).collect();
    assert!(took < AT_ONCE, "{start}… took {took:?}");
    assert!(answer.text.len() < 20_000, "{start}… is answered with {} bytes", answer.text.len());
    answer
}

/// Statements beyond a limit, and the limit that the message has to name.
fn beyond() -> Vec<(&'static str, String, &'static str)> {
    let nested = |open: &str, middle: &str, close: &str, count: usize| {
        format!("SELECT {}{middle}{}", open.repeat(count), close.repeat(count))
    };
    let chain = |first: &str, further: &str, count: usize| format!("SELECT {first}{}", further.repeat(count));
    vec![
        ("parentheses", nested("(", "1", ")", 1_100), "1000"),
        ("very many parentheses", nested("(", "1", ")", 1_000_000), "1000"),
        ("parentheses that never close", format!("SELECT {}", "(".repeat(1_000_000)), "1000"),
        ("subqueries", nested("(SELECT ", "1", ")", 100_000), "1000"),
        ("CASE", nested("CASE WHEN true THEN ", "1", " END", 100_000), "1000"),
        ("functions", nested("abs(", "1", ")", 100_000), "1000"),
        ("casts", nested("CAST(", "1", " AS INT)", 100_000), "1000"),
        ("additions", chain("1", "+1", 1_000_000), "5000"),
        ("a little over", chain("1", "+1", 5_100), "5000"),
        ("conjunctions", chain("true", " AND true", 1_000_000), "5000"),
        ("concatenations", chain("'a'", "||'a'", 1_000_000), "5000"),
        ("comparisons", chain("1", "=1", 1_000_000), "5000"),
        ("set operations", chain("1", " UNION ALL SELECT 1", 500_000), "5000"),
        ("negations", format!("SELECT {}true", "NOT ".repeat(1_000_000)), ""),
        ("minus signs", format!("SELECT {}1", "- ".repeat(1_000_000)), ""),
        ("casts by operator", chain("1", "::INT", 1_000_000), ""),
        ("selected columns", format!("SELECT 1{}", ",1".repeat(99_999)), "10000"),
        (
            "columns of a table",
            format!(
                "CREATE USER TABLE wide (c0 INT{})",
                (1..100_000).map(|number| format!(", c{number} INT")).collect::<String>()
            ),
            "10000",
        ),
    ]
}

#[tokio::test]
async fn beyond_a_limit_it_is_invalid_and_says_which() {
    let server = TestServer::start().await;
    let admin = server.admin();
    for (what, sql, limit) in beyond() {
        let message = timed(&admin, &sql).await.fails(400, "INVALID_SQL");
        assert!(message.replace([' ', '_', ','], "").contains(limit), "{what}: {message} does not name {limit}");
    }
    assert_eq!(admin.sql("SELECT 1").await.success().number(), 1);
}

#[tokio::test]
async fn below_the_limits_it_works() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let nested = format!("SELECT {}1{}", "(".repeat(900), ")".repeat(900));
    assert_eq!(timed(&ann, &nested).await.success().number(), 1);
    let sum = format!("SELECT 0{} AS v", "+1".repeat(500));
    assert_eq!(timed(&ann, &sum).await.success().number(), 500);
    let or = format!("SELECT false{} OR true AS v", " OR false".repeat(500));
    assert_eq!(timed(&ann, &or).await.success().scalar(), json!(true));
    let unions = format!("SELECT count(*) FROM (SELECT 1{}) AS u", " UNION ALL SELECT 1".repeat(200));
    assert_eq!(timed(&ann, &unions).await.success().number(), 201);
    let list: String = (0..20_000).map(|number| format!("{number}, ")).collect();
    let found = timed(&ann, &format!("SELECT 19999 IN ({list}-1) AS v")).await.success();
    assert_eq!(found.scalar(), json!(true));
}

/// Near a limit a plan may cost more than a statement's time; then that is the answer, and nobody else
/// notices.
#[tokio::test]
async fn near_the_limits_it_works_or_takes_too_long() {
    let server = TestServer::start_with(&[("server.request_timeout", "5s")]).await;
    let ann = server.user("ann");
    for (what, sql) in [
        ("additions", format!("SELECT 0{} AS v", "+1".repeat(4_900))),
        ("disjunctions", format!("SELECT false{} AS v", " OR false".repeat(4_900))),
        ("concatenations", format!("SELECT 'a'{} AS v", "||'a'".repeat(4_900))),
        ("set operations", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(4_900))),
        ("functions", format!("SELECT {}1{} AS v", "abs(".repeat(950), ")".repeat(950))),
        ("subqueries", format!("SELECT {}1{} AS v", "(SELECT ".repeat(450), ")".repeat(450))),
        ("columns", format!("SELECT 1{}", ",1".repeat(9_900))),
    ] {
        let began = Instant::now();
        let answer = ann.sql(&sql).await;
        let took = began.elapsed();
        let fits = answer.status == 200 || answer.code() == "TIMEOUT";
        let text: String = answer.text.chars().take(300).collect();
        assert!(fits, "{what}: {} {text}", answer.status);
        assert!(took < AT_ONCE, "{what}: {took:?}");
        assert_eq!(server.user("bob").sql("SELECT 1").await.success().number(), 1, "after {what}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_too_large() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for length in [16 * MIB + 1, 40 * MIB] {
        let body = format!("{{\"sql\": \"{}\"}}", "x".repeat(length)).into_bytes();
        // The server may answer and close before all of it was sent.
        match ann.try_post_bytes("application/json", body).await {
            Ok(answer) => drop(answer.fails(413, "BODY_TOO_LARGE")),
            Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
        }
        assert_eq!(ann.sql("SELECT 1").await.success().number(), 1);
    }
}

#[tokio::test]
async fn sixteen_megabytes_of_sql_get_their_code() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let room = 16 * MIB - 200;
    for (sql, codes) in [
        ("x".repeat(room), &["INVALID_SQL", "INVALID_NAME", "UNSUPPORTED"][..]),
        (";".repeat(room), &["", "INVALID_SQL"]),
        (format!("SELECT {}", "é".repeat(room / 2 - 10)), &["INVALID_SQL", "INVALID_NAME", "COLUMN_NOT_FOUND"]),
        (format!("SELECT 1 /*{}", "*".repeat(room - 20)), &["", "INVALID_SQL"]),
        (format!("SELECT '{}", "''".repeat(room / 2 - 10)), &["INVALID_SQL"]),
        ("SELECT 1;".repeat(room / 9), &["INVALID_SQL", "INVALID_REQUEST", "RESOURCES_EXHAUSTED"]),
        ("1 ".repeat(room / 2), &["INVALID_SQL"]),
    ] {
        let answer = timed(&ann, &sql).await;
        let start: String = sql.chars().take(20).collect();
        assert!(codes.contains(&answer.code()), "{start}…: {} {}", answer.status, answer.text);
        assert!(answer.status < 500 || answer.status == 503, "{start}…: {} {}", answer.status, answer.text);
    }
    // A text of that size is a value like any other.
    let long = format!("SELECT character_length('{}')", "y".repeat(room - 100));
    let length = ann.sql(&long).await.success().number();
    assert_eq!(usize::try_from(length), Ok(room - 100));
}

#[tokio::test]
async fn a_large_row_is_kept_and_found() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    let value = "z".repeat(10 * MIB);
    ann.sql_params("INSERT INTO t VALUES (1, $1), (2, 'small')", json!([value])).await.ok();
    let lengths = ann.sql("SELECT character_length(v) AS l FROM t ORDER BY id").await.success();
    assert_eq!(lengths.column("l"), [json!(10 * MIB), json!(5)]);
    let back = ann.sql("SELECT v FROM t WHERE id = 1").await.success();
    assert_eq!(back.scalar(), json!(value));
}

/// The most memory a process ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux tells the peak");
    let kib: usize = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number of KiB");
    kib * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_stays_bounded() {
    let server = BinaryServer::start_with(&[("query.memory_limit", "256MiB")]).await;
    let admin = server.admin();
    admin
        .sql("CREATE USER TABLE default.t (id BIGINT PRIMARY KEY, v TEXT); INSERT INTO default.t VALUES (1, 'kept')")
        .await
        .ok();
    let statements = beyond();
    for _ in 0..2 {
        let mut tasks = tokio::task::JoinSet::new();
        for (_, sql, _) in &statements {
            let (caller, sql) = (admin.clone(), sql.clone());
            tasks.spawn(async move { caller.sql(sql).await });
        }
        for answer in tasks.join_all().await {
            assert!((400..500).contains(&answer.status) || answer.status == 503, "{} {}", answer.status, answer.text);
        }
    }
    let peak = peak_memory(server.pid().expect("it runs"));
    assert!(peak < 1024 * MIB, "{} MiB at the peak", peak / MIB);
    assert_eq!(admin.sql("SELECT v FROM default.t").await.success().scalar(), json!("kept"));
}
