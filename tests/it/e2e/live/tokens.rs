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
    let brief = token_for(&server, "ann", 8);
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
    let mut renewed = LiveSocket::open(server.base(), &token_for(&server, "ann", 8)).await;
    let mut left = LiveSocket::open(server.base(), &token_for(&server, "ann", 8)).await;
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
async fn a_user_who_is_shut_out_loses_the_connection_at_once() {
    // No heartbeat would tell within the test.
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "1h")];
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

/// Whose doing a lower role is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewed {
    ByItself,
    BySomebodyElse,
}

/// What is another's ends with the role that it takes, and what is the caller's own goes on.
async fn loses_what_is_bobs(server: &TestServer, socket: &mut LiveSocket, table: &str, renewed: Renewed) {
    let message = socket.fails("FORBIDDEN").await;
    assert!(!message.is_empty());
    let closed = socket.expect("closed").await;
    assert_eq!((&closed["query_id"], &closed["reason"]), (&json!("bobs"), &json!("error")), "{closed}");
    if renewed == Renewed::ByItself {
        assert_eq!(socket.expect("authenticated").await["role"], "user");
    }
    server.user("bob").sql(format!("INSERT INTO {table} (id) VALUES (2)")).await.ok();
    server.user("ops").sql(format!("INSERT INTO {table} (id) VALUES (2)")).await.ok();
    let frame = socket.expect("change").await;
    assert_eq!((&frame["query_id"], &frame["keys"]), (&json!("own"), &json!([2])), "{frame}");
}

async fn with_bobs_and_own(server: &TestServer, table: &str) -> LiveSocket {
    let qualified = table.replace(".messages", ".user.messages");
    let mut socket = LiveSocket::open(server.base(), &token("ops", Role::Service, server.secret())).await;
    let of_bob = json!({"query_id": "bobs", "sql": format!("SELECT id FROM {qualified}"), "user_id": "bob"});
    socket.subscribe_with(of_bob).await;
    socket.expect("subscribed").await;
    socket.subscribe("own", &format!("SELECT id FROM {table}")).await;
    socket.expect("subscribed").await;
    server.user("bob").sql(format!("INSERT INTO {table} (id) VALUES (1)")).await.ok();
    assert_eq!(socket.expect("change").await["query_id"], "bobs");
    socket
}

#[tokio::test]
async fn a_token_of_a_lower_role_ends_what_that_role_may_not_follow() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut socket = with_bobs_and_own(&server, &table).await;
    // The same role again, and a higher one, take nothing away.
    for role in [Role::Service, Role::Dba, Role::Service] {
        socket.send(&authenticate(&token("ops", role, server.secret()))).await;
        socket.expect("authenticated").await;
    }
    socket.send(&authenticate(&token("ops", Role::User, server.secret()))).await;
    loses_what_is_bobs(&server, &mut socket, &table, Renewed::ByItself).await;
}

#[tokio::test]
async fn a_user_whose_role_is_lowered_loses_what_it_may_not_follow_within_a_heartbeat() {
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "3s")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let mut socket = with_bobs_and_own(&server, &table).await;
    server.admin().sql("CREATE USER 'ops' WITH (role = 'user')").await.ok();
    loses_what_is_bobs(&server, &mut socket, &table, Renewed::BySomebodyElse).await;
}

#[tokio::test]
async fn whoever_does_not_answer_pings_is_gone() {
    let beat = Duration::from_secs(2);
    let settings = [("storage.backend", "memory"), ("live.heartbeat_interval", "2s")];
    let server = TestServer::start_with(&settings).await;
    let dead = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    let mut alive = LiveSocket::open(server.base(), &token("ann", Role::User, server.secret())).await;
    let count = async || server.service().get("/api/actors/live").await.body["connections"].as_u64();
    // One is read all the time, and so answers; the other is not.
    let reading = async { alive.said_within(PATIENCE).await };
    let gone = async {
        assert_eq!(count().await, Some(2));
        kalamdb_tests::eventually("one is gone", PATIENCE, async || (count().await == Some(1)).then_some(())).await;
    };
    tokio::select! {
        said = reading => panic!("{said:?}"),
        () = gone => {}
    }
    alive.round().await;
    drop(dead);
    let later = alive.said_within(4 * beat).await;
    assert_eq!(later, None, "it answers for ever");
}
