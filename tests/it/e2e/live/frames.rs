//! What a client may send, and what ends its connection.

use serde_json::json;

use kalamdb_tests::{LiveSocket, RawConnection, Role, Said, TestServer, token};

use super::{PATIENCE, socket, with_messages};

#[tokio::test]
async fn garbage_is_an_error_and_the_connection_lives() {
    let server = TestServer::start_in_memory().await;
    let mut ann = socket(&server, "ann").await;
    for text in [
        "",
        "garbage",
        "{",
        "null",
        "[]",
        "7",
        r#"{"type": "dance"}"#,
        r#"{"type": 7}"#,
        r#"{"type": "ping", "colour": "red"}"#,
        r#"{"type": "subscribe"}"#,
        r#"{"type": "subscribe", "subscriptions": []}"#,
        r#"{"type": "subscribe", "subscriptions": "SELECT 1"}"#,
        r#"{"type": "unsubscribe"}"#,
        r#"{"type": "authenticate"}"#,
        "\u{0}",
    ] {
        ann.send_text(text).await;
        ann.fails("INVALID_REQUEST").await;
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    ann.send_text(&format!("{{\"type\": \"subscribe\", \"subscriptions\": {deep}}}")).await;
    ann.fails("INVALID_REQUEST").await;
    ann.round().await;
}

#[tokio::test]
async fn one_bad_subscription_leaves_the_others_alone() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    let sql = format!("SELECT id FROM {table}");
    let list = json!([
        {"query_id": "good", "sql": sql},
        {"query_id": "bad", "sql": sql, "options": {"last_row": 1}},
        {"query_id": "", "sql": sql},
        {"query_id": "x".repeat(129), "sql": sql},
        {"query_id": "zero", "sql": sql, "options": {"batch_size": 0}},
        {"query_id": "deep", "sql": sql, "params": [[1]]},
        {"query_id": "good", "sql": sql},
    ]);
    ann.send(&json!({"type": "subscribe", "subscriptions": list})).await;
    let mut errors = Vec::new();
    let mut begun = false;
    while errors.len() < 6 || !begun {
        let frame = ann.frame().await;
        if frame["type"] == "subscribed" {
            assert_eq!(frame["query_id"], "good");
            begun = true;
        } else {
            errors.push((frame["query_id"].clone(), frame["code"].clone()));
        }
    }
    let invalid = |name: serde_json::Value| (name, json!("INVALID_REQUEST"));
    let expected = [
        invalid(json!("bad")),
        invalid(json!(null)),
        invalid(json!(null)),
        invalid(json!("zero")),
        invalid(json!("deep")),
        (json!("good"), json!("CONFLICT")),
    ];
    assert_eq!(errors, expected);
}

