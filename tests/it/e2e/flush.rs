//! Flushes: no query can tell that one happened, whatever is done to rows before, between and after.

mod model;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use kalamdb_tests::{BinaryServer, Client, TestServer};

async fn flush(admin: &Client, table: &str) -> Value {
    admin.sql(format!("FLUSH TABLE {table}")).await.success().rows()[0].clone()
}

#[tokio::test]
async fn flushed_rows_are_read_changed_and_deleted_like_any_other() {
    let server = TestServer::start().await;
    let (admin, ann, bob) = (server.admin(), server.user("ann"), server.user("bob"));
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT, n INT DEFAULT 7)").await.ok();
    for caller in [&ann, &bob] {
        caller.sql("INSERT INTO t (id, v) VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four')").await.ok();
    }
    ann.sql("DELETE FROM t WHERE id = 4").await.ok();
    let row = flush(&admin, "t").await;
    assert_eq!((&row["status"], &row["rows_flushed"], &row["segments"]), (&json!("flushed"), &json!(8), &json!(2)));
    assert_eq!(row["error"], Value::Null);
    assert!(row["job_id"].as_str().is_some_and(|id| id.len() == 26), "{row}");
    assert_eq!(flush(&admin, "t").await["status"], json!("empty"));

    let all = "SELECT id, v, n FROM t ORDER BY id";
    let rows =
        |rows: &[(i64, &str)]| rows.iter().map(|(id, v)| vec![json!(id), json!(v), json!(7)]).collect::<Vec<_>>();
    assert_eq!(ann.sql(all).await.success().values(), rows(&[(1, "one"), (2, "two"), (3, "three")]));
    assert_eq!(ann.sql("SELECT id FROM t WHERE _deleted").await.success().values(), [[json!(4)]]);
    assert_eq!(bob.sql("SELECT count(*) FROM t").await.success().number(), 4);
    assert_eq!(ann.sql("SELECT v FROM t WHERE id = 2").await.success().scalar(), json!("two"));
    assert_eq!(ann.sql("SELECT count(*) FROM t WHERE id = 9").await.success().number(), 0);

    // A key is taken wherever its row is, and free where it is deleted.
    ann.sql("INSERT INTO t VALUES (2, 'again', 1)").await.fails(409, "DUPLICATE_KEY");
    ann.sql_params("INSERT INTO t VALUES ($1, 'again', 1)", json!([3])).await.fails(409, "DUPLICATE_KEY");
    ann.sql("INSERT INTO t (id, v) VALUES (4, 'new')").await.ok();
    assert_eq!(ann.sql("SELECT count(*) FROM t WHERE _deleted").await.success().number(), 0, "inserted again");
    let twice = ann.sql("INSERT INTO t (id, v) VALUES (1, 'x'), (1, 'y') ON CONFLICT (id) DO NOTHING").await;
    assert_eq!(twice.success().row_count(), 0);
    ann.sql("INSERT INTO t (id, v) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v || t.v").await.ok();
    assert_eq!(ann.sql("UPDATE t SET v = 'TWO' WHERE id = 2").await.success().row_count(), 1);
    assert_eq!(ann.sql("DELETE FROM t WHERE v = 'three'").await.success().row_count(), 1);
    assert_eq!(ann.sql("UPDATE t SET id = 10 WHERE id = 4").await.success().row_count(), 1);
    ann.sql("UPDATE t SET id = 2 WHERE id = 1").await.fails(409, "DUPLICATE_KEY");
    let expected = rows(&[(1, "xone"), (2, "TWO"), (10, "new")]);
    assert_eq!(ann.sql(all).await.success().values(), expected);
    flush(&admin, "t").await;
    assert_eq!(ann.sql(all).await.success().values(), expected);
    assert_eq!(bob.sql("SELECT count(*) FROM t").await.success().number(), 4, "another user's rows are as they were");

    // Columns come and go over hot rows and segments alike.
    admin.sql("ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'c'").await.ok();
    admin.sql("ALTER TABLE t DROP COLUMN n").await.ok();
    admin.sql("ALTER TABLE t RENAME COLUMN v TO name").await.ok();
    ann.sql("INSERT INTO t VALUES (11, 'eleven', NULL)").await.ok();
    let altered = [
        [json!(1), json!("xone"), json!("c")],
        [json!(2), json!("TWO"), json!("c")],
        [json!(10), json!("new"), json!("c")],
        [json!(11), json!("eleven"), Value::Null],
    ];
    assert_eq!(ann.sql("SELECT * FROM t ORDER BY id").await.success().values(), altered);
    flush(&admin, "t").await;
    assert_eq!(ann.sql("SELECT * FROM t ORDER BY id").await.success().values(), altered);
    let stats = admin.sql("SHOW TABLE STATS t").await.success();
    assert_eq!(stats.rows()[0]["buffered_rows"], json!(0));
    assert_eq!(stats.rows()[0]["schema_version"], json!(4));
    assert!(stats.rows()[0]["last_flush_at"].is_string());
}

