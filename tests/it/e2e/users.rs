//! Rows of `system.users`: in force from the next request on, for one user and for nobody else, after a restart too.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use kalamdb_tests::{Answer, BinaryServer, Client, Role, TestServer, token, unique};

/// A user's row without its times, `null` if there is none.
async fn row(admin: &Client, user: &str) -> Value {
    let sql = "SELECT username, role, disabled, metadata FROM system.users WHERE user_id = '";
    let answer = admin.sql(format!("{sql}{user}'")).await.success();
    answer.rows().first().cloned().unwrap_or_default()
}

fn is_disabled(answer: &Answer, user: &str) {
    let message = answer.fails(401, "UNAUTHORIZED");
    assert!(message.contains(&format!("user '{user}' is disabled")), "{message}");
}

fn is_shown(answer: &Answer) {
    assert!(answer.status == 200 && answer.body["name"].is_string(), "{}", answer.text);
}

#[tokio::test]
async fn a_row_counts_from_the_next_request_on_also_for_a_known_token() {
    let server = TestServer::start().await;
    let (admin, ann) = (server.admin(), unique("ann"));
    // Verified before there is a row; from then on the same token is known.
    let caller = server.as_role(&ann, Role::Service);
    let other = server.as_role(&format!("{ann}a"), Role::Service);
    for _ in 0..2 {
        caller.sql("SELECT 1").await.ok();
        is_shown(&caller.get("/api/actors?depth=0").await);
        other.sql("SELECT count(*) FROM system.users").await.ok();
    }
    for _ in 0..3 {
        admin.sql(format!("CREATE USER '{ann}' WITH (role = 'user')")).await.ok();
        caller.sql("SELECT count(*) FROM system.users").await.fails(403, "FORBIDDEN");
        caller.get("/api/actors?depth=0").await.fails(403, "FORBIDDEN");

        admin.sql(format!("ALTER USER '{ann}' SET (role = 'dba')")).await.ok();
        let made = unique("made");
        caller.sql(format!("CREATE NAMESPACE {made}; DROP NAMESPACE {made}")).await.ok();

        admin.sql(format!("ALTER USER '{ann}' SET (disabled = 'true')")).await.ok();
        is_disabled(&caller.sql("SELECT 1").await, &ann);
        is_disabled(&caller.get("/api/actors?depth=0").await, &ann);
        other.sql("SELECT count(*) FROM system.users").await.ok();
        is_shown(&other.get("/api/actors?depth=0").await);

        admin.sql(format!("ALTER USER '{ann}' SET (disabled = 'false', role = NULL)")).await.ok();
        caller.sql("SELECT count(*) FROM system.users").await.ok();
        caller.sql("CREATE NAMESPACE of_a_service").await.fails(403, "FORBIDDEN");

        admin.sql(format!("ALTER USER '{ann}' SET (disabled = 'true')")).await.ok();
        let dropped = admin.sql(format!("DROP USER '{ann}'")).await.success();
        assert!(dropped.message().contains("only what the server added to the claim"), "{}", dropped.text);
        caller.sql("SELECT count(*) FROM system.users").await.ok();
    }
}

#[tokio::test]
async fn a_user_disabled_while_its_body_is_on_the_way_is_refused() {
    let server = TestServer::start().await;
    let ann = unique("ann");
    let address = server.base().trim_start_matches("http://").to_owned();
    let body = r#"{"sql": "SELECT 1"}"#;
    let head = format!(
        "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        token(&ann, Role::Dba, server.secret()),
        body.len()
    );
    let mut stream = TcpStream::connect(&address).await.expect("the server listens");
    stream.write_all(head.as_bytes()).await.expect("a connection");
    // The server has taken the head, and the token in it, when it asks for the body.
    let mut asked = [0; 25];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut asked)).await;
    read.expect("in time").expect("an answer");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.admin().sql(format!("CREATE USER '{ann}' WITH (disabled = 'true')")).await.ok();
    stream.write_all(body.as_bytes()).await.expect("a connection");
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
    read.expect("in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("is disabled"), "{answer}");
}

#[tokio::test]
async fn of_many_who_create_one_user_one_succeeds() {
    let server = TestServer::start().await;
    for _ in 0..5 {
        let (user, admins) = (unique("ann"), (0..16).map(|number| server.as_role(&format!("dba{number}"), Role::Dba)));
        let attempts = admins.enumerate().map(|(number, admin)| {
            let sql = format!("CREATE USER '{user}' WITH (username = 'by {number}')");
            async move { admin.sql(sql).await }
        });
        let answers: Vec<Answer> = join_all(attempts).await;
        let winners: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].status == 200).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        for (at, answer) in answers.iter().enumerate().filter(|(at, _)| *at != winners[0]) {
            assert!(answer.fails(409, "CONFLICT").contains(&user), "{at}");
        }
        let kept = row(&server.admin(), &user).await;
        assert_eq!(kept["username"], json!(format!("by {}", winners[0])), "the winner's row");
    }
}

#[tokio::test]
async fn changes_of_different_users_do_not_undo_each_other() {
    let server = TestServer::start().await;
    let prefix = unique("user");
    let admin = server.admin();
    let all = (0..40).map(|number| {
        let (admin, user) = (admin.clone(), format!("{prefix}-{number}"));
        async move {
            admin.sql(format!("CREATE USER '{user}' WITH (role = 'service')")).await.ok();
            admin.sql(format!("ALTER USER '{user}' SET (username = '{number}')")).await.ok();
            if number % 4 == 0 {
                admin.sql(format!("DROP USER '{user}'")).await.ok();
            }
        }
    });
    join_all(all).await;
    let sql = format!("SELECT user_id FROM system.users WHERE user_id LIKE '{prefix}-%' AND role = 'service'");
    let answer = admin.sql(format!("{sql} AND username = substr(user_id, {})", prefix.len() + 2)).await.success();
    assert_eq!(answer.rows().len(), 30, "{}", answer.text);
}