#[tokio::test]
async fn messages_may_come_in_fragments_with_pings_between() {
    let server = TestServer::start_in_memory().await;
    let mut ann = socket(&server, "ann").await;
    ann.send_fragments(&["{\"ty", "", "pe\": \"pi", "ng\"}"]).await;
    ann.expect("pong").await;
    // By hand: a ping between two fragments is answered at once.
    let mut raw = RawConnection::open(server.base()).await;
    let ann = token("ann", Role::User, server.secret());
    raw.send(format!(
        "GET /ws?token={ann} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    // Masked with zeroes: a text fragment, a ping, and the rest.
    let mut bytes = b"\x01\x86\0\0\0\0{\"type".to_vec();
    bytes.extend_from_slice(b"\x89\x82\0\0\0\0hi");
    bytes.extend_from_slice(b"\x80\x89\0\0\0\0\":\"ping\"}");
    bytes.extend_from_slice(b"\x88\x80\0\0\0\0");
    raw.send(&bytes).await;
    let answer = raw.read_to_end(PATIENCE).await.expect("closed");
    let (head, frames) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let ping = frames.find("hi").expect("the ping is answered");
    let pong = frames.find(r#"{"type":"pong"}"#).expect("the message is answered");
    assert!(ping < pong, "{frames:?}");
}

#[tokio::test]
async fn what_is_no_text_or_too_large_ends_the_connection() {
    let server = TestServer::start_with(&[("storage.backend", "memory"), ("live.max_frame_bytes", "200000")]).await;
    let mut ann = socket(&server, "ann").await;
    ann.send_binary(b"{\"type\": \"ping\"}").await;
    ann.closes(1003).await;
    let ping = r#"{"type": "ping"}"#;
    let padded = |length: usize| format!("{ping}{}", " ".repeat(length - ping.len()));
    let mut ann = socket(&server, "ann").await;
    ann.send_text(&padded(200_000)).await;
    ann.expect("pong").await;
    ann.send_text(&padded(200_001)).await;
    ann.closes(1009).await;
    let mut ann = socket(&server, "ann").await;
    ann.send_fragments(&[&padded(150_000), &" ".repeat(60_000)]).await;
    ann.closes(1009).await;
    // The goodbye reaches a client that goes on sending.
    let mut ann = socket(&server, "ann").await;
    ann.send_text(&padded(8 << 20)).await;
    assert!(matches!(ann.said().await, Said::Closed(1009, _)));
}

#[tokio::test]
async fn goodbyes_are_returned() {
    let server = TestServer::start_in_memory().await;
    let mut ann = socket(&server, "ann").await;
    ann.send_close().await;
    ann.closes(1005).await;
    assert_eq!(ann.said().await, Said::Gone);
}

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_ends_the_connection() {
    let server = TestServer::start_in_memory().await;
    let ann = token("ann", Role::User, server.secret());
    for (bytes, code) in [
        // Not masked; an unknown opcode; a fragmented ping; a continuation of nothing; not UTF-8.
        (&b"\x81\x02hi"[..], 1002_u16),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\xC1\x80\0\0\0\0", 1002),
        (b"\x81\x82\0\0\0\0\xC3\x28", 1007),
        (b"\x88\x81\0\0\0\0x", 1002),
    ] {
        let mut raw = RawConnection::open(server.base()).await;
        raw.send(format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ann}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .await;
        raw.send(bytes).await;
        raw.finish().await;
        let answer = raw.read_bytes(PATIENCE).await.expect("closed");
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        let close = &answer[head..];
        assert_eq!(close.first(), Some(&0x88), "{bytes:?}: {close:?}");
        assert_eq!(close[2..4], code.to_be_bytes(), "{bytes:?}: {close:?}");
    }
}

#[tokio::test]
async fn half_frames_and_sudden_ends_hurt_nobody() {
    let server = TestServer::start_in_memory().await;
    let ann = token("ann", Role::User, server.secret());
    let mut other = LiveSocket::open(server.base(), &ann).await;
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ann}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let frame = b"\x81\x8F\0\0\0\0{\"type\":\"ping\"}";
    for cut in 0..frame.len() {
        // The frame comes with the handshake, as far as it comes.
        let mut raw = RawConnection::open(server.base()).await;
        raw.send([handshake.as_bytes(), &frame[..cut]].concat()).await;
    }
    other.round().await;
    let count = async || server.service().get("/api/actors/live").await.body["connections"].as_u64();
    kalamdb_tests::eventually("they are gone", PATIENCE, async || (count().await == Some(1)).then_some(())).await;
    let mut raw = RawConnection::open(server.base()).await;
    raw.send([handshake.as_bytes(), frame, b"\x88\x80\0\0\0\0"].concat()).await;
    let answer = raw.read_to_end(PATIENCE).await.expect("closed");
    assert!(answer.contains(r#"{"type":"pong"}"#), "what came with the handshake is read: {answer:?}");
}

#[tokio::test]
async fn many_subscriptions_are_bounded_for_each_user() {
    let settings = [("storage.backend", "memory"), ("live.max_subscriptions_per_user", "50")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let mut first = socket(&server, "ann").await;
    let mut second = socket(&server, "ann").await;
    let one =
        |at: usize| json!({"query_id": format!("q{at}"), "sql": format!("SELECT id FROM {table} WHERE id > {at}")});
    let many = |count: usize| json!({"type": "subscribe", "subscriptions": (0..count).map(one).collect::<Vec<_>>()});
    first.send(&many(30)).await;
    for _ in 0..30 {
        first.expect("subscribed").await;
    }
    second.send(&many(2000)).await;
    let (mut begun, mut refused) = (0, 0);
    while begun + refused < 2000 {
        let frame = second.frame().await;
        match frame["code"].as_str() {
            None => begun += 1,
            Some("SUBSCRIPTION_LIMIT") => refused += 1,
            Some(_) => panic!("{frame}"),
        }
    }
    assert_eq!((begun, refused), (20, 1980));
    let mut other = socket(&server, "bob").await;
    other.subscribe("m", &format!("SELECT id FROM {table}")).await;
    other.expect("subscribed").await;
    // Room comes back with what ends.
    drop(first);
    let count = async || server.service().get("/api/actors/live").await.body["subscriptions"].as_u64();
    kalamdb_tests::eventually("they are gone", PATIENCE, async || (count().await == Some(21)).then_some(())).await;
    second.subscribe("more", &format!("SELECT id FROM {table}")).await;
    second.expect("subscribed").await;
}
