//! What is said of plans that are kept.

use serde_json::json;

use kalamdb_tests::{Role, TestServer};

#[tokio::test]
async fn an_answer_says_whether_its_plan_was_there() {
    let server = TestServer::start().await;
    let dba = server.as_role("root", Role::Dba);
    dba.sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, text TEXT)").await.ok();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    for (text, params) in [
        ("INSERT INTO notes VALUES ($1, $2)", [json!([1, "a"]), json!([2, "b"])]),
        ("SELECT text FROM notes WHERE id = $1", [json!([1]), json!([2])]),
        ("SELECT id FROM notes WHERE text > $1 ORDER BY id LIMIT 5", [json!(["a"]), json!(["b"])]),
        ("UPDATE notes SET text = $2 WHERE id = $1", [json!([1, "c"]), json!([2, "d"])]),
        ("DELETE FROM notes WHERE id = $1", [json!([1]), json!([2])]),
    ] {
        let [first, second] = params;
        let answer = ann.sql_params(text, first).await.success();
        assert_eq!(answer.results()[0]["plan_cache"], "miss", "{text}");
        for client in [&ann, &bob] {
            let answer = client.sql_params(text, second.clone()).await.success();
            assert_eq!(answer.results()[0]["plan_cache"], "hit", "{text}: whoever asks");
        }
    }
    for text in ["SHOW TABLES", "EXPLAIN SELECT 1", "SELECT * FROM information_schema.tables"] {
        for _ in 0..3 {
            let answer = ann.sql(text).await.success();
            assert_eq!(answer.results()[0].get("plan_cache"), None, "{text}: nothing is kept");
        }
    }
}

#[tokio::test]
async fn the_cache_is_shown_to_services_and_cleared_by_admins() {
    let server = TestServer::start().await;
    let overview = server.service().get("/api/actors/plan-cache").await;
    assert_eq!(overview.status, 200, "{}", overview.text);
    for member in ["entries", "bytes", "capacity", "hits", "misses", "compilations", "evictions", "invalidations"] {
        assert!(overview.body[member].is_u64(), "{member}: {}", overview.text);
    }
    assert_eq!(server.user("ann").get("/api/actors/plan-cache").await.status, 403);

    let text = format!("SELECT $1 AS {}", server.namespace());
    server.user("ann").sql_params(&text, json!([1])).await.ok();
    server.user("ann").sql_params(&text, json!([2])).await.ok();
    let rows = format!(
        "SELECT hits, compilations, bytes > 0, created_at <= last_used_at FROM system.plan_cache WHERE sql = '{text}'"
    );
    let rows = server.service().sql(rows).await.success();
    assert_eq!(rows.values(), [[json!(1), json!(1), json!(true), json!(true)]]);
    for client in [server.user("ann"), server.service()] {
        client.sql("CLEAR PLAN CACHE").await.fails(403, "FORBIDDEN");
    }
    let cleared = server.as_role("root", Role::Dba).sql("CLEAR PLAN CACHE").await.success();
    assert!(cleared.message().starts_with("plan cache cleared"), "{}", cleared.message());
    let again = server.user("ann").sql_params(&text, json!([3])).await.success();
    assert_eq!(again.results()[0]["plan_cache"], "miss");
}
