//! What a request has to be, and how one that is not is answered.

use serde_json::json;

use crate::harness::{Connection, Request, serve, settings};

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = serve(settings()).await;
    let mut ids = Vec::new();
    for request in [
        Request::sql("SELECT 1"),
        Request::sql("SELEKT"),
        Request::new("GET", "/health"),
        Request::new("GET", "/nothing"),
        Request::new("DELETE", "/api/sql"),
        Request::post("{"),
        Request::sql("SELECT 1").with("host", "evil.example"),
    ] {
        let reply = request.ask(server.address()).await;
        ids.push(reply.header("x-request-id").unwrap_or_else(|| panic!("no id: {reply:?}")).to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 7, "ids are unique");
    let echoed = Request::new("GET", "/nothing").with("x-request-id", "my-request.7").ask(server.address()).await;
    assert_eq!(echoed.header("x-request-id"), Some("my-request.7"));
    let forged = Request::new("GET", "/nothing").with("x-request-id", "a b\"c").ask(server.address()).await;
    assert_eq!(forged.header("x-request-id").map(str::len), Some(26), "{forged:?}");
}

#[tokio::test]
async fn health_and_readiness_are_open_to_all() {
    let server = serve(settings()).await;
    let health = Request::new("GET", "/health").with("host", "anything").ask(server.address()).await;
    assert_eq!(health.status, 200);
    assert_eq!(health.body["status"], "ok");
    assert_eq!(health.body["version"], env!("CARGO_PKG_VERSION"));
    assert!(health.body["commit"].is_string());
    assert_eq!(Request::new("GET", "/ready").ask(server.address()).await.status, 200);
    let head = Request::new("HEAD", "/health").ask(server.address()).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn unknown_paths_and_methods_have_their_codes() {
    let server = serve(settings()).await;
    for target in ["/", "/api", "/api/nothing", "/api/sql/more", "/../../etc/passwd", "/%00", "/health/x", "*"] {
        Request::new("GET", target).ask(server.address()).await.fails(404, "NOT_FOUND");
    }
    for (method, target, allowed) in [
        ("GET", "/api/sql", "POST"),
        ("PUT", "/api/sql", "POST"),
        ("OPTIONS", "/api/sql", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/ready", "GET, HEAD"),
        ("PATCH", "/api/actors", "GET, HEAD"),
    ] {
        let reply = Request::new(method, target).ask(server.address()).await;
        reply.fails(405, "METHOD_NOT_ALLOWED");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {target}");
    }
    let head = Request::new("HEAD", "/api/sql").ask(server.address()).await;
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn a_body_is_json_and_says_so() {
    let server = serve(settings()).await;
    let good = Request::sql("SELECT 1");
    for content_type in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        good.clone().with("content-type", content_type).ask(server.address()).await.succeeds();
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""] {
        let reply = good.clone().with("content-type", content_type).ask(server.address()).await;
        reply.fails(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    good.clone().without("content-type").ask(server.address()).await.fails(415, "UNSUPPORTED_MEDIA_TYPE");
    good.with("content-encoding", "gzip").ask(server.address()).await.fails(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn an_accept_that_cannot_be_met_is_answered_in_json() {
    let server = serve(settings()).await;
    for accept in ["text/html", "application/json", "*/*", "rubbish;;", "image/png;q=0"] {
        let reply = Request::sql("SELECT 1").with("accept", accept).ask(server.address()).await;
        reply.succeeds();
        assert_eq!(reply.header("content-type"), Some("application/json"), "{accept}");
    }
}

#[tokio::test]
async fn a_wrong_body_is_refused_naming_what_is_wrong() {
    let server = serve(settings()).await;
    for (body, says) in [
        (&b""[..], "EOF"),
        (b"not json", "expected"),
        (b"[]", "invalid"),
        (b"{}", "`sql`"),
        (br#"{"sql": 1}"#, "invalid type"),
        (br#"{"sql": "SELECT 1", "colour": "red"}"#, "`colour`"),
        (br#"{"sql": "SELECT 1", "params": {"a": 1}}"#, "parameters"),
        (br#"{"sql": "SELECT $1", "params": [[1]]}"#, "parameter 1 is an array"),
        (br#"{"sql": "SELECT $1", "params": [{}]}"#, "parameter 1 is an object"),
        (b"{\"sql\": \"\xff\"}", "unicode"),
        (b"{\"sql\": \"a\x00b\"}", "control character"),
    ] {
        let reply = Request::post(body).ask(server.address()).await;
        reply.fails(400, "INVALID_REQUEST");
        assert!(reply.message().contains(says), "{says}: {reply:?}");
    }
    let name = json!({"sql": "SELECT 1", "namespace": "a; DROP"}).to_string();
    Request::post(name).ask(server.address()).await.fails(400, "INVALID_NAME");
    Request::sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").ask(server.address()).await.succeeds();
    for user in [&b""[..], b"\xff\xfe", &[b'u'; 129]] {
        let named = Request::sql("SELECT * FROM default.user.t").with("x-user-id", user);
        named.ask(server.address()).await.fails(400, "INVALID_REQUEST");
        // It is read for the qualifier only.
        Request::sql("SELECT * FROM t").with("x-user-id", user).ask(server.address()).await.succeeds();
    }
    Request::sql("SELECT 1").with("x-user-id", "жанна").ask(server.address()).await.succeeds();
}

#[tokio::test]
async fn timing_is_reported_only_where_it_is_wanted() {
    let server = serve(settings()).await;
    let reply = Request::sql("SELECT 1").ask(server.address()).await;
    assert!(reply.body["took_ms"].is_number(), "{reply:?}");
    let mut silent = settings();
    silent.query.report_timing = false;
    let server = serve(silent).await;
    let reply = Request::sql("SELECT 1").ask(server.address()).await;
    reply.succeeds();
    assert!(reply.body.get("took_ms").is_none(), "{reply:?}");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let server = serve(settings()).await;
    let mut connection = Connection::open(server.address()).await;
    for _ in 0..3 {
        connection.send(Request::sql("SELECT 1").bytes()).await;
        connection.reply(true).await.expect("an answer").succeeds();
        connection.send(Request::new("GET", "/nothing").bytes()).await;
        connection.reply(true).await.expect("an answer").fails(404, "NOT_FOUND");
    }
    // A refused body that is there already does not cost the connection.
    connection.send(Request::sql("SELECT 1").with("content-type", "text/plain").bytes()).await;
    connection.reply(true).await.expect("an answer").fails(415, "UNSUPPORTED_MEDIA_TYPE");
    let two = [Request::sql("SELECT 1").bytes(), Request::new("GET", "/health").bytes()].concat();
    connection.send(two).await;
    connection.reply(true).await.expect("an answer").succeeds();
    assert_eq!(connection.reply(true).await.expect("an answer").body["status"], "ok");
    connection.send(Request::new("GET", "/health").with("connection", "close").bytes()).await;
    assert_eq!(connection.reply(true).await.expect("an answer").status, 200);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn what_is_no_http_is_refused_in_the_form_of_every_error() {
    let server = serve(settings()).await;
    let long_head = format!("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n", "x".repeat(100 << 10));
    let many_headers = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    for garbage in [
        "rubbish\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fffd}",
        "GET /a b HTTP/1.1\r\n\r\n",
        "POST /api/sql HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        &long_head,
        &many_headers,
    ] {
        let mut connection = Connection::open(server.address()).await;
        connection.send(garbage).await;
        let reply = connection.reply(true).await.unwrap_or_else(|| panic!("no answer to {garbage:.40?}"));
        reply.fails(400, "INVALID_REQUEST");
        assert!(connection.is_closed().await);
    }
    Request::sql("SELECT 1").ask(server.address()).await.succeeds();
}