#[tokio::test]
async fn who_may_flush_what() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin
        .sql("CREATE SHARED TABLE s (id BIGINT PRIMARY KEY); INSERT INTO s VALUES (1); CREATE SHARED TABLE e (a INT)")
        .await
        .ok();
    server.user("ann").sql("FLUSH TABLE s").await.fails(403, "FORBIDDEN");
    server.user("ann").sql("FLUSH ALL TABLES").await.fails(403, "FORBIDDEN");
    server.user("ann").sql("SHOW TABLE STATS s").await.fails(403, "FORBIDDEN");
    admin.sql("FLUSH TABLE missing").await.fails(404, "TABLE_NOT_FOUND");
    admin.sql("FLUSH TABLE nowhere.t").await.fails(404, "NAMESPACE_NOT_FOUND");
    let answer = server.service().sql("FLUSH ALL TABLES").await.success();
    let statuses: BTreeMap<String, String> = answer
        .rows()
        .iter()
        .filter(|row| row["namespace"] == json!(server.namespace()))
        .map(|row| {
            (
                row["table"].as_str().unwrap_or_default().to_owned(),
                row["status"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        statuses,
        [("e", "empty"), ("s", "flushed")].map(|(one, other)| (one.to_owned(), other.to_owned())).into()
    );
    assert_eq!(admin.sql("SELECT count(*) FROM s").await.success().number(), 1);
}

/// Rows without a key of their own are told apart by their numbers, in segments too.
#[tokio::test]
async fn tables_without_a_key_are_flushed() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE SHARED TABLE log (_row TEXT, n INT)").await.ok();
    for round in 0..3 {
        admin.sql(format!("INSERT INTO log VALUES ('same', {round}), ('same', {round})")).await.ok();
        flush(&admin, "log").await;
    }
    assert_eq!(admin.sql("SELECT count(*) FROM log").await.success().number(), 6);
    assert_eq!(admin.sql("UPDATE log SET n = n + 10 WHERE n = 1").await.success().row_count(), 2);
    assert_eq!(admin.sql("DELETE FROM log WHERE n = 0").await.success().row_count(), 2);
    flush(&admin, "log").await;
    let answer = admin.sql("SELECT _row, n FROM log ORDER BY n").await.success();
    assert_eq!(
        answer.values(),
        [[json!("same"), json!(2)], [json!("same"), json!(2)], [json!("same"), json!(11)], [json!("same"), json!(11)]]
    );
}

/// Files of a test's own server, below its storage.
fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn jobs_and_segments_can_be_looked_at() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (sharding = 'hash:4')").await.ok();
    server.user("ann").sql("INSERT INTO t VALUES (1), (2)").await.ok();
    let job_id = flush(&admin, "t").await["job_id"].as_str().expect("a job").to_owned();
    let namespace = server.namespace();
    let jobs = admin
        .sql(format!(
            "SELECT status, trigger, rows, segments, attempts FROM system.jobs WHERE namespace_id = '{namespace}'"
        ))
        .await
        .success();
    assert_eq!(jobs.values(), [[json!("completed"), json!("manual"), json!(2), json!(1), json!(1)]]);
    let segments = admin
        .sql(format!(
            "SELECT user_id, rows, deleted_rows, path, storage FROM system.segments WHERE namespace_id = '{namespace}'"
        ))
        .await
        .success();
    let row = &segments.rows()[0];
    assert_eq!((&row["user_id"], &row["rows"], &row["deleted_rows"]), (&json!("ann"), &json!(2), &json!(0)));
    let path = row["path"].as_str().expect("a path");
    assert!(path.starts_with(&format!("{namespace}/users/ann/t/")) && path.ends_with(".parquet"), "{path}");
    server.user("ann").sql("SELECT * FROM system.jobs").await.fails(403, "FORBIDDEN");

    let one = server.service().get(&format!("/api/jobs/{job_id}")).await;
    let one: Value = serde_json::from_str(&one.text).expect("JSON");
    assert_eq!(
        (&one["job_id"], &one["status"], &one["job_type"]),
        (&json!(job_id), &json!("completed"), &json!("flush"))
    );
    let list = server.service().get("/api/jobs?status=completed&type=flush&limit=1000").await;
    let list: Value = serde_json::from_str(&list.text).expect("JSON");
    assert!(list.as_array().expect("rows").iter().any(|job| job["job_id"] == json!(job_id)), "{list}");
    assert_eq!(server.service().get("/api/jobs/01K748SG0004HMASW9NF6YY093").await.status, 404);
    assert_eq!(server.service().get("/api/jobs?status=lost").await.status, 400);
    assert_eq!(server.user("ann").get("/api/jobs").await.status, 403);

    let overview = server.service().get("/api/actors/flush").await;
    let overview: Value = serde_json::from_str(&overview.text).expect("JSON");
    let tables = overview["tables"].as_array().expect("tables");
    let table = tables.iter().find(|table| table["namespace"] == json!(namespace)).expect("the table");
    assert_eq!(
        (&table["state"], &table["buffered_rows"], &table["interval_s"]),
        (&json!("idle"), &json!(0), &json!(300))
    );
    assert_eq!((&table["last_job_id"], &table["type"]), (&json!(job_id), &json!("user")));
    assert!(table["last_flush_at"].is_string() && table["next_flush_at"].is_string() && table["last_error"].is_null());
}

