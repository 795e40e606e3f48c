//! The functions beyond the engine's, and system columns.

use std::collections::HashSet;

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

#[tokio::test]
async fn current_user_is_the_caller() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, who TEXT DEFAULT CURRENT_USER())").await.ok();
    for user in ["ann", "bob"] {
        let caller = server.user(user);
        caller.sql("INSERT INTO t (id) VALUES (1)").await.ok();
        let answer = caller.sql("SELECT who, CURRENT_USER() AS me FROM t WHERE who = CURRENT_USER()").await.success();
        assert_eq!(answer.values(), [[json!(user), json!(user)]]);
    }
}

#[tokio::test]
async fn generated_ids_differ_in_every_row_and_statement() {
    let server = TestServer::start().await;
    server
        .admin()
        .sql(
            "CREATE USER TABLE t (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), u UUID DEFAULT UUID_V7(),
             l TEXT DEFAULT ULID(), n INT)",
        )
        .await
        .ok();
    let ann = server.user("ann");
    for _ in 0..3 {
        ann.sql("INSERT INTO t (n) VALUES (1), (2), (3), (4), (5)").await.ok();
    }
    let answer = ann.sql("SELECT id, u, l FROM t ORDER BY id").await.success();
    for column in ["id", "u", "l"] {
        let distinct: HashSet<String> = answer.column(column).iter().map(Value::to_string).collect();
        assert_eq!(distinct.len(), 15, "{column}");
    }
    for row in answer.values() {
        assert!(row[0].as_i64().is_some_and(|id| id > 0 && id < 1 << 53), "{row:?}");
        assert_eq!(row[1].as_str().map(str::len), Some(36), "{row:?}");
        assert_eq!(row[1].as_str().and_then(|uuid| uuid.chars().nth(14)), Some('7'), "{row:?}");
        assert_eq!(row[2].as_str().map(str::len), Some(26), "{row:?}");
    }
    let in_select = ann.sql("SELECT SNOWFLAKE_ID() AS a FROM t").await.success();
    let distinct: HashSet<String> = in_select.column("a").iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 15, "one id per row");
}

#[tokio::test]
async fn now_is_one_moment_in_a_statement() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP DEFAULT NOW())").await.ok();
    let ann = server.user("ann");
    let inserted =
        ann.sql("INSERT INTO t (id, at) VALUES (1, NOW()), (2, NOW()) RETURNING at, NOW() AS now").await.success();
    let moments: HashSet<String> = inserted.values().into_iter().flatten().map(|value| value.to_string()).collect();
    assert_eq!(moments.len(), 1, "{moments:?}");
    ann.sql("INSERT INTO t (id) VALUES (3)").await.ok();
    let later = ann.sql("SELECT count(*) FROM t WHERE at <= NOW() AND at > NOW() - INTERVAL '1 hour'").await.success();
    assert_eq!(later.number(), 3);
    let kinds = ann.sql("SELECT NOW() AS a, CURRENT_TIMESTAMP AS b, CURRENT_DATE AS c").await.success();
    assert_eq!(kinds.columns(), ["a TIMESTAMP", "b TIMESTAMP", "c DATE"]);
    assert_eq!(kinds.rows()[0]["a"], kinds.rows()[0]["b"]);
}

#[tokio::test]
async fn system_columns_are_there_when_named() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await.ok();
    let star = ann.sql("SELECT * FROM t").await.success();
    assert_eq!(star.columns(), ["id BIGINT", "v TEXT"]);
    let named = ann.sql("SELECT id, _seq, _updated, _deleted FROM t ORDER BY _seq").await.success();
    assert_eq!(named.columns(), ["id BIGINT", "_seq BIGINT", "_updated TIMESTAMP", "_deleted BOOLEAN"]);
    let before: Vec<i64> = named.column("_seq").iter().filter_map(Value::as_i64).collect();
    assert!(before[0] < before[1] && before[1] < 1 << 53, "{before:?}");
    ann.sql("UPDATE t SET v = 'c' WHERE id = 1").await.ok();
    let after = ann.sql("SELECT _seq FROM t WHERE id = 1").await.success().number();
    assert!(after > before[1], "{after} {before:?}");
}

#[tokio::test]
async fn deleted_rows_are_seen_where_their_mark_is_named() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await.ok();
    ann.sql("DELETE FROM t WHERE id <> 2").await.ok();
    assert_eq!(ann.sql("SELECT id FROM t").await.success().column("id"), [json!(2)]);
    let all = ann.sql("SELECT id, v, _deleted FROM t ORDER BY id").await.success();
    let expected = [
        [json!(1), json!("a"), json!(true)],
        [json!(2), json!("b"), json!(false)],
        [json!(3), json!("c"), json!(true)],
    ];
    assert_eq!(all.values(), expected);
    assert_eq!(ann.sql("SELECT count(*) FROM t WHERE _deleted").await.success().number(), 2);
    // Inserted again, the old row is no longer seen; changes never see deleted rows.
    ann.sql("INSERT INTO t VALUES (1, 'new')").await.ok();
    let again = ann.sql("SELECT v FROM t WHERE id = 1 AND _deleted IS NOT NULL").await.success();
    assert_eq!(again.scalar(), json!("new"));
    assert_eq!(ann.sql("UPDATE t SET v = 'x'").await.success().row_count(), 2);
    assert_eq!(ann.sql("DELETE FROM t WHERE id = 3").await.success().row_count(), 0);
}
