//! Requests that never end.

use std::time::Duration;

use futures::future::join_all;

use kalamdb_tests::{RawConnection, Role, TestServer, token};

const LIMIT: Duration = Duration::from_secs(40);

async fn impatient() -> TestServer {
    TestServer::start_with(&[("server.header_timeout", "3s"), ("server.request_timeout", "10s")]).await
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed() {
    let server = impatient().await;
    let starts = ["", "P", "POST /api/sql HTTP/1.1\r\n", "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nX-Slow: "];
    join_all(starts.map(async |start| {
        let mut connection = RawConnection::open(server.base()).await;
        connection.send(start).await;
        let answer = connection.read_to_end(LIMIT).await;
        let answer = answer.unwrap_or_else(|_| panic!("{start:?} is kept open"));
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{start:?}: {answer}");
    }))
    .await;
    server.user("ann").sql("SELECT 1").await.ok();
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_request_timeout() {
    let server = impatient().await;
    let token = token("ann", Role::User, server.secret());
    let head = format!(
        "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    );
    let bodies =
        ["Content-Length: 1000\r\n\r\n{\"sql\": \"SELECT", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"sql\r\n"];
    join_all(bodies.map(async |rest| {
        let mut connection = RawConnection::open(server.base()).await;
        connection.send(format!("{head}{rest}")).await;
        let answer = connection.read_to_end(LIMIT).await.unwrap_or_else(|got| panic!("{rest:?} is kept open: {got}"));
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("REQUEST_TIMEOUT"), "{rest:?}: {answer}");
    }))
    .await;
    server.user("ann").sql("SELECT 1").await.ok();
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    let token = token("ann", Role::User, server.secret());
    for length in [10, 60, 200] {
        let body =
            format!("{{\"namespace\": \"{}\", \"sql\": \"INSERT INTO t VALUES ({length})\"}}", server.namespace());
        let request = format!(
            "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = RawConnection::open(server.base()).await;
        connection.send(&request.as_bytes()[..request.len() - 1 - length % body.len()]).await;
        drop(connection);
    }
    // Half a request is no request.
    assert_eq!(server.user("ann").sql("SELECT count(*) FROM t").await.success().number(), 0);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = TestServer::start().await;
    for bytes in
        [&b"hello\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"\x00\x00\x00\x00\r\n\r\n"]
    {
        let mut connection = RawConnection::open(server.base()).await;
        connection.send(bytes).await;
        connection.finish().await;
        let answer = connection.read_to_end(LIMIT).await.unwrap_or_else(|_| panic!("{bytes:?} is kept open"));
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505"),
            "{answer}"
        );
    }
    assert_eq!(server.anonymous().get("/health").await.status, 200);
}
