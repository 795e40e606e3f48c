//! Who may do what.

use serde_json::json;

use kalamdb_tests::{Role, TestServer};

async fn with_tables() -> TestServer {
    let server = TestServer::start().await;
    server
        .admin()
        .sql(
            "CREATE USER TABLE own (id BIGINT PRIMARY KEY, secret_column TEXT);
             CREATE SHARED TABLE open (id BIGINT PRIMARY KEY, v TEXT) WITH (access = 'public');
             CREATE SHARED TABLE closed (id BIGINT PRIMARY KEY, secret_column TEXT) WITH (access = 'private');
             INSERT INTO open VALUES (1, 'x'); INSERT INTO closed VALUES (1, 'secret')",
        )
        .await
        .ok();
    server
}

#[tokio::test]
async fn a_user_has_its_partitions_and_public_tables() {
    let server = with_tables().await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO own VALUES (1, 'x'); UPDATE own SET secret_column = 'y'; DELETE FROM own").await.ok();
    assert_eq!(ann.sql("SELECT v FROM open").await.success().scalar(), json!("x"));
    for sql in [
        "SELECT * FROM closed",
        "SELECT secret_column FROM closed",
        "SELECT count(*) FROM open WHERE id IN (SELECT id FROM closed)",
        "INSERT INTO open VALUES (2, 'y')",
        "UPDATE open SET v = 'y'",
        "DELETE FROM open",
        "DELETE FROM closed WHERE secret_column = 'secret'",
        "INSERT INTO own SELECT id, secret_column FROM closed",
        "CREATE NAMESPACE mine",
        "CREATE USER TABLE mine (id BIGINT PRIMARY KEY)",
        "DROP TABLE own",
        "DROP TABLE open",
    ] {
        let message = ann.sql(sql).await.fails(403, "FORBIDDEN");
        assert!(!message.contains("secret"), "{sql}: {message:?} tells too much");
    }
    assert_eq!(server.admin().sql("SELECT count(*) FROM closed").await.success().number(), 1);
    assert_eq!(server.admin().sql("SELECT count(*) FROM open").await.success().number(), 1);
}

#[tokio::test]
async fn explain_is_checked_as_what_it_explains() {
    let server = with_tables().await;
    let ann = server.user("ann");
    ann.sql("EXPLAIN SELECT * FROM own").await.ok();
    ann.sql("EXPLAIN SELECT * FROM closed").await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_service_writes_shared_tables_and_makes_none() {
    let server = with_tables().await;
    let service = server.service();
    service
        .sql("INSERT INTO open VALUES (2, 'y'); UPDATE closed SET secret_column = 'z'; DELETE FROM open WHERE id = 2")
        .await
        .ok();
    service.sql("CREATE SHARED TABLE more (id BIGINT PRIMARY KEY)").await.fails(403, "FORBIDDEN");
    service.sql("DROP TABLE open").await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_user_is_shown_what_it_may_read() {
    let server = with_tables().await;
    let shown = server.user("ann").sql("SHOW TABLES").await.success();
    assert!(shown.text.contains("\"own\"") && shown.text.contains("\"open\""), "{}", shown.text);
    assert!(!shown.text.contains("\"closed\""), "{}", shown.text);
    server.user("ann").sql("DESCRIBE closed").await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn the_system_catalog_is_read_only() {
    let server = with_tables().await;
    let admin = server.admin();
    for sql in [
        "INSERT INTO system.tables VALUES (1)",
        "DELETE FROM system.namespaces",
        "UPDATE system.tables SET table_name = 'x'",
    ] {
        admin.sql(sql).await.fails(403, "FORBIDDEN");
    }
    admin.sql("CREATE USER TABLE system.t (id BIGINT PRIMARY KEY)").await.fails(403, "FORBIDDEN");
    admin.sql("DROP TABLE system.tables").await.fails(403, "FORBIDDEN");
    server.user("ann").sql("SELECT * FROM system.tables").await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_dba_may_do_everything() {
    let server = with_tables().await;
    let dba = server.as_role("somebody", Role::Dba);
    dba.sql("CREATE SHARED TABLE more (id BIGINT PRIMARY KEY); INSERT INTO more VALUES (1); DROP TABLE more")
        .await
        .ok();
}
