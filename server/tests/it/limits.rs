//! What a client can hold is bounded, and no client hurts another.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::harness::{Connection, Request, serve, settings};

const HEAD: &str = "POST /api/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// A body of exactly this length.
fn body_of(length: usize) -> String {
    let empty = json!({"sql": "SELECT 1 -- "}).to_string();
    json!({"sql": format!("SELECT 1 -- {}", "x".repeat(length - empty.len()))}).to_string()
}

#[tokio::test]
async fn a_body_is_bounded_by_its_announced_length() {
    let mut small = settings();
    small.server.max_body_bytes = 4096;
    let server = serve(small).await;
    Request::post(body_of(4096)).ask(server.address()).await.succeeds();
    // Refused before it is sent; no "100 Continue" invites it.
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("{HEAD}expect: 100-continue\r\ncontent-length: 4097\r\n\r\n")).await;
    let reply = connection.reply(true).await.expect("an answer");
    reply.fails(413, "BODY_TOO_LARGE");
    assert!(reply.message().contains("server.max_body_bytes"), "{reply:?}");
    assert!(connection.is_closed().await);
    // The answer reaches a client that goes on sending.
    for _ in 0..5 {
        Request::post(body_of(8 << 20)).ask(server.address()).await.fails(413, "BODY_TOO_LARGE");
    }
    let absurd = format!("{HEAD}content-length: {}\r\n\r\n", u64::MAX - 1);
    let mut connection = Connection::open(server.address()).await;
    connection.send(absurd).await;
    let reply = connection.reply(true).await.expect("an answer");
    assert!([400, 413].contains(&reply.status), "{reply:?}");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_too() {
    let mut small = settings();
    small.server.max_body_bytes = 4096;
    let server = serve(small).await;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(&body_of(4096)))).await;
    connection.reply(true).await.expect("an answer").succeeds();
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n")).await;
    for _ in 0..5 {
        connection.send(chunk(&"x".repeat(1024))).await;
    }
    connection.reply(true).await.expect("an answer").fails(413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_request_that_is_not_finished_is_answered_and_ended() {
    let mut hasty = settings();
    hasty.server.header_timeout = Duration::from_millis(300);
    let server = serve(hasty).await;
    for unfinished in [
        "P".to_owned(),
        "POST /api/sql HTTP/1.1\r\nhost: localhost\r\n".to_owned(),
        format!("{HEAD}content-length: 20\r\n\r\n"),
        format!("{HEAD}content-length: 20\r\n\r\n{{\"sql\""),
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n5\r\n{{\"sq"),
    ] {
        let begun = Instant::now();
        let mut connection = Connection::open(server.address()).await;
        connection.send(&unfinished).await;
        let reply = connection.reply(true).await.unwrap_or_else(|| panic!("no answer to {unfinished:?}"));
        reply.fails(408, "REQUEST_TIMEOUT");
        assert!(connection.is_closed().await);
        assert!(begun.elapsed() >= Duration::from_millis(300), "{unfinished:?}: {:?}", begun.elapsed());
    }
    let mut silent = Connection::open(server.address()).await;
    assert!(silent.is_closed().await, "nothing was asked, nothing is said");
    // Between two requests a connection may rest.
    let mut resting = Connection::open(server.address()).await;
    resting.send(Request::sql("SELECT 1").bytes()).await;
    resting.reply(true).await.expect("an answer").succeeds();
    let rest = timeout(Duration::from_millis(900), resting.is_closed()).await;
    assert!(rest.is_err(), "closed while resting");
    resting.send(Request::sql("SELECT 1").bytes()).await;
    resting.reply(true).await.expect("an answer").succeeds();
}

#[tokio::test]
async fn connections_over_the_bound_wait_for_room() {
    let mut narrow = settings();
    narrow.server.max_connections = 2;
    let server = serve(narrow).await;
    let mut first = Connection::open(server.address()).await;
    let mut second = Connection::open(server.address()).await;
    for connection in [&mut first, &mut second] {
        connection.send(Request::sql("SELECT 1").bytes()).await;
        connection.reply(true).await.expect("an answer").succeeds();
    }
    let mut third = Connection::open(server.address()).await;
    third.send(Request::sql("SELECT 1").bytes()).await;
    assert!(timeout(Duration::from_millis(300), third.reply(true)).await.is_err(), "there was no room");
    drop(first);
    third.reply(true).await.expect("there is room now").succeeds();
}

#[tokio::test]
async fn clients_that_vanish_hurt_nobody() {
    let server = serve(settings()).await;
    let request = Request::sql("SELECT 1").bytes();
    let mut resting = Connection::open(server.address()).await;
    for cut in 1..request.len() {
        let mut connection = Connection::open(server.address()).await;
        connection.send(&request[..cut]).await;
    }
    for _ in 0..20 {
        Connection::open(server.address()).await.send(&request).await;
    }
    resting.send(&request).await;
    resting.reply(true).await.expect("an answer").succeeds();
}

#[tokio::test]
async fn large_requests_and_many_at_once_are_served() {
    let server = serve(settings()).await;
    Request::post(body_of(4 << 20)).ask(server.address()).await.succeeds();
    let address = server.address();
    let all = (0..50).map(|_| async move { Request::sql("SELECT 1").ask(address).await.succeeds() });
    futures::future::join_all(all).await;
}
