//! The actors of live queries are made to fail in every way at every message, while rows are written and followed.

mod trimmed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kalamdb_commons::{Identity, Role};
use kalamdb_live::supervision::failures::FAILURES;
use kalamdb_live::{LiveCaller, LiveConnection, LiveOutbox, Outgoing};
use kalamdb_wire::{ClientFrame, SubscribeRequest};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fixture::{Fixture, eventually, user};
use crate::tree::faults::Fault;

const LONG: Duration = Duration::from_secs(60);
/// How often each fault happens in one run: less than the budget.
const TIMES: usize = 2;

pub(super) fn request(name: &str, options: &Json) -> SubscribeRequest {
    request_of(name, "SELECT id FROM t", options)
}

fn request_of(name: &str, sql: &str, options: &Json) -> SubscribeRequest {
    let one = json!({"query_id": name, "sql": sql, "options": options});
    let frame = json!({"type": "subscribe", "subscriptions": [one]}).to_string();
    match ClientFrame::from_json(&frame).expect("a frame") {
        ClientFrame::Subscribe(mut list) => list.pop().expect("one").expect("a subscription"),
        other => panic!("{other:?}"),
    }
}

pub(super) fn connect(fixture: &Fixture, name: &str) -> (LiveConnection, LiveOutbox) {
    let identity = Identity { user_id: user(name), role: Role::User };
    fixture.tree.live().connect(LiveCaller { identity, header_user: Ok(None) }).expect("a connection")
}

async fn outgoing(connection: &mut LiveConnection, outbox: &mut LiveOutbox) -> Outgoing {
    let work = async {
        tokio::select! {
            outgoing = outbox.next() => outgoing,
            () = connection.attend() => unreachable!("it never ends"),
        }
    };
    timeout(LONG, work).await.expect("something in time")
}

pub(super) async fn next(connection: &mut LiveConnection, outbox: &mut LiveOutbox) -> Json {
    frame_of(&outgoing(connection, outbox).await)
}

fn frame_of(outgoing: &Outgoing) -> Json {
    match outgoing {
        Outgoing::Frame(bytes) => serde_json::from_slice(bytes).expect("JSON"),
        Outgoing::Close(end) => panic!("closed: {end:?}"),
    }
}

/// One follower: every row of the user, in order, each once, up to `count`.
async fn follow(fixture: Fixture, name: &'static str, count: i64) {
    let (mut connection, mut outbox) = connect(&fixture, name);
    connection.subscribe(request("m", &json!({"from_seq": 0, "last_rows": 1_000_000}))).await;
    let mut told = 0;
    let mut last_seq = 0;
    while told < count {
        let frame = next(&mut connection, &mut outbox).await;
        let kind = frame["type"].as_str().unwrap_or_default();
        assert!(matches!(kind, "subscribed" | "initial_data" | "change"), "{frame}");
        if kind == "change" {
            let seq = frame["seq"].as_u64().expect("seq");
            assert!(seq > last_seq, "{last_seq}, and then {frame}");
            last_seq = seq;
        }
        for row in frame["rows"].as_array().into_iter().flatten() {
            assert_eq!(row["id"], json!(told), "{frame}");
            told += 1;
        }
    }
}

