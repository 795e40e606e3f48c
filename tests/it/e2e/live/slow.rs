//! A client that does not read hurts itself alone.

use std::time::Duration;

use serde_json::{Value, json};

use kalamdb_tests::{Credentials, LiveSocket, Role, Said, TestServer, eventually, token};

use super::{PATIENCE, socket, with_messages};

const ROW_BYTES: usize = 1 << 20;

async fn narrow(server: &TestServer, user: &str) -> LiveSocket {
    let credentials = Credentials::token(token(user, Role::User, server.secret()));
    LiveSocket::connect_narrow(server.base(), &credentials).await.expect("let in")
}

async fn slow_consumers(server: &TestServer) -> u64 {
    server.service().get("/api/actors/live").await.body["slow_consumers"].as_u64().expect("a number")
}

#[tokio::test]
async fn who_does_not_read_is_ended_and_may_go_on_later() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id, body FROM {table}");
    let mut stalled = narrow(&server, "ann").await;
    for name in ["m", "other"] {
        stalled.subscribe(name, &sql).await;
        stalled.expect("subscribed").await;
    }
    let mut fast = Vec::new();
    for _ in 0..3 {
        let mut reader = socket(&server, "ann").await;
        reader.subscribe("m", &sql).await;
        reader.expect("subscribed").await;
        fast.push(reader);
    }
    let client = server.user("ann");
    let mut written = 0_u64;
    // Every reader keeps up with every write while one does not read at all.
    while slow_consumers(&server).await == 0 {
        assert!(written < 100, "{written} MiB are on their way to somebody who does not read");
        let insert = format!("INSERT INTO {table} VALUES ({written}, 'a', $1)");
        client.sql_params(&insert, json!(["x".repeat(ROW_BYTES)])).await.ok();
        for reader in &mut fast {
            assert_eq!(reader.expect("change").await["keys"], json!([written]));
        }
        written += 1;
    }
    // What it gets to read at last: changes without a gap, the ends, and the close code.
    let (mut bookmarks, mut ends) = (json!({}), json!({}));
    let mut seen = json!({"m": [], "other": []});
    loop {
        match stalled.said().await {
            Said::Frame(frame) if frame["type"] == "change" => {
                let name = frame["query_id"].as_str().expect("a name");
                bookmarks[name] = frame["seq"].clone();
                seen[name].as_array_mut().expect("a list").push(frame["keys"][0].clone());
            }
            Said::Frame(frame) if frame["type"] == "closed" => {
                assert_eq!(frame["reason"], "slow_consumer", "{frame}");
                ends[frame["query_id"].as_str().expect("a name")] = frame["resume_seq"].clone();
            }
            Said::Frame(frame) => assert_eq!(frame["type"], "progress", "{frame}"),
            Said::Closed(code, _) => {
                assert_eq!(code, 4408);
                break;
            }
            Said::Gone => panic!("without a word; it had {ends}"),
        }
    }
    for name in ["m", "other"] {
        let list = seen[name].as_array().expect("a list");
        assert_eq!(*list, (0..list.len()).map(|at| json!(at)).collect::<Vec<Value>>(), "{name}");
        if list.is_empty() {
            assert!(ends[name].is_u64(), "{name}: {ends}");
        } else {
            assert_eq!(ends[name], bookmarks[name], "{name}");
        }
    }
    let mut again = socket(&server, "ann").await;
    again.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"from_seq": ends["m"]}})).await;
    assert_eq!(again.expect("subscribed").await["resumed"], true);
    let first = seen["m"].as_array().map_or(0, Vec::len) as u64;
    for id in first..written {
        assert_eq!(again.expect("change").await["keys"], json!([id]));
    }
    assert_eq!(slow_consumers(&server).await, 1);
}

