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