#[tokio::test]
async fn users_are_made_by_administrators_and_seen_by_services() {
    let server = TestServer::start().await;
    let user = unique("ann");
    server.admin().sql(format!("CREATE USER '{user}' WITH (username = 'secret name')")).await.ok();
    for caller in [server.user("ann"), server.user(&user), server.service()] {
        for sql in [
            format!("CREATE USER '{user}-2'"),
            format!("CREATE USER IF NOT EXISTS '{user}'"),
            format!("ALTER USER '{user}' SET (role = 'dba')"),
            format!("DROP USER '{user}'"),
            format!("DROP USER IF EXISTS '{user}-3'"),
        ] {
            let message = caller.sql(&sql).await.fails(403, "FORBIDDEN");
            assert!(!message.contains("secret") && !message.contains(&user), "{sql}: {message}");
        }
    }
    let seen = row(&server.service(), &user).await;
    assert_eq!(seen, json!({"username": "secret name", "role": null, "disabled": false, "metadata": null}));
    let own = format!("SELECT username FROM system.users WHERE user_id = '{user}'");
    for sql in [own.as_str(), "DESCRIBE system.users", "SELECT 1 WHERE EXISTS (SELECT 1 FROM system.users)"] {
        server.user(&user).sql(sql).await.fails(403, "FORBIDDEN");
    }
    assert_eq!(row(&server.admin(), &user).await["role"], json!(null), "nobody changed it");
}

#[tokio::test]
async fn rows_survive_stop_and_kill() {
    let mut server = BinaryServer::start().await;
    let admin = server.admin();
    let kept = r#"CREATE USER 'ann' WITH (role = 'user', username = 'Ann', metadata = '{"a": 1}');
        CREATE USER '../../etc' WITH (disabled = 'true'); CREATE USER 'жанна'; CREATE USER 'brief';
        ALTER USER 'жанна' SET (role = 'service'); DROP USER 'brief'"#;
    admin.sql(kept).await.ok();
    let all =
        "SELECT user_id, username, role, disabled, metadata, created_at, updated_at FROM system.users ORDER BY user_id";
    let before = admin.sql(all).await.success().values();
    assert_eq!(before.len(), 3);
    for round in 0..4 {
        if round % 2 == 0 {
            server.kill9();
        } else {
            server.terminate().await;
        }
        server.restart().await;
        assert_eq!(admin.sql(all).await.success().values(), before, "round {round}");
        admin.as_role("ann", Role::Dba).sql("CREATE NAMESPACE n").await.fails(403, "FORBIDDEN");
        is_disabled(&admin.as_role("../../etc", Role::Dba).sql("SELECT 1").await, "../../etc");
        admin.as_role("жанна", Role::User).sql("SELECT count(*) FROM system.users").await.ok();
        admin.as_role("brief", Role::Service).sql("SELECT count(*) FROM system.users").await.ok();
        admin.sql("CREATE USER 'ann'").await.fails(409, "CONFLICT");
    }
}

#[tokio::test]
async fn the_localhost_user_has_no_lesser_role_and_can_be_disabled() {
    let server = TestServer::start_with(&[("auth.localhost_bypass", "true"), ("auth.localhost_user", "me")]).await;
    let (local, admin) = (server.anonymous(), server.admin());
    for sql in [
        "CREATE USER 'me' WITH (role = 'user')",
        "CREATE USER 'me' WITH (role = 'dba', username = 'Me')",
        "CREATE USER IF NOT EXISTS 'me' WITH (role = 'service')",
        "ALTER USER 'me' SET (role = 'user')",
    ] {
        let message = local.sql(sql).await.fails(400, "INVALID_OPTION");
        assert!(message.contains("auth.localhost_user"), "{sql}: {message}");
    }
    assert_eq!(row(&admin, "me").await, json!(null));
    local.sql("CREATE USER 'me' WITH (username = 'Me'); CREATE NAMESPACE mine; DROP NAMESPACE mine").await.ok();
    let told = local.sql("ALTER USER 'me' SET (disabled = 'true')").await.success();
    assert!(told.message().contains("requests without a token are refused from now on"), "{}", told.text);
    is_disabled(&local.sql("SELECT 1").await, "me");
    is_disabled(&local.get("/api/actors").await, "me");
    let told = admin.sql("ALTER USER 'me' SET (disabled = 'false')").await.success();
    assert!(!told.message().contains("refused"), "{}", told.text);
    local.sql("DROP USER 'me'; CREATE NAMESPACE mine").await.ok();
    // `system` is an ordinary name here.
    admin.sql("CREATE USER 'system' WITH (role = 'user')").await.ok();
}

#[tokio::test]
async fn a_row_of_an_ordinary_user_meets_the_localhost_rule() {
    let mut server = BinaryServer::start_with(&[("auth.localhost_bypass", "false")]).await;
    let admin = server.admin();
    admin.sql("CREATE USER 'system' WITH (role = 'user')").await.ok();
    admin.as_role("system", Role::Dba).sql("CREATE NAMESPACE n").await.fails(403, "FORBIDDEN");
    server.change_setting("auth.localhost_bypass", "true");
    server.restart().await;
    let local = Client::new(&server.url(), kalamdb_tests::SECRET);
    local.sql("CREATE NAMESPACE by_the_machine").await.ok();
    assert!(server.logs().contains("auth.localhost_user has a role in system.users"), "{}", server.logs());
}
