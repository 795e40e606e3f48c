//! Changes as they happen: what is told, to whom, in which order.

use kalamdb_commons::Role;
use kalamdb_commons::settings::Durability;
use kalamdb_faults::Machine;
use serde_json::{Value as Json, json};

use super::super::server::Server;
use super::client::Client;

const MESSAGES: &str = "CREATE USER TABLE messages (id BIGINT PRIMARY KEY, conv TEXT, text TEXT)";

async fn server() -> Server {
    let server = Server::start(&Machine::new(1), Durability::Sync).await;
    server.run("ann", MESSAGES, vec![]).await.expect("a table");
    server
}

fn change(frame: &Json) -> (String, Json, Json) {
    let kind = frame["change_type"].as_str().unwrap_or_default().to_owned();
    (kind, frame["rows"].clone(), frame["keys"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_updates_and_deletes_are_told_in_order() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    let subscribed = client.subscribed(json!({"query_id": "m", "sql": "SELECT id, text FROM messages"})).await;
    let live_id = subscribed["subscription_id"].as_str().expect("an id").to_owned();
    assert_eq!(live_id, format!("{}-m", client.connection.id()));
    assert_eq!(subscribed["resumed"], false);
    assert_eq!(
        subscribed["columns"],
        json!([{"name": "id", "type": "BIGINT", "nullable": false}, {"name": "text", "type": "TEXT", "nullable": true}])
    );
    server.run("ann", "INSERT INTO messages VALUES (1, 'a', 'one'), (2, 'a', 'two')", vec![]).await.expect("rows");
    server.run("ann", "UPDATE messages SET text = 'deux' WHERE id = 2", vec![]).await.expect("a row");
    server.run("ann", "UPDATE messages SET conv = 'b' WHERE id = 1", vec![]).await.expect("a row");
    server.run("ann", "DELETE FROM messages WHERE id = 1", vec![]).await.expect("a row");

    let insert = client.expect("change").await;
    let both = json!([{"id": 1, "text": "one"}, {"id": 2, "text": "two"}]);
    assert_eq!(change(&insert), ("INSERT".to_owned(), both, json!([1, 2])));
    assert_eq!((&insert["subscription_id"], &insert["query_id"]), (&json!(live_id), &json!("m")));
    assert!(insert.get("more").is_none() && insert.get("old_values").is_none(), "{insert}");
    let update = client.expect("change").await;
    assert_eq!(change(&update), ("UPDATE".to_owned(), json!([{"id": 2, "text": "deux"}]), json!([2])));
    assert_eq!(update["old_values"], json!([{"id": 2, "text": "two"}]));
    // None of the query's columns is another: told all the same.
    let untouched = client.expect("change").await;
    assert_eq!(change(&untouched).1, json!([{"id": 1, "text": "one"}]));
    assert_eq!(untouched["old_values"], untouched["rows"]);
    let delete = client.expect("change").await;
    assert_eq!(change(&delete), ("DELETE".to_owned(), json!([{"id": 1, "text": "one"}]), json!([1])));
    let seqs: Vec<u64> = [&subscribed, &insert, &update, &untouched, &delete]
        .iter()
        .map(|frame| frame["seq"].as_u64().expect("seq"))
        .collect();
    assert!(seqs.is_sorted_by(|one, other| one < other), "{seqs:?}");
    client.expect_silence().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_enter_and_leave_a_result() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    let sql = "SELECT text FROM messages WHERE conv = $1 AND id < 10";
    client.subscribed(json!({"query_id": "m", "sql": sql, "params": ["a"]})).await;
    for statement in [
        "INSERT INTO messages VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, NULL, 'z'), (11, 'a', 'w')",
        "UPDATE messages SET conv = 'a' WHERE id = 2",
        "UPDATE messages SET conv = 'c', text = 'gone' WHERE id = 1",
        "UPDATE messages SET text = 'still out' WHERE id = 1",
        "DELETE FROM messages WHERE id = 3",
    ] {
        server.run("ann", statement, vec![]).await.expect(statement);
    }
    assert_eq!(change(&client.next().await), ("INSERT".to_owned(), json!([{"text": "x"}]), json!([1])));
    assert_eq!(change(&client.next().await), ("INSERT".to_owned(), json!([{"text": "y"}]), json!([2])));
    // As the client last had it.
    assert_eq!(change(&client.next().await), ("DELETE".to_owned(), json!([{"text": "x"}]), json!([1])));
    client.expect_silence().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_of_several_kinds_is_told_whole() {
    let server = server().await;
    server
        .run("ann", "INSERT INTO messages VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'b', 'z')", vec![])
        .await
        .expect("rows");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": "SELECT id FROM messages WHERE conv = 'a'"})).await;
    // 1 leaves, 2 stays under another key, 3 enters.
    let sql =
        "UPDATE messages SET id = CASE id WHEN 2 THEN 20 ELSE id END, conv = CASE id WHEN 1 THEN 'b' ELSE 'a' END";
    server.run("ann", sql, vec![]).await.expect("rows");
    let frames = [client.next().await, client.next().await, client.next().await];
    let told: Vec<_> = frames.iter().map(|frame| (change(frame), frame.get("more").cloned())).collect();
    let more = Some(json!(true));
    assert_eq!(
        told,
        [
            (("DELETE".to_owned(), json!([{"id": 1}]), json!([1])), more.clone()),
            (("UPDATE".to_owned(), json!([{"id": 20}]), json!([20])), more),
            (("INSERT".to_owned(), json!([{"id": 3}]), json!([3])), None),
        ]
    );
    assert_eq!((&frames[1]["old_keys"], &frames[1]["old_values"]), (&json!([2]), &json!([{"id": 2}])));
    let seqs: Vec<u64> = frames.iter().map(|frame| frame["seq"].as_u64().expect("seq")).collect();
    assert!(seqs.is_sorted_by(|one, other| one < other), "{seqs:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_parameters_are_kept_apart() {
    let server = server().await;
    let sql = "SELECT id, CURRENT_USER() AS who FROM messages WHERE conv = $1";
    let mut clients = Vec::new();
    for (user, conv) in [("ann", "a"), ("ann", "b"), ("bob", "a")] {
        let mut client = Client::new(&server, user);
        client.subscribed(json!({"query_id": "m", "sql": sql, "params": [conv]})).await;
        clients.push(client);
    }
    for (user, id, conv) in [("bob", 1, "a"), ("ann", 2, "b"), ("ann", 3, "a"), ("bob", 4, "b")] {
        let params = vec![json!(id), json!(conv)];
        server.run(user, "INSERT INTO messages VALUES ($1, $2, 'x')", params).await.expect("a row");
    }
    let mut told = Vec::new();
    for client in &mut clients {
        told.push(client.expect("change").await["rows"].clone());
        client.expect_silence().await;
    }
    assert_eq!(
        told,
        [json!([{"id": 3, "who": "ann"}]), json!([{"id": 2, "who": "ann"}]), json!([{"id": 1, "who": "bob"}])]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_without_key_and_with_several_columns_of_it() {
    let server = server().await;
    server.run("ann", "CREATE USER TABLE notes (text TEXT)", vec![]).await.expect("a table");
    server
        .run("ann", "CREATE USER TABLE pairs (a TEXT, n BIGINT, b INT, PRIMARY KEY (b, a))", vec![])
        .await
        .expect("a table");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "n", "sql": "SELECT text, _seq FROM notes"})).await;
    client.subscribed(json!({"query_id": "p", "sql": "SELECT * FROM pairs"})).await;
    server.run("ann", "INSERT INTO notes VALUES ('x'), ('y')", vec![]).await.expect("rows");
    let inserted = client.next().await;
    let keys = inserted["keys"].as_array().expect("keys").clone();
    let seqs: Vec<Json> = inserted["rows"].as_array().expect("rows").iter().map(|row| row["_seq"].clone()).collect();
    assert_eq!(keys, seqs, "a row's own number is the one it was made with");
    server.run("ann", "UPDATE notes SET text = 'z' WHERE text = 'x'", vec![]).await.expect("a row");
    assert_eq!(client.next().await["keys"], json!([keys[0]]));
    server.run("ann", "INSERT INTO pairs VALUES ('k', 5, 7)", vec![]).await.expect("a row");
    let pair = client.next().await;
    assert_eq!((&pair["rows"], &pair["keys"]), (&json!([{"a": "k", "n": 5, "b": 7}]), &json!([[7, "k"]])));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_not_told_and_flushed_rows_change_like_others() {
    let server = server().await;
    server.run("ann", "INSERT INTO messages VALUES (1, 'a', 'x'), (2, 'a', 'y')", vec![]).await.expect("rows");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": "SELECT id, text FROM messages"})).await;
    server.run("ann", "FLUSH TABLE messages", vec![]).await.expect("a flush");
    client.expect_silence().await;
    server.run("ann", "UPDATE messages SET text = 'z' WHERE id = 1", vec![]).await.expect("a row");
    let update = client.next().await;
    assert_eq!(update["old_values"], json!([{"id": 1, "text": "x"}]), "{update}");
    server.run("ann", "DELETE FROM messages WHERE id = 2", vec![]).await.expect("a row");
    assert_eq!(change(&client.next().await), ("DELETE".to_owned(), json!([{"id": 2, "text": "y"}]), json!([2])));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_users_partition_by_the_qualifier() {
    let server = server().await;
    let sql = "SELECT id FROM default.user.messages";
    let mut service = Client::with_role(&server, "app", Role::Service);
    let (code, _) = service.refused(json!({"query_id": "m", "sql": sql})).await;
    assert_eq!(code, "USER_ID_REQUIRED");
    service.subscribed(json!({"query_id": "m", "sql": sql, "user_id": "bob"})).await;
    server.run("ann", "INSERT INTO messages VALUES (1, 'a', 'x')", vec![]).await.expect("a row");
    server.run("bob", "INSERT INTO messages VALUES (2, 'a', 'x')", vec![]).await.expect("a row");
    assert_eq!(change(&service.next().await).1, json!([{"id": 2}]));
    service.expect_silence().await;
    let mut ann = Client::new(&server, "ann");
    let (code, _) = ann.refused(json!({"query_id": "m", "sql": sql, "user_id": "bob"})).await;
    assert_eq!(code, "FORBIDDEN");
    ann.subscribed(json!({"query_id": "m", "sql": sql, "user_id": "ann"})).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused() {
    let server = server().await;
    server.run("ann", "CREATE SHARED TABLE everybody (id BIGINT PRIMARY KEY)", vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    let cases = [
        ("SELECT id FROM everybody", vec![], "SHARED_TABLE_SUBSCRIPTION"),
        ("SELECT id FROM nothing", vec![], "TABLE_NOT_FOUND"),
        ("SELECT id FROM nowhere.messages", vec![], "NAMESPACE_NOT_FOUND"),
        ("SELECT nothing FROM messages", vec![], "COLUMN_NOT_FOUND"),
        ("SELECT id FROM messages WHERE conv = $1", vec![], "PARAM_COUNT_MISMATCH"),
        ("SELECT id FROM messages WHERE id = $1", vec![json!("x")], "PARAM_TYPE_MISMATCH"),
        ("SELECT m.id FROM messages m JOIN messages n ON m.id = n.id", vec![], "UNSUPPORTED"),
        ("SELECT m.id FROM messages m, messages n", vec![], "UNSUPPORTED"),
        ("SELECT count(*) FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT conv FROM messages GROUP BY conv", vec![], "UNSUPPORTED"),
        ("SELECT DISTINCT conv FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT id FROM messages ORDER BY id", vec![], "UNSUPPORTED"),
        ("SELECT id FROM messages LIMIT 1", vec![], "UNSUPPORTED"),
        ("SELECT row_number() OVER () FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT id FROM messages WHERE id IN (SELECT 1)", vec![], "UNSUPPORTED"),
        ("SELECT id FROM (SELECT id FROM messages) m", vec![], "UNSUPPORTED"),
        ("WITH m AS (SELECT 1 AS id) SELECT id FROM m", vec![], "UNSUPPORTED"),
        ("SELECT id FROM messages UNION SELECT id FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT id, NOW() FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT id FROM messages WHERE _updated < NOW()", vec![], "UNSUPPORTED"),
        ("SELECT random() FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT SNOWFLAKE_ID() FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT id, _deleted FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT 1", vec![], "UNSUPPORTED"),
        ("SELECT * FROM system.tables", vec![], "UNSUPPORTED"),
        ("DELETE FROM messages", vec![], "UNSUPPORTED"),
        ("SELECT id FROM messages; SELECT id FROM messages", vec![], "INVALID_SQL"),
        ("SELECT id FROM", vec![], "INVALID_SQL"),
        ("", vec![], "INVALID_SQL"),
        ("SELECT id FROM default.user.everybody", vec![], "SHARED_TABLE_SUBSCRIPTION"),
    ];
    for (sql, params, code) in cases {
        let (found, message) = client.refused(json!({"query_id": "m", "sql": sql, "params": params})).await;
        assert_eq!(found, code, "{sql}: {message}");
        if code == "UNSUPPORTED" {
            assert!(message.contains("SELECT"), "{sql}: says what is allowed: {message}");
        }
    }
    // And none of them has left anything behind.
    assert_eq!(server.engine.live_overview().subscriptions, 0);
    client.subscribed(json!({"query_id": "m", "sql": "SELECT id FROM messages"})).await;
    let (code, _) = client.refused(json!({"query_id": "m", "sql": "SELECT id FROM messages"})).await;
    assert_eq!(code, "CONFLICT");
    server.stop().await;
}
