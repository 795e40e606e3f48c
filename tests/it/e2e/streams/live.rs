//! Live queries of stream tables: rows come, and nobody is told when they go.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use kalamdb_tests::{LiveSocket, Role, TestServer, token};

use super::{PATIENCE, ids, until, with_events};

fn table(server: &TestServer) -> String {
    format!("{}.events", server.namespace())
}

async fn socket(server: &TestServer) -> LiveSocket {
    LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await
}

#[tokio::test]
async fn live_queries_follow_them_and_expiry_is_no_change() {
    let server = with_events("ttl = '4s'").await;
    let mut ann = socket(&server).await;
    let sql = format!("SELECT id, kind FROM {} WHERE kind = 'typing'", table(&server));
    ann.subscribe_with(json!({"query_id": "m", "sql": sql})).await;
    let start = ann.expect("subscribed").await["seq"].clone();
    let client = server.user("ann");
    server.user("bob").sql("INSERT INTO events (id) VALUES (5)").await.ok();
    client.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    client.sql("INSERT INTO events VALUES (2, 'other')").await.ok();
    let change = ann.expect("change").await;
    assert_eq!((&change["change_type"], &change["rows"]), (&json!("INSERT"), &json!([{"id": 1, "kind": "typing"}])));
    until("the rows go", async || ids(&client).await.is_empty()).await;
    client.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    let again = ann.expect("change").await;
    assert_eq!((&again["change_type"], &again["keys"]), (&json!("INSERT"), &json!([1])));
    // What has expired is not told to who comes late; in time a bookmark is good.
    let bookmark = again["seq"].clone();
    ann.subscribe_with(json!({"query_id": "late", "sql": sql, "options": {"last_rows": 9}})).await;
    ann.expect("subscribed").await;
    assert!(ann.expect("initial_data").await["rows"].as_array().expect("rows").len() <= 1);
    until("the log is cut", async || {
        let mut other = socket(&server).await;
        other.subscribe_with(json!({"query_id": "old", "sql": sql, "options": {"from_seq": start}})).await;
        other.frame().await["code"] == "RESUME_TOO_OLD"
    })
    .await;
    assert!(bookmark.as_u64() > start.as_u64());
}

#[tokio::test]
async fn rows_that_make_room_are_no_change() {
    let server = with_events("ttl = '1h', max_rows = '2'").await;
    let mut ann = socket(&server).await;
    ann.subscribe("m", &format!("SELECT id FROM {}", table(&server))).await;
    ann.expect("subscribed").await;
    let client = server.user("ann");
    for id in 1..=5 {
        client.sql(format!("INSERT INTO events (id) VALUES ({id})")).await.ok();
        let frame = ann.expect("change").await;
        assert_eq!((&frame["change_type"], &frame["keys"]), (&json!("INSERT"), &json!([id])), "{frame}");
    }
    client.sql("INSERT INTO events (id) VALUES (6), (7), (8)").await.ok();
    let frame = ann.expect("change").await;
    assert_eq!(frame["keys"], json!([6, 7, 8]), "also those that did not stay: {frame}");
    ann.round().await;
    assert_eq!(ids(&client).await, [json!(7), json!(8)]);
    // And who begins has what there is.
    ann.subscribe_with(json!({"query_id": "n", "sql": format!("SELECT id FROM {}", table(&server)),
        "options": {"last_rows": 9}}))
        .await;
    ann.expect("subscribed").await;
    assert_eq!(ann.expect("initial_data").await["keys"], json!([7, 8]));
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("not for ever")
}

