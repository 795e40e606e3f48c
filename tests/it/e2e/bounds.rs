//! Bounds on statements: time, memory, rows written, how many run. Whoever meets one gets its code, the
//! others notice nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use kalamdb_tests::{Answer, Client, TestServer, eventually};

/// Counts for as long as it is let.
const ENDLESS: &str =
    "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n WHERE x < 0";
/// The same with joins, which stream and need next to no memory.
const HEAVY: &str = "SELECT count(*) FROM t AS a CROSS JOIN (t AS b CROSS JOIN (t AS c CROSS JOIN t AS d))
    WHERE a.id + b.id + c.id + d.id = -1";

/// The same without any table.
const SERIES: &str = "SELECT count(*) FROM range(0, 9000000000000000000) AS r(n) WHERE n < 0";

async fn with_rows(settings: &[(&str, &str)]) -> TestServer {
    let server = TestServer::start_with(settings).await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let rows: Vec<String> = (0..500).map(|id| format!("({id}, 'value {id}')")).collect();
    server.user("ann").sql(format!("INSERT INTO t VALUES {}", rows.join(", "))).await.ok();
    server
}

/// Asks again for as long as the bound on a statement's time, which is short here for others, was passed by this one.
async fn in_time(user: &Client, sql: &str) -> Answer {
    eventually("an answer in time", Duration::from_secs(60), async || {
        let answer = user.sql(sql).await;
        (answer.code() != "TIMEOUT").then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_statement_past_its_time_is_a_timeout() {
    let server = with_rows(&[("server.request_timeout", "3s")]).await;
    let ann = server.user("ann");
    for sql in [HEAVY, ENDLESS, SERIES] {
        let began = Instant::now();
        ann.sql(sql).await.fails(504, "TIMEOUT");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{sql}: {took:?}");
    }
    let write = format!("INSERT INTO t (id) SELECT 1000 + id FROM t WHERE ({HEAVY}) = 0");
    ann.sql(&write).await.fails(504, "TIMEOUT");
    assert_eq!(in_time(&ann, "SELECT count(*) FROM t").await.success().number(), 500, "nothing was changed");
}

/// The parts of a UNION run in tasks of their own, which nobody who gave up waits for.
#[tokio::test]
async fn what_is_called_off_leaves_its_threads() {
    let server = with_rows(&[("server.request_timeout", "3s"), ("server.workers", "2")]).await;
    let ann = server.user("ann");
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let caller = ann.clone();
        tasks.spawn(async move { caller.sql(format!("{HEAVY} UNION ALL SELECT 1 UNION ALL {HEAVY}")).await });
    }
    for answer in tasks.join_all().await {
        answer.fails(504, "TIMEOUT");
    }
    // With the threads still at it, none of these, whose parts run there, would ever be in time.
    let there = "SELECT count(*) FROM (SELECT id FROM t UNION ALL SELECT id FROM t)";
    for _ in 0..20 {
        assert_eq!(in_time(&ann, there).await.success().number(), 1000);
    }
}

#[tokio::test]
async fn other_users_go_on_beside_a_heavy_statement() {
    let server = with_rows(&[("server.request_timeout", "10s")]).await;
    let heavy = server.user("ann");
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let caller = heavy.clone();
        tasks.spawn(async move { caller.sql(HEAVY).await });
    }
    let bob = server.user("bob");
    for id in 0..5 {
        bob.sql_params("INSERT INTO t VALUES ($1, 'b')", json!([id])).await.ok();
        assert_eq!(bob.sql("SELECT count(*) FROM t").await.success().number(), id + 1);
        assert_eq!(server.anonymous().get("/health").await.status, 200);
    }
    assert!(tasks.try_join_next().is_none(), "they went on beside them, not after them");
    for answer in tasks.join_all().await {
        answer.fails(504, "TIMEOUT");
    }
}

#[tokio::test]
async fn a_query_beyond_the_memory_limit_ends_alone() {
    let server = with_rows(&[("query.memory_limit", "2MiB"), ("server.request_timeout", "20s")]).await;
    let ann = server.user("ann");
    // One group of long strings: nothing of it can be dropped early, or written to disk.
    let sql = "SELECT cardinality(array_agg(repeat(a.v, 50))) FROM t AS a, t AS b";
    let answer = ann.sql(sql).await;
    let message = answer.fails(503, "RESOURCES_EXHAUSTED");
    assert!(answer.retry_after.is_some(), "{message}");
    assert_eq!(ann.sql("SELECT count(*) FROM t").await.success().number(), 500);
}

#[tokio::test]
async fn a_write_beyond_its_bound_changes_nothing() {
    let server = with_rows(&[("query.max_write_bytes", "64KiB")]).await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO t SELECT id + 1000, repeat(v, 100) FROM t").await.fails(503, "RESOURCES_EXHAUSTED");
    ann.sql("UPDATE t SET v = repeat(v, 100)").await.fails(503, "RESOURCES_EXHAUSTED");
    assert_eq!(
        ann.sql("SELECT count(*), max(length(v)) AS l FROM t").await.success().values(),
        [[json!(500), json!(9)]]
    );
    ann.sql("INSERT INTO t VALUES (1000, 'small')").await.ok();
}

/// One value for many rows: refused before there are as many copies of it.
#[tokio::test]
async fn a_large_value_for_many_rows_is_refused() {
    let server = with_rows(&[("query.memory_limit", "64MiB")]).await;
    let ann = server.user("ann");
    let large = json!(["x".repeat(8 << 20)]);
    for sql in [
        "UPDATE t SET v = $1",
        "UPDATE t SET v = $1, id = id + 0",
        "INSERT INTO t (id) SELECT id FROM t ON CONFLICT (id) DO UPDATE SET v = $1",
        "INSERT INTO t (id) SELECT id FROM t ON CONFLICT (id) DO UPDATE SET v = $1 WHERE t.id >= 0",
    ] {
        ann.sql_params(sql, large.clone()).await.fails(503, "RESOURCES_EXHAUSTED");
    }
    assert_eq!(ann.sql("SELECT max(length(v)) FROM t").await.success().number(), 9);
    ann.sql_params("UPDATE t SET v = $1 WHERE id = 1", json!(["y".repeat(1 << 20)])).await.ok();
}

#[tokio::test]
async fn more_than_may_wait_is_overloaded() {
    let settings =
        [("query.max_concurrent_per_user", "1"), ("query.max_waiting", "2"), ("server.request_timeout", "8s")];
    let server = with_rows(&settings).await;
    let ann = server.user("ann");
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let caller = ann.clone();
        tasks.spawn(async move { caller.sql(HEAVY).await });
    }
    let answers = tasks.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.code() == "OVERLOADED").collect();
    assert!(refused.len() >= 5, "{:?}", answers.iter().map(|answer| answer.code().to_owned()).collect::<Vec<_>>());
    for answer in &refused {
        answer.fails(503, "OVERLOADED");
        assert!(answer.retry_after.is_some());
    }
    for answer in answers.iter().filter(|answer| answer.code() != "OVERLOADED") {
        answer.fails(504, "TIMEOUT");
    }
    // Whoever gave up is answered a moment before its place is counted free.
    eventually("there is a place again", Duration::from_secs(20), async || {
        let answer = ann.sql("SELECT 1").await;
        if answer.code() == "OVERLOADED" {
            return None;
        }
        answer.ok();
        Some(())
    })
    .await;
}

