//! How a subscription begins: with rows, with the past, or with what comes.

use kalamdb_commons::settings::Durability;
use kalamdb_faults::Machine;
use serde_json::{Value as Json, json};

use super::super::server::Server;
use super::client::Client;

const SQL: &str = "SELECT id, n FROM t WHERE n > 0";

async fn server() -> Server {
    let server = Server::start(&Machine::new(2), Durability::Sync).await;
    server.run("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)", vec![]).await.expect("a table");
    server
}

async fn insert(server: &Server, id: i64, n: i64) {
    server.run("ann", "INSERT INTO t VALUES ($1, $2)", vec![json!(id), json!(n)]).await.expect("a row");
}

fn ids(frame: &Json) -> Vec<i64> {
    frame["rows"].as_array().expect("rows").iter().map(|row| row["id"].as_i64().expect("id")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_changed_last_come_first_and_oldest_first() {
    let server = server().await;
    for id in 0..6 {
        insert(&server, id, if id == 4 { 0 } else { 1 }).await;
    }
    server.run("ann", "FLUSH TABLE t", vec![]).await.expect("a flush");
    server.run("ann", "UPDATE t SET n = 2 WHERE id = 1", vec![]).await.expect("a row");
    insert(&server, 6, 1).await;
    server.run("ann", "DELETE FROM t WHERE id = 5", vec![]).await.expect("a row");
    let mut client = Client::new(&server, "ann");
    let options = json!({"last_rows": 4, "batch_size": 3});
    let subscribed = client.subscribed(json!({"query_id": "m", "sql": SQL, "options": options})).await;
    let first = client.expect("initial_data").await;
    let second = client.expect("initial_data").await;
    assert_eq!((ids(&first), &first["has_more"]), (vec![2, 3, 1], &json!(true)));
    assert_eq!((ids(&second), &second["has_more"]), (vec![6], &json!(false)));
    assert_eq!((&first["keys"], &second["keys"]), (&json!([2, 3, 1]), &json!([6])));
    assert_eq!(first["seq"], subscribed["seq"]);
    client.expect_silence().await;
    insert(&server, 7, 1).await;
    assert_eq!(ids(&client.expect("change").await), [7]);
    // Nothing there: one empty frame.
    let options = json!({"last_rows": 10});
    client.subscribed(json!({"query_id": "none", "sql": "SELECT id FROM t WHERE n > 99", "options": options})).await;
    let empty = client.expect("initial_data").await;
    assert_eq!((ids(&empty), &empty["has_more"]), (vec![], &json!(false)));
    let all = json!({"query_id": "all", "sql": SQL, "options": {"last_rows": u64::MAX}});
    client.subscribed(all).await;
    assert_eq!(ids(&client.expect("initial_data").await).len(), 6, "however many are asked for");
    client.subscribed(json!({"query_id": "zero", "sql": SQL, "options": {"last_rows": 0}})).await;
    assert_eq!(ids(&client.expect("initial_data").await), Vec::<i64>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_told_as_it_happened() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    let start = client.subscribed(json!({"query_id": "m", "sql": SQL})).await["seq"].clone();
    drop(client);
    insert(&server, 1, 1).await;
    server.run("ann", "UPDATE t SET n = 2 WHERE id = 1", vec![]).await.expect("a row");
    server.run("ann", "FLUSH TABLE t", vec![]).await.expect("a flush");
    server.run("ann", "UPDATE t SET n = 0 WHERE id = 1", vec![]).await.expect("a row");
    server.run("ann", "UPDATE t SET n = 0 - 1 WHERE id = 1", vec![]).await.expect("a row");
    insert(&server, 2, 5).await;
    let mut client = Client::new(&server, "ann");
    let again = json!({"query_id": "m", "sql": SQL, "options": {"from_seq": start}});
    let subscribed = client.subscribed(again).await;
    assert_eq!((&subscribed["resumed"], &subscribed["seq"]), (&json!(true), &start));
    let told = [client.next().await, client.next().await, client.next().await, client.next().await];
    let shown: Vec<_> = told.iter().map(|frame| (frame["change_type"].clone(), frame["rows"].clone())).collect();
    assert_eq!(
        shown,
        [
            (json!("INSERT"), json!([{"id": 1, "n": 1}])),
            (json!("UPDATE"), json!([{"id": 1, "n": 2}])),
            (json!("DELETE"), json!([{"id": 1, "n": 2}])),
            (json!("INSERT"), json!([{"id": 2, "n": 5}])),
        ]
    );
    client.expect_silence().await;
    // From each bookmark on: what comes after it, and nothing before.
    for (at, frame) in told.iter().enumerate() {
        let name = format!("from {at}");
        client.subscribed(json!({"query_id": name, "sql": SQL, "options": {"from_seq": frame["seq"]}})).await;
        for expected in &told[at + 1..] {
            assert_eq!(client.next().await["seq"], expected["seq"], "from {at}");
        }
        client.expect_silence().await;
    }
    assert_eq!(server.engine.live_overview().replays, 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_the_log_does_not_cover_is_refused() {
    let server = server().await;
    insert(&server, 1, 1).await;
    let mut client = Client::new(&server, "ann");
    let now = client.subscribed(json!({"query_id": "now", "sql": SQL})).await["seq"].as_u64().expect("seq");
    server.run("ann", "CREATE USER TABLE u (id BIGINT PRIMARY KEY, n BIGINT)", vec![]).await.expect("a table");
    // Of another table's past; of a future; of a table that was made anew.
    let other = json!({"query_id": "m", "sql": "SELECT id FROM u", "options": {"from_seq": now}});
    assert_eq!(client.refused(other).await.0, "RESUME_TOO_OLD");
    let future = json!({"query_id": "m", "sql": SQL, "options": {"from_seq": now + 1_000_000}});
    assert_eq!(client.refused(future.clone()).await.0, "RESUME_TOO_OLD");
    server.run("ann", "DROP TABLE t", vec![]).await.expect("dropped");
    assert_eq!(client.expect("closed").await["reason"], "table_dropped");
    server.run("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)", vec![]).await.expect("a table");
    let before = json!({"query_id": "m", "sql": SQL, "options": {"from_seq": now}});
    assert_eq!(client.refused(before).await.0, "RESUME_TOO_OLD");
    insert(&server, 9, 1).await;
    // With rows to fall back to it begins with them.
    let options = json!({"from_seq": now, "last_rows": 5});
    let subscribed = client.subscribed(json!({"query_id": "m", "sql": SQL, "options": options})).await;
    assert_eq!(subscribed["resumed"], false);
    assert_eq!(ids(&client.expect("initial_data").await), [9]);
    // A bookmark of a partition without a single change is good.
    let mut bob = Client::new(&server, "bob");
    let seq = bob.subscribed(json!({"query_id": "m", "sql": SQL})).await["seq"].clone();
    let options = json!({"from_seq": seq});
    assert_eq!(bob.subscribed(json!({"query_id": "n", "sql": SQL, "options": options})).await["resumed"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resuming_in_the_middle_of_a_statement_begins_it_anew() {
    let server = Server::start_with(&Machine::new(3), Durability::Sync, |settings, _| {
        settings.live.max_frame_bytes = 30;
    })
    .await;
    server.run("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)", vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    server.run("ann", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)", vec![]).await.expect("rows");
    let frames = [client.next().await, client.next().await, client.next().await, client.next().await];
    let more: Vec<bool> = frames.iter().map(|frame| frame.get("more").is_some()).collect();
    assert_eq!(more, [true, true, true, false]);
    for frame in &frames[..3] {
        let name = format!("from {}", frame["seq"]);
        client.subscribed(json!({"query_id": name, "sql": SQL, "options": {"from_seq": frame["seq"]}})).await;
        for again in &frames {
            let told = client.next().await;
            assert_eq!((&told["rows"], &told["seq"]), (&again["rows"], &again["seq"]));
        }
    }
    client.subscribed(json!({"query_id": "after", "sql": SQL, "options": {"from_seq": frames[3]["seq"]}})).await;
    client.expect_silence().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_changes_go_and_the_log_says_so() {
    let server = Server::start_with(&Machine::new(4), Durability::Sync, |settings, _| {
        settings.live.resume_bytes = 2000;
    })
    .await;
    server.run("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)", vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    let start = client.subscribed(json!({"query_id": "m", "sql": SQL})).await["seq"].clone();
    let mut last = Json::Null;
    for id in 0..200 {
        insert(&server, id, 1).await;
        last = client.expect("change").await["seq"].clone();
    }
    // The housekeeper comes round by itself.
    let deadline = std::time::Instant::now() + super::super::server::LONG;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    loop {
        ticks.tick().await;
        let mut other = Client::new(&server, "ann");
        other.subscribe(json!({"query_id": "old", "sql": SQL, "options": {"from_seq": start}})).await;
        let frame = other.next().await;
        if frame["code"] == "RESUME_TOO_OLD" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "never trimmed: {frame}");
    }
    client.subscribed(json!({"query_id": "new", "sql": SQL, "options": {"from_seq": last}})).await;
    // Who follows goes on.
    insert(&server, 1000, 1).await;
    let told = [client.next().await, client.next().await];
    assert_eq!(told.each_ref().map(ids), [vec![1000], vec![1000]]);
    server.stop().await;
}
