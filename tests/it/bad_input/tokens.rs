//! Tokens in the hands of others. What is wrong with a token, and what the server says to it, has a table of its own:
//! `server/tests/it/identity.rs`.

use serde_json::json;

use kalamdb_tests::{BinaryServer, RawConnection, SECRET, now_seconds, signed_token};

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

#[tokio::test]
async fn no_token_and_no_secret_reaches_the_log() {
    let server = BinaryServer::start_with(&[("logging.level", "trace"), ("auth.localhost_bypass", "true")]).await;
    let claims = json!({"user_id": "ann", "role": "dba", "exp": now_seconds() + 600});
    let good = signed_token(&claims, SECRET);
    let forged = signed_token(&claims, "another secret, also longer than 32 bytes");
    let expired = signed_token(&json!({"user_id": "ann", "exp": 1}), SECRET);
    let disabled = signed_token(&json!({"user_id": "off", "exp": now_seconds() + 600}), SECRET);
    server.admin().sql("CREATE USER 'off' WITH (disabled = 'true')").await.ok();
    for (token, status) in [(&good, 200), (&good, 200), (&forged, 401), (&expired, 401), (&disabled, 401)] {
        let caller = server.admin().with_token(token);
        assert_eq!(caller.sql("SELECT 1").await.status, status);
        caller.get("/api/actors").await;
        // Where it does not belong, and where people put it all the same.
        let head = format!("GET /api/actors?token={token} HTTP/1.1\r\nHost: localhost\r\nCookie: {token}\r\n");
        let mut connection = RawConnection::open(&server.url()).await;
        connection.send(format!("{head}X-Token: {token}\r\nConnection: close\r\n\r\n")).await;
        connection.read_to_end(std::time::Duration::from_secs(20)).await.expect("an answer");
    }
    let logs = server.logs();
    assert!(logs.contains("request answered"), "the log is as talkative as it gets");
    assert!(!logs.contains(SECRET));
    for token in [&good, &forged, &expired, &disabled] {
        let signature = token.rsplit('.').next().expect("three parts");
        let line = logs.lines().find(|line| line.contains(signature));
        assert!(line.is_none(), "{line:?}");
    }
}
