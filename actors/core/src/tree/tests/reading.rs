//! FL-5: queries that read segments while these are flushed over, and while their table is dropped.

use kalamdb_commons::ErrorCode;
use kalamdb_store::failpoint;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::barrier::{Barrier, files_below};
use super::fixture::{Fixture, eventually};
use super::flushing::{rows_of, select, start};
use crate::SqlOutcome;

const SEGMENTS: i64 = 6;
const ALL: &str = "SELECT id, n FROM t ORDER BY id";

/// Rows of ann in so many segments, and hot ones.
async fn fill(fixture: &Fixture) -> Vec<Value> {
    fixture.rows("admin", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await;
    for round in 0..=SEGMENTS {
        for part in 0..3 {
            fixture.rows("ann", &format!("INSERT INTO t VALUES ({}, {round})", round * 3 + part)).await;
        }
        if round < SEGMENTS {
            fixture.rows("admin", "FLUSH TABLE t").await;
        }
    }
    (0..SEGMENTS * 3 + 3).map(|id| json!({"id": id, "n": id / 3})).collect()
}

fn query(fixture: &Fixture) -> JoinSet<SqlOutcome> {
    let fixture = fixture.clone();
    JoinSet::from_iter([async move { fixture.run("ann", ALL).await }])
}

/// Every row is changed or deleted and flushed again, and the table goes.
async fn change_and_drop(fixture: &Fixture) {
    fixture.rows("ann", "UPDATE t SET n = n + 100").await;
    fixture.rows("admin", "FLUSH TABLE t").await;
    fixture.rows("ann", "DELETE FROM t WHERE id % 2 = 0").await;
    fixture.rows("admin", "FLUSH TABLE t").await;
    let left: Vec<Value> =
        (0..SEGMENTS * 3 + 3).filter(|id| id % 2 == 1).map(|id| json!({"id": id, "n": id / 3 + 100})).collect();
    assert_eq!(select(fixture, "ann", ALL).await, left);
    fixture.rows("admin", "DROP TABLE t").await;
    fixture.fails("ann", ALL, ErrorCode::TableNotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_on_the_segments_it_began_with() {
    let (fixture, directory) = start().await;
    let rows = fill(&fixture).await;
    let barrier = Barrier::set(&fixture, failpoint::BEFORE_SEGMENT, 2);
    let slow = query(&fixture);
    barrier.holds_one().await;
    change_and_drop(&fixture).await;
    let files = files_below(directory.path());
    assert!(files.len() >= usize::try_from(SEGMENTS).expect("few"), "{files:?}");
    barrier.files_are_collected().await;
    assert_eq!(files_below(directory.path()), files, "somebody reads them");
    barrier.open();
    assert_eq!(rows_of(&slow.join_all().await.remove(0)), rows, "as they were when it began");
    eventually("the files go", || files_below(directory.path()).is_empty()).await;
    fixture.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_caller_goes_keeps_no_file() {
    let (fixture, directory) = start().await;
    fill(&fixture).await;
    let barrier = Barrier::set(&fixture, failpoint::BEFORE_SEGMENT, 2);
    let mut slow = query(&fixture);
    barrier.holds_one().await;
    change_and_drop(&fixture).await;
    barrier.files_are_collected().await;
    assert!(!files_below(directory.path()).is_empty(), "somebody reads them");
    // The barrier stays where it is.
    slow.shutdown().await;
    eventually("the files go", || files_below(directory.path()).is_empty()).await;
    fixture.is_whole().await;
}