/// By rows and by time, without a command; and a dropped table's files go.
#[tokio::test]
async fn tables_are_flushed_by_themselves_and_dropped_ones_leave_no_file() {
    let server = BinaryServer::start().await;
    let admin = server.admin();
    admin
        .sql("CREATE USER TABLE by_rows (id BIGINT PRIMARY KEY) WITH (flush_rows = '10', flush_interval = 'off')")
        .await
        .ok();
    admin.sql("CREATE SHARED TABLE by_time (id BIGINT PRIMARY KEY) WITH (flush_interval = '1s')").await.ok();
    for id in 0..12 {
        admin.as_user("ann").sql_params("INSERT INTO by_rows VALUES ($1)", json!([id])).await.ok();
    }
    admin.sql("INSERT INTO by_time VALUES (1)").await.ok();
    let limit = std::time::Duration::from_secs(30);
    kalamdb_tests::eventually("both are flushed", limit, async || {
        let done =
            admin.sql("SELECT count(DISTINCT trigger) FROM system.jobs WHERE status = 'completed'").await.success();
        (done.number() == 2).then_some(())
    })
    .await;
    let triggers =
        "SELECT DISTINCT table_name, trigger FROM system.jobs WHERE status = 'completed' ORDER BY table_name";
    assert_eq!(
        admin.sql(triggers).await.success().values(),
        [[json!("by_rows"), json!("rows")], [json!("by_time"), json!("schedule")]]
    );
    assert_eq!(admin.as_user("ann").sql("SELECT count(*) FROM by_rows").await.success().number(), 12);
    let storage = server.dir().join("storage");
    assert!(files(&storage).len() >= 2, "{:?}", files(&storage));
    admin.sql("DROP TABLE by_rows; DROP TABLE by_time").await.ok();
    kalamdb_tests::eventually("no file is left", limit, async || files(&storage).is_empty().then_some(())).await;
}

