//! Requests: several statements, the members of the body, the shape of the answer.

use serde_json::json;

use kalamdb_tests::TestServer;

#[tokio::test]
async fn statements_run_in_order_and_see_each_other() {
    let server = TestServer::start().await;
    let sql = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT);
        INSERT INTO t VALUES (1, 'a;b'), (2, '--');
        /* a ; in a comment */ UPDATE t SET v = 'c' WHERE id = 2; -- and ; here
        SELECT id, v FROM t ORDER BY id;";
    let answer = server.admin().sql(sql).await.success();
    assert_eq!(answer.results().len(), 4);
    assert_eq!(answer.results()[1]["row_count"], 2);
    assert_eq!(answer.results()[1]["rows"], json!([]));
    assert_eq!(answer.values(), [[json!(1), json!("a;b")], [json!(2), json!("c")]]);
}

#[tokio::test]
async fn the_first_error_stops_and_what_was_done_stays() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    let answer = admin.sql("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2)").await;
    answer.fails(409, "DUPLICATE_KEY");
    assert_eq!(answer.body["error"]["statement"], 1);
    assert_eq!(answer.results().len(), 1);
    assert_eq!(admin.sql("SELECT id FROM t").await.success().column("id"), [json!(1)]);
}

#[tokio::test]
async fn a_syntax_error_says_where() {
    let server = TestServer::start().await;
    let answer = server.user("ann").sql("SELECT 1,\n  FROM WHERE").await;
    answer.fails(400, "INVALID_SQL");
    assert_eq!(answer.body["error"]["line"], 2, "{}", answer.text);
    assert!(answer.body["error"]["column"].as_u64().is_some_and(|column| column >= 3), "{}", answer.text);
}

#[tokio::test]
async fn nothing_to_do_is_no_internal_error() {
    let server = TestServer::start().await;
    for sql in ["", " ", ";", ";;;", "-- nothing", "/* nothing */"] {
        let answer = server.user("ann").sql(sql).await;
        assert!(answer.status == 200 || answer.code() == "INVALID_SQL", "{sql:?}: {} {}", answer.status, answer.text);
    }
}

#[tokio::test]
async fn the_answer_has_the_shape_of_the_contract() {
    let server = TestServer::start().await;
    let answer = server.user("ann").sql("SELECT CAST(1 AS BIGINT) AS id, 'x' AS name").await.success();
    assert_eq!(answer.columns(), ["id BIGINT", "name TEXT"]);
    assert_eq!(answer.row_count(), 1);
    assert_eq!(answer.results()[0]["message"], json!(null));
    assert_eq!(answer.results()[0]["columns"][0]["nullable"], json!(false));
    assert!(answer.body["took_ms"].is_number());
    assert!(answer.results()[0]["took_ms"].is_number());
    assert!(answer.request_id.is_some_and(|id| !id.is_empty()));
    let refused = server.user("ann").sql("SELECT").await;
    assert!(refused.request_id.is_some());
}

#[tokio::test]
async fn unqualified_names_are_looked_up_in_the_namespace_given() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO t VALUES (1)").await.ok();
    let qualified = format!("SELECT count(*) FROM {}.t", server.namespace());
    assert_eq!(ann.in_namespace("default").sql(&qualified).await.success().number(), 1);
    ann.in_namespace("default")
        .sql(format!("SELECT * FROM t_of_{}", server.namespace()))
        .await
        .fails(404, "TABLE_NOT_FOUND");
    let answer = ann.in_namespace("not a name").sql("SELECT 1").await;
    assert_eq!(answer.status, 400, "{}", answer.text);
}

#[tokio::test]
async fn repeated_column_names_are_numbered() {
    let server = TestServer::start().await;
    let answer = server.user("ann").sql("SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a").await.success();
    let names: Vec<String> =
        answer.columns().iter().map(|column| column.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(names[0], "a");
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), 4, "{names:?}");
    assert!(names.contains(&"a_2".to_owned()), "{names:?}");
    assert_eq!(answer.values()[0], [json!(1), json!(2), json!(3), json!(4)]);
}
