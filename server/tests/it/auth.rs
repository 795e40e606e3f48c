//! Who gets in, seen from outside. Every single defect is tested beside the code.

use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kalamdb_server::start;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Request, claims, now, serve, settings, token};

const WHO: &str = "SELECT CURRENT_USER() AS me";

fn key_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

#[tokio::test]
async fn a_token_says_who_is_calling() {
    let server = serve(settings()).await;
    for user in ["ann", "anna", "../../etc", "жанна", "a b"] {
        let reply = Request::sql(WHO).with_token(&token(&claims(user, "user"))).ask(server.address()).await;
        reply.succeeds();
        assert_eq!(reply.body["results"][0]["rows"][0]["me"], user, "{reply:?}");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_with_its_reason_from_localhost_too() {
    let server = serve(settings()).await;
    let change = |name: &str, value: Value| {
        let mut claims = claims("ann", "dba");
        claims[name] = value;
        token(&claims)
    };
    let without_user = token(&json!({"role": "dba", "exp": now() + 600}));
    let good = token(&claims("ann", "dba"));
    let forged = format!("{}x{}", &good[..good.len() - 8], &good[good.len() - 7..]);
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", good.split('.').nth(1).expect("claims"));
    for (token, says) in [
        (forged, "signature"),
        (none, "algorithm"),
        (change("exp", json!(now() - 1)), "expired"),
        (change("nbf", json!(now() + 600)), "not valid yet"),
        (change("role", json!("root")), "role"),
        (change("role", json!("system")), "role"),
        (change("user_id", json!("")), "user_id"),
        (change("user_id", json!("system")), "localhost_user"),
        (without_user, "user_id"),
        ("rubbish".to_owned(), "JWT"),
    ] {
        let reply = Request::sql(WHO).with_token(&token).ask(server.address()).await;
        reply.fails(401, "UNAUTHORIZED");
        assert!(reply.message().contains(says), "{says}: {reply:?}");
        assert!(!reply.text.contains(&token), "{reply:?}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    for header in ["Basic YTpi", "Bearer", ""] {
        Request::sql(WHO).with("authorization", header).ask(server.address()).await.fails(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let mut settings = settings();
    settings.auth.jwt_secret = None;
    settings.auth.jwt_public_key_file = Some(key_path("rsa_public.pem"));
    let server = serve(settings).await;
    let sign = |algorithm, key: &EncodingKey| {
        jsonwebtoken::encode(&Header::new(algorithm), &claims("ann", "user"), key).expect("it signs")
    };
    let read = |name| std::fs::read(key_path(name)).expect("a key");
    let private = EncodingKey::from_rsa_pem(&read("rsa_private.pem")).expect("a private key");
    Request::sql(WHO).with_token(&sign(Algorithm::RS256, &private)).ask(server.address()).await.succeeds();
    let confused = EncodingKey::from_secret(&read("rsa_public.pem"));
    let reply = Request::sql(WHO).with_token(&sign(Algorithm::HS256, &confused)).ask(server.address()).await;
    reply.fails(401, "UNAUTHORIZED");
    assert!(reply.message().contains("RS256"), "{reply:?}");
}

#[tokio::test]
async fn without_a_token_only_programs_on_this_machine_get_in() {
    let mut with_origin = settings();
    with_origin.server.cors_origins = vec!["https://app.example".to_owned()];
    let server = serve(with_origin).await;
    let request = Request::sql(WHO);
    for good in [
        request.clone(),
        request.clone().with("host", "localhost:8080"),
        request.clone().with("origin", "http://localhost:3000"),
        request.clone().with("origin", "https://app.example"),
    ] {
        let reply = good.ask(server.address()).await;
        reply.succeeds();
        assert_eq!(reply.body["results"][0]["rows"][0]["me"], "system", "{reply:?}");
    }
    for bad in [
        request.clone().with("host", "evil.example"),
        request.clone().with("host", "localhost.evil.example"),
        request.clone().with("origin", "https://evil.example"),
        request.clone().with("origin", "null"),
        request.clone().with("forwarded", "for=127.0.0.1"),
        request.clone().with("x-forwarded-for", "127.0.0.1"),
        request.clone().with("x-real-ip", "127.0.0.1"),
    ] {
        bad.ask(server.address()).await.fails(401, "UNAUTHORIZED");
    }
    let proxied = request.with("x-forwarded-for", "10.0.0.1").with_token(&token(&claims("ann", "user")));
    proxied.ask(server.address()).await.succeeds();
}

#[tokio::test]
async fn without_the_bypass_nobody_gets_in_without_a_token() {
    let mut strict = settings();
    strict.auth.localhost_bypass = false;
    let server = serve(strict).await;
    Request::sql(WHO).ask(server.address()).await.fails(401, "UNAUTHORIZED");
    Request::new("GET", "/api/actors").ask(server.address()).await.fails(401, "UNAUTHORIZED");
    let as_system = Request::sql(WHO).with_token(&token(&claims("system", "user"))).ask(server.address()).await;
    as_system.succeeds();
}

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
