//! What was acknowledged is there after a stop, and after `kill -9`.

use serde_json::json;

use kalamdb_tests::{BinaryServer, free_port};

const TABLES: &str = "CREATE NAMESPACE shop;
    CREATE USER TABLE shop.orders (id BIGINT PRIMARY KEY, item TEXT NOT NULL, price DECIMAL(10,2) DEFAULT 1.5, at TIMESTAMP);
    CREATE SHARED TABLE shop.items (name TEXT PRIMARY KEY, data JSON)";

#[tokio::test]
async fn rows_and_definitions_survive_stop_and_kill() {
    let mut server = BinaryServer::start().await;
    let admin = server.admin();
    admin.sql(TABLES).await.ok();
    for user in ["ann", "anna", "../../etc"] {
        let caller = admin.as_user(user);
        caller
            .sql_params("INSERT INTO shop.orders (id, item) VALUES (1, $1), (2, 'b'), (3, 'c')", json!([user]))
            .await
            .ok();
        caller
            .sql(
                "UPDATE shop.orders SET at = '2025-10-21T14:30:00Z' WHERE id = 2; DELETE FROM shop.orders WHERE id = 3",
            )
            .await
            .ok();
    }
    admin.sql("INSERT INTO shop.items VALUES ('tea', '{\"hot\": true}')").await.ok();
    admin.sql("ALTER TABLE shop.items ADD COLUMN price DECIMAL(5,2) DEFAULT 2.5").await.ok();
    admin.sql("ALTER TABLE shop.items SET (access = 'private')").await.ok();
    let mut last_seq = 0;
    for round in 0..4 {
        if round % 2 == 0 {
            let status = server.terminate().await;
            assert_eq!(status.code(), Some(0), "{}", server.logs());
        } else {
            server.kill9();
        }
        server.restart().await;
        for user in ["ann", "anna", "../../etc"] {
            let caller = admin.as_user(user);
            let answer =
                caller.sql("SELECT id, item, price, at FROM shop.orders WHERE id < 10 ORDER BY id").await.success();
            let expected = [
                [json!(1), json!(user), json!("1.50"), json!(null)],
                [json!(2), json!("b"), json!("1.50"), json!("2025-10-21T14:30:00.000000Z")],
            ];
            assert_eq!(answer.values(), expected, "round {round}");
            assert_eq!(caller.sql("SELECT id FROM shop.orders WHERE _deleted").await.success().scalar(), json!(3));
        }
        assert_eq!(admin.sql("SELECT data FROM shop.items").await.success().scalar(), json!({"hot": true}));
        assert_eq!(admin.sql("SELECT price FROM shop.items").await.success().scalar(), json!("2.50"));
        admin.as_user("ann").sql("SELECT data FROM shop.items").await.fails(403, "FORBIDDEN");
        admin.sql("CREATE NAMESPACE shop").await.fails(409, "NAMESPACE_EXISTS");
        let ann = admin.as_user("ann");
        ann.sql_params("INSERT INTO shop.orders (id, item) VALUES ($1, 'x')", json!([100 + round])).await.ok();
        // SQ-1: numbers go on, they never start again.
        let seq = ann.sql("SELECT max(_seq) FROM shop.orders").await.success().number();
        assert!(seq > last_seq, "{seq} after {last_seq}");
        last_seq = seq;
    }
    assert_eq!(admin.as_user("ann").sql("SELECT count(*) FROM shop.orders").await.success().number(), 6);
}

#[tokio::test]
async fn a_data_directory_has_one_server() {
    let server = BinaryServer::start().await;
    let output = server.command().env("KALAMDB__SERVER__PORT", free_port().to_string()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let port_taken = server.command().env("KALAMDB__STORAGE__ROCKSDB_DIR", server.dir().join("other")).output();
    let port_taken = port_taken.expect("it runs");
    assert_eq!(port_taken.status.code(), Some(1), "{port_taken:?}");
    let touched = server.dir().join("other").try_exists().expect("a readable directory");
    assert!(!touched, "the port is checked before anything is opened");
    server.admin().sql("SELECT 1").await.ok();
}

#[tokio::test]
async fn wrong_settings_end_the_start_with_78() {
    let server = BinaryServer::prepare();
    for (key, value, named) in [
        ("KALAMDB__SERVER__PORT", "many", "server.port"),
        ("KALAMDB__SERVER__COLOUR", "red", "server.colour"),
        ("KALAMDB__AUTH__JWT_SECRET", "short", "auth.jwt_secret"),
        ("KALAMDB__STORAGE__DURABILITY", "perhaps", "storage.durability"),
        ("KALAMDB__SERVER__REQUEST_TIMEOUT", "soon", "server.request_timeout"),
    ] {
        let output = server.command().env(key, value).arg("--check-config").output().expect("it runs");
        assert_eq!(output.status.code(), Some(78), "{key}={value}: {output:?}");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(said.contains(named), "{key}={value}: {said}");
        let line = said.lines().find(|line| line.contains(named)).unwrap_or_default();
        assert!(!line.contains("short"), "a secret in {line:?}");
    }
    let output = server.command().arg("--check-config").output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn beyond_loopback_there_is_no_start_without_a_key() {
    let server = BinaryServer::prepare();
    let mut command = server.command();
    command.env("KALAMDB__SERVER__HOST", "0.0.0.0").env_remove("KALAMDB__AUTH__JWT_SECRET");
    let output = command.arg("--check-config").output().expect("it runs");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}

#[tokio::test]
async fn version_and_token_come_from_the_command_line() {
    let server = BinaryServer::start().await;
    let version = server.command().arg("--version").output().expect("it runs");
    assert!(String::from_utf8_lossy(&version.stdout).contains("kalamdb-server"), "{version:?}");
    let made = server.command().args(["token", "--user", "жанна", "--role", "service", "--ttl", "1h"]).output();
    let made = made.expect("it runs");
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let caller = server.admin().with_token(&token);
    assert_eq!(caller.sql("SELECT CURRENT_USER()").await.success().scalar(), json!("жанна"));
    let healthy = server.command().arg("healthcheck").output().expect("it runs");
    assert!(healthy.status.success(), "{healthy:?}");
    assert!(!server.logs().contains(&token), "a token in the log");
}

#[tokio::test]
async fn the_log_begins_with_the_build() {
    let server = BinaryServer::start().await;
    let logs = server.logs();
    let beginning: String = logs.lines().take(8).collect::<Vec<_>>().join("\n");
    assert!(beginning.contains(env!("CARGO_PKG_VERSION")), "{beginning}");
    assert!(beginning.contains("commit") && beginning.contains("branch"), "{beginning}");
    assert!(!logs.contains(kalamdb_tests::SECRET), "the secret is in the log");
}
