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
async fn the_tree_is_as_deep_and_wide_as_asked() {
    let server = TestServer::start().await;
    for number in 0..5 {
        server.user(&format!("user{number}")).sql("SELECT 1").await.ok();
    }
    let root = async |query: &str| -> Value {
        let answer = server.service().get(&format!("/api/actors{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.body
    };
    let mut all = Vec::new();
    names(&root("").await, &mut all);
    for number in 0..5 {
        assert!(all.contains(&format!("session/user{number}")), "{all:?}");
    }
    let mut limited = Vec::new();
    let tree = root("?limit=2").await;
    names(&tree, &mut limited);
    assert_eq!(limited.iter().filter(|name| name.starts_with("session/")).count(), 2, "{limited:?}");
    let mut shallow = Vec::new();
    names(&root("?depth=1").await, &mut shallow);
    assert!(!shallow.is_empty() && shallow.iter().all(|name| !name.starts_with("session/")), "{shallow:?}");
    for member in ["name", "kind", "state", "mailbox_depth", "messages_handled", "restarts", "uptime_s", "children"] {
        assert!(!tree[member].is_null(), "{member} is missing from {tree}");
    }
    assert_eq!(tree.get("last_error"), Some(&Value::Null), "null where nothing was lost: {tree}");
    for query in ["?limit=x", "?depth=-1", "?depth=1.5", "?limit=99999999999999999999", "?colour=red"] {
        let answer = server.service().get(&format!("/api/actors{query}")).await;
        answer.fails(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = TestServer::start().await;
    let mut ids = std::collections::HashSet::new();
    for answer in [
        server.anonymous().get("/health").await,
        server.anonymous().get("/nothing").await,
        server.anonymous().sql("SELECT 1").await,
        server.user("ann").sql("SELECT 1").await,
        server.user("ann").sql("SELECT").await,
        server.user("ann").post_bytes("text/plain", Vec::new()).await,
    ] {
        let id = answer.request_id.clone().unwrap_or_default();
        assert!(!id.is_empty(), "{} {}", answer.asked, answer.status);
        assert!(ids.insert(id), "an id of two requests: {}", answer.asked);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_have_their_codes() {
    let server = TestServer::start().await;
    server.service().get("/api/nothing").await.fails(404, "NOT_FOUND");
    server.service().get("/api/sql").await.fails(405, "METHOD_NOT_ALLOWED");
    server.service().get("/../../etc/passwd").await.fails(404, "NOT_FOUND");
}
