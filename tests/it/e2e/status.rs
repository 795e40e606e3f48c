//! Status endpoints and what is not there.

use serde_json::Value;

use kalamdb_tests::{Role, TestServer};

#[tokio::test]
async fn health_and_ready_need_no_token() {
    let server = TestServer::start().await;
    let health = server.anonymous().get("/health").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.body["status"], "ok");
    assert!(health.body["version"].as_str().is_some_and(|version| version.starts_with(char::is_numeric)));
    assert!(health.body["commit"].is_string());
    assert!(health.request_id.is_some());
    assert_eq!(server.anonymous().get("/ready").await.status, 200);
}

fn names(node: &Value, found: &mut Vec<String>) {
    found.push(node["name"].as_str().unwrap_or_default().to_owned());
    for child in node["children"].as_array().into_iter().flatten() {
        names(child, found);
    }
}

#[tokio::test]
async fn the_tree_is_shown_to_services() {
    let server = TestServer::start().await;
    server.user("ann").sql("SELECT 1").await.ok();
    let answer = server.service().get("/api/actors").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let root = if answer.body["name"].is_string() { &answer.body } else { &answer.body["root"] };
    let mut found = Vec::new();
    names(root, &mut found);
    assert!(found.iter().any(|name| name == "session/ann"), "{found:?}");
    assert!(found.len() >= 4, "{found:?}");
    assert_eq!(server.user("ann").get("/api/actors").await.status, 403);
    let dba = server.as_role("root", Role::Dba).get("/api/actors").await;
    assert_eq!(dba.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_have_their_codes() {
    let server = TestServer::start().await;
    server.service().get("/api/nothing").await.fails(404, "NOT_FOUND");
    server.service().get("/api/sql").await.fails(405, "METHOD_NOT_ALLOWED");
    server.service().get("/../../etc/passwd").await.fails(404, "NOT_FOUND");
}
