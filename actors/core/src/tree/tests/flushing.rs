//! Flushes whose actors are lost while they run, and flushes that have to wait for another.

use std::time::Duration;

use kalamdb_commons::ErrorCode;
use kalamdb_commons::settings::Settings;
use kalamdb_store::{failpoint, files};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::barrier::{Barrier, files_below};
use super::fixture::{Fixture, eventually};
use crate::SqlOutcome;
use crate::tree::faults::Fault;

pub(super) async fn start() -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let location = directory.path().join("storage");
    let change = |settings: &mut Settings| {
        settings.storage.default_location = location;
        // Nobody flushes but who is told to.
        settings.flush.retry_backoff = Duration::from_secs(3600);
    };
    (Fixture::start_with(change, |_| {}).await, directory)
}

pub(super) fn spawn(fixture: &Fixture, sql: &'static str) -> JoinSet<SqlOutcome> {
    let fixture = fixture.clone();
    JoinSet::from_iter([async move { fixture.run("admin", sql).await }])
}

pub(super) fn rows_of(outcome: &SqlOutcome) -> Vec<Value> {
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    serde_json::from_str(outcome.results.last().expect("a result").rows.as_str()).expect("rows are an array")
}

pub(super) async fn select(fixture: &Fixture, user: &str, sql: &str) -> Vec<Value> {
    rows_of(&fixture.run(user, sql).await)
}

pub(super) async fn nothing_is_pending(fixture: &Fixture) {
    let snapshot = fixture.runtime.store().backend.snapshot().await.expect("a snapshot");
    assert_eq!(files::pending(&*snapshot).await.expect("a list"), []);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Actor,
    Coordinator,
}

