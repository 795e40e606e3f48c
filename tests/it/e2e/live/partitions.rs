//! Whose rows a subscription is about: the caller's own, or those of whom it may name.

use serde_json::{Value, json};

use kalamdb_tests::{Credentials, LiveSocket, Role, TestServer, token};

use super::{socket, told, with_messages};

async fn service(server: &TestServer, named: Option<&str>) -> LiveSocket {
    let credentials = Credentials::token(token("service", Role::Service, server.secret()));
    let credentials = match named {
        Some(user) => credentials.with("x-user-id", user),
        None => credentials,
    };
    LiveSocket::connect(server.base(), &credentials).await.expect("let in")
}

fn of(user: Option<&str>, query_id: &str, sql: &str) -> Value {
    let mut subscription = json!({"query_id": query_id, "sql": sql});
    if let Some(user) = user {
        subscription["user_id"] = json!(user);
    }
    subscription
}

#[tokio::test]
async fn everybody_sees_the_own_partition_alone() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {table}");
    let users = ["ann", "Ann", "bob", "жанна", "../ann"];
    let mut sockets = Vec::new();
    for user in users {
        let mut socket = socket(&server, user).await;
        socket.subscribe("m", &sql).await;
        socket.expect("subscribed").await;
        sockets.push(socket);
    }
    for (at, user) in users.iter().enumerate() {
        server.user(user).sql(format!("INSERT INTO {table} (id) VALUES ({at})")).await.ok();
    }
    for (at, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(told(&socket.expect("change").await), ("INSERT".to_owned(), json!([{"id": at}]), json!([at])));
        socket.round().await;
    }
}

#[tokio::test]
async fn a_name_with_its_catalog_is_the_same_table() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut socket = socket(&server, "ann").await;
    socket.subscribe("m", &format!("SELECT id FROM kalamdb.{table} WHERE id > 1")).await;
    socket.expect("subscribed").await;
    server.user("ann").sql(format!("INSERT INTO {table} (id) VALUES (1), (2)")).await.ok();
    assert_eq!(told(&socket.expect("change").await), ("INSERT".to_owned(), json!([{"id": 2}]), json!([2])));
}

#[tokio::test]
async fn a_service_names_a_user_by_header_or_in_the_subscription() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {}", table.replace(".messages", ".user.messages"));
    let mut nobody = service(&server, None).await;
    nobody.subscribe_with(of(None, "m", &sql)).await;
    nobody.fails("USER_ID_REQUIRED").await;
    let mut of_ann = service(&server, Some("ann")).await;
    for subscription in [of(None, "header", &sql), of(Some("bob"), "own", &sql)] {
        of_ann.subscribe_with(subscription).await;
        of_ann.expect("subscribed").await;
    }
    // Without the qualifier it is the service's own partition, whoever is named.
    of_ann.subscribe("mine", &format!("SELECT id FROM {table}")).await;
    of_ann.expect("subscribed").await;
    for (user, id, expected) in [("ann", 1, "header"), ("bob", 2, "own"), ("carl", 3, ""), ("service", 4, "mine")] {
        server.user(user).sql(format!("INSERT INTO {table} (id) VALUES ({id})")).await.ok();
        if !expected.is_empty() {
            let frame = of_ann.expect("change").await;
            assert_eq!((&frame["query_id"], &frame["keys"]), (&json!(expected), &json!([id])), "{user}");
        }
    }
    for bad in [json!(""), json!("x".repeat(129)), json!("a\u{7}b")] {
        let mut subscription = of(None, "bad", &sql);
        subscription["user_id"] = bad;
        of_ann.subscribe_with(subscription).await;
        of_ann.fails("INVALID_NAME").await;
    }
}

#[tokio::test]
async fn a_user_names_nobody_but_itself() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {}", table.replace(".messages", ".user.messages"));
    let mut ann = socket(&server, "ann").await;
    ann.subscribe_with(of(Some("bob"), "m", &sql)).await;
    ann.fails("FORBIDDEN").await;
    ann.subscribe_with(of(Some("ann"), "m", &sql)).await;
    ann.expect("subscribed").await;
    server.user("ann").sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    assert_eq!(ann.expect("change").await["keys"], json!([1]));
    let credentials = Credentials::token(token("ann", Role::User, server.secret())).with("x-user-id", "bob");
    let mut named = LiveSocket::connect(server.base(), &credentials).await.expect("let in");
    named.subscribe("m", &sql).await;
    named.fails("FORBIDDEN").await;
    named.subscribe("own", &format!("SELECT id FROM {table}")).await;
    named.expect("subscribed").await;
}

#[tokio::test]
async fn current_user_is_whoever_subscribes() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {table} WHERE conv = CURRENT_USER()");
    for user in ["ann", "bob"] {
        let mut live = socket(&server, user).await;
        live.subscribe("m", &sql).await;
        live.expect("subscribed").await;
        let client = server.user(user);
        client.sql(format!("INSERT INTO {table} VALUES (1, 'ann', ''), (2, 'bob', '')")).await.ok();
        let expected = if user == "ann" { 1 } else { 2 };
        assert_eq!(live.expect("change").await["keys"], json!([expected]), "{user}");
    }
}
