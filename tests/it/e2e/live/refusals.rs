//! What cannot be subscribed to, and how it is said.

use serde_json::json;

use kalamdb_tests::TestServer;

use super::{socket, with_messages};

#[tokio::test]
async fn a_query_is_one_table_and_a_condition() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let (admin, namespace) = (server.admin(), server.namespace());
    admin.sql(format!("CREATE SHARED TABLE {namespace}.items (name TEXT PRIMARY KEY)")).await.ok();
    admin
        .sql(format!("CREATE SHARED TABLE {namespace}.secret (name TEXT PRIMARY KEY) WITH (access = 'private')"))
        .await
        .ok();
    let mut ann = socket(&server, "ann").await;
    let t = table.as_str();
    for (sql, code) in [
        (format!("SELECT name FROM {namespace}.items"), "SHARED_TABLE_SUBSCRIPTION"),
        (format!("SELECT name FROM {namespace}.secret"), "SHARED_TABLE_SUBSCRIPTION|FORBIDDEN"),
        (format!("SELECT a.id FROM {t} a JOIN {t} b ON a.id = b.id"), "UNSUPPORTED"),
        (format!("SELECT a.id FROM {t} a, {t} b"), "UNSUPPORTED"),
        (format!("SELECT count(*) FROM {t}"), "UNSUPPORTED"),
        (format!("SELECT conv, count(*) FROM {t} GROUP BY conv"), "UNSUPPORTED"),
        (format!("SELECT max(id) FROM {t}"), "UNSUPPORTED"),
        (format!("SELECT DISTINCT conv FROM {t}"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} ORDER BY id"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} LIMIT 5"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} OFFSET 5"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} HAVING id > 1"), "UNSUPPORTED|INVALID_SQL"),
        (format!("SELECT id, row_number() OVER () FROM {t}"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} UNION ALL SELECT id FROM {t}"), "UNSUPPORTED"),
        (format!("WITH x AS (SELECT id FROM {t}) SELECT id FROM x"), "UNSUPPORTED"),
        (format!("SELECT id FROM (SELECT id FROM {t})"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} WHERE id IN (SELECT id FROM {t})"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} WHERE EXISTS (SELECT 1)"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} WHERE body < CAST(NOW() AS TEXT)"), "UNSUPPORTED"),
        (format!("SELECT id, NOW() FROM {t}"), "UNSUPPORTED"),
        (format!("SELECT id FROM {t} WHERE random() < 0.5"), "UNSUPPORTED"),
        (format!("SELECT id, UUID_V7() FROM {t}"), "UNSUPPORTED"),
        ("SELECT 1".to_owned(), "UNSUPPORTED"),
        ("SELECT * FROM information_schema.tables".to_owned(), "UNSUPPORTED|FORBIDDEN"),
        ("SELECT user_id FROM system.users".to_owned(), "UNSUPPORTED|FORBIDDEN"),
        (format!("INSERT INTO {t} (id) VALUES (1)"), "UNSUPPORTED"),
        (format!("DELETE FROM {t}"), "UNSUPPORTED"),
        (format!("EXPLAIN SELECT id FROM {t}"), "UNSUPPORTED"),
        (format!("DROP TABLE {t}"), "UNSUPPORTED|FORBIDDEN"),
        (format!("SELECT id FROM {t}; SELECT id FROM {t}"), "UNSUPPORTED|INVALID_SQL"),
        (format!("SELECT id FROM {namespace}.nothing"), "TABLE_NOT_FOUND"),
        ("SELECT id FROM nowhere.messages".to_owned(), "NAMESPACE_NOT_FOUND|TABLE_NOT_FOUND"),
        (format!("SELECT colour FROM {t}"), "COLUMN_NOT_FOUND"),
        (format!("SELECT id FROM {t} WHERE colour = 1"), "COLUMN_NOT_FOUND"),
        (format!("SELECT id FROM {t} WHERE id"), "TYPE_MISMATCH|INVALID_SQL"),
        ("SELEC".to_owned(), "INVALID_SQL|UNSUPPORTED"),
        (String::new(), "INVALID_SQL|INVALID_REQUEST"),
        ("\u{0}".to_owned(), "INVALID_SQL"),
        (format!("SELECT id FROM {t} WHERE id = $1"), "PARAM_COUNT_MISMATCH"),
    ] {
        ann.subscribe("q", &sql).await;
        let error = ann.expect("error").await;
        let got = error["code"].as_str().unwrap_or_default();
        assert!(code.split('|').any(|code| code == got), "{sql}: expected {code}, not {error}");
        assert_eq!(error["query_id"], "q", "{sql}: {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(!message.is_empty(), "{sql}");
    }
    // What was refused has left nothing behind.
    ann.subscribe("q", &format!("SELECT id, upper(body) AS loud FROM {t} WHERE length(body) > 1")).await;
    ann.expect("subscribed").await;
    server.user("ann").sql(format!("INSERT INTO {t} VALUES (1, '', 'x'), (2, '', 'xy')")).await.ok();
    assert_eq!(ann.expect("change").await["rows"], json!([{"id": 2, "loud": "XY"}]));
}

#[tokio::test]
async fn parameters_are_converted_like_a_statements() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    let sql = format!("SELECT id FROM {table} WHERE id > $1 AND conv = $2");
    for (params, code) in [
        (json!([]), "PARAM_COUNT_MISMATCH"),
        (json!([1]), "PARAM_COUNT_MISMATCH"),
        (json!([1, "a", 3]), "PARAM_COUNT_MISMATCH"),
        (json!(["one", "a"]), "PARAM_TYPE_MISMATCH"),
        (json!([1.5, "a"]), "PARAM_TYPE_MISMATCH"),
        (json!([1, 2]), "PARAM_TYPE_MISMATCH"),
        (json!([[1], "a"]), "INVALID_REQUEST"),
    ] {
        ann.subscribe_with(json!({"query_id": "q", "sql": sql, "params": params})).await;
        let message = ann.fails(code).await;
        assert!(!message.is_empty(), "{params}");
    }
    ann.subscribe_with(json!({"query_id": "q", "sql": sql, "params": [1.0, "a"]})).await;
    ann.expect("subscribed").await;
}

#[tokio::test]
async fn an_unqualified_name_is_looked_up_in_the_namespace_given() {
    let server = TestServer::start_in_memory().await;
    with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("q", "SELECT id FROM messages").await;
    ann.fails("TABLE_NOT_FOUND").await;
    ann.subscribe_with(json!({"query_id": "q", "sql": "SELECT id FROM messages", "namespace": server.namespace()}))
        .await;
    ann.expect("subscribed").await;
}

#[tokio::test]
async fn options_that_cannot_be_are_refused() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    for options in [
        json!({"last_row": 1}),
        json!({"last_rows": -1}),
        json!({"last_rows": 1.5}),
        json!({"last_rows": "10"}),
        json!({"from_seq": -1}),
        json!({"batch_size": 0}),
        json!([]),
    ] {
        let sql = format!("SELECT id FROM {table}");
        ann.subscribe_with(json!({"query_id": "q", "sql": sql, "options": options})).await;
        ann.fails("INVALID_REQUEST").await;
    }
    ann.round().await;
}
