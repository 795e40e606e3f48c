//! Bodies that are no request.

use serde_json::json;

use kalamdb_tests::{RawConnection, TestServer};

#[tokio::test]
async fn what_is_no_request_is_an_invalid_request() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for body in [
        "",
        " ",
        "null",
        "1",
        "\"SELECT 1\"",
        "[]",
        "[{\"sql\": \"SELECT 1\"}]",
        "{",
        "{}",
        "{\"sql\"}",
        "{\"sql\": 1}",
        "{\"sql\": null}",
        "{\"sql\": [\"SELECT 1\"]}",
        "{\"sql\": true}",
        "{\"SQL\": \"SELECT 1\"}",
        "{\"query\": \"SELECT 1\"}",
        "{\"sql\": \"SELECT 1\", \"parms\": []}",
        "{\"sql\": \"SELECT 1\", \"user_id\": \"bob\"}",
        "{\"sql\": \"SELECT 1\", \"sql\": \"SELECT 2\"}",
        "{\"sql\": \"SELECT 1\", \"params\": {}}",
        "{\"sql\": \"SELECT 1\", \"params\": \"x\"}",
        "{\"sql\": \"SELECT 1\", \"params\": [[]]}",
        "{\"sql\": \"SELECT 1\", \"params\": [{}]}",
        "{\"sql\": \"SELECT 1\", \"namespace\": 1}",
        "{\"sql\": \"SELECT 1\", \"namespace\": []}",
        "{\"sql\": \"SELECT 1\"} {\"sql\": \"SELECT 2\"}",
        "{\"sql\": \"SELECT 1\",}",
        "{'sql': 'SELECT 1'}",
        "{\"sql\": \"\\ud800\"}",
        "{\"sql\": \"a\u{1}b\"}",
        "sql=SELECT+1",
    ] {
        let answer = ann.post_bytes("application/json", body.as_bytes().to_vec()).await;
        let message = answer.fails(400, "INVALID_REQUEST");
        assert!(!message.is_empty() && message.len() < 1000, "{body}: {message}");
        assert_eq!(answer.body["results"], json!([]), "{body}");
    }
    for body in [
        &b"{\"sql\": \"\xff\xfe\"}"[..],
        b"\xff",
        b"\x00",
        b"{\"sql\": \"a\x00b\"}",
        b"\xef\xbb\xbf{\"sql\": \"SELECT 1\"}",
    ] {
        ann.post_bytes("application/json", body.to_vec()).await.fails(400, "INVALID_REQUEST");
    }
    let deep = format!("{{\"sql\": \"x\", \"params\": {}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    ann.post_bytes("application/json", deep.into_bytes()).await.fails(400, "INVALID_REQUEST");
    assert_eq!(ann.sql("SELECT 1").await.success().number(), 1);
}

#[tokio::test]
async fn the_content_type_is_json() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let body = || b"{\"sql\": \"SELECT 1\"}".to_vec();
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/sql", "multipart/form-data", "json"]
    {
        ann.post_bytes(content_type, body()).await.fails(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    for content_type in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        ann.post_bytes(content_type, body()).await.ok();
    }
    let token = kalamdb_tests::token("ann", kalamdb_tests::Role::User, server.secret());
    let mut without = RawConnection::open(server.base()).await;
    let head =
        format!("POST /api/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    without.send(format!("{head}Content-Length: 19\r\n\r\n{{\"sql\": \"SELECT 1\"}}")).await;
    let answer = without.read_to_end(std::time::Duration::from_secs(20)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
}

#[tokio::test]
async fn an_unknown_accept_is_answered_in_json() {
    let server = TestServer::start().await;
    let token = kalamdb_tests::token("ann", kalamdb_tests::Role::User, server.secret());
    let mut connection = RawConnection::open(server.base()).await;
    let body = "{\"sql\": \"SELECT 1 AS one\"}";
    let request = format!(
        "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAccept: image/png\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request).await;
    let answer = connection.read_to_end(std::time::Duration::from_secs(20)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"one\":1"), "{answer}");
}
