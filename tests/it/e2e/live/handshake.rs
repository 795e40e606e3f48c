//! Who comes in, how, and what the others are told.

use std::time::{Duration, Instant};

use serde_json::json;

use kalamdb_tests::{
    Credentials, LiveSocket, RawConnection, Role, TestServer, eventually, now_seconds, signed_token, token,
};

use super::PATIENCE;

const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn server() -> TestServer {
    TestServer::start_with(&[("storage.backend", "memory"), ("live.auth_timeout", "60s")]).await
}

async fn local_server() -> TestServer {
    let settings = [
        ("storage.backend", "memory"),
        ("auth.localhost_bypass", "true"),
        ("live.auth_timeout", "60s"),
        ("server.cors_origins", "https://app.example"),
    ];
    TestServer::start_with(&settings).await
}

/// Who a socket is: it renews its token, and is told.
async fn who(socket: &mut LiveSocket, token: &str) -> (String, String) {
    socket.send(&json!({"type": "authenticate", "token": token})).await;
    let frame = socket.expect("authenticated").await;
    let text = |member: &str| frame[member].as_str().unwrap_or_default().to_owned();
    (text("user_id"), text("role"))
}

fn pair(user: &str, role: &str) -> (String, String) {
    (user.to_owned(), role.to_owned())
}

#[tokio::test]
async fn a_token_comes_in_three_ways() {
    let server = server().await;
    let ann = token("ann", Role::Service, server.secret());
    let in_query = Credentials { query: Some(ann.clone()), ..Credentials::default() };
    for credentials in [Credentials::token(&ann), in_query] {
        let mut socket = LiveSocket::connect(server.base(), &credentials).await.expect("let in");
        socket.round().await;
        assert_eq!(who(&mut socket, &ann).await, pair("ann", "service"));
    }
    let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
    assert_eq!(who(&mut socket, &ann).await, pair("ann", "service"));
    socket.round().await;
    let connections = async || server.service().get("/api/actors/live").await.body["connections"].as_u64();
    eventually("the last is left", PATIENCE, async || (connections().await == Some(1)).then_some(())).await;
}

#[tokio::test]
async fn the_headers_token_counts_before_the_addresss() {
    let server = server().await;
    let tokens = |user: &str| token(user, Role::User, server.secret());
    let both = Credentials { query: Some(tokens("bob")), ..Credentials::token(tokens("ann")) };
    let mut socket = LiveSocket::connect(server.base(), &both).await.expect("let in");
    socket.send(&json!({"type": "authenticate", "token": tokens("bob")})).await;
    socket.fails("FORBIDDEN").await;
    assert_eq!(who(&mut socket, &tokens("ann")).await, pair("ann", "user"));
    let bad_header = Credentials { query: Some(tokens("bob")), ..Credentials::token("no.good.token") };
    assert_eq!(LiveSocket::connect(server.base(), &bad_header).await.expect_err("no good").status, 401);
}

#[tokio::test]
async fn a_bad_token_is_401_in_the_handshake_and_4401_in_a_frame() {
    let server = server().await;
    let expired = signed_token(&json!({"user_id": "ann", "exp": now_seconds() - 1}), server.secret());
    let foreign = token("ann", Role::Dba, "another secret, also longer than 32 bytes");
    for bad in ["", "x", expired.as_str(), foreign.as_str()] {
        let in_query = Credentials { query: Some(bad.to_owned()), ..Credentials::default() };
        for credentials in [Credentials::token(bad), in_query] {
            let refused = LiveSocket::connect(server.base(), &credentials).await.expect_err("no good");
            assert_eq!((refused.status, &refused.body["error"]["code"]), (401, &json!("UNAUTHORIZED")), "{refused:?}");
            assert!(bad.len() < 5 || !refused.body.to_string().contains(bad), "{refused:?}");
        }
        let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
        socket.send(&json!({"type": "authenticate", "token": bad})).await;
        socket.fails("UNAUTHORIZED").await;
        socket.closes(4401).await;
    }
}

