//! Group commit, visibility, and what a failure leaves behind (CM-3, CM-4, CM-5).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode, Family, Outcome, Seq};
use kalamdb_faults::Machine;
use kalamdb_store::codec::meta::SeqBlock;
use kalamdb_store::codec::system;
use kalamdb_store::{Acknowledgement, Batch, CommitError, Committer, PartitionId, SyncMode, Write};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::fixture::{Fixture, insert, key, partition, refused};
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

/// With numbers reserved, so that the test's own writes wait for no sync but theirs.
async fn booted(machine: &Machine, mode: SyncMode) -> Fixture {
    let fixture = Fixture::with_syncer(machine.boot().await.unwrap(), mode).await;
    // The numbers are reserved by now; what is left is the row.
    let syncs = machine.faults().syncs();
    acknowledged(begin(&fixture, &partition(&format!("boot {}", machine.boots())), 0).await.1).await;
    until("its sync", || machine.faults().syncs() == syncs + 1).await;
    fixture
}

/// Commits one row and gives its `_seq` and its acknowledgement.
async fn begin(fixture: &Fixture, partition: &PartitionId, id: i64) -> (Seq, Acknowledgement) {
    let committed = fixture.commit(partition, None, vec![insert(id, "x")]).await.unwrap();
    (committed.seqs[0], committed.acknowledgement.unwrap())
}

async fn acknowledged(answer: Acknowledgement) {
    timeout(LONG, answer.wait()).await.unwrap().unwrap();
}

async fn visible(fixture: &Fixture, partition: &PartitionId) -> Result<(), Error> {
    let newest = fixture.committer.newest();
    timeout(LONG, fixture.committer.wait_visible(partition, newest)).await.unwrap()
}

#[tokio::test]
async fn unsynced_writes_are_neither_acknowledged_nor_published_nor_shown() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Sync).await;
    machine.faults().hold_syncs();
    let (ann, bob) = (partition("ann"), partition("bob"));
    visible(&fixture, &ann).await.unwrap();
    let (seq, answer) = begin(&fixture, &ann, 1).await;
    assert!(fixture.row(&ann, 1).await.is_some(), "it can be read");

    let newest = fixture.committer.newest();
    let mut durable = pin!(answer.wait());
    let mut seen = pin!(fixture.committer.wait_visible(&ann, newest));
    assert!(waits(durable.as_mut()) && waits(seen.as_mut()));
    assert!(fixture.committer.published() < seq);
    // Whoever read another partition waits for nothing.
    visible(&fixture, &bob).await.unwrap();

    machine.faults().release_syncs();
    timeout(LONG, durable).await.unwrap().unwrap();
    timeout(LONG, seen).await.unwrap().unwrap();
    assert_eq!(fixture.committer.published(), seq);
    visible(&fixture, &ann).await.unwrap();
}

/// Otherwise the readers of a partition that is always being written to would wait for ever new syncs.
#[tokio::test]
async fn a_reader_does_not_wait_for_what_came_after_its_snapshot() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Sync).await;
    machine.faults().hold_syncs();
    let ann = partition("ann");
    let (_, first) = begin(&fixture, &ann, 1).await;
    let up_to = fixture.committer.newest();
    machine.faults().let_through(1);
    acknowledged(first).await;
    let (_, second) = begin(&fixture, &ann, 2).await;
    timeout(LONG, fixture.committer.wait_visible(&ann, up_to)).await.unwrap().unwrap();
    assert!(waits(pin!(second.wait())), "the newer one is not synced");
}

#[tokio::test]
async fn a_sync_serves_all_that_wait_for_it_in_the_order_of_their_numbers() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Sync).await;
    machine.faults().hold_syncs();
    let syncs = machine.faults().syncs();
    let mut answers = Vec::new();
    for number in 0..200 {
        // One partition too: its lock is not held while a sync runs.
        let user = if number % 2 == 0 { "ann".to_owned() } else { format!("user {number}") };
        answers.push(begin(&fixture, &partition(&user), number).await);
        tokio::task::yield_now().await;
    }
    assert!(answers.is_sorted_by(|(earlier, _), (later, _)| earlier < later));
    machine.faults().release_syncs();
    let last = answers.last().map(|(seq, _)| *seq).unwrap();
    for (seq, answer) in answers {
        acknowledged(answer).await;
        assert!(fixture.committer.published() >= seq, "published before it is acknowledged");
    }
    assert_eq!(fixture.committer.published(), last);
    // The one that ran when the first was written, and one for all others.
    assert!(machine.faults().syncs() <= syncs + 2);
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_published_all_the_same() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Sync).await;
    machine.faults().hold_syncs();
    let ann = partition("ann");
    let (seq, answer) = begin(&fixture, &ann, 1).await;
    drop(answer);
    machine.faults().release_syncs();
    until("it is published", || fixture.committer.published() == seq).await;
}