/// A file that is not what was written is never taken for it, and only what reads it fails.
#[tokio::test]
async fn damaged_and_missing_files_are_named() {
    let server = BinaryServer::start().await;
    let admin = server.admin();
    let (ann, bob) = (admin.as_user("ann"), admin.as_user("bob"));
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    for caller in [&ann, &bob] {
        caller.sql("INSERT INTO t VALUES (0, 'zero'), (5000, 'last')").await.ok();
    }
    flush(&admin, "t").await;
    let file = files(&server.dir().join("storage").join("default/users/ann")).pop().expect("a file");
    let whole = std::fs::read(&file).expect("readable");
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let foreign = files(&server.dir().join("storage").join("default/users/bob")).pop().expect("a file");
    let foreign = std::fs::read(foreign).expect("readable");
    let mut server = server;
    for damage in
        [Some(whole[..whole.len() - 7].to_vec()), Some(whole[..100].to_vec()), Some(foreign), Some(Vec::new()), None]
    {
        server.kill9();
        match &damage {
            Some(bytes) => std::fs::write(&file, bytes).expect("written"),
            None => std::fs::remove_file(&file).expect("removed"),
        }
        server.restart().await;
        for sql in ["SELECT count(*), max(v) AS m FROM t", "SELECT v FROM t WHERE id = 0", "DELETE FROM t WHERE id = 0"]
        {
            let answer = ann.sql(sql).await;
            assert!(answer.fails(500, "DATA_CORRUPTED").contains(&name), "{}", answer.text);
        }
        assert_eq!(bob.sql("SELECT v FROM t WHERE id = 5000").await.success().scalar(), json!("last"));
    }
    server.kill9();
    std::fs::write(&file, &whole).expect("written");
    server.restart().await;
    assert_eq!(ann.sql("SELECT v FROM t WHERE id = 5000").await.success().scalar(), json!("last"));
}

/// A storage that cannot be written: the rows stay hot and readable, the job says why, the next try succeeds.
#[tokio::test]
async fn a_storage_that_fails_loses_nothing() {
    let server = BinaryServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE SHARED TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)").await.ok();
    let storage = server.dir().join("storage");
    // A file where the directory has to be.
    std::fs::write(&storage, "in the way").expect("written");
    admin.sql("FLUSH TABLE t").await.fails(507, "STORAGE_UNAVAILABLE");
    let rows = admin.sql("FLUSH ALL TABLES").await.success();
    assert_eq!(rows.rows()[0]["status"], json!("failed"));
    assert!(rows.rows()[0]["error"].is_string());
    assert_eq!(admin.sql("SELECT count(*) FROM t").await.success().number(), 1);
    admin.sql("INSERT INTO t VALUES (2)").await.ok();
    let failed =
        admin.sql("SELECT count(*) FROM system.jobs WHERE status = 'failed' AND error IS NOT NULL").await.success();
    assert!(failed.number() >= 2);
    std::fs::remove_file(&storage).expect("removed");
    // By itself: it is tried again.
    kalamdb_tests::eventually("it is flushed", std::time::Duration::from_secs(30), async || {
        let stats = admin.sql("SHOW TABLE STATS t").await.success();
        (stats.rows()[0]["buffered_rows"] == json!(0)).then_some(())
    })
    .await;
    assert_eq!(admin.sql("SELECT count(*) FROM t").await.success().number(), 2);
    // With segments in it, a directory that is gone is not made anew.
    std::fs::rename(&storage, server.dir().join("moved")).expect("moved");
    admin.sql("INSERT INTO t VALUES (3)").await.ok();
    admin.sql("FLUSH TABLE t").await.fails(507, "STORAGE_UNAVAILABLE");
    std::fs::rename(server.dir().join("moved"), &storage).expect("moved back");
    // By this command, or by the table's own next try just before it.
    flush(&admin, "t").await;
    let stats = admin.sql("SHOW TABLE STATS t").await.success().rows()[0].clone();
    assert_eq!((&stats["buffered_rows"], &stats["flushed_rows"]), (&json!(0), &json!(3)), "{stats}");
    assert_eq!(admin.sql("SELECT count(*) FROM t").await.success().number(), 3);
}