#[tokio::test]
async fn whoever_does_not_say_who_it_is_has_to_go() {
    let hasty = TestServer::start_with(&[("storage.backend", "memory"), ("live.auth_timeout", "1s")]).await;
    let begun = Instant::now();
    let mut silent = LiveSocket::connect(hasty.base(), &Credentials::default()).await.expect("let in");
    let connections = hasty.service().get("/api/actors/live").await.body["connections"].clone();
    assert_eq!(connections, 0, "nobody is not a live connection");
    silent.fails("AUTH_REQUIRED").await;
    silent.closes(4401).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let server = server().await;
    for text in [
        r#"{"type": "ping"}"#,
        r#"{"type": "subscribe", "subscriptions": [{"query_id": "a", "sql": "SELECT 1"}]}"#,
        r#"{"type": "unsubscribe", "query_id": "a"}"#,
        "garbage",
    ] {
        let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
        socket.send_text(text).await;
        socket.fails("AUTH_REQUIRED").await;
        socket.closes(4401).await;
    }
    let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
    socket.send_binary(b"x").await;
    socket.closes(1003).await;
    let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
    socket.send_text(&format!("{{\"type\": \"authenticate\", \"token\": \"{}\"}}", "x".repeat(100_000))).await;
    socket.closes(1009).await;
}

#[tokio::test]
async fn this_machine_needs_no_token_where_it_is_so_set() {
    let server = local_server().await;
    let open = async |credentials: Credentials| LiveSocket::connect(server.base(), &credentials).await;
    let local = Credentials::default();
    for origin in ["http://localhost:3000", "https://app.example"] {
        let mut socket = open(local.clone().with("origin", origin)).await.expect("let in");
        socket.round().await;
    }
    // A token in the first frame says who it really is; later it is somebody else's.
    let ann = token("ann", Role::User, kalamdb_tests::SECRET);
    let mut socket = open(local.clone()).await.expect("let in");
    assert_eq!(who(&mut socket, &ann).await, pair("ann", "user"));
    let mut socket = open(local.clone()).await.expect("let in");
    socket.round().await;
    socket.send(&json!({"type": "authenticate", "token": ann})).await;
    socket.fails("FORBIDDEN").await;
    socket.round().await;
    // A token that came is always checked.
    assert_eq!(open(Credentials::token("bad")).await.expect_err("no good").status, 401);
    let mut socket = open(local.clone()).await.expect("let in");
    socket.send(&json!({"type": "authenticate", "token": "bad"})).await;
    socket.fails("UNAUTHORIZED").await;
    socket.closes(4401).await;
    // Whom the rule does not know needs a token, like anybody.
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("host", "evil.example"),
    ] {
        let mut socket = open(local.clone().with(name, value)).await.expect("asked for a token");
        socket.send(&json!({"type": "ping"})).await;
        let message = socket.fails("AUTH_REQUIRED").await.to_lowercase();
        assert!(message.contains(name) || message.contains("proxy"), "why not is told: {message}");
        socket.closes(4401).await;
        let mut socket = open(local.clone().with(name, value)).await.expect("asked for a token");
        assert_eq!(who(&mut socket, &ann).await, pair("ann", "user"), "{name}: {value}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_like_any_bad_request() {
    let server = server().await;
    let ann = token("ann", Role::User, server.secret());
    let usual = format!("Host: localhost\r\nAuthorization: Bearer {ann}\r\n");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (head, status, code) in [
        (format!("POST /ws HTTP/1.1\r\n{usual}{upgrade}{KEY}Content-Length: 0\r\n"), 405, "METHOD_NOT_ALLOWED"),
        (format!("DELETE /ws HTTP/1.1\r\n{usual}{upgrade}{KEY}"), 405, "METHOD_NOT_ALLOWED"),
        (format!("GET /ws HTTP/1.1\r\n{usual}"), 400, "INVALID_REQUEST"),
        (format!("GET /ws HTTP/1.1\r\n{usual}{upgrade}"), 400, "INVALID_REQUEST"),
        (format!("GET /ws HTTP/1.1\r\n{usual}Upgrade: websocket\r\n{KEY}"), 400, "INVALID_REQUEST"),
        (format!("GET /ws HTTP/1.1\r\n{usual}Connection: Upgrade\r\nUpgrade: h2c\r\n{KEY}"), 400, "INVALID_REQUEST"),
        (format!("GET /ws HTTP/1.1\r\n{usual}{upgrade}{}", KEY.replace("13", "8")), 400, "INVALID_REQUEST"),
        (format!("GET /ws HTTP/1.1\r\n{usual}{upgrade}{}", KEY.replace("dGhl", "")), 400, "INVALID_REQUEST"),
        (format!("GET /ws?tokne=x HTTP/1.1\r\n{usual}{upgrade}{KEY}"), 400, "INVALID_REQUEST"),
        (format!("GET /ws HTTP/1.1\r\n{usual}{upgrade}{KEY}Content-Length: 2\r\n\r\n{{}}"), 400, "INVALID_REQUEST"),
        (format!("GET /ws/x HTTP/1.1\r\n{usual}{upgrade}{KEY}"), 404, "NOT_FOUND"),
    ] {
        let mut connection = RawConnection::open(server.base()).await;
        connection.send(format!("{head}\r\n")).await;
        let answer = connection.answer(PATIENCE).await.unwrap_or_else(|| panic!("no answer: {head}"));
        assert_eq!(answer.status, status, "{head}\n{answer:?}");
        assert!(answer.body.contains(&format!("\"code\":\"{code}\"")), "{head}\n{answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{answer:?}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET"), "{answer:?}");
    }
    let mut connection = RawConnection::open(server.base()).await;
    connection.send(format!("GET /ws HTTP/1.1\r\n{usual}{upgrade}{KEY}\r\n\x08")).await;
    connection.finish().await;
    let answer = connection.read_to_end(PATIENCE).await.expect("closed");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
}

