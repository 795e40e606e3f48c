//! Group commit, visibility, and what a failure leaves behind (CM-3, CM-4).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode, Family, Outcome};
use kalamdb_store::{Batch, CommitError, Committer, StorageBackend, SyncMode};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::faults::Faulty;
use super::fixture::{Fixture, insert, partition, refused};
use crate::support::{Harness, RocksDb};

const LONG: Duration = Duration::from_secs(30);

fn waits<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

fn is_unknown(error: &Error) -> bool {
    error.code == ErrorCode::StorageUnavailable && error.outcome == Outcome::Unknown
}

#[tokio::test]
async fn unsynced_writes_are_neither_acknowledged_nor_shown() {
    let backend = Faulty::new();
    backend.hold_syncs();
    let fixture = Fixture::with_syncer(Arc::clone(&backend) as _, SyncMode::Sync).await;
    let (ann, bob) = (partition("ann"), partition("bob"));
    fixture.committer.wait_visible(&ann).await.unwrap();
    let ticket = fixture.commit(&ann, None, vec![insert(1, "x")]).await.unwrap().ticket.unwrap();
    assert!(fixture.row(&ann, 1).await.is_some(), "it can be read");

    let mut durable = pin!(fixture.committer.wait_durable(ticket));
    let mut visible = pin!(fixture.committer.wait_visible(&ann));
    assert!(waits(durable.as_mut()) && waits(visible.as_mut()));
    // Whoever read another partition waits for nothing.
    timeout(LONG, fixture.committer.wait_visible(&bob)).await.unwrap().unwrap();

    backend.let_syncs_through();
    timeout(LONG, durable).await.unwrap().unwrap();
    timeout(LONG, visible).await.unwrap().unwrap();
    timeout(LONG, fixture.committer.wait_visible(&ann)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sync_serves_all_that_wait_for_it() {
    let backend = Faulty::new();
    backend.hold_syncs();
    let fixture = Fixture::with_syncer(Arc::clone(&backend) as _, SyncMode::Sync).await;
    let mut tickets = Vec::new();
    for number in 0..200 {
        // One partition too: its lock is not held while a sync runs.
        let user = if number % 2 == 0 { "ann".to_owned() } else { format!("user {number}") };
        let committed = fixture.commit(&partition(&user), None, vec![insert(number, "x")]).await.unwrap();
        tickets.push(committed.ticket.unwrap());
        tokio::task::yield_now().await;
    }
    assert!(tickets.is_sorted_by(|earlier, later| earlier < later));
    backend.let_syncs_through();
    for ticket in tickets {
        timeout(LONG, fixture.committer.wait_durable(ticket)).await.unwrap().unwrap();
    }
    // The one that ran when the first was written, and one for all others.
    assert!(backend.syncs.load(Ordering::Acquire) <= 2);
}

#[tokio::test]
async fn buffered_writes_are_acknowledged_at_once_and_synced_soon() {
    let backend = Faulty::new();
    backend.hold_syncs();
    let fixture = Fixture::with_syncer(Arc::clone(&backend) as _, SyncMode::Buffered).await;
    let ann = partition("ann");
    let ticket = fixture.commit(&ann, None, vec![insert(1, "x")]).await.unwrap().ticket.unwrap();
    timeout(LONG, fixture.committer.wait_durable(ticket)).await.unwrap().unwrap();
    timeout(LONG, fixture.committer.wait_visible(&ann)).await.unwrap().unwrap();
    assert_eq!(backend.syncs.load(Ordering::Acquire), 0);
    backend.let_syncs_through();
    until("a sync", || backend.syncs.load(Ordering::Acquire) == 1).await;
}

#[tokio::test]
async fn a_failed_sync_ends_all_that_wait_and_refuses_the_rest() {
    let backend = Faulty::new();
    backend.hold_syncs();
    let fixture = Fixture::with_syncer(Arc::clone(&backend) as _, SyncMode::Sync).await;
    let ann = partition("ann");
    let mut tickets = Vec::new();
    for id in 0..5 {
        tickets.push(fixture.commit(&ann, None, vec![insert(id, "x")]).await.unwrap().ticket.unwrap());
    }
    backend.fail_syncs.store(true, Ordering::Release);
    backend.let_syncs_through();
    for ticket in &tickets {
        let error = timeout(LONG, fixture.committer.wait_durable(*ticket)).await.unwrap().unwrap_err();
        assert!(is_unknown(&error), "{error:?}");
    }
    assert!(fixture.committer.is_poisoned());
    let seen = timeout(LONG, fixture.committer.wait_visible(&ann)).await.unwrap().unwrap_err();
    assert_eq!(seen.code, ErrorCode::StorageUnavailable);

    // A disk that works again changes nothing: what it holds is known only after a reopen.
    backend.fail_syncs.store(false, Ordering::Release);
    backend.taken_batches();
    let Err(CommitError::Refused(error)) = fixture.commit(&ann, None, vec![insert(9, "x")]).await else {
        panic!("not refused")
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::NothingChanged));
    assert_eq!(fixture.committer.write_synced(Batch::new()).await.unwrap_err().code, ErrorCode::StorageUnavailable);
    assert_eq!(backend.taken_batches().len(), 0);
    assert_eq!(backend.syncs.load(Ordering::Acquire), 1, "never retried");

    let reopened = Fixture::with_syncer(backend as _, SyncMode::Sync).await;
    let ticket = reopened.commit(&ann, None, vec![insert(9, "x")]).await.unwrap().ticket.unwrap();
    timeout(LONG, reopened.committer.wait_durable(ticket)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_write_is_unknown_and_poisons() {
    let backend = Faulty::new();
    let fixture = Fixture::with_syncer(Arc::clone(&backend) as _, SyncMode::Sync).await;
    let ann = partition("ann");
    let ticket = fixture.commit(&ann, None, vec![insert(1, "x")]).await.unwrap().ticket.unwrap();
    timeout(LONG, fixture.committer.wait_durable(ticket)).await.unwrap().unwrap();
    backend.fail_writes.store(true, Ordering::Release);
    let Err(CommitError::Refused(error)) = fixture.commit(&ann, None, vec![insert(2, "x")]).await else {
        panic!("not refused")
    };
    assert!(is_unknown(&error), "{error:?}");
    assert!(error.detail.unwrap().contains("No space left"), "for the log");
    assert!(!error.message.contains("No space left"), "not for the client");
    backend.fail_writes.store(false, Ordering::Release);
    assert_eq!(refused(fixture.commit(&ann, None, vec![insert(3, "x")]).await), ErrorCode::StorageUnavailable);
    // What was acknowledged before stays so.
    timeout(LONG, fixture.committer.wait_durable(ticket)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_block_that_cannot_be_reserved_poisons_with_nothing_written() {
    let backend = Faulty::new();
    let fixture = Fixture::new(Arc::clone(&backend) as _, SyncMode::Sync).await;
    backend.fail_writes.store(true, Ordering::Release);
    let Err(CommitError::Refused(error)) = fixture.commit(&partition("ann"), None, vec![insert(1, "x")]).await else {
        panic!("not refused")
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::NothingChanged));
    assert!(fixture.committer.is_poisoned());
    assert_eq!(fixture.rows(&partition("ann")).await, []);
}

#[tokio::test]
async fn catalog_writes_that_fail_poison() {
    let backend = Faulty::new();
    let fixture = Fixture::new(Arc::clone(&backend) as _, SyncMode::Sync).await;
    let mut batch = Batch::new();
    batch.put(Family::System, "namespace/a", "");
    backend.fail_writes.store(true, Ordering::Release);
    let error = fixture.committer.write_synced(batch).await.unwrap_err();
    assert!(is_unknown(&error), "{error:?}");
    assert!(fixture.committer.is_poisoned());
}

#[tokio::test]
async fn the_syncer_ends_with_its_committer() {
    let backend = Faulty::new();
    let committer = Committer::open(Arc::clone(&backend) as _, SyncMode::Sync).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&committer).run_syncer());
    tokio::task::yield_now().await;
    drop(committer);
    timeout(LONG, tasks.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(Arc::strong_count(&backend), 1);
}

#[tokio::test]
async fn a_closed_backend_refuses_as_shutting_down() {
    let backend = Faulty::new();
    let fixture = Fixture::with_syncer(Arc::clone(&backend) as _, SyncMode::Sync).await;
    fixture.insert(&partition("ann"), [1]).await;
    backend.close().await.unwrap();
    let Err(CommitError::Refused(error)) = fixture.commit(&partition("ann"), None, vec![insert(2, "x")]).await else {
        panic!("not refused")
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::ShuttingDown, Outcome::NothingChanged));
}

/// The whole way on real files: what was acknowledged is there after the process is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_on_rocksdb_is_kept() {
    let harness = RocksDb::new();
    let ann = partition("ann");
    for mode in [SyncMode::Sync, SyncMode::Buffered] {
        let first = if mode == SyncMode::Sync { 0 } else { 100 };
        let fixture = Fixture::with_syncer(harness.open().await, mode).await;
        for id in first..first + 50 {
            let ticket = fixture.commit(&ann, None, vec![insert(id, "x")]).await.unwrap().ticket.unwrap();
            timeout(LONG, fixture.committer.wait_durable(ticket)).await.unwrap().unwrap();
        }
        fixture.backend.close().await.unwrap();
        drop(fixture);
        let reopened = Fixture::new(harness.open().await, mode).await;
        assert_eq!(reopened.rows(&ann).await.len() as i64, if first == 0 { 50 } else { 100 });
        reopened.backend.close().await.unwrap();
    }
}