/// What may not be seen any more is not in a snapshot, whether it was taken out or not; what may be is.
#[tokio::test]
async fn a_snapshot_has_what_is_young_enough_and_nothing_else() {
    const TTL: i64 = 300_000;
    let server = with_events("ttl = '300ms'").await;
    let mut ann = socket(&server).await;
    let sql = format!("SELECT id, CAST(_updated AS BIGINT) AS at FROM {}", table(&server));
    let client = server.user("ann");
    let (mut known, mut gone): (BTreeMap<i64, i64>, usize) = (BTreeMap::new(), 0);
    let began = std::time::Instant::now();
    let mut next = 0_i64;
    while gone < 3 {
        assert!(began.elapsed() < PATIENCE, "nothing ever goes: {known:?}");
        client.sql(format!("INSERT INTO events (id) VALUES ({next})")).await.ok();
        next += 1;
        let asked = now_micros();
        ann.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"last_rows": 1_000_000}})).await;
        ann.expect("subscribed").await;
        let frame = ann.expect("initial_data").await;
        let told = now_micros();
        let number = |row: &Value, name: &str| row[name].as_i64().unwrap_or_else(|| panic!("no {name}: {frame}"));
        let rows = frame["rows"].as_array().expect("rows");
        let shown: BTreeMap<i64, i64> = rows.iter().map(|row| (number(row, "id"), number(row, "at"))).collect();
        for (id, at) in &shown {
            assert!(at + TTL >= asked, "{id} of {at} was too old at {asked}: {frame}");
        }
        for (id, at) in &known {
            assert!(at + TTL <= told || shown.contains_key(id), "{id} of {at} is missing at {told}: {frame}");
        }
        gone = usize::try_from(next).expect("few") - shown.len();
        known.extend(shown);
        ann.send(&json!({"type": "unsubscribe", "query_id": "m"})).await;
        ann.expect("unsubscribed").await;
    }
}

/// The log still has them, since nothing was written since: that they are too old is seen when they are told.
#[tokio::test]
async fn who_resumes_is_not_told_of_rows_that_are_too_old_by_now() {
    let server = with_events("ttl = '1h'").await;
    let mut ann = socket(&server).await;
    let sql = format!("SELECT id FROM {}", table(&server));
    ann.subscribe("m", &sql).await;
    let start = ann.expect("subscribed").await["seq"].clone();
    let client = server.user("ann");
    for id in 1..=3 {
        client.sql(format!("INSERT INTO events (id) VALUES ({id})")).await.ok();
        ann.expect("change").await;
    }
    server.admin().sql("ALTER TABLE events SET (ttl = '1ms')").await.ok();
    until("the rows are too old", async || ids(&client).await.is_empty()).await;
    ann.subscribe_with(json!({"query_id": "late", "sql": sql, "options": {"from_seq": start}})).await;
    assert_eq!(ann.expect("subscribed").await["resumed"], true);
    ann.round().await;
    server.admin().sql("ALTER TABLE events SET (ttl = '1h')").await.ok();
    let mut again = socket(&server).await;
    again.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"from_seq": start}})).await;
    assert_eq!(again.expect("subscribed").await["resumed"], true);
    for id in 1..=3 {
        assert_eq!(again.expect("change").await["keys"], json!([id]), "they were not gone");
    }
    // Those who follow were told of neither.
    client.sql("INSERT INTO events (id) VALUES (4)").await.ok();
    for _ in 0..2 {
        assert_eq!(ann.expect("change").await["keys"], json!([4]));
    }
}

#[tokio::test]
async fn dropping_one_ends_its_subscriptions() {
    let server = with_events("ttl = '1h'").await;
    let mut ann = socket(&server).await;
    ann.subscribe("m", &format!("SELECT id FROM {}", table(&server))).await;
    ann.expect("subscribed").await;
    server.user("ann").sql("INSERT INTO events (id) VALUES (1)").await.ok();
    let seq = ann.expect("change").await["seq"].clone();
    server.admin().sql("DROP STREAM TABLE events").await.ok();
    let closed = ann.expect("closed").await;
    let expected = json!({"type": "closed", "query_id": "m", "reason": "table_dropped", "resume_seq": seq});
    assert_eq!(closed, expected);
    server.admin().sql("CREATE STREAM TABLE events (id BIGINT PRIMARY KEY) WITH (ttl = '1h')").await.ok();
    let sql = format!("SELECT id FROM {}", table(&server));
    ann.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"from_seq": seq}})).await;
    ann.fails("RESUME_TOO_OLD").await;
}