/// Followers of two users while rows are written and some come and go, with a fault armed.
async fn under_fault(kind: &'static str, moment: &'static str, fault: Fault) {
    const ROWS: i64 = 120;
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    let mut followers = JoinSet::new();
    for name in ["ann", "ann", "bob"] {
        followers.spawn(follow(fixture.clone(), name, ROWS));
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut passing = JoinSet::new();
    {
        let (fixture, done) = (fixture.clone(), Arc::clone(&done));
        // Subscriptions that come and go open and retire actors.
        passing.spawn(async move {
            while !done.load(Ordering::Acquire) {
                let (mut connection, mut outbox) = connect(&fixture, "cid");
                connection.subscribe(request("m", &json!({}))).await;
                next(&mut connection, &mut outbox).await;
                connection.unsubscribe("m").await;
                next(&mut connection, &mut outbox).await;
            }
        });
    }
    fixture.faults.arm(kind, moment, (1, TIMES), fault);
    for id in 0..ROWS {
        for name in ["ann", "bob"] {
            fixture.rows(name, &format!("INSERT INTO t VALUES ({id})")).await;
        }
        if id % 20 == 7 {
            // Has the tables looked at.
            fixture.rows("ann", &format!("CREATE USER TABLE other{id} (id BIGINT PRIMARY KEY)")).await;
        }
    }
    eventually("the faults happen", || fixture.faults.fired() == TIMES).await;
    while let Some(follower) = followers.join_next().await {
        follower.unwrap_or_else(|error| panic!("{kind} {moment} {fault:?}: {error}"));
    }
    done.store(true, Ordering::Release);
    passing.join_all().await;
    eventually("nobody is left", || fixture.tree.live().overview().subscriptions == 0).await;
    eventually("no actor is left", || fixture.node("live").children_total == Some(0)).await;
    fixture.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_query_actors_at_each_message() {
    for moment in ["start", "Attach", "Wake", "Detach", "CheckTables"] {
        for fault in Fault::ALL {
            under_fault("LiveQueryActor", moment, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_supervisor_at_each_message() {
    for moment in ["Open", "Retire", "event"] {
        for fault in Fault::ALL {
            under_fault("LiveSupervisor", moment, fault).await;
        }
    }
}

/// Told to each actor a second after it came, and so only to those that have somebody for so long.
async fn settling_fails(fault: Fault) {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    fixture.faults.arm("LiveQueryActor", "Settle", (0, TIMES), fault);
    let (mut connection, mut outbox) = connect(&fixture, "ann");
    connection.subscribe(request("m", &json!({}))).await;
    assert_eq!(next(&mut connection, &mut outbox).await["type"], "subscribed");
    for id in 1..=TIMES {
        tokio::select! {
            () = connection.attend() => unreachable!("it never ends"),
            () = eventually("the fault happens", || fixture.faults.fired() >= id) => {}
        }
        fixture.rows("ann", &format!("INSERT INTO t VALUES ({id})")).await;
        let frame = next(&mut connection, &mut outbox).await;
        assert_eq!((&frame["type"], &frame["rows"]), (&json!("change"), &json!([{"id": id}])), "{fault:?}: {frame}");
    }
    assert_eq!(fixture.faults.fired(), TIMES);
    drop((connection, outbox));
    eventually("nobody is left", || fixture.tree.live().overview().subscriptions == 0).await;
    eventually("no actor is left", || fixture.node("live").children_total == Some(0)).await;
    fixture.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_query_actors_that_have_settled() {
    JoinSet::from_iter(Fault::ALL.map(settling_fails)).join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_actor_fails_too_often_is_refused_and_no_other() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    fixture.faults.arm("LiveQueryActor", "Wake", (0, FAILURES), Fault::Panic);
    let (mut connection, mut outbox) = connect(&fixture, "ann");
    connection.subscribe(request("m", &json!({}))).await;
    let subscribed = next(&mut connection, &mut outbox).await;
    // Read all the time: who does not is waited for.
    let mut told = VecDeque::new();
    for id in 0.. {
        if fixture.faults.fired() == FAILURES {
            break;
        }
        fixture.rows("ann", &format!("INSERT INTO t VALUES ({id})")).await;
        let fired = fixture.faults.fired();
        // The next is attached again, or the budget is spent.
        let attached = || fixture.node("live").children_total == Some(1) || fixture.faults.fired() > fired;
        let closed = || fixture.tree.live().overview().subscriptions == 0;
        let work = async {
            let mut goes_on = std::pin::pin!(eventually("it goes on", || attached() || closed()));
            loop {
                tokio::select! {
                    outgoing = outbox.next() => told.push_back(outgoing),
                    () = connection.attend() => unreachable!("it never ends"),
                    () = &mut goes_on => break,
                }
            }
        };
        timeout(LONG, work).await.expect("it goes on");
    }
    // What was told before may come first.
    let closed = loop {
        let frame = match told.pop_front() {
            Some(outgoing) => frame_of(&outgoing),
            None => next(&mut connection, &mut outbox).await,
        };
        if frame["type"] == "closed" {
            break frame;
        }
    };
    assert_eq!(closed["reason"], "internal", "{closed}");
    assert!(closed["resume_seq"].as_u64() >= subscribed["seq"].as_u64(), "{closed}");
    let (mut other, mut other_outbox) = connect(&fixture, "bob");
    other.subscribe(request("m", &json!({}))).await;
    assert_eq!(next(&mut other, &mut other_outbox).await["type"], "subscribed");
    fixture.rows("bob", "INSERT INTO t VALUES (1)").await;
    assert_eq!(next(&mut other, &mut other_outbox).await["type"], "change");
}
