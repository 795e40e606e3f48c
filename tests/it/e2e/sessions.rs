//! Sessions as operators see them: `/api/actors/sessions`, `system.sessions`, `CLEAR SESSION CACHE`.

use kalamdb_tests::{Role, TestServer};
use serde_json::{Value as Json, json};

async fn session_of(server: &TestServer, user: &str) -> Option<Json> {
    let answer = server.service().get("/api/actors/sessions").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let all = answer.body.as_array().expect("an array");
    all.iter().find(|session| session["user_id"] == user).cloned()
}

#[tokio::test]
async fn sessions_are_shown_and_cleared() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY)").await.ok();
    let user = format!("ann-{}", server.namespace());
    let ann = server.user(&user);
    assert_eq!(session_of(&server, &user).await, None);
    for id in 0..3 {
        ann.sql_params("INSERT INTO notes VALUES ($1)", json!([id])).await.ok();
    }
    let session = session_of(&server, &user).await.expect("it is there");
    assert_eq!(
        (&session["registrations"], &session["hits"], &session["misses"], &session["evictions"]),
        (&json!(1), &json!(2), &json!(1), &json!(0))
    );
    let (created, active) = (session["created_at"].as_str(), session["last_active_at"].as_str());
    assert!(created.is_some_and(|at| at.ends_with('Z')) && created <= active, "{session}");
    assert_eq!(session.as_object().expect("an object").len(), 7);

    let rows = format!("SELECT registrations, hits, misses, evictions FROM system.sessions WHERE user_id = '{user}'");
    let rows = server.service().sql(rows).await.success();
    assert_eq!(rows.values(), [[json!(1), json!(2), json!(1), json!(0)]]);

    let clear = format!("CLEAR SESSION CACHE '{user}'");
    for client in [&ann, &server.service()] {
        client.sql(&clear).await.fails(403, "FORBIDDEN");
        client.sql("CLEAR SESSION CACHE").await.fails(403, "FORBIDDEN");
    }
    assert_eq!(ann.get("/api/actors/sessions").await.status, 403);
    ann.sql("SELECT * FROM system.sessions").await.fails(403, "FORBIDDEN");

    let root = server.as_role("root", Role::Dba);
    assert_eq!(
        root.sql("CLEAR SESSION CACHE 'nobody at all'").await.success().message(),
        "session cache cleared: 0 registrations"
    );
    assert_eq!(root.sql(&clear).await.success().message(), "session cache cleared: 1 registration");
    assert_eq!(session_of(&server, &user).await.expect("it goes on")["registrations"], 0);
    assert_eq!(ann.sql("SELECT count(*) FROM notes").await.success().values(), [[json!(3)]]);
    assert_eq!(session_of(&server, &user).await.expect("it goes on")["registrations"], 1);
    root.sql("CLEAR SESSION CACHE nobody").await.fails(400, "INVALID_SQL");
}
