//! WR-5: a store that failed is refused, opened again by itself, and loses nothing that was acknowledged.

use std::time::{Duration, Instant};

use kalamdb_commons::settings::Durability;
use kalamdb_commons::{Error, ErrorCode, Outcome};
use kalamdb_faults::Machine;
use serde_json::json;
use tokio::task::JoinSet;

use super::server::{LONG, Server};

/// Without an interval nothing is written unasked: when it is due is what a server writes down in its first second.
const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT) WITH (flush_interval = 'off')";

async fn start(machine: &Machine) -> Server {
    let server = Server::start(machine, Durability::Sync).await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    server
}

async fn insert(server: &Server, user: &str, id: i64) -> Result<(), Error> {
    server.run(user, "INSERT INTO t VALUES ($1, 'x')", vec![json!(id)]).await.map(drop)
}

async fn ids(server: &Server, user: &str) -> Result<Vec<i64>, Error> {
    let rows = server.rows(user, "SELECT id FROM t ORDER BY id", vec![]).await?;
    Ok(rows.iter().map(|row| row[0].as_i64().expect("a number")).collect())
}

fn is_unavailable(error: &Error) -> bool {
    error.code == ErrorCode::StorageUnavailable
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_answers_reads_and_goes_on_by_itself() {
    let machine = Machine::new(1);
    let server = start(&machine).await;
    for id in 0..3 {
        insert(&server, "ann", id).await.expect("acknowledged");
        insert(&server, "bob", id).await.expect("acknowledged");
    }
    machine.faults().fill_disk(true);
    let error = insert(&server, "ann", 3).await.expect_err("no room");
    assert!(is_unavailable(&error) && error.outcome == Outcome::Unknown, "{error:?}");
    server.until_ready(false).await;
    let error = server.engine.ready().await.expect_err("it is not");
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(error.message.contains("the storage backend has failed"), "{error:?}");
    assert!(!error.message.contains("actor"), "the tree is whole: {error:?}");
    let boots = machine.boots();

    let error = insert(&server, "bob", 3).await.expect_err("refused");
    assert!(is_unavailable(&error) && error.outcome == Outcome::NothingChanged, "{error:?}");
    let error = server.run("ann", "CREATE NAMESPACE n", vec![]).await.expect_err("refused");
    assert!(is_unavailable(&error), "{error:?}");
    assert_eq!(ids(&server, "bob").await.expect("what was synced can be read"), [0, 1, 2]);
    assert_eq!(machine.boots(), boots, "not closed for nothing");

    machine.faults().fill_disk(false);
    server.until_ready(true).await;
    insert(&server, "bob", 3).await.expect("it goes on");
    assert_eq!(ids(&server, "bob").await.expect("read"), [0, 1, 2, 3]);
    let of_ann = ids(&server, "ann").await.expect("read");
    assert!(of_ann == [0, 1, 2] || of_ann == [0, 1, 2, 3], "{of_ann:?}");
    server.run("ann", "CREATE NAMESPACE n", vec![]).await.expect("definitions too");
    server.stop().await;
}

/// What of a flush's job is unknown is nothing that rows depend on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_meets_a_full_disk_keeps_nobody_from_reading() {
    let machine = Machine::new(1);
    let server = start(&machine).await;
    for id in 0..3 {
        insert(&server, "ann", id).await.expect("acknowledged");
    }
    machine.faults().fill_disk(true);
    let error = server.run("admin", "FLUSH TABLE t", vec![]).await.expect_err("no room for its job");
    assert!(is_unavailable(&error), "{error:?}");
    server.until_ready(false).await;
    assert_eq!(ids(&server, "ann").await.expect("what was synced can be read"), [0, 1, 2]);
    machine.faults().fill_disk(false);
    server.until_ready(true).await;
    insert(&server, "ann", 3).await.expect("it goes on");
    assert_eq!(ids(&server, "ann").await.expect("read"), [0, 1, 2, 3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_rows_that_may_be_gone_are_refused() {
    let machine = Machine::new(1);
    let server = start(&machine).await;
    insert(&server, "bob", 0).await.expect("acknowledged");
    machine.faults().hold_syncs();
    let (writing, reading) = (server.clone(), server.clone());
    let mut writer = JoinSet::new();
    writer.spawn(async move { insert(&writing, "ann", 0).await });
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        // Until it sees the row that is not synced, and so gets no answer.
        loop {
            match ids(&reading, "ann").await {
                Ok(seen) => assert_eq!(seen, [0; 0], "seen before it was synced"),
                Err(error) => return error,
            }
        }
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while machine.faults().waiting() == 0 {
        ticks.tick().await;
    }
    machine.faults().fill_disk(true);
    // The reader's last question waits for the same sync as the writer.
    machine.faults().release_syncs();
    let error = writer.join_all().await.remove(0).expect_err("its sync failed");
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::Unknown));
    let error = reader.join_all().await.remove(0);
    assert!(is_unavailable(&error), "{error:?}");
    assert_eq!(ids(&server, "bob").await.expect("not concerned"), [0]);
    machine.faults().fill_disk(false);
    server.until_ready(true).await;
    server.stop().await;
}

/// Whatever became of a definition whose write failed, catalog and rows agree on it afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_of_unknown_outcome_are_found_out() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..12 {
        let machine = Machine::new(seed);
        let server = start(&machine).await;
        insert(&server, "ann", 1).await.expect("acknowledged");
        machine.faults().fail_syncs(true);
        let error = server.run("ann", "DROP TABLE t", vec![]).await.expect_err("its sync failed");
        assert!(is_unavailable(&error) && error.outcome == Outcome::Unknown, "{error:?}");
        machine.faults().fail_syncs(false);
        server.until_ready(true).await;
        match ids(&server, "ann").await {
            Ok(ids) => {
                there += 1;
                assert_eq!(ids, [1], "the table is there with its rows");
            }
            Err(error) => {
                gone += 1;
                assert_eq!(error.code, ErrorCode::TableNotFound);
                server.run("ann", TABLE, vec![]).await.expect("the name is free");
                assert_eq!(ids(&server, "ann").await.expect("read"), [0; 0], "another table");
            }
        }
        server.stop().await;
    }
    assert!(there > 0 && gone > 0, "both happen: {there} {gone}");
}