#[tokio::test]
async fn buffered_writes_are_acknowledged_at_once_and_synced_soon() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Buffered).await;
    machine.faults().hold_syncs();
    let syncs = machine.faults().syncs();
    let ann = partition("ann");
    let (seq, answer) = begin(&fixture, &ann, 1).await;
    acknowledged(answer).await;
    assert_eq!(fixture.committer.published(), seq);
    visible(&fixture, &ann).await.unwrap();
    assert_eq!(machine.faults().syncs(), syncs);
    machine.faults().release_syncs();
    until("a sync", || machine.faults().syncs() == syncs + 1).await;
}

/// What a power cut leaves is a prefix in commit order, and holds all that was written before the last sync that
/// ended had begun.
#[tokio::test]
async fn buffered_keeps_a_prefix_with_everything_that_was_synced() {
    let mut lost = 0;
    for seed in 0..50 {
        let machine = Machine::new(seed);
        let fixture = booted(&machine, SyncMode::Buffered).await;
        let ann = partition("ann");
        machine.faults().hold_syncs();
        let early = 1 + seed as i64 % 7;
        for id in 0..early {
            acknowledged(begin(&fixture, &ann, id).await.1).await;
        }
        let syncs = machine.faults().syncs();
        until("a sync waits", || machine.faults().waiting() > 0).await;
        machine.faults().let_through(1);
        until("it ends", || machine.faults().syncs() > syncs).await;
        for id in early..early + 20 {
            acknowledged(begin(&fixture, &ann, id).await.1).await;
        }
        machine.cut_power().await.unwrap();
        machine.faults().release_syncs();
        drop(fixture);
        let after = booted(&machine, SyncMode::Buffered).await;
        let kept: Vec<Vec<u8>> = after.rows(&ann).await.into_iter().map(|row| row.key).collect();
        assert_eq!(kept, (0..kept.len() as i64).map(key).collect::<Vec<_>>(), "seed {seed}: a prefix");
        assert!(kept.len() as i64 >= early, "seed {seed}: {} kept, {early} synced", kept.len());
        lost += early as usize + 20 - kept.len();
    }
    assert!(lost > 0, "the cuts take something, or this shows nothing");
}

/// The promise to whoever chose `buffered`: what was acknowledged 100 ms and one sync before the cut is kept. It is about
/// time, so this waits for the clock; on the test's one thread timers end in their order, however slow the machine is.
#[tokio::test]
async fn buffered_loses_no_more_than_the_last_100_ms() {
    let mut lost = 0;
    for seed in 0..8 {
        let machine = Machine::new(seed);
        let fixture = booted(&machine, SyncMode::Buffered).await;
        let ann = partition("ann");
        for id in 0..5 {
            acknowledged(begin(&fixture, &ann, id).await.1).await;
        }
        sleep_until(Instant::now() + Duration::from_millis(100)).await;
        // A sync whose time has come ends: on this disk it takes a few turns of the thread, and no time.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        machine.faults().hold_syncs();
        for id in 5..25 {
            acknowledged(begin(&fixture, &ann, id).await.1).await;
        }
        machine.cut_power().await.unwrap();
        machine.faults().release_syncs();
        drop(fixture);
        let after = booted(&machine, SyncMode::Buffered).await;
        let kept = after.rows(&ann).await.len();
        assert!(kept >= 5, "seed {seed}: {kept} kept");
        lost += 25 - kept;
    }
    assert!(lost > 0, "the cuts take something, or this shows nothing");
}

