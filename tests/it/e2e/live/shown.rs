//! Live queries as operators see them.

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

use super::{socket, with_messages};

const COLUMNS: [(&str, &str); 12] = [
    ("live_id", "TEXT"),
    ("connection_id", "TEXT"),
    ("query_id", "TEXT"),
    ("user_id", "TEXT"),
    ("namespace_id", "TEXT"),
    ("table_name", "TEXT"),
    ("query", "TEXT"),
    ("options", "JSON"),
    ("changes", "BIGINT"),
    ("created_at", "TIMESTAMP"),
    ("last_update_at", "TIMESTAMP"),
    ("node", "TEXT"),
];

/// The only live query, as a row with exactly the columns that there are.
async fn row(server: &TestServer) -> Value {
    let shown = server.service().sql("SELECT * FROM system.live_queries").await.success();
    assert_eq!(shown.columns(), COLUMNS.map(|(name, kind)| format!("{name} {kind}")));
    let [row] = shown.rows() else { panic!("one row: {}", shown.text) };
    row.clone()
}

#[tokio::test]
async fn a_live_query_is_a_row_with_these_columns() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    let sql = format!("SELECT id FROM {table} WHERE conv = $1");
    let options = json!({"last_rows": 5, "batch_size": 2});
    ann.subscribe_with(json!({"query_id": "m", "sql": sql, "params": ["a"], "options": options})).await;
    let id = ann.expect("subscribed").await["subscription_id"].as_str().expect("an id").to_owned();
    ann.expect("initial_data").await;
    let before = row(&server).await;
    let connection = id.strip_suffix("-m").expect("the connection and the name");
    for (column, expected) in [
        ("live_id", json!(id)),
        ("connection_id", json!(connection)),
        ("query_id", json!("m")),
        ("user_id", json!("ann")),
        ("namespace_id", json!(server.namespace())),
        ("table_name", json!("messages")),
        ("query", json!(sql)),
        ("options", options),
        ("changes", json!(0)),
        ("last_update_at", Value::Null),
    ] {
        assert_eq!(before[column], expected, "{column}: {before}");
    }
    assert!(before["created_at"].is_string() && before["node"].is_string(), "{before}");
    let client = server.user("ann");
    for id in 1..=2 {
        client.sql(format!("INSERT INTO {table} VALUES ({id}, 'a', 'x')")).await.ok();
        ann.expect("change").await;
    }
    // It is counted once it is put where it waits to be written, and so may be read a moment before.
    let after = kalamdb_tests::eventually("both are counted", super::PATIENCE, async || {
        let after = row(&server).await;
        (after["changes"] == 2 && after["last_update_at"].is_string()).then_some(after)
    })
    .await;
    for (column, _) in COLUMNS.into_iter().filter(|(column, _)| !["changes", "last_update_at"].contains(column)) {
        assert_eq!(after[column], before[column], "{column}");
    }
}

#[tokio::test]
async fn the_overview_has_these_numbers() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {table}");
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("m", &sql).await;
    let seq = ann.expect("subscribed").await["seq"].clone();
    server.user("ann").sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    ann.expect("change").await;
    ann.subscribe_with(json!({"query_id": "again", "sql": sql, "options": {"from_seq": seq}})).await;
    ann.expect("subscribed").await;
    ann.expect("change").await;
    let expected = json!({"connections": 1, "subscriptions": 2, "delivered": 1, "replays": 1, "slow_consumers": 0});
    kalamdb_tests::eventually("all of it is counted, and nothing else", super::PATIENCE, async || {
        (server.service().get("/api/actors/live").await.body == expected).then_some(())
    })
    .await;
    for user in [server.user("ann"), server.anonymous()] {
        let status = user.get("/api/actors/live").await.status;
        assert!([401, 403].contains(&status), "{status}");
    }
}
