//! How a subscription begins: with nothing, with rows, from a number.

use serde_json::{Value, json};

use kalamdb_tests::{LiveSocket, TestServer};

use super::{socket, value, with_messages};

/// All rows of `initial_data`, and how many each frame had.
async fn initial(socket: &mut LiveSocket) -> (Vec<Value>, Vec<usize>, u64) {
    let (mut rows, mut counts) = (Vec::new(), Vec::new());
    loop {
        let frame = socket.expect("initial_data").await;
        let more = frame["rows"].as_array().expect("rows").clone();
        let keys: Vec<Value> = more.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(frame["keys"], json!(keys), "{frame}");
        counts.push(more.len());
        rows.extend(more);
        if frame["has_more"] == false {
            return (rows, counts, frame["seq"].as_u64().expect("a number"));
        }
    }
}

async fn subscribe(socket: &mut LiveSocket, table: &str, options: Value) -> Value {
    let sql = format!("SELECT id FROM {table} WHERE conv = 'a'");
    socket.subscribe_with(json!({"query_id": "m", "sql": sql, "options": options})).await;
    socket.expect("subscribed").await
}

#[tokio::test]
async fn last_rows_are_those_changed_last_oldest_first() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    for id in 1..=6 {
        let conv = if id == 4 { "b" } else { "a" };
        client.sql(format!("INSERT INTO {table} VALUES ({id}, '{conv}', 'x')")).await.ok();
    }
    client.sql(format!("UPDATE {table} SET body = 'y' WHERE id = 2")).await.ok();
    // Some of them flushed, some not: nobody can tell.
    server.admin().sql(format!("FLUSH TABLE {table}")).await.ok();
    client.sql(format!("UPDATE {table} SET body = 'z' WHERE id = 1; DELETE FROM {table} WHERE id = 6")).await.ok();
    let ids = |ids: &[u64]| ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>();
    for (asked, expected) in [
        (json!({"last_rows": 3}), vec![5, 2, 1]),
        (json!({"last_rows": 100}), vec![3, 5, 2, 1]),
        (json!({"last_rows": 1}), vec![1]),
    ] {
        let mut ann = socket(&server, "ann").await;
        let subscribed = subscribe(&mut ann, &table, asked.clone()).await;
        let (rows, counts, seq) = initial(&mut ann).await;
        assert_eq!(rows, ids(&expected), "{asked}");
        assert_eq!(counts.len(), 1);
        assert_eq!((subscribed["seq"].as_u64(), &subscribed["resumed"]), (Some(seq), &json!(false)));
    }
    let mut ann = socket(&server, "ann").await;
    subscribe(&mut ann, &table, json!({"last_rows": 4, "batch_size": 3})).await;
    assert_eq!(initial(&mut ann).await.1, [3, 1]);
    client.sql(format!("INSERT INTO {table} VALUES (7, 'a', 'x')")).await.ok();
    assert_eq!(ann.expect("change").await["keys"], json!([7]), "then changes");
    // Nothing to show is shown once.
    let mut bob = socket(&server, "bob").await;
    subscribe(&mut bob, &table, json!({"last_rows": 4})).await;
    let empty = bob.expect("initial_data").await;
    assert_eq!((&empty["rows"], &empty["keys"], &empty["has_more"]), (&json!([]), &json!([]), &json!(false)));
}

#[tokio::test]
async fn from_seq_tells_what_happened_since_as_it_happened() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES (1, 'a', 'x')")).await.ok();
    let since = value(&client, &format!("SELECT _seq FROM {table}")).await;
    client.sql(format!("UPDATE {table} SET body = 'y' WHERE id = 1")).await.ok();
    client.sql(format!("UPDATE {table} SET conv = 'b' WHERE id = 1")).await.ok();
    client.sql(format!("INSERT INTO {table} VALUES (2, 'a', 'x')")).await.ok();
    server.admin().sql(format!("FLUSH TABLE {table}")).await.ok();
    client.sql(format!("DELETE FROM {table}")).await.ok();
    let mut ann = socket(&server, "ann").await;
    let subscribed = subscribe(&mut ann, &table, json!({"from_seq": since})).await;
    assert_eq!(subscribed["resumed"], true);
    let mut told = Vec::new();
    for _ in 0..4 {
        let frame = ann.expect("change").await;
        told.push((frame["change_type"].clone(), frame["keys"].clone(), frame["old_values"].clone()));
    }
    let expected = [
        (json!("UPDATE"), json!([1]), json!([{"id": 1}])),
        (json!("DELETE"), json!([1]), json!(null)),
        (json!("INSERT"), json!([2]), json!(null)),
        (json!("DELETE"), json!([2]), json!(null)),
    ];
    assert_eq!(told, expected);
    client.sql(format!("INSERT INTO {table} VALUES (3, 'a', 'x')")).await.ok();
    assert_eq!(ann.expect("change").await["keys"], json!([3]), "then what happens");
}

