//! Tokens that prove nothing.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use kalamdb_tests::{BinaryServer, RawConnection, Role, SECRET, TestServer, now_seconds, signed_token, token};

fn later() -> u64 {
    now_seconds() + 600
}

/// Asserts that the server refuses a token, and that the message does not repeat it.
async fn refused(server: &TestServer, token: &str) -> String {
    let answer = server.anonymous().with_token(token).sql("SELECT 1").await;
    let message = answer.fails(401, "UNAUTHORIZED");
    assert!(token.len() < 10 || !answer.text.contains(token), "the token is in {}", answer.text);
    message
}

#[tokio::test]
async fn a_forged_or_broken_token_is_refused() {
    let server = TestServer::start().await;
    let claims = json!({"user_id": "ann", "role": "dba", "exp": later()});
    let good = signed_token(&claims, server.secret());
    server.anonymous().with_token(&good).sql("SELECT 1").await.ok();

    refused(&server, &signed_token(&claims, "another secret, also longer than 32 bytes")).await;
    refused(&server, &signed_token(&claims, "")).await;
    let (head_and_claims, signature) = good.rsplit_once('.').expect("a token has three parts");
    refused(&server, &format!("{head_and_claims}.")).await;
    refused(&server, head_and_claims).await;
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    refused(&server, &format!("{head_and_claims}.{flipped}{}", &signature[1..])).await;
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(server.secret().as_bytes());
        let other = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).expect("a token");
        refused(&server, &other).await;
    }
    // {"alg":"none","typ":"JWT"}, with and without the signature of another token.
    let body = good.split('.').nth(1).expect("three parts");
    for end in ["", signature] {
        refused(&server, &format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.{end}")).await;
    }
    for text in ["", "x", "a.b.c", "...", "null", "Bearer", &"x".repeat(5_000)] {
        refused(&server, text).await;
    }
}

#[tokio::test]
async fn claims_have_rules() {
    let server = TestServer::start().await;
    let of = |claims: Value| signed_token(&claims, server.secret());
    let long = "x".repeat(129);
    for claims in [
        json!({}),
        json!({"user_id": "ann"}),
        json!({"exp": later()}),
        json!({"user_id": "ann", "exp": now_seconds() - 1}),
        json!({"user_id": "ann", "exp": 0}),
        json!({"user_id": "ann", "exp": -1}),
        json!({"user_id": "ann", "exp": "tomorrow"}),
        json!({"user_id": "ann", "exp": later(), "nbf": later()}),
        json!({"user_id": "", "exp": later()}),
        json!({"user_id": null, "exp": later()}),
        json!({"user_id": 7, "exp": later()}),
        json!({"user_id": ["ann"], "exp": later()}),
        json!({"user_id": "a\0b", "exp": later()}),
        json!({"user_id": "a\nb", "exp": later()}),
        json!({"user_id": "a\u{7f}", "exp": later()}),
        json!({"user_id": "a\u{85}", "exp": later()}),
        json!({"user_id": long, "exp": later()}),
        json!({"user_id": "ann", "role": "root", "exp": later()}),
        json!({"user_id": "ann", "role": "DBA", "exp": later()}),
        json!({"user_id": "ann", "role": 1, "exp": later()}),
        json!({"user_id": "ann", "role": "", "exp": later()}),
    ] {
        let message = refused(&server, &of(claims.clone())).await;
        assert!(!message.is_empty(), "{claims}");
    }
    let expired = refused(&server, &of(json!({"user_id": "ann", "exp": now_seconds() - 1}))).await;
    assert!(expired.contains("expired"), "{expired}");
    // A role that is left out is `user`; claims nobody asks for do no harm.
    let plain = server.anonymous().with_token(&of(json!({"user_id": "ann", "exp": later(), "sub": 1, "aud": "x"})));
    plain.sql("SELECT 1").await.ok();
    plain.sql("CREATE NAMESPACE of_a_plain_user").await.fails(403, "FORBIDDEN");
    let past = of(json!({"user_id": "ann", "exp": later(), "nbf": now_seconds() - 5}));
    server.anonymous().with_token(&past).sql("SELECT 1").await.ok();
}