/// FL-3, FL-4: whoever is lost, and wherever the flush is by then.
async fn outlives(lost: Lost, place: &'static str) {
    let (fixture, directory) = start().await;
    fixture.rows("admin", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await;
    for user in ["ann", "bob"] {
        fixture.rows(user, "INSERT INTO t VALUES (1, 'one'), (2, 'two')").await;
    }
    let barrier = Barrier::set(&fixture, place, 0);
    if lost == Lost::Actor {
        fixture.faults.arm("FlushActor", "begun", (0, 1), Fault::Panic);
    }
    let first = spawn(&fixture, "FLUSH TABLE t");
    barrier.holds_one().await;
    if lost == Lost::Coordinator {
        fixture.faults.arm("FlushCoordinator", "Tick", (0, 1), Fault::Kill);
    }
    eventually("it is lost", || fixture.faults.fired() == 1).await;
    if lost == Lost::Coordinator {
        eventually("another is there", || fixture.node("flushes").restarts == 1 && fixture.tree.is_up()).await;
    }

    // One who has a partition by now keeps others from its rows.
    let has_partition = place == failpoint::BEFORE_COMMIT;
    if !has_partition {
        fixture.rows("ann", "UPDATE t SET v = 'changed' WHERE id = 1").await;
        fixture.rows("ann", "DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 'three')").await;
    }
    let second = spawn(&fixture, "FLUSH TABLE t");
    if has_partition {
        eventually("the next flush has the lease", || barrier.leases() == 2).await;
        barrier.open();
    }
    let second = second.join_all().await.remove(0);
    assert_eq!(rows_of(&second)[0]["status"], "flushed", "{lost:?} {place}");
    if !has_partition {
        let before = files_below(directory.path());
        barrier.files_are_collected().await;
        assert_eq!(files_below(directory.path()), before, "{lost:?} {place}: not under its writer's hands");
        barrier.open();
    }
    let first = first.join_all().await.remove(0);
    // One that had not looked for rows yet finds none.
    let finds_none = place == failpoint::LEASE_RAISED;
    if finds_none {
        assert_eq!(rows_of(&first)[0]["rows_flushed"], 0, "{lost:?} {place}");
    } else {
        let error = first.error.expect("it commits nothing").error;
        assert_eq!(error.code, ErrorCode::StorageUnavailable, "{lost:?} {place}: {error}");
        assert!(error.message.contains("another flush"), "{lost:?} {place}: {error}");
    }

    let of_ann = if has_partition { [(1, "one"), (2, "two")] } else { [(1, "changed"), (3, "three")] };
    let of_bob = [(1, "one"), (2, "two")];
    for (user, expected) in [("ann", of_ann), ("bob", of_bob)] {
        let expected: Vec<Value> = expected.iter().map(|(id, v)| json!({"id": id, "v": v})).collect();
        assert_eq!(select(&fixture, user, "SELECT id, v FROM t ORDER BY id").await, expected, "{lost:?} {place}");
    }
    let totals = fixture.runtime.store().committer.totals(fixture.table("t"));
    assert_eq!((totals.buffered_rows, totals.segments), (0, 2), "{lost:?} {place}");
    eventually("only segments are left", || files_below(directory.path()).len() == 2).await;
    barrier.files_are_collected().await;
    nothing_is_pending(&fixture).await;
    let jobs = select(&fixture, "admin", "SELECT status FROM system.jobs ORDER BY created_at").await;
    let of_first = if finds_none { "completed" } else { "failed" };
    assert_eq!(jobs, [json!({"status": of_first}), json!({"status": "completed"})], "{lost:?} {place}");
    fixture.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_outlives_its_actor_commits_nothing() {
    let mut tests = JoinSet::new();
    for lost in [Lost::Actor, Lost::Coordinator] {
        for place in [
            failpoint::LEASE_RAISED,
            failpoint::AFTER_PENDING,
            failpoint::FILES_WRITTEN,
            failpoint::FILES_DURABLE,
            failpoint::BEFORE_COMMIT,
        ] {
            tests.spawn(outlives(lost, place));
        }
    }
    tests.join_all().await;
}

/// FR-029: it waits, and then finds what the other has left.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_by_command_waits_for_the_one_that_runs() {
    let (fixture, _directory) = start().await;
    let table = "CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_rows = '3', flush_interval = 'off')";
    fixture.rows("admin", table).await;
    let barrier = Barrier::set(&fixture, failpoint::FILES_DURABLE, 0);
    fixture.rows("ann", "INSERT INTO t VALUES (1), (2), (3)").await;
    barrier.holds_one().await;
    fixture.rows("ann", "INSERT INTO t VALUES (4)").await;
    fixture.rows("bob", "INSERT INTO t VALUES (5)").await;
    let waiting = spawn(&fixture, "FLUSH TABLE t");
    eventually("it stands in the line", || fixture.tree.flushes().status().queue_depth() == 1).await;
    assert_eq!(barrier.leases(), 1, "one flush of a table at a time");
    let jobs = "SELECT trigger, status, rows, segments FROM system.jobs ORDER BY created_at";
    let running = json!({"trigger": "rows", "status": "running", "rows": 0, "segments": 0});
    assert_eq!(select(&fixture, "admin", jobs).await, [running], "one that waits is no job yet");
    barrier.open();
    let row = rows_of(&waiting.join_all().await.remove(0)).remove(0);
    assert_eq!((&row["status"], &row["rows_flushed"], &row["segments"]), (&json!("flushed"), &json!(2), &json!(2)));
    let by_rows = json!({"trigger": "rows", "status": "completed", "rows": 3, "segments": 1});
    let by_command = json!({"trigger": "manual", "status": "completed", "rows": 2, "segments": 2});
    assert_eq!(select(&fixture, "admin", jobs).await, [by_rows, by_command]);
    assert_eq!(select(&fixture, "ann", "SELECT count(*) AS n FROM t").await, [json!({"n": 4})]);
    let outcome = fixture.run("admin", "FLUSH TABLE t").await;
    assert_eq!(rows_of(&outcome)[0]["status"], "empty");
}

/// SE-4 of a flush that runs: its rows stay hot and readable, the job says why, and the next one begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_goes_during_a_flush_keeps_its_rows_hot() {
    let (fixture, directory) = start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    let barrier = Barrier::set(&fixture, failpoint::FILES_WRITTEN, 0);
    let flush = spawn(&fixture, "FLUSH TABLE t");
    barrier.holds_one().await;
    assert_eq!(files_below(directory.path()).len(), 1, "written, under a name of its own");
    std::fs::remove_dir_all(directory.path().join("storage")).expect("removed");
    barrier.open();
    let error = flush.join_all().await.remove(0).error.expect("it fails").error;
    assert_eq!(error.code, ErrorCode::StorageUnavailable, "{error}");

    let all = "SELECT id FROM t ORDER BY id";
    assert_eq!(select(&fixture, "ann", all).await, [json!({"id": 1}), json!({"id": 2})]);
    let totals = || fixture.runtime.store().committer.totals(fixture.table("t"));
    assert_eq!((totals().buffered_rows, totals().segments), (2, 0));
    let jobs = "SELECT status, error, rows FROM system.jobs ORDER BY created_at";
    let failed = json!({"status": "failed", "error": error.message, "rows": 0});
    assert_eq!(select(&fixture, "admin", jobs).await, std::slice::from_ref(&failed));

    let row = rows_of(&fixture.run("admin", "FLUSH TABLE t").await).remove(0);
    assert_eq!((&row["status"], &row["rows_flushed"]), (&json!("flushed"), &json!(2)));
    let completed = json!({"status": "completed", "error": null, "rows": 2});
    assert_eq!(select(&fixture, "admin", jobs).await, [failed, completed]);
    assert_eq!(select(&fixture, "ann", all).await, [json!({"id": 1}), json!({"id": 2})]);
    assert_eq!((totals().buffered_rows, totals().segments), (0, 1));
    barrier.files_are_collected().await;
    assert_eq!(files_below(directory.path()).len(), 1, "the segment alone");
    nothing_is_pending(&fixture).await;
    fixture.is_whole().await;
}