#[tokio::test]
async fn a_failed_sync_ends_all_that_wait_and_refuses_the_rest() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Sync).await;
    let (ann, bob) = (partition("ann"), partition("bob"));
    acknowledged(begin(&fixture, &bob, 1).await.1).await;
    let published = fixture.committer.published();
    machine.faults().hold_syncs();
    let mut answers = Vec::new();
    for id in 0..5 {
        answers.push(begin(&fixture, &ann, id).await.1);
    }
    machine.faults().fail_syncs(true);
    let syncs = machine.faults().syncs();
    machine.faults().release_syncs();
    for answer in answers {
        let error = timeout(LONG, answer.wait()).await.unwrap().unwrap_err();
        assert!(is_unknown(&error), "{error:?}");
    }
    assert!(fixture.committer.is_poisoned());
    assert_eq!(fixture.committer.published(), published);
    assert_eq!(visible(&fixture, &ann).await.unwrap_err().code, ErrorCode::StorageUnavailable);
    // What was synced before may be seen still.
    visible(&fixture, &bob).await.unwrap();

    // A disk that works again changes nothing: what it holds is known only after a reopen.
    machine.faults().fail_syncs(false);
    machine.taken_batches();
    let Err(CommitError::Refused(error)) = fixture.commit(&ann, None, vec![insert(9, "x")]).await else {
        panic!("not refused")
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::NothingChanged));
    assert_eq!(fixture.committer.write_synced(Batch::new()).await.unwrap_err().code, ErrorCode::StorageUnavailable);
    assert_eq!(machine.taken_batches().len(), 0);
    assert_eq!(machine.faults().syncs(), syncs + 1, "never retried");

    fixture.backend.close().await.unwrap_err();
    let reopened = booted(&machine, SyncMode::Sync).await;
    acknowledged(begin(&reopened, &ann, 9).await.1).await;
    assert!(reopened.row(&bob, 1).await.is_some(), "acknowledged");
}

/// The write was in the queue's way when the sync before it failed: it must not wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_statement_hangs_when_syncs_fail_under_load() {
    for seed in 0..20 {
        let machine = Machine::new(seed);
        let fixture = Arc::new(booted(&machine, SyncMode::Sync).await);
        machine.faults().fail_one_sync_in(10);
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let fixture = Arc::clone(&fixture);
            writers.spawn(async move {
                let own = partition(&format!("user {writer}"));
                let mut kept = 0;
                loop {
                    match fixture.commit(&own, None, vec![insert(kept, "x")]).await {
                        Ok(committed) => {
                            match timeout(LONG, committed.acknowledgement.unwrap().wait()).await.expect("an answer") {
                                Ok(()) => kept += 1,
                                Err(error) if is_unknown(&error) => return (own, kept),
                                Err(error) => panic!("{error:?}"),
                            }
                        }
                        Err(CommitError::Refused(error)) => {
                            assert_eq!(error.code, ErrorCode::StorageUnavailable);
                            return (own, kept);
                        }
                        Err(CommitError::Stale) => panic!("nobody else writes here"),
                    }
                }
            });
        }
        let writers = writers.join_all().await;
        machine.faults().fail_one_sync_in(0);
        drop(fixture.backend.close().await);
        let reopened = booted(&machine, SyncMode::Sync).await;
        for (own, kept) in writers {
            let rows = reopened.rows(&own).await.len() as i64;
            assert!(rows == kept || rows == kept + 1, "seed {seed}: {kept} acknowledged, {rows} there");
        }
    }
}

#[tokio::test]
async fn a_failed_write_is_unknown_and_poisons() {
    let machine = Machine::new(1);
    let fixture = booted(&machine, SyncMode::Sync).await;
    let ann = partition("ann");
    acknowledged(begin(&fixture, &ann, 1).await.1).await;
    machine.faults().fail_writes(true);
    let Err(CommitError::Refused(error)) = fixture.commit(&ann, None, vec![insert(2, "x")]).await else {
        panic!("not refused")
    };
    assert!(is_unknown(&error), "{error:?}");
    assert!(error.detail.unwrap().contains("No space left"), "for the log");
    assert!(!error.message.contains("No space left"), "not for the client");
    machine.faults().fail_writes(false);
    assert_eq!(refused(fixture.commit(&ann, None, vec![insert(3, "x")]).await), ErrorCode::StorageUnavailable);
}