#[tokio::test]
async fn a_disabled_user_does_not_come_in() {
    let server = server().await;
    server.admin().sql("CREATE USER 'ann' WITH (disabled = 'true')").await.ok();
    server.admin().sql("CREATE USER 'bob' WITH (role = 'service')").await.ok();
    let ann = token("ann", Role::Dba, server.secret());
    let refused = LiveSocket::connect(server.base(), &Credentials::token(&ann)).await.expect_err("disabled");
    assert_eq!((refused.status, &refused.body["error"]["code"]), (401, &json!("UNAUTHORIZED")));
    let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
    socket.send(&json!({"type": "authenticate", "token": ann})).await;
    assert!(socket.fails("UNAUTHORIZED").await.contains("disabled"));
    socket.closes(4401).await;
    let mut socket = LiveSocket::connect(server.base(), &Credentials::default()).await.expect("let in");
    let bob = token("bob", Role::User, server.secret());
    assert_eq!(who(&mut socket, &bob).await, pair("bob", "service"), "the row's role wins");
}

#[tokio::test]
async fn connections_go_when_their_sockets_do() {
    let server = server().await;
    let ann = token("ann", Role::User, server.secret());
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(LiveSocket::open(server.base(), &ann).await);
    }
    let count = async || server.service().get("/api/actors/live").await.body["connections"].as_u64();
    assert_eq!(count().await, Some(20));
    for (at, mut socket) in sockets.into_iter().enumerate() {
        // Half of them say goodbye.
        if at % 2 == 0 {
            socket.send_close().await;
            socket.closes(1005).await;
        }
    }
    eventually("they are gone", PATIENCE, async || (count().await == Some(0)).then_some(())).await;
    let ann = server.user("ann").get("/api/actors/live").await;
    ann.fails(403, "FORBIDDEN");
}
