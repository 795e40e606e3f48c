//! Subscriptions that end without being asked to: schema changes, drops, KILL, filters that fail.

use serde_json::{Value, json};

use kalamdb_tests::{LiveSocket, TestServer};

use super::{PATIENCE, socket, with_messages};

async fn subscribed(server: &TestServer, user: &str, sql: &str) -> (LiveSocket, String) {
    let mut live = socket(server, user).await;
    live.subscribe("m", sql).await;
    let frame = live.expect("subscribed").await;
    (live, frame["subscription_id"].as_str().expect("an id").to_owned())
}

async fn ends(live: &mut LiveSocket, reason: &str) -> Value {
    let frame = live.expect("closed").await;
    assert_eq!((&frame["query_id"], &frame["reason"]), (&json!("m"), &json!(reason)), "{frame}");
    live.round().await;
    frame
}

#[tokio::test]
async fn a_schema_change_ends_it_and_it_may_begin_again() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT * FROM {table}");
    let (mut live, _) = subscribed(&server, "ann", &sql).await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES (1, 'a', 'x')")).await.ok();
    let seq = live.expect("change").await["seq"].clone();
    server.admin().sql(format!("ALTER TABLE {table} ADD COLUMN colour TEXT DEFAULT 'red'")).await.ok();
    let closed = ends(&mut live, "schema_changed").await;
    assert_eq!(closed["resume_seq"], seq, "{closed}");
    client.sql(format!("INSERT INTO {table} VALUES (2, 'a', 'x', 'blue')")).await.ok();
    live.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"from_seq": seq}})).await;
    live.expect("subscribed").await;
    assert_eq!(live.expect("change").await["rows"][0]["colour"], "blue");
}

#[tokio::test]
async fn options_of_a_table_are_no_schema_change_for_its_rows() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let (mut live, _) = subscribed(&server, "ann", &format!("SELECT id FROM {table}")).await;
    server.admin().sql(format!("ALTER TABLE {table} SET (flush_interval = '1h')")).await.ok();
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    assert_eq!(live.expect("change").await["keys"], json!([1]));
}

#[tokio::test]
async fn columns_that_a_query_does_not_name_come_and_go() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let (mut live, _) = subscribed(&server, "ann", &format!("SELECT id, body FROM {table} WHERE id > 0")).await;
    let client = server.user("ann");
    let changes = ["ADD COLUMN colour TEXT DEFAULT 'red'", "RENAME COLUMN colour TO hue", "DROP COLUMN conv"];
    for (change, id) in changes.into_iter().zip(1..) {
        server.admin().sql(format!("ALTER TABLE {table} {change}")).await.ok();
        client.sql(format!("INSERT INTO {table} (id, body) VALUES ({id}, 'x')")).await.ok();
        assert_eq!(live.expect("change").await["rows"], json!([{"id": id, "body": "x"}]), "{change}");
    }
    server.admin().sql(format!("ALTER TABLE {table} RENAME COLUMN body TO content")).await.ok();
    ends(&mut live, "schema_changed").await;
}

#[tokio::test]
async fn dropping_the_table_or_its_namespace_ends_it() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let (mut live, _) = subscribed(&server, "ann", &format!("SELECT id FROM {table}")).await;
    server.admin().sql(format!("DROP TABLE {table}")).await.ok();
    ends(&mut live, "table_dropped").await;
    live.subscribe("m", &format!("SELECT id FROM {table}")).await;
    live.fails("TABLE_NOT_FOUND").await;
    // Made anew it is another table: numbers of the old one are no bookmarks of it.
    with_messages(&server).await;
    live.subscribe("m", &format!("SELECT id FROM {table}")).await;
    live.expect("subscribed").await;
    server.admin().sql(format!("DROP NAMESPACE {} CASCADE", server.namespace())).await.ok();
    ends(&mut live, "table_dropped").await;
}