#[tokio::test]
async fn too_many_small_changes_are_too_many_too() {
    let settings = [("storage.backend", "memory"), ("live.buffer_size", "50")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id, body FROM {table}");
    let mut stalled = narrow(&server, "ann").await;
    stalled.subscribe("m", &sql).await;
    stalled.expect("subscribed").await;
    let client = server.user("ann");
    let insert = |id: u64| format!("INSERT INTO {table} VALUES ({id}, 'a', '{}')", "x".repeat(60_000));
    let mut next = 0;
    eventually("it is a slow consumer", PATIENCE, async || {
        for _ in 0..20 {
            client.sql(insert(next)).await.ok();
            next += 1;
        }
        (slow_consumers(&server).await == 1).then_some(())
    })
    .await;
    let mut closed = false;
    loop {
        match stalled.said().await {
            Said::Frame(frame) => closed |= frame["reason"] == "slow_consumer",
            Said::Closed(code, _) => break assert_eq!((code, closed), (4408, true)),
            Said::Gone => panic!("without a word"),
        }
    }
}

#[tokio::test]
async fn a_large_snapshot_goes_as_fast_as_it_is_read() {
    let settings = [("storage.backend", "memory"), ("live.buffer_bytes", "100000"), ("live.buffer_size", "5")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    for id in 0..16_u64 {
        let insert = format!("INSERT INTO {table} VALUES ({id}, 'a', $1)");
        client.sql_params(&insert, json!(["x".repeat(ROW_BYTES)])).await.ok();
    }
    let mut reader = narrow(&server, "ann").await;
    let options = json!({"last_rows": 100, "batch_size": 1});
    reader.subscribe_with(json!({"query_id": "m", "sql": format!("SELECT * FROM {table}"), "options": options})).await;
    reader.expect("subscribed").await;
    // It takes its time before each frame.
    for id in 0..16_u64 {
        let early = reader.said_within(Duration::from_millis(30)).await;
        let frame = match early {
            Some(Said::Frame(frame)) => frame,
            None => reader.frame().await,
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!((&frame["type"], &frame["keys"]), (&json!("initial_data"), &json!([id])));
    }
    reader.round().await;
    assert_eq!(slow_consumers(&server).await, 0);
}

/// A long replay is written to a client that hardly reads, and rows go on changing: none of that makes it a slow one.
#[tokio::test]
async fn a_long_replay_goes_as_fast_as_it_is_read_while_rows_go_on_changing() {
    const HISTORY: u64 = 28;
    // All of them come while more is left to be told than anybody keeps on the way.
    const MEANWHILE: u64 = 8;
    let settings = [
        ("storage.backend", "memory"),
        ("live.buffer_bytes", "100000"),
        ("live.buffer_size", "2"),
        ("live.resume_bytes", "256MiB"),
    ];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    let sql = format!("SELECT id, body FROM {table}");
    let mut reader = narrow(&server, "ann").await;
    reader.subscribe("now", &sql).await;
    let start = reader.expect("subscribed").await["seq"].clone();
    reader.send(&json!({"type": "unsubscribe", "query_id": "now"})).await;
    reader.expect("unsubscribed").await;
    for id in 0..HISTORY {
        let insert = format!("INSERT INTO {table} VALUES ({id}, 'a', $1)");
        client.sql_params(&insert, json!(["x".repeat(ROW_BYTES / 2)])).await.ok();
    }
    reader.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"from_seq": start}})).await;
    assert_eq!(reader.expect("subscribed").await["resumed"], true);
    for id in 0..HISTORY + MEANWHILE {
        if id < MEANWHILE {
            client.sql(format!("INSERT INTO {table} VALUES ({}, 'a', 'y')", HISTORY + id)).await.ok();
        }
        assert_eq!(reader.expect("change").await["keys"], json!([id]));
    }
    client.sql(format!("INSERT INTO {table} VALUES (1000, 'a', 'z')")).await.ok();
    assert_eq!(reader.expect("change").await["keys"], json!([1000]));
    assert_eq!(slow_consumers(&server).await, 0);
}

#[tokio::test]
async fn first_rows_beyond_the_memory_limit_are_refused_and_nothing_else() {
    let settings = [("storage.backend", "memory"), ("query.memory_limit", "2MiB")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    for id in 0..8_u64 {
        let insert = format!("INSERT INTO {table} VALUES ({id}, 'a', $1)");
        client.sql_params(&insert, json!(["x".repeat(ROW_BYTES / 4)])).await.ok();
    }
    let mut reader = socket(&server, "ann").await;
    let first_rows = |name: &str, columns: &str| {
        let sql = format!("SELECT {columns} FROM {table}");
        json!({"query_id": name, "sql": sql, "options": {"last_rows": 100}})
    };
    reader.subscribe_with(first_rows("m", "id, body")).await;
    let frame = reader.expect("error").await;
    assert_eq!((&frame["query_id"], &frame["code"]), (&json!("m"), &json!("RESOURCES_EXHAUSTED")), "{frame}");
    // Its place and its name are free, and less is let through.
    reader.subscribe_with(first_rows("m", "id")).await;
    reader.expect("subscribed").await;
    assert_eq!(reader.expect("initial_data").await["rows"].as_array().map(Vec::len), Some(8));
    client.sql(format!("INSERT INTO {table} VALUES (8, 'a', 'x')")).await.ok();
    assert_eq!(reader.expect("change").await["keys"], json!([8]));
    let left = server.service().get("/api/actors/live").await.body;
    assert_eq!(left["subscriptions"], 1, "{left}");
}

#[tokio::test]
async fn who_only_asks_and_never_reads_is_held_up_alone() {
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "3s")];
    let server = TestServer::start_with(&settings).await;
    let mut greedy = narrow(&server, "ann").await;
    let mut other = socket(&server, "ann").await;
    let asking = async {
        loop {
            greedy.send(&json!({"type": "ping"})).await;
        }
    };
    let connections = async || server.service().get("/api/actors/live").await.body["connections"].as_u64();
    let serving = async {
        eventually("the one that does not read is gone", Duration::from_secs(60), async || {
            other.round().await;
            (connections().await == Some(1)).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = asking => unreachable!("for ever"),
        () = serving => {}
    }
    other.round().await;
}
