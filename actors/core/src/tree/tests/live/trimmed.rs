//! Change logs are shortened under those who follow them.

use kalamdb_live::{LiveConnection, LiveEnd, LiveOutbox, Outgoing};
use kalamdb_store::LogBounds;
use serde_json::{Value as Json, json};

use super::super::fixture::{Fixture, eventually};
use super::{connect, next, outgoing, request, request_of};
use crate::engine::now_micros;
use crate::tree::faults::Fault;

/// Takes everything from before a moment off the logs.
async fn trim(fixture: &Fixture, since: i64) {
    let bounds = LogBounds { since, bytes: u64::MAX };
    let left = fixture.runtime.store().committer.trim_logs(None, usize::MAX, bounds).await.expect("trimmed");
    assert!(left.is_none(), "all of them had their turn");
}

async fn both_are_told(connection: &mut LiveConnection, outbox: &mut LiveOutbox, id: i64) {
    let mut told = [next(connection, outbox).await, next(connection, outbox).await];
    told.sort_by_key(|frame| frame["query_id"] == "some");
    for (frame, name) in told.iter().zip(["all", "some"]) {
        let found = (&frame["type"], &frame["query_id"], &frame["keys"]);
        assert_eq!(found, (&json!("change"), &json!(name), &json!([id])), "{frame}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_is_lost_is_followed_from_what_it_had_read() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    let (mut connection, mut outbox) = connect(&fixture, "ann");
    let mut start = Json::Null;
    for (name, sql) in [("some", "SELECT id FROM t WHERE id < 0"), ("all", "SELECT id FROM t")] {
        connection.subscribe(request_of(name, sql, &json!({}))).await;
        let frame = next(&mut connection, &mut outbox).await;
        assert_eq!(frame["type"], "subscribed", "{frame}");
        start = frame["seq"].clone();
    }
    // Both are with the actor once they are told of something.
    fixture.rows("ann", "INSERT INTO t VALUES (-2)").await;
    both_are_told(&mut connection, &mut outbox, -2).await;
    let mut trimmed = 0;
    for id in 0..6 {
        if id == 5 {
            trimmed = now_micros();
        }
        fixture.rows("ann", &format!("INSERT INTO t VALUES ({id})")).await;
        let frame = next(&mut connection, &mut outbox).await;
        assert_eq!((&frame["query_id"], &frame["keys"]), (&json!("all"), &json!([id])));
    }
    // The last one was told in a round of its own, so what came before it has been read.
    trim(&fixture, trimmed).await;
    let (mut late, mut late_outbox) = connect(&fixture, "ann");
    late.subscribe(request("m", &json!({"from_seq": start}))).await;
    assert_eq!(next(&mut late, &mut late_outbox).await["code"], "RESUME_TOO_OLD");

    fixture.faults.arm("LiveQueryActor", "Wake", (0, 1), Fault::Panic);
    fixture.rows("ann", "INSERT INTO t VALUES (6)").await;
    eventually("the actor is lost", || fixture.faults.fired() == 1).await;
    let frame = next(&mut connection, &mut outbox).await;
    assert_eq!((&frame["query_id"], &frame["keys"]), (&json!("all"), &json!([6])), "{frame}");
    fixture.rows("ann", "INSERT INTO t VALUES (-1)").await;
    both_are_told(&mut connection, &mut outbox, -1).await;
    assert_eq!(fixture.tree.live().overview().slow_consumers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_read_more_slowly_than_its_log_is_kept_ends_the_connection() {
    const ROWS: i64 = 20;
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE big (id BIGINT PRIMARY KEY, text TEXT)").await;
    let sql = "SELECT id, text FROM big";
    let (mut connection, mut outbox) = connect(&fixture, "ann");
    connection.subscribe(request_of("now", sql, &json!({}))).await;
    let start = next(&mut connection, &mut outbox).await["seq"].clone();
    connection.unsubscribe("now").await;
    next(&mut connection, &mut outbox).await;
    let text = "x".repeat(100_000);
    for id in 0..ROWS {
        fixture.rows("ann", &format!("INSERT INTO big VALUES ({id}, '{text}')")).await;
    }
    connection.subscribe(request_of("past", sql, &json!({"from_seq": start}))).await;
    assert_eq!(next(&mut connection, &mut outbox).await["resumed"], true);
    // More rows than wait for a reader.
    trim(&fixture, i64::MAX).await;
    let mut last = start;
    let closed = loop {
        match outgoing(&mut connection, &mut outbox).await {
            Outgoing::Frame(bytes) => {
                let frame: Json = serde_json::from_slice(&bytes).expect("JSON");
                if frame["type"] != "change" {
                    break frame;
                }
                last = frame["seq"].clone();
            }
            Outgoing::Close(end) => panic!("without a word: {end:?}"),
        }
    };
    let expected = json!({"type": "closed", "query_id": "past", "reason": "slow_consumer", "resume_seq": last});
    assert_eq!(closed, expected);
    match outgoing(&mut connection, &mut outbox).await {
        Outgoing::Close(end) => assert_eq!(end, LiveEnd::SlowConsumer),
        Outgoing::Frame(bytes) => panic!("{}", String::from_utf8_lossy(&bytes)),
    }
    assert_eq!(fixture.tree.live().overview().slow_consumers, 1);
}