#[tokio::test]
async fn drop_and_create_between_two_connections_is_too_old() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    let (mut live, _) = subscribed(&server, "ann", &format!("SELECT id FROM {table}")).await;
    client.sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    let seq = live.expect("change").await["seq"].clone();
    drop(live);
    server.admin().sql(format!("DROP TABLE {table}")).await.ok();
    with_messages(&server).await;
    client.sql(format!("INSERT INTO {table} (id) VALUES (2)")).await.ok();
    let mut live = socket(&server, "ann").await;
    let sql = format!("SELECT id FROM {table}");
    live.subscribe_with(json!({"query_id": "m", "sql": sql, "options": {"from_seq": seq}})).await;
    live.fails("RESUME_TOO_OLD").await;
}

#[tokio::test]
async fn kill_ends_one_and_no_other() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {table}");
    let (mut ann, ann_id) = subscribed(&server, "ann", &sql).await;
    let (mut bob, bob_id) = subscribed(&server, "bob", &sql).await;
    let shown =
        server.service().sql("SELECT live_id, user_id, query_id, query FROM system.live_queries").await.success();
    let row = shown.rows().iter().find(|row| row["live_id"] == json!(ann_id)).cloned().unwrap_or_default();
    assert_eq!(
        (&row["user_id"], &row["query_id"], &row["query"]),
        (&json!("ann"), &json!("m"), &json!(sql)),
        "{}",
        shown.text
    );
    server.user("bob").sql(format!("KILL LIVE QUERY '{ann_id}'")).await.fails(403, "FORBIDDEN");
    server.service().sql(format!("KILL LIVE QUERY '{ann_id}'")).await.fails(403, "FORBIDDEN");
    server.admin().sql("KILL LIVE QUERY 'nothing'").await.fails(404, "LIVE_QUERY_NOT_FOUND");
    server.user("ann").sql(format!("KILL LIVE QUERY '{ann_id}'")).await.ok();
    ends(&mut ann, "killed").await;
    server.user("ann").sql(format!("KILL LIVE QUERY '{ann_id}'")).await.fails(404, "LIVE_QUERY_NOT_FOUND");
    server.user("bob").sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    assert_eq!(bob.expect("change").await["keys"], json!([1]));
    server.admin().sql(format!("KILL LIVE QUERY '{bob_id}'")).await.ok();
    ends(&mut bob, "killed").await;
    // The name is free again.
    bob.subscribe("m", &sql).await;
    bob.expect("subscribed").await;
}

#[tokio::test]
async fn a_filter_that_fails_on_a_row_ends_itself_alone() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let (mut live, _) = subscribed(&server, "ann", &format!("SELECT id FROM {table} WHERE 10 / id > 1")).await;
    live.subscribe("other", &format!("SELECT id FROM {table}")).await;
    live.expect("subscribed").await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} (id) VALUES (0)")).await.ok();
    let (mut failed, mut changed) = (Vec::new(), false);
    while failed.len() < 2 || !changed {
        let frame = live.frame().await;
        if frame["query_id"] == "other" {
            assert_eq!(frame["keys"], json!([0]), "{frame}");
            changed = true;
        } else {
            failed.push(frame);
        }
    }
    assert_eq!((&failed[0]["type"], &failed[0]["code"]), (&json!("error"), &json!("EVALUATION_ERROR")), "{failed:?}");
    assert_eq!((&failed[1]["type"], &failed[1]["reason"]), (&json!("closed"), &json!("error")), "{failed:?}");
    client.sql(format!("INSERT INTO {table} (id) VALUES (5)")).await.ok();
    assert_eq!(live.expect("change").await["query_id"], "other");
}

#[tokio::test]
async fn what_has_ended_leaves_nothing_behind() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    for round in 0..50 {
        let (mut live, _) = subscribed(&server, "ann", &format!("SELECT id FROM {table}")).await;
        if round % 2 == 0 {
            live.send_close().await;
        }
    }
    let overview = async || {
        let answer = server.service().get("/api/actors/live").await.body;
        (answer["connections"] == 0 && answer["subscriptions"] == 0).then_some(())
    };
    kalamdb_tests::eventually("all are gone", PATIENCE, overview).await;
    let left = server.service().sql("SELECT count(*) FROM system.live_queries").await.success().number();
    assert_eq!(left, 0);
}