#[tokio::test]
async fn many_clients_of_one_user_are_all_answered() {
    let server = with_rows(&[]).await;
    let ann = server.user("ann");
    let mut tasks = JoinSet::new();
    for number in 0..100_i64 {
        let caller = ann.clone();
        tasks.spawn(async move {
            caller.sql_params("UPDATE t SET v = $2 WHERE id = $1", json!([number, format!("by {number}")])).await.ok();
            caller.sql_params("SELECT v FROM t WHERE id = $1", json!([number])).await.success().scalar()
        });
    }
    let mut values: Vec<String> = tasks.join_all().await.iter().map(ToString::to_string).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 100);
}

#[tokio::test]
async fn what_memory_does_not_hold_is_written_to_disk_and_removed() {
    let directory = TempDir::new().expect("a directory");
    let rocksdb_dir = directory.path().join("rocksdb");
    let path = rocksdb_dir.to_str().expect("a path that is text");
    let server = with_rows(&[("query.memory_limit", "8MiB"), ("storage.rocksdb_dir", path)]).await;
    let ann = server.user("ann");
    // None of the texts is next to its neighbours in the order; all of them take more than a third of the limit.
    let mut rows = 500;
    while rows < 64_000 {
        let copies = format!("INSERT INTO t SELECT id + {rows}, md5(CAST(id + {rows} AS TEXT)) FROM t");
        ann.sql(copies).await.ok();
        rows *= 2;
    }
    let sorted = "SELECT count(*) AS n, min(nr) AS low, max(nr) AS high FROM
        (SELECT row_number() OVER (ORDER BY v) AS nr, v FROM t) AS s WHERE v > 'a'";
    let explained = ann.sql(format!("EXPLAIN ANALYZE {sorted}")).await.success();
    let spills = explained.text.split("spill_count=").skip(1).filter_map(|rest| rest.chars().next());
    assert!(spills.clone().any(|digit| digit != '0'), "{}", explained.text);

    let counted = ann.sql("SELECT count(*) FROM t WHERE v > 'a'").await.success().number();
    let answer = ann.sql(sorted).await.success();
    assert_eq!(answer.values(), [[json!(counted), json!(rows - counted + 1), json!(rows)]]);

    // Those who sort at the same time share what there is, and small statements find theirs.
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let caller = ann.clone();
        tasks.spawn(async move { caller.sql(sorted).await.success().values() });
    }
    while !tasks.is_empty() {
        assert_eq!(ann.sql("SELECT v FROM t WHERE id = 7").await.success().values(), [[json!("value 7")]]);
        if let Some(values) = tasks.try_join_next() {
            assert_eq!(values.expect("an answer"), answer.values());
        }
    }

    let spilled = rocksdb_dir.join("query-spill");
    let left = async || {
        let own: Vec<PathBuf> = files_in(&spilled);
        assert_eq!(own.len(), 1, "{own:?}");
        files_in(&own[0]).is_empty().then_some(())
    };
    eventually("no file is left", Duration::from_secs(20), left).await;
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// A sort needs room for merging; it must not put aside so much that a few dozens are refused.
#[tokio::test]
async fn many_small_sorts_run_at_a_time() {
    let server = with_rows(&[("query.memory_limit", "64MiB"), ("query.max_concurrent_per_user", "200")]).await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let caller = server.user("ann");
        tasks.spawn(async move { caller.sql("SELECT id FROM t WHERE id < 3 ORDER BY v DESC").await });
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer.success().values(), [[json!(2)], [json!(1)], [json!(0)]]);
    }
}
