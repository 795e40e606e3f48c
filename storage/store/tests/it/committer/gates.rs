//! DDL against writers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use kalamdb_commons::{Family, TableId};
use kalamdb_store::{Batch, PartitionId, SyncMode};

use super::fixture::{Fixture, TABLE, insert, partition};
use crate::support::{Harness, Memory};

/// Whether a future is still waiting after it was asked once.
fn waits<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

#[tokio::test]
async fn a_gate_closes_behind_the_last_writer_and_before_the_next() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let mut writer = fixture.committer.begin(partition("ann")).await;
    let mut closing = pin!(fixture.committer.close_gate(TABLE));
    assert!(waits(closing.as_mut()), "a writer is inside");
    // Another user's statement queues behind the gate that wants to close.
    let mut next = pin!(fixture.committer.begin(partition("bob")));
    assert!(waits(next.as_mut()));
    // Other tables do not wait.
    let elsewhere = PartitionId { table: TableId(8), user: None };
    fixture.committer.begin(elsewhere).await.commit(fixture.changes(None, vec![insert(1, "x")])).await.unwrap();

    writer.commit(fixture.changes(None, vec![insert(1, "in time")])).await.unwrap();
    drop(writer);
    let closed = closing.await;
    assert!(waits(next.as_mut()), "the gate is closed");
    let mut batch = Batch::new();
    batch.put(Family::System, "ddl", "done");
    fixture.committer.write_synced(batch).await.unwrap();
    drop(closed);
    next.await.commit(fixture.changes(None, vec![insert(1, "after")])).await.unwrap();
    assert_eq!(fixture.rows(&partition("ann")).await.len(), 1);
    assert_eq!(fixture.rows(&partition("bob")).await.len(), 1);
}

#[tokio::test]
async fn one_partition_commits_one_statement_at_a_time() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let mut first = fixture.committer.begin(partition("ann")).await;
    let mut second = pin!(fixture.committer.begin(partition("ann")));
    assert!(waits(second.as_mut()));
    first.commit(fixture.changes(None, vec![insert(1, "first")])).await.unwrap();
    drop(first);
    second.await.commit(fixture.changes(None, vec![insert(2, "second")])).await.unwrap();
}

/// A statement that waited at the gate of a table being dropped still gets in: it looks at the catalog
/// again. A gate made anew is another one, and closes by itself.
#[tokio::test]
async fn a_dropped_tables_gate_is_forgotten() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let closed = fixture.committer.close_gate(TABLE).await;
    let mut waiting = pin!(fixture.committer.begin(partition("ann")));
    assert!(waits(waiting.as_mut()));
    fixture.committer.forget_table(TABLE);
    drop(closed);
    drop(waiting.await);
    let again = fixture.committer.close_gate(TABLE).await;
    let mut late = pin!(fixture.committer.begin(partition("ann")));
    assert!(waits(late.as_mut()));
    drop(again);
    late.await.commit(fixture.changes(None, vec![insert(1, "x")])).await.unwrap();
}
