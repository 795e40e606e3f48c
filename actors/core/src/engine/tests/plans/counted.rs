//! What is said of plans that are kept: in answers, and by what counts them.

use super::*;

/// Without parameters a text is kept from its second time on, and says so from its first on.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_parameters_misses_twice() {
    use kalamdb_wire::PlanCache::{Hit, Miss};
    let (_directory, server) = start().await;
    server.run("admin", TABLES, vec![]).await;
    for sql in [
        "SELECT current_user()",
        "SELECT id FROM t WHERE ts < now()",
        "SELECT n, count(*) FROM t GROUP BY n",
        "WITH x AS (SELECT id FROM t) SELECT * FROM x",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    ] {
        let before = server.runtime.plans().overview();
        for expected in [Miss, Miss, Hit] {
            let outcome = server.outcome("admin", Role::System, sql, vec![]).await;
            assert_eq!(outcome.results[0].plan_cache, Some(expected), "{sql}");
        }
        let after = server.runtime.plans().overview();
        let counted = (after.misses - before.misses, after.hits - before.hits, after.entries - before.entries);
        assert_eq!(counted, (2, 1, 1), "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM system.tables",
        "SELECT count(*) FROM INFORMATION_SCHEMA.columns AS c, t",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r",
        "SELECT * FROM (VALUES (now())) AS v",
        "INSERT INTO c VALUES ('x', 1, 'y') ON CONFLICT (a, k) DO NOTHING",
    ] {
        let before = server.runtime.plans().overview();
        for time in 0..3 {
            let outcome = server.outcome("admin", Role::System, sql, vec![]).await;
            let error = outcome.error.map(|failed| failed.error);
            assert!(error.is_none(), "{sql}: {error:?}");
            assert_eq!(outcome.results[0].plan_cache, None, "{sql}, {time}");
        }
        let after = server.runtime.plans().overview();
        assert_eq!((after.entries, after.bytes, after.hits), (before.entries, before.bytes, before.hits), "{sql}");
    }
    let rows =
        "SELECT sql FROM system.plan_cache WHERE compilations = 0 OR schema_versions = '' AND sql LIKE '%system%'";
    for _ in 0..3 {
        assert_eq!(server.run("admin", rows, vec![]).await[0].row_count, 0);
    }
    let entries = server.runtime.plans().overview().entries;
    let cleared = server.run("admin", "CLEAR PLAN CACHE", vec![]).await;
    assert_eq!(cleared[0].message.clone(), Some(format!("plan cache cleared: plans of {entries} statements")));
    assert!(entries >= 6, "{entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_its_parameters_is_no_hit() {
    let (_directory, server) = start().await;
    server.run("u", TABLES, vec![]).await;
    let sql = "SELECT id FROM t WHERE n = $1";
    assert!(server.kept("u", sql, &[json!(1)]).await.0.is_ok());
    let before = server.runtime.plans().overview();
    let (given, _) = server.kept("u", sql, &[json!("one")]).await;
    assert_eq!(given.expect_err("no number").0, ErrorCode::ParamTypeMismatch);
    let after = server.runtime.plans().overview();
    assert_eq!((after.hits, after.misses), (before.hits, before.misses));
    assert_eq!(server.kept("u", sql, &[json!(2)]).await.1, Some(kalamdb_wire::PlanCache::Hit));
    assert_eq!(server.runtime.plans().overview().hits, before.hits + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_made_room_is_evicted() {
    let server = Server::start_with(|settings| settings.query.plan_cache_entries = 10).await;
    let text = "SELECT $1 AS one, $2 AS other";
    for (one, other) in [(json!(1), json!(1)), (json!(2), json!(2)), (json!(null), json!(1)), (json!("a"), json!(null))]
    {
        assert!(server.kept("u", text, &[one, other]).await.0.is_ok());
    }
    let overview = server.runtime.plans().overview();
    assert_eq!((overview.entries, overview.compilations, overview.evictions), (1, 3, 0), "{overview:?}");
    for number in 0..30 {
        assert!(server.kept("u", &format!("SELECT $1 AS c{number}"), &[json!(1)]).await.0.is_ok());
    }
    let overview = server.runtime.plans().overview();
    assert!(overview.entries <= 10, "{overview:?}");
    assert_eq!(overview.evictions, 31 - overview.entries, "{overview:?}");
}
