//! Tokens end and are renewed while a connection lives; users are shut out.

use std::time::Duration;

use serde_json::{Value, json};

use kalamdb_tests::{Credentials, LiveSocket, Role, TestServer, now_seconds, signed_token, token};

use super::{PATIENCE, with_messages};

fn token_for(server: &TestServer, user: &str, seconds: u64) -> String {
    signed_token(&json!({"user_id": user, "role": "user", "exp": now_seconds() + seconds}), server.secret())
}

fn authenticate(token: &str) -> Value {
    json!({"type": "authenticate", "token": token})
}

#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let server = TestServer::start_in_memory().await;
    let brief = token_for(&server, "ann", 3);
    let in_query = Credentials { query: Some(brief.clone()), ..Credentials::default() };
    let mut in_frame = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
    in_frame.send(&authenticate(&brief)).await;
    in_frame.expect("authenticated").await;
    let in_query = LiveSocket::connect(server.base(), &in_query).await.expect("let in");
    for mut socket in [LiveSocket::open(server.base(), &brief).await, in_query, in_frame] {
        assert!(socket.fails("UNAUTHORIZED").await.contains("expired"));
        socket.closes(4401).await;
    }
}

#[tokio::test]
async fn a_renewed_token_carries_the_connection_on() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut renewed = LiveSocket::open(server.base(), &token_for(&server, "ann", 3)).await;
    let mut left = LiveSocket::open(server.base(), &token_for(&server, "ann", 3)).await;
    renewed.subscribe("m", &format!("SELECT id FROM {table}")).await;
    renewed.expect("subscribed").await;
    renewed.send(&authenticate(&token_for(&server, "ann", 600))).await;
    let frame = renewed.expect("authenticated").await;
    assert_eq!(frame, json!({"type": "authenticated", "user_id": "ann", "role": "user"}));
    left.fails("UNAUTHORIZED").await;
    left.closes(4401).await;
    // The same second has passed for both.
    server.user("ann").sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    assert_eq!(renewed.expect("change").await["rows"], json!([{"id": 1}]));
}

#[tokio::test]
async fn a_token_of_another_user_changes_nothing() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut socket = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    socket.send(&authenticate(&token("bob", Role::Dba, server.secret()))).await;
    let message = socket.fails("FORBIDDEN").await;
    assert!(!message.contains("bob"), "{message}");
    socket.subscribe("m", &format!("SELECT id FROM {table}")).await;
    socket.expect("subscribed").await;
    server.user("bob").sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    server.user("ann").sql(format!("INSERT INTO {table} (id) VALUES (2)")).await.ok();
    assert_eq!(socket.expect("change").await["rows"], json!([{"id": 2}]));
    socket.send(&authenticate("bad")).await;
    socket.fails("UNAUTHORIZED").await;
    socket.closes(4401).await;
}

#[tokio::test]
async fn a_user_who_is_shut_out_loses_the_connection() {
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "500ms")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let mut asks = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    let mut waits = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    waits.subscribe("m", &format!("SELECT id FROM {table}")).await;
    waits.expect("subscribed").await;
    asks.round().await;
    server.admin().sql("CREATE USER 'ann' WITH (disabled = 'true')").await.ok();
    asks.subscribe("m", &format!("SELECT id FROM {table}")).await;
    for mut socket in [asks, waits] {
        assert!(socket.fails("UNAUTHORIZED").await.contains("disabled"));
        socket.closes(4401).await;
    }
}

#[tokio::test]
async fn a_role_that_changed_counts_from_the_next_subscription_on() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await.replace(".messages", ".user.messages");
    let mut socket = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    let of_bob = json!({"query_id": "m", "sql": format!("SELECT id FROM {table}"), "user_id": "bob"});
    socket.subscribe_with(of_bob.clone()).await;
    socket.fails("FORBIDDEN").await;
    server.admin().sql("CREATE USER 'ann' WITH (role = 'service')").await.ok();
    socket.subscribe_with(of_bob.clone()).await;
    socket.expect("subscribed").await;
    server.admin().sql("ALTER USER 'ann' SET (role = 'user')").await.ok();
    socket.subscribe_with(json!({"query_id": "again", "sql": of_bob["sql"], "user_id": "bob"})).await;
    socket.fails("FORBIDDEN").await;
}

#[tokio::test]
async fn whoever_does_not_answer_pings_is_gone() {
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "200ms")];
    let server = TestServer::start_with(&settings).await;
    let dead = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    let mut alive = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    let count = async || server.service().get("/api/actors/live").await.body["connections"].as_u64();
    assert_eq!(count().await, Some(2));
    // One is read, and so answers; the other is not.
    let reading = async { alive.said_within(PATIENCE).await };
    let gone = kalamdb_tests::eventually("one is gone", PATIENCE, async || (count().await == Some(1)).then_some(()));
    tokio::select! {
        said = reading => panic!("{said:?}"),
        () = gone => {}
    }
    alive.round().await;
    drop(dead);
    let later = alive.said_within(Duration::from_secs(1)).await;
    assert_eq!(later, None, "it answers for ever");
}
