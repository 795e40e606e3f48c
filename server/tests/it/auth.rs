//! What the door does with who is calling; who that is, `identity.rs` tells.

use kalamdb_server::start;
use tokio::net::TcpListener;

use crate::harness::{Request, claims, serve, settings, token};

#[tokio::test]
async fn the_actors_are_shown_to_services_and_up() {
    let server = serve(settings()).await;
    let request = Request::new("GET", "/api/actors?depth=1&limit=10");
    for role in ["service", "dba"] {
        let reply = request.clone().with_token(&token(&claims("ann", role))).ask(server.address()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body["name"].is_string() && reply.body["children"].is_array(), "{reply:?}");
    }
    let reply = request.clone().ask(server.address()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    request.with_token(&token(&claims("ann", "user"))).ask(server.address()).await.fails(403, "FORBIDDEN");
    for target in ["/api/actors?depth=x", "/api/actors?limit=-1", "/api/actors?colour=red"] {
        Request::new("GET", target).ask(server.address()).await.fails(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn settings_that_open_the_door_too_wide_do_not_start() {
    let mut wide = settings();
    wide.auth.jwt_secret = None;
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
    let error = start(wide.clone(), listener).await.expect_err("anybody could come in");
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("auth.jwt_secret"), "{error}");
    wide.server.host = "0.0.0.0".to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    assert_eq!(start(wide, listener).await.expect_err("the settings say so").exit_code(), 78);
}
