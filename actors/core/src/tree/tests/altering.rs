//! Tables that become others, or none, while they are flushed.

use kalamdb_commons::ErrorCode;
use kalamdb_store::failpoint;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::barrier::{Barrier, files_below};
use super::fixture::{Fixture, eventually};
use super::flushing::{nothing_is_pending, rows_of, select, spawn, start};

const PLACES: [&str; 3] = [failpoint::AFTER_PENDING, failpoint::FILES_DURABLE, failpoint::BEFORE_COMMIT];

const ALL: &str = "SELECT * FROM t ORDER BY id";

async fn with_rows(fixture: &Fixture) {
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT, n INT)").await;
    fixture.rows("ann", "INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2)").await;
}

async fn jobs(fixture: &Fixture) -> Vec<Value> {
    select(fixture, "admin", "SELECT table_name, status, error FROM system.jobs ORDER BY created_at").await
}

/// Runs DDL while a flush is held, as far as it gets: one who has a partition keeps DDL from its table.
async fn meanwhile(fixture: &Fixture, barrier: &Barrier, place: &str, sql: &'static str) {
    let handled = fixture.node("catalog").messages_handled;
    let statements = spawn(fixture, sql);
    if place == failpoint::BEFORE_COMMIT {
        eventually("it has begun", || fixture.node("catalog").messages_handled > handled).await;
        barrier.open();
    }
    let outcome = statements.join_all().await.remove(0);
    assert!(outcome.error.is_none(), "{place}: {:?}", outcome.error);
}

async fn altered(place: &'static str) {
    let (fixture, directory) = start().await;
    with_rows(&fixture).await;
    let barrier = Barrier::set(&fixture, place, 0);
    let flush = spawn(&fixture, "FLUSH TABLE t");
    barrier.holds_one().await;
    let alter = "ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'c'; ALTER TABLE t DROP COLUMN n; \
                 ALTER TABLE t ADD COLUMN n TEXT DEFAULT 'again'";
    meanwhile(&fixture, &barrier, place, alter).await;
    let of_second = json!({"id": 2, "v": "two", "c": "c", "n": "again"});
    let first = |c: &str| json!({"id": 1, "v": "one", "c": c, "n": "again"});
    assert_eq!(select(&fixture, "ann", ALL).await, [first("c"), of_second.clone()], "{place}");
    // A row that the file has as it was.
    assert_eq!(fixture.rows("ann", "UPDATE t SET c = 'changed' WHERE n = 'again' AND id = 1").await, 1);
    let expected = [first("changed"), of_second];
    assert_eq!(select(&fixture, "ann", ALL).await, expected, "{place}");
    barrier.open();
    let row = rows_of(&flush.join_all().await.remove(0)).remove(0);
    assert_eq!((&row["status"], &row["segments"]), (&json!("flushed"), &json!(1)), "{place}");
    assert_eq!(select(&fixture, "ann", ALL).await, expected, "{place}");
    assert_eq!(jobs(&fixture).await, [json!({"table_name": "t", "status": "completed", "error": null})], "{place}");

    // What was changed meanwhile is the next one's.
    fixture.rows("admin", "FLUSH TABLE t").await;
    assert_eq!(fixture.runtime.store().committer.totals(fixture.table("t")).buffered_rows, 0, "{place}");
    assert_eq!(select(&fixture, "ann", ALL).await, expected, "{place}");
    barrier.files_are_collected().await;
    let segments = fixture.runtime.store().committer.totals(fixture.table("t")).segments;
    assert_eq!(files_below(directory.path()).len() as u64, segments, "{place}");
    nothing_is_pending(&fixture).await;
    fixture.is_whole().await;
}

async fn dropped(place: &'static str) {
    let (fixture, directory) = start().await;
    with_rows(&fixture).await;
    let barrier = Barrier::set(&fixture, place, 0);
    let flush = spawn(&fixture, "FLUSH TABLE t");
    barrier.holds_one().await;
    meanwhile(&fixture, &barrier, place, "DROP TABLE t").await;
    barrier.open();
    let flush = flush.join_all().await.remove(0);
    // It commits first where it had the partition, and nothing where it had not.
    if place == failpoint::BEFORE_COMMIT {
        assert_eq!(rows_of(&flush)[0]["rows_flushed"], 2, "{place}");
        assert_eq!(jobs(&fixture).await, [json!({"table_name": "t", "status": "completed", "error": null})]);
    } else {
        let error = flush.error.expect("there is nothing to flush").error;
        assert_eq!(error.code, ErrorCode::TableNotFound, "{place}: {error}");
        let failed = json!({"table_name": "t", "status": "failed", "error": error.message});
        assert_eq!(jobs(&fixture).await, [failed], "{place}");
    }
    fixture.fails("ann", ALL, ErrorCode::TableNotFound).await;
    eventually("no file is left", || files_below(directory.path()).is_empty()).await;
    barrier.files_are_collected().await;
    nothing_is_pending(&fixture).await;

    // One of the same name has nothing of it.
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await;
    assert_eq!(select(&fixture, "ann", ALL).await, [] as [Value; 0], "{place}");
    fixture.rows("ann", "INSERT INTO t VALUES (1, 'new')").await;
    assert_eq!(rows_of(&fixture.run("admin", "FLUSH TABLE t").await)[0]["rows_flushed"], 1, "{place}");
    assert_eq!(select(&fixture, "ann", ALL).await, [json!({"id": 1, "v": "new"})], "{place}");
    fixture.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_altered_while_it_is_flushed_reads_as_it_is_now() {
    JoinSet::from_iter(PLACES.map(altered)).join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_dropped_while_it_is_flushed_leaves_nothing() {
    JoinSet::from_iter(PLACES.map(dropped)).join_all().await;
}