#[tokio::test]
async fn a_number_that_the_log_does_not_reach_is_too_old() {
    let settings = [("storage.backend", "memory"), ("live.resume_bytes", "20000")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES (0, 'a', 'x')")).await.ok();
    let old = value(&client, &format!("SELECT _seq FROM {table}")).await;
    let rows = |from: u64| (from..from + 50).map(|id| format!("({id}, 'a', '{}')", "x".repeat(500)));
    // The log is trimmed some time after it has grown; where that is while a probe is being told what it
    // missed, its connection closes, so each has its own.
    let mut next = 1;
    kalamdb_tests::eventually("the log is trimmed", super::PATIENCE, async || {
        let rows: Vec<String> = rows(next).collect();
        client.sql(format!("INSERT INTO {table} VALUES {}", rows.join(", "))).await.ok();
        next += 50;
        let sql = format!("SELECT id FROM {table} WHERE id < 0");
        let asked = json!({"query_id": "probe", "sql": sql, "options": {"from_seq": old}});
        let mut probe = socket(&server, "ann").await;
        probe.subscribe_with(asked).await;
        let frame = probe.frame().await;
        if frame["type"] == "subscribed" {
            return None;
        }
        assert_eq!((&frame["query_id"], &frame["code"]), (&json!("probe"), &json!("RESUME_TOO_OLD")), "{frame}");
        Some(())
    })
    .await;
    let mut ann = socket(&server, "ann").await;
    // With rows asked for as well it begins anew.
    let subscribed = subscribe(&mut ann, &table, json!({"from_seq": old, "last_rows": 2})).await;
    assert_eq!(subscribed["resumed"], false);
    assert_eq!(initial(&mut ann).await.0.len(), 2);
    // And a number of the future is none of this partition's.
    let future = json!({"query_id": "future", "sql": format!("SELECT id FROM {table}"),
        "options": {"from_seq": 9_007_199_254_740_991_u64}});
    ann.subscribe_with(future).await;
    ann.fails("RESUME_TOO_OLD").await;
}

#[tokio::test]
async fn progress_is_told_when_nothing_matches() {
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "3s")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    let mut ann = socket(&server, "ann").await;
    let subscribed = subscribe(&mut ann, &table, json!({})).await;
    client.sql(format!("INSERT INTO {table} VALUES (1, 'b', 'x')")).await.ok();
    let newest = value(&client, &format!("SELECT max(_seq) FROM {table}")).await;
    let frame = ann.frame().await;
    assert_eq!((&frame["type"], &frame["seq"], &frame["query_id"]), (&json!("progress"), &newest, &json!("m")));
    assert!(newest.as_u64() > subscribed["seq"].as_u64());
    // It is a number to resume from, once.
    client.sql(format!("INSERT INTO {table} VALUES (2, 'a', 'x')")).await.ok();
    assert_eq!(ann.expect("change").await["keys"], json!([2]));
    let mut later = socket(&server, "ann").await;
    let resumed = subscribe(&mut later, &table, json!({"from_seq": newest})).await;
    assert_eq!(resumed["resumed"], true);
    assert_eq!(later.expect("change").await["keys"], json!([2]));
}

#[tokio::test]
async fn between_snapshot_and_changes_nothing_is_missed_and_nothing_twice() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    let writer = async {
        for id in 0..300_u64 {
            client.sql(format!("INSERT INTO {table} VALUES ({id}, 'a', 'x')")).await.ok();
        }
    };
    let readers = (0..8).map(|_| {
        let (server, table) = (&server, &table);
        async move {
            let mut ann = socket(server, "ann").await;
            subscribe(&mut ann, table, json!({"last_rows": 10_000, "batch_size": 7})).await;
            let mut ids: Vec<u64> = initial(&mut ann).await.0.iter().filter_map(|row| row["id"].as_u64()).collect();
            while ids.last() != Some(&299) {
                let frame = ann.expect("change").await;
                ids.extend(frame["keys"].as_array().expect("keys").iter().filter_map(Value::as_u64));
            }
            assert_eq!(ids, (0..300).collect::<Vec<u64>>());
        }
    });
    futures::join!(writer, futures::future::join_all(readers));
}