/// Between the failure and the reopening nobody can tell whether the table is there: no answer says that it is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_drop_failed_is_not_shown_empty() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let machine = Machine::new(1);
        let server = Server::start(&machine, durability).await;
        server.run("ann", TABLE, vec![]).await.expect("a table");
        insert(&server, "ann", 1).await.expect("acknowledged");
        let deadline = Instant::now() + LONG;
        loop {
            machine.faults().fail_opens(true);
            machine.faults().fail_syncs(true);
            let error = server.run("ann", "DROP TABLE t", vec![]).await.expect_err("its sync failed");
            if error.outcome == Outcome::Unknown {
                assert!(is_unavailable(&error), "{error:?}");
                break;
            }
            // The row's own sync came first, and failed: the DROP was refused. Again, with nothing left to be synced.
            let may_be = durability == Durability::Buffered && is_unavailable(&error) && Instant::now() < deadline;
            assert!(may_be, "{error:?}");
            machine.faults().fail_syncs(false);
            machine.faults().fail_opens(false);
            server.until_ready(true).await;
        }
        for sql in ["SELECT count(*) FROM t", "SELECT v FROM t WHERE id = 1"] {
            let error = server.run("ann", sql, vec![]).await.expect_err("nobody knows");
            assert!(is_unavailable(&error), "{sql}: {error:?}");
        }
        machine.faults().fail_syncs(false);
        machine.faults().fail_opens(false);
        server.until_ready(true).await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_that_fails_is_tried_again() {
    let machine = Machine::new(3);
    let server = start(&machine).await;
    insert(&server, "ann", 1).await.expect("acknowledged");
    machine.faults().fail_opens(true);
    machine.faults().fail_writes(true);
    insert(&server, "ann", 2).await.expect_err("it fails");
    machine.faults().fail_writes(false);
    // Closed by now, or soon: an error says what to do, and says nothing of a shutdown.
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let error = loop {
        ticks.tick().await;
        if let Err(error) = ids(&server, "bob").await {
            break error;
        }
    };
    assert!(is_unavailable(&error), "{error:?}");
    assert!(error.message.contains("try again"), "{}", error.message);
    machine.faults().fail_opens(false);
    server.until_ready(true).await;
    insert(&server, "ann", 3).await.expect("it goes on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_fail_are_errors_and_nothing_else() {
    let machine = Machine::new(1);
    let server = start(&machine).await;
    insert(&server, "ann", 1).await.expect("acknowledged");
    machine.faults().fail_reads(true);
    for sql in ["SELECT * FROM t", "SELECT * FROM t WHERE id = 1", "UPDATE t SET v = 'y'", "INSERT INTO t VALUES (1)"] {
        let error = server.run("ann", sql, vec![]).await.expect_err("it cannot be read");
        assert!(is_unavailable(&error) && error.outcome == Outcome::NothingChanged, "{sql}: {error:?}");
        assert!(!error.message.contains("No space"), "the engine's words are for the log: {}", error.message);
    }
    machine.faults().fail_reads(false);
    assert_eq!(ids(&server, "ann").await.expect("read"), [1]);
    insert(&server, "ann", 2).await.expect("a failed read poisons nothing");
    server.stop().await;
}

/// A statement that began before the failure and commits after the reopening does so on what is there then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_miss_nothing_over_failures() {
    for seed in 0..2 {
        let machine = Machine::new(seed);
        let server = start(&machine).await;
        server.run("ann", "INSERT INTO t VALUES (0, '0')", vec![]).await.expect("acknowledged");
        machine.faults().fail_one_sync_in(15);
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let server = server.clone();
            tasks.spawn(async move {
                let (mut done, mut unknown) = (0_i64, 0_i64);
                while done + unknown < 25 {
                    let sql = "UPDATE t SET v = CAST(CAST(v AS BIGINT) + 1 AS TEXT) WHERE id = 0";
                    match server.run("ann", sql, vec![]).await {
                        Ok(_) => done += 1,
                        Err(error) if error.outcome == Outcome::Unknown => unknown += 1,
                        Err(error) => {
                            assert!(is_unavailable(&error), "{error:?}");
                            server.until_ready(true).await;
                        }
                    }
                }
                (done, unknown)
            });
        }
        let counts = tasks.join_all().await;
        machine.faults().fail_one_sync_in(0);
        server.until_ready(true).await;
        let (done, unknown) = counts.iter().fold((0, 0), |(all, maybe), (one, other)| (all + one, maybe + other));
        let rows = server.rows("ann", "SELECT CAST(v AS BIGINT) FROM t", vec![]).await.expect("read");
        let value = rows[0][0].as_i64().expect("a number");
        assert!((done..=done + unknown).contains(&value), "seed {seed}: {value} of {done} and {unknown} unknown");
        assert!(machine.boots() > 1, "seed {seed}: it failed at least once");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_tables_go_on_empty_after_a_failure_and_no_number_comes_twice() {
    let machine = Machine::new(9);
    let server = start(&machine).await;
    let stream = "CREATE STREAM TABLE s (id BIGINT PRIMARY KEY) WITH (ttl = '1h')";
    server.run("ann", stream, vec![]).await.expect("a table");
    let seq = async || {
        let row = server.rows("ann", "INSERT INTO s VALUES (1) RETURNING _seq", vec![]).await.expect("a row");
        row[0][0].as_i64().expect("a number")
    };
    let before = seq().await;
    machine.faults().fill_disk(true);
    insert(&server, "ann", 1).await.expect_err("no room");
    let error = server.run("ann", "INSERT INTO s VALUES (2)", vec![]).await.expect_err("refused with the store");
    assert!(is_unavailable(&error), "{error:?}");
    machine.faults().fill_disk(false);
    server.until_ready(true).await;
    assert_eq!(
        server.rows("ann", "SELECT id FROM s", vec![]).await.expect("read"),
        Vec::<Vec<serde_json::Value>>::new()
    );
    let after = seq().await;
    assert!(after > before, "{before}, and then {after}");
    server.stop().await;
}