#[tokio::test]
async fn without_a_token_nobody_comes_in() {
    let server = TestServer::start().await;
    server.anonymous().sql("SELECT 1").await.fails(401, "UNAUTHORIZED");
    server.anonymous().naming("ann").sql("SELECT 1").await.fails(401, "UNAUTHORIZED");
    server.anonymous().get("/api/actors").await.fails(401, "UNAUTHORIZED");
    let good = token("ann", Role::User, server.secret());
    for value in
        [format!("Basic {good}"), good.clone(), "Bearer".to_owned(), format!("Bearer {good} {good}"), String::new()]
    {
        let mut connection = RawConnection::open(server.base()).await;
        let body = "{\"sql\": \"SELECT 1\"}";
        let request = format!(
            "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: {value}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(request).await;
        let answer = connection.read_to_end(std::time::Duration::from_secs(20)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401"), "Authorization: {value}: {answer}");
    }
}

#[tokio::test]
async fn the_localhost_rule_is_narrow() {
    let server = TestServer::start_with(&[("auth.localhost_bypass", "true")]).await;
    let port = server.base().rsplit(':').next().unwrap_or_default().to_owned();
    let ask = async |head: &str| {
        let mut connection = RawConnection::open(server.base()).await;
        let body = "{\"sql\": \"SELECT CURRENT_USER() AS me\"}";
        let request = format!(
            "POST /api/sql HTTP/1.1\r\n{head}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(request).await;
        connection.read_to_end(std::time::Duration::from_secs(20)).await.expect("an answer")
    };
    for head in [
        format!("Host: localhost:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\n"),
        format!("Host: [::1]:{port}\r\n"),
        format!("Host: localhost:{port}\r\nOrigin: http://localhost:3000\r\n"),
    ] {
        let answer = ask(&head).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"me\":\"system\""), "{head:?}: {answer}");
    }
    for head in [
        "Host: example.com\r\n".to_owned(),
        "Host: localhost.example.com\r\n".to_owned(),
        "Host: 127.0.0.1.example.com\r\n".to_owned(),
        format!("Host: localhost:{port}\r\nX-Forwarded-For: 127.0.0.1\r\n"),
        format!("Host: localhost:{port}\r\nForwarded: for=127.0.0.1\r\n"),
        format!("Host: localhost:{port}\r\nX-Real-IP: 127.0.0.1\r\n"),
        format!("Host: localhost:{port}\r\nOrigin: https://example.com\r\n"),
        format!("Host: localhost:{port}\r\nOrigin: null\r\n"),
        format!("Host: localhost:{port}\r\nAuthorization: Bearer x\r\n"),
    ] {
        let answer = ask(&head).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{head:?}: {answer}");
    }
    // With the rule on, its user cannot be had by a token.
    let claims = json!({"user_id": "system", "role": "dba", "exp": later()});
    refused(&server, &signed_token(&claims, server.secret())).await;
}

#[tokio::test]
async fn a_user_id_of_a_path_stays_an_id() {
    let server = BinaryServer::start().await;
    server.admin().sql("CREATE USER TABLE default.t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    for user in ["../../etc", "..", ".", "/etc/passwd", "a/../../b", "C:\\Windows"] {
        let caller = server.admin().as_user(user);
        caller.sql("INSERT INTO default.t VALUES (1, CURRENT_USER())").await.ok();
        assert_eq!(caller.sql("SELECT v FROM default.t").await.success().scalar(), json!(user));
    }
    let outside = server.dir().parent().map(|parent| parent.join("etc")).expect("a temporary directory has a parent");
    assert!(!outside.try_exists().unwrap_or(false), "{} was made", outside.display());
    assert!(!server.logs().contains(SECRET));
}
