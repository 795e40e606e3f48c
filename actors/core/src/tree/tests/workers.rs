//! How many tables are flushed at once, and what is told of those that wait and of those that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kalamdb_commons::ErrorCode;
use kalamdb_store::failpoint;
use kalamdb_wire::FlushedTable;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually};
use super::flushing::{rows_of, start};
use crate::status::flush_overview;

fn tables(fixture: &Fixture) -> Vec<FlushedTable> {
    flush_overview(&fixture.runtime, &fixture.tree.flushes()).tables
}

/// The tables' states, in order.
fn states(fixture: &Fixture) -> Vec<String> {
    let mut states: Vec<String> = tables(fixture).into_iter().map(|table| table.state).collect();
    states.sort();
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_tables_are_flushed_at_once_as_there_are_workers() {
    let (fixture, _directory) = start().await;
    let workers = fixture.runtime.settings().flush.workers;
    assert_eq!(workers, 2, "what this test is made for");
    let (go_on, held) = watch::channel(false);
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    fixture.runtime.store().committer.set_failpoints(move |place| {
        let (mut held, counted) = (held.clone(), Arc::clone(&counted));
        Box::pin(async move {
            if place == failpoint::LEASE_RAISED {
                counted.fetch_add(1, Ordering::AcqRel);
                // A test that is over lets everything go on.
                let _ = held.wait_for(|go_on| *go_on).await;
            }
        })
    });
    let mut flushes = JoinSet::new();
    for name in ["one", "two", "three"] {
        let sql = format!("CREATE USER TABLE {name} (id BIGINT PRIMARY KEY); INSERT INTO {name} VALUES (1)");
        fixture.rows("ann", &sql).await;
        let asking = fixture.clone();
        flushes.spawn(async move { asking.run("admin", format!("FLUSH TABLE {name}")).await });
    }
    let overview = || flush_overview(&fixture.runtime, &fixture.tree.flushes());
    eventually("two run and one waits", || {
        begun.load(Ordering::Acquire) == workers && overview().queue_depth == 1 && overview().running == 2
    })
    .await;
    assert_eq!(states(&fixture), ["queued", "running", "running"]);
    // A look at what is due makes it none more.
    let handled = fixture.node("flushes").messages_handled;
    eventually("the coordinator looks again", || fixture.node("flushes").messages_handled > handled + 1).await;
    assert_eq!((begun.load(Ordering::Acquire), overview().running, overview().queue_depth), (workers, 2, 1));
    assert_eq!(overview().workers, 2);

    go_on.send_replace(true);
    for flush in flushes.join_all().await {
        assert_eq!(rows_of(&flush)[0]["status"], "flushed");
    }
    eventually("all are idle", || states(&fixture) == ["idle", "idle", "idle"] && overview().queue_depth == 0).await;
    assert_eq!((begun.load(Ordering::Acquire), overview().running, overview().queue_depth), (3, 0, 0));
    fixture.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_flush_failed_is_retrying_until_one_succeeds() {
    let (fixture, directory) = start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let location = directory.path().join("storage");
    // A file where the directory has to be.
    std::fs::write(&location, "in the way").expect("written");
    let error = fixture.error("admin", "FLUSH TABLE t").await;
    assert_eq!(error.code, ErrorCode::StorageUnavailable, "{error}");
    eventually("it is to be tried again", || states(&fixture) == ["retrying"]).await;
    let table = tables(&fixture).remove(0);
    assert_eq!((table.buffered_rows, table.last_error), (1, Some(error.message)));
    assert!(table.next_flush_at.is_some() && table.last_flush_at.is_none() && table.last_job_id.is_some());

    std::fs::remove_file(&location).expect("removed");
    fixture.rows("admin", "FLUSH TABLE t").await;
    // The coordinator hears of it a moment after whoever asked.
    let is_well = || {
        let table = tables(&fixture).remove(0);
        table.state == "idle" && table.last_error.is_none()
    };
    eventually("it is idle, and well", is_well).await;
    let table = tables(&fixture).remove(0);
    assert_eq!(table.buffered_rows, 0);
    assert!(table.last_flush_at.is_some());
    fixture.is_whole().await;
}