#[tokio::test]
async fn a_block_that_cannot_be_reserved_poisons_with_nothing_written() {
    let machine = Machine::new(1);
    let fixture = Fixture::new(machine.boot().await.unwrap(), SyncMode::Sync).await;
    let ann = partition("ann");
    let last = fixture.insert(&ann, [1]).await[0];
    machine.taken_batches();
    machine.faults().fail_writes(true);
    // More than are left of the block that was reserved at the start.
    let rows = (0..70_000).map(|id| insert(1000 + id, "x")).collect();
    let Err(CommitError::Refused(error)) = fixture.commit(&ann, None, rows).await else { panic!("not refused") };
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::NothingChanged));
    assert!(fixture.committer.is_poisoned());
    assert_eq!(machine.taken_batches().len(), 0);

    machine.faults().fail_writes(false);
    drop(fixture.backend.close().await);
    let reopened = booted(&machine, SyncMode::Sync).await;
    assert!(reopened.rows(&ann).await.len() <= 1);
    assert!(reopened.insert(&ann, [2]).await[0] > last);
}

/// So that no statement waits for it with its partition's lock held.
#[tokio::test]
async fn the_next_block_is_reserved_before_the_present_one_ends() {
    const ROWS: i64 = 30_000;
    let machine = Machine::new(1);
    machine.taken_batches();
    let fixture = booted(&machine, SyncMode::Sync).await;
    let ann = partition("ann");
    let (mut reserved, mut last) = (0, 0);
    for round in 0..6 {
        // As the disk has it.
        let deadline = Instant::now() + LONG;
        while reserved < last + ROWS as u64 {
            assert!(Instant::now() < deadline, "round {round}: nothing is reserved");
            tokio::task::yield_now().await;
            for (batch, _) in machine.taken_batches() {
                for write in batch.writes() {
                    if let Write::Put { family: Family::System, key, value } = write
                        && *key == system::seq_reserved()
                    {
                        reserved = SeqBlock::decode(value).unwrap().reserved_until.0;
                    }
                }
            }
        }
        machine.faults().hold_syncs();
        let rows = (0..ROWS).map(|id| insert(round * ROWS + id, "x")).collect();
        // It would wait for ever if it had to reserve.
        let committed = timeout(LONG, fixture.commit(&ann, None, rows)).await.unwrap().unwrap();
        last = committed.seqs.last().unwrap().0;
        machine.faults().release_syncs();
        acknowledged(committed.acknowledgement.unwrap()).await;
    }
}

/// Where it is not known which tables there are, nobody is told what is in them; of a job's record nothing depends.
#[tokio::test]
async fn catalog_writes_that_fail_poison_and_keep_everybody_from_reading() {
    for is_definition in [false, true] {
        let machine = Machine::new(1);
        let fixture = booted(&machine, SyncMode::Sync).await;
        let ann = partition("ann");
        acknowledged(begin(&fixture, &ann, 1).await.1).await;
        let mut batch = Batch::new();
        batch.put(Family::System, "namespace/a", "");
        machine.faults().fail_writes(true);
        let committer = &fixture.committer;
        let written =
            if is_definition { committer.write_definitions(batch).await } else { committer.write_synced(batch).await };
        let error = written.unwrap_err();
        assert!(is_unknown(&error), "{error:?}");
        assert!(committer.is_poisoned());
        assert_eq!(committer.wait_visible(&ann, committer.newest()).await.is_err(), is_definition);
    }
}

#[tokio::test]
async fn the_syncer_ends_with_its_committer() {
    let backend = Machine::new(1).boot().await.unwrap();
    let committer = Committer::open(Arc::clone(&backend), SyncMode::Sync).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&committer).run_syncer());
    tokio::task::yield_now().await;
    drop(committer);
    timeout(LONG, tasks.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(Arc::strong_count(&backend), 1);
}

#[tokio::test]
async fn a_closed_backend_refuses_as_shutting_down() {
    let fixture = booted(&Machine::new(1), SyncMode::Sync).await;
    acknowledged(begin(&fixture, &partition("ann"), 1).await.1).await;
    fixture.backend.close().await.unwrap();
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
            acknowledged(begin(&fixture, &ann, id).await.1).await;
        }
        fixture.backend.close().await.unwrap();
        drop(fixture);
        let reopened = Fixture::new(harness.open().await, mode).await;
        assert_eq!(reopened.rows(&ann).await.len() as i64, if first == 0 { 50 } else { 100 });
        reopened.backend.close().await.unwrap();
    }
}
