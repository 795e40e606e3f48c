//! Which pages of a browser may read answers.

use crate::harness::{Request, serve, settings};

const ORIGIN: &str = "https://app.example";

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/api/sql").with("origin", origin).with("access-control-request-method", "POST")
}

#[tokio::test]
async fn listed_origins_may_call_and_read() {
    let mut listed = settings();
    listed.server.cors_origins = vec![ORIGIN.to_owned()];
    let server = serve(listed).await;
    let allowed = preflight(ORIGIN).ask(server.address()).await;
    assert_eq!(allowed.status, 204, "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), Some(ORIGIN));
    assert!(allowed.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let headers = allowed.header("access-control-allow-headers").unwrap_or_default();
    assert!(["authorization", "content-type", "x-user-id"].iter().all(|name| headers.contains(name)), "{headers}");
    for request in [Request::sql("SELECT 1"), Request::new("GET", "/nothing"), Request::post("{")] {
        let reply = request.with("origin", ORIGIN).ask(server.address()).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN), "{reply:?}");
        assert_eq!(reply.header("vary"), Some("origin"));
        assert!(reply.header("access-control-expose-headers").is_some_and(|names| names.contains("x-request-id")));
    }
    let other = preflight("https://evil.example").ask(server.address()).await;
    other.fails(405, "METHOD_NOT_ALLOWED");
    assert_eq!(other.header("access-control-allow-origin"), None);
    let other = Request::new("GET", "/health").with("origin", "https://evil.example").ask(server.address()).await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn without_a_list_no_page_may() {
    let server = serve(settings()).await;
    let refused = preflight(ORIGIN).ask(server.address()).await;
    refused.fails(405, "METHOD_NOT_ALLOWED");
    assert!(refused.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{refused:?}");
}

/// What lets a page of this machine in lets it read.
#[tokio::test]
async fn a_page_of_this_machine_may_where_it_is_let_in() {
    let server = serve(settings()).await;
    for origin in ["http://localhost:3000", "http://127.0.0.1", "https://LOCALHOST", "http://[::1]:8080"] {
        let allowed = preflight(origin).ask(server.address()).await;
        assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some(origin)), "{allowed:?}");
        let reply = Request::sql("SELECT 1").with("origin", origin).ask(server.address()).await;
        reply.succeeds();
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin), "{reply:?}");
        assert_eq!(reply.header("vary"), Some("origin"));
    }
    let local = "http://localhost:3000";
    for request in [
        preflight(local).with("x-forwarded-for", "10.0.0.1"),
        preflight(local).with("host", "evil.example"),
        preflight(local).and("origin", "https://evil.example"),
        preflight("http://localhost.evil.example"),
        preflight("null"),
    ] {
        let refused = request.ask(server.address()).await;
        refused.fails(405, "METHOD_NOT_ALLOWED");
        assert_eq!(refused.header("access-control-allow-origin"), None, "{refused:?}");
    }
    let mut strict = settings();
    strict.auth.localhost_bypass = false;
    let server = serve(strict).await;
    let refused = preflight(local).ask(server.address()).await;
    refused.fails(405, "METHOD_NOT_ALLOWED");
    assert!(refused.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{refused:?}");
}