/// The storage is well but for one user's directory: everybody else's rows are flushed all the same.
#[tokio::test]
async fn one_partition_that_cannot_be_flushed_keeps_no_other() {
    let server = BinaryServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    let users = ["ann", "bob", "cora"].map(|user| admin.as_user(user));
    users[0].sql("INSERT INTO t VALUES (1)").await.ok();
    flush(&admin, "t").await;
    let storage = server.dir().join("storage");
    let file = files(&storage).pop().expect("a file of ann's");
    let of_ann = file.ancestors().find(|path| path.ends_with("ann")).expect("ann's directory");
    let of_bob = of_ann.with_file_name("bob");
    std::fs::write(&of_bob, "in the way").expect("written");

    for user in &users {
        user.sql("INSERT INTO t VALUES (2)").await.ok();
    }
    admin.sql("FLUSH TABLE t").await.fails(507, "STORAGE_UNAVAILABLE");
    let stats = admin.sql("SHOW TABLE STATS t").await.success().rows()[0].clone();
    assert_eq!((&stats["buffered_rows"], &stats["segments"]), (&json!(1), &json!(3)), "{stats}");
    let counts = async || {
        let mut counts = Vec::new();
        for user in &users {
            counts.push(user.sql("SELECT count(*) FROM t").await.success().number());
        }
        counts
    };
    assert_eq!(counts().await, [2, 1, 1]);
    std::fs::remove_file(&of_bob).expect("removed");
    // It may have been tried again by itself before.
    flush(&admin, "t").await;
    assert_eq!(admin.sql("SHOW TABLE STATS t").await.success().rows()[0]["buffered_rows"], json!(0));
    assert_eq!(counts().await, [2, 1, 1]);
}

/// What fell due while the server was down is flushed at once, and not an interval after the start.
#[tokio::test]
async fn a_schedule_outlives_the_server() {
    let interval = std::time::Duration::from_secs(1);
    let limit = std::time::Duration::from_secs(30);
    let mut server = BinaryServer::start_with(&[("flush.default_interval", "1s")]).await;
    let admin = server.admin();
    // Nothing is flushed before the server is killed, however slow this machine is.
    let storage = server.dir().join("storage");
    std::fs::write(&storage, "in the way").expect("written");
    admin.sql("CREATE SHARED TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)").await.ok();
    // By the end of its first flush, which came to nothing, it is written down when the next one is due.
    kalamdb_tests::eventually("it has been due", limit, async || {
        let jobs = admin.sql("SELECT count(*) FROM system.jobs WHERE status = 'failed'").await.success();
        (jobs.number() > 0).then_some(())
    })
    .await;
    server.kill9();
    let killed = std::time::Instant::now();
    std::fs::remove_file(&storage).expect("removed");
    // So that it is due by what was written down, or in an hour.
    server.change_setting("flush.default_interval", "1h");
    kalamdb_tests::eventually("it is due again", limit, async || (killed.elapsed() > interval).then_some(())).await;
    server.restart().await;
    kalamdb_tests::eventually("it is flushed", limit, async || {
        let stats = admin.sql("SHOW TABLE STATS t").await.success().rows()[0].clone();
        (stats["buffered_rows"] == json!(0)).then_some(())
    })
    .await;
    let done = async || admin.sql("SELECT trigger, rows FROM system.jobs WHERE status = 'completed'").await.success();
    // The rows are in their segment a moment before the job says so.
    kalamdb_tests::eventually("the job has ended", limit, async || (!done().await.rows().is_empty()).then_some(()))
        .await;
    assert_eq!(done().await.values(), [[json!("schedule"), json!(1)]]);
    assert_eq!(admin.sql("SELECT count(*) FROM t").await.success().number(), 1);
}
