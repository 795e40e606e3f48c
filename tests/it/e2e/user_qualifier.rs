//! `.user.`: another user's partition, by header and by role.

use serde_json::json;

use kalamdb_tests::TestServer;

async fn with_notes() -> (TestServer, String) {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, body TEXT)").await.ok();
    server.user("ann").sql("INSERT INTO notes VALUES (1, 'of ann')").await.ok();
    server.user("bob").sql("INSERT INTO notes VALUES (1, 'of bob'), (2, 'of bob too')").await.ok();
    let table = format!("{}.user.notes", server.namespace());
    (server, table)
}

#[tokio::test]
async fn a_service_reads_and_writes_for_its_users() {
    let (server, table) = with_notes().await;
    let for_ann = server.service().naming("ann");
    let select = format!("SELECT body FROM {table} ORDER BY id");
    assert_eq!(for_ann.sql(&select).await.success().column("body"), [json!("of ann")]);
    for_ann.sql(format!("INSERT INTO {table} VALUES (2, 'by a service')")).await.ok();
    let changed = for_ann.sql(format!("UPDATE {table} SET body = 'changed' WHERE id = 1")).await.success();
    assert_eq!(changed.row_count(), 1);
    let own = server.user("ann").sql("SELECT body FROM notes ORDER BY id").await.success();
    assert_eq!(own.column("body"), [json!("changed"), json!("by a service")]);
    assert_eq!(for_ann.sql(format!("DELETE FROM {table}")).await.success().row_count(), 2);
    assert_eq!(server.user("ann").sql("SELECT count(*) FROM notes").await.success().number(), 0);
    assert_eq!(server.user("bob").sql("SELECT count(*) FROM notes").await.success().number(), 2);
}

#[tokio::test]
async fn without_the_header_it_is_refused() {
    let (server, table) = with_notes().await;
    let answer = server.service().sql(format!("SELECT * FROM {table}")).await;
    answer.fails(400, "USER_ID_REQUIRED");
    server.user("ann").sql(format!("SELECT * FROM {table}")).await.fails(400, "USER_ID_REQUIRED");
}

#[tokio::test]
async fn a_user_may_name_itself_and_nobody_else() {
    let (server, table) = with_notes().await;
    let ann = server.user("ann");
    let own = ann.naming("ann").sql(format!("SELECT body FROM {table}")).await.success();
    assert_eq!(own.scalar(), json!("of ann"));
    for sql in [
        format!("SELECT * FROM {table}"),
        format!("INSERT INTO {table} VALUES (9, 'x')"),
        format!("UPDATE {table} SET body = 'x'"),
        format!("DELETE FROM {table}"),
        format!("SELECT * FROM notes WHERE id IN (SELECT id FROM {table})"),
    ] {
        let message = ann.naming("bob").sql(&sql).await.fails(403, "FORBIDDEN");
        assert!(!message.contains("body"), "no column name in {message:?}");
    }
    assert_eq!(server.user("bob").sql("SELECT count(*) FROM notes").await.success().number(), 2);
}

#[tokio::test]
async fn the_header_matters_for_the_qualifier_only() {
    let (server, _) = with_notes().await;
    let answer = server.user("ann").naming("bob").sql("SELECT body FROM notes").await.success();
    assert_eq!(answer.scalar(), json!("of ann"));
}

#[tokio::test]
async fn a_user_id_travels_as_utf_8() {
    let (server, table) = with_notes().await;
    server.user("жанна").sql("INSERT INTO notes VALUES (1, 'привет')").await.ok();
    let answer = server.service().naming("жанна").sql(format!("SELECT body FROM {table}")).await.success();
    assert_eq!(answer.scalar(), json!("привет"));
}

#[tokio::test]
async fn no_statement_reads_two_users_partitions() {
    // Not even a service's own and the named user's.
    let (server, table) = with_notes().await;
    let sql = format!("SELECT count(*) FROM notes UNION ALL SELECT count(*) FROM {table}");
    let answer = server.service().naming("ann").sql(&sql).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
}

#[tokio::test]
async fn shared_tables_have_no_users() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE SHARED TABLE news (id BIGINT PRIMARY KEY)").await.ok();
    let table = format!("{}.user.news", server.namespace());
    server.service().naming("ann").sql(format!("SELECT * FROM {table}")).await.fails(400, "INVALID_SQL");
}

#[tokio::test]
async fn a_broken_header_is_refused() {
    let (server, table) = with_notes().await;
    let long = "x".repeat(129);
    let answer = server.service().naming(&long).sql(format!("SELECT * FROM {table}")).await;
    assert!(answer.status == 400, "{}", answer.text);
}
