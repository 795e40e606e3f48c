//! INSERT, UPDATE and DELETE touch exactly their rows, whole or not at all.

use serde_json::{Value, json};

use kalamdb_tests::{Client, TestServer};

async fn numbered(kind: &str) -> (TestServer, Client) {
    let server = TestServer::start().await;
    server
        .admin()
        .sql(format!("CREATE {kind} TABLE t (id BIGINT PRIMARY KEY, n INT, tag TEXT DEFAULT 'new')"))
        .await
        .ok();
    let caller = server.service();
    caller.sql("INSERT INTO t (id, n) VALUES (1, 10), (2, 20), (3, 30), (4, NULL), (5, 50)").await.ok();
    (server, caller)
}

async fn ids_where(caller: &Client, condition: &str) -> Vec<i64> {
    let answer = caller.sql(format!("SELECT id FROM t WHERE {condition} ORDER BY id")).await.success();
    answer.column("id").iter().filter_map(Value::as_i64).collect()
}

/// Conditions and the ids they mean. In some engines a subquery or a condition that folds to a constant
/// changes every row.
const CONDITIONS: &[(&str, &[i64])] = &[
    ("id = 1", &[1]),
    ("id IN (1, 3, 99)", &[1, 3]),
    ("id NOT IN (1, 3)", &[2, 4, 5]),
    ("id IN (SELECT id FROM t WHERE n > 15)", &[2, 3, 5]),
    ("id NOT IN (SELECT id FROM t WHERE n > 15)", &[1, 4]),
    ("EXISTS (SELECT 1 FROM t AS other WHERE other.id = t.id AND other.n < 25)", &[1, 2]),
    ("NOT EXISTS (SELECT 1 FROM t AS other WHERE other.id = t.id + 1)", &[5]),
    ("EXISTS (SELECT 1 FROM t AS other WHERE other.id = 77)", &[]),
    ("n = (SELECT max(n) FROM t)", &[5]),
    ("n > (SELECT avg(n) FROM t)", &[3, 5]),
    ("false", &[]),
    ("1 = 0", &[]),
    ("NULL", &[]),
    ("n = NULL", &[]),
    ("id = 1 AND id = 2", &[]),
    ("n IS NULL", &[4]),
    ("true", &[1, 2, 3, 4, 5]),
    ("1 = 1", &[1, 2, 3, 4, 5]),
    ("id BETWEEN 2 AND 3", &[2, 3]),
    ("id > 3 OR n = 10", &[1, 4, 5]),
    ("tag LIKE 'n%' AND id % 2 = 0", &[2, 4]),
];

#[tokio::test]
async fn update_touches_exactly_the_rows_of_its_condition() {
    for kind in ["USER", "SHARED"] {
        let (_server, caller) = numbered(kind).await;
        for (round, (condition, expected)) in CONDITIONS.iter().enumerate() {
            let tag = format!("r{round}");
            // The tag 'new' is part of one condition.
            caller.sql("UPDATE t SET tag = 'new'").await.ok();
            let answer = caller.sql(format!("UPDATE t SET tag = '{tag}' WHERE {condition}")).await.success();
            assert_eq!(answer.row_count(), expected.len() as u64, "{kind}: {condition}");
            assert_eq!(ids_where(&caller, &format!("tag = '{tag}'")).await, *expected, "{kind}: {condition}");
            assert_eq!(ids_where(&caller, "true").await, [1, 2, 3, 4, 5], "{kind}: {condition}");
        }
    }
}

#[tokio::test]
async fn delete_touches_exactly_the_rows_of_its_condition() {
    for kind in ["USER", "SHARED"] {
        let (_server, caller) = numbered(kind).await;
        for (condition, expected) in CONDITIONS {
            let answer = caller.sql(format!("DELETE FROM t WHERE {condition}")).await.success();
            assert_eq!(answer.row_count(), expected.len() as u64, "{kind}: {condition}");
            let rest: Vec<i64> = (1..=5).filter(|id| !expected.contains(id)).collect();
            assert_eq!(ids_where(&caller, "true").await, rest, "{kind}: {condition}");
            for id in *expected {
                let value = if *id == 4 { "NULL".to_owned() } else { (id * 10).to_string() };
                caller.sql(format!("INSERT INTO t (id, n) VALUES ({id}, {value})")).await.ok();
            }
        }
    }
}

#[tokio::test]
async fn a_repeated_key_changes_nothing() {
    let (_server, caller) = numbered("USER").await;
    caller.sql("INSERT INTO t (id, n) VALUES (6, 60), (3, 0)").await.fails(409, "DUPLICATE_KEY");
    caller.sql("INSERT INTO t (id, n) VALUES (7, 1), (7, 2)").await.fails(409, "DUPLICATE_KEY");
    caller.sql("INSERT INTO t (id, n) SELECT id + 4, n FROM t").await.fails(409, "DUPLICATE_KEY");
    assert_eq!(ids_where(&caller, "true").await, [1, 2, 3, 4, 5]);
    assert_eq!(ids_where(&caller, "n = 30").await, [3]);
}

#[tokio::test]
async fn an_evaluation_error_in_one_row_changes_nothing() {
    let (_server, caller) = numbered("USER").await;
    caller.sql("UPDATE t SET n = 100 / (n - 30)").await.fails(400, "EVALUATION_ERROR");
    caller.sql("INSERT INTO t (id, n) SELECT id + 10, 100 / (n - 30) FROM t").await.fails(400, "EVALUATION_ERROR");
    caller.sql("DELETE FROM t WHERE 1 / (n - 30) > 0").await.fails(400, "EVALUATION_ERROR");
    assert_eq!(ids_where(&caller, "n IN (10, 20, 30, 50) OR n IS NULL").await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn an_update_sees_the_old_row_everywhere() {
    let (_server, caller) = numbered("USER").await;
    caller.sql("UPDATE t SET n = id, id = id + 1").await.ok();
    let answer = caller.sql("SELECT id, n FROM t ORDER BY id").await.success();
    let expected: Vec<Vec<Value>> = (1..=5).map(|id| vec![json!(id + 1), json!(id)]).collect();
    assert_eq!(answer.values(), expected);
    caller.sql("UPDATE t SET id = 3 WHERE id = 2").await.fails(409, "DUPLICATE_KEY");
    caller.sql("UPDATE t SET id = 9").await.fails(409, "DUPLICATE_KEY");
    assert_eq!(ids_where(&caller, "true").await, [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn returning_gives_the_rows() {
    let (_server, caller) = numbered("USER").await;
    let insert = caller.sql("INSERT INTO t (id, n) VALUES (6, 60), (7, 70) RETURNING id, n * 2 AS twice, tag").await;
    let insert = insert.success();
    assert_eq!(insert.columns(), ["id BIGINT", "twice BIGINT", "tag TEXT"]);
    assert_eq!(insert.values(), [[json!(6), json!(120), json!("new")], [json!(7), json!(140), json!("new")]]);
    assert_eq!(insert.row_count(), 2);
    let update = caller.sql("UPDATE t SET n = n + 1 WHERE id = 6 RETURNING *").await.success();
    assert_eq!(update.values(), [[json!(6), json!(61), json!("new")]]);
    let delete = caller.sql("DELETE FROM t WHERE id >= 6 RETURNING id").await.success();
    let mut ids = delete.column("id");
    ids.sort_by_key(Value::as_i64);
    assert_eq!(ids, [json!(6), json!(7)]);
    let none = caller.sql("DELETE FROM t WHERE id = 66 RETURNING id, n").await.success();
    assert_eq!(none.rows().len(), 0);
    assert_eq!(none.columns(), ["id BIGINT", "n INT"]);
}

#[tokio::test]
async fn on_conflict_does_nothing_or_updates() {
    let (_server, caller) = numbered("USER").await;
    let nothing = "INSERT INTO t (id, n) VALUES (1, 11), (6, 60) ON CONFLICT (id) DO NOTHING";
    assert_eq!(caller.sql(nothing).await.success().row_count(), 1);
    assert_eq!(ids_where(&caller, "n IN (10, 60)").await, [1, 6]);
    let update = "INSERT INTO t (id, n) VALUES (1, 11), (7, 70) ON CONFLICT (id) DO UPDATE SET n = excluded.n, tag = t.tag || '!'";
    assert_eq!(caller.sql(update).await.success().row_count(), 2);
    let row = caller.sql("SELECT n, tag FROM t WHERE id = 1").await.success();
    assert_eq!(row.values(), [[json!(11), json!("new!")]]);
    assert_eq!(ids_where(&caller, "n = 70 AND tag = 'new'").await, [7]);
    let twice = "INSERT INTO t (id, n) VALUES (1, 1), (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n";
    caller.sql(twice).await.fails(409, "CONFLICT");
    assert_eq!(ids_where(&caller, "n = 11").await, [1]);
}

#[tokio::test]
async fn not_null_and_defaults_hold() {
    let server = TestServer::start().await;
    let table = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, must TEXT NOT NULL, d INT NOT NULL DEFAULT 7, free TEXT)";
    server.admin().sql(table).await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO t (id) VALUES (1)").await.fails(400, "CONSTRAINT_VIOLATION");
    ann.sql("INSERT INTO t (must) VALUES ('x')").await.fails(400, "CONSTRAINT_VIOLATION");
    ann.sql("INSERT INTO t VALUES (NULL, 'x', 1, 'y')").await.fails(400, "CONSTRAINT_VIOLATION");
    ann.sql("INSERT INTO t (id, must) VALUES (1, 'x'), (2, NULL)").await.fails(400, "CONSTRAINT_VIOLATION");
    ann.sql("INSERT INTO t (id, must) VALUES (1, 'x')").await.ok();
    ann.sql("UPDATE t SET must = NULL").await.fails(400, "CONSTRAINT_VIOLATION");
    ann.sql("UPDATE t SET d = DEFAULT, free = DEFAULT WHERE id = 1").await.ok();
    let row = ann.sql("SELECT * FROM t").await.success();
    assert_eq!(row.values(), [[json!(1), json!("x"), json!(7), Value::Null]]);
}

#[tokio::test]
async fn wrong_columns_and_values_are_named() {
    let (_server, caller) = numbered("USER").await;
    for (sql, code) in [
        ("INSERT INTO t (id, nope) VALUES (9, 1)", "COLUMN_NOT_FOUND"),
        ("INSERT INTO t (id, id) VALUES (9, 9)", "INVALID_SQL"),
        ("INSERT INTO t VALUES (9, 1, 'x', 'too many')", "INVALID_SQL"),
        ("INSERT INTO t (id, n) VALUES (9)", "INVALID_SQL"),
        ("UPDATE t SET nope = 1", "COLUMN_NOT_FOUND"),
        ("DELETE FROM t WHERE nope = 1", "COLUMN_NOT_FOUND"),
        ("SELECT nope FROM t", "COLUMN_NOT_FOUND"),
        ("UPDATE t SET _seq = 1", "INVALID_SQL"),
        ("INSERT INTO t (id, _deleted) VALUES (9, true)", "INVALID_SQL"),
    ] {
        caller.sql(sql).await.fails(400, code);
    }
    let answer = caller.sql("INSERT INTO t (id, n) VALUES (9, 'text')").await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    caller.sql("SELECT * FROM missing").await.fails(404, "TABLE_NOT_FOUND");
    caller.sql("INSERT INTO missing VALUES (1)").await.fails(404, "TABLE_NOT_FOUND");
    caller.sql("SELECT * FROM nowhere.t").await.fails(404, "NAMESPACE_NOT_FOUND");
    assert_eq!(ids_where(&caller, "true").await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn composite_keys_and_no_key() {
    let server = TestServer::start().await;
    server
        .admin()
        .sql(
            "CREATE USER TABLE pairs (a TEXT, b INT, v TEXT, PRIMARY KEY (a, b));
             CREATE USER TABLE bag (v TEXT)",
        )
        .await
        .ok();
    let ann = server.user("ann");
    // A careless encoding would put 'a' + 'bc' and 'ab' + 'c' together.
    ann.sql("INSERT INTO pairs VALUES ('a', 1, 'x'), ('a', -1, 'y'), ('ab', 1, 'z'), ('', 1, 'w')").await.ok();
    ann.sql("INSERT INTO pairs VALUES ('a', 1, 'again')").await.fails(409, "DUPLICATE_KEY");
    let rows = ann.sql("SELECT b FROM pairs WHERE a = 'a' ORDER BY b").await.success();
    assert_eq!(rows.column("b"), [json!(-1), json!(1)]);
    assert_eq!(ann.sql("DELETE FROM pairs WHERE a = 'a' AND b = 1").await.success().row_count(), 1);
    assert_eq!(ann.sql("SELECT count(*) FROM pairs").await.success().number(), 3);

    ann.sql("INSERT INTO bag VALUES ('same'), ('same'), (NULL)").await.ok();
    ann.sql("INSERT INTO bag VALUES ('same')").await.ok();
    assert_eq!(ann.sql("SELECT count(*) FROM bag WHERE v = 'same'").await.success().number(), 3);
    assert_eq!(ann.sql("UPDATE bag SET v = 'other' WHERE v IS NULL").await.success().row_count(), 1);
    assert_eq!(ann.sql("DELETE FROM bag WHERE v = 'same'").await.success().row_count(), 3);
    assert_eq!(ann.sql("SELECT v FROM bag").await.success().scalar(), json!("other"));
}

#[tokio::test]
async fn concurrent_increments_are_not_lost() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE counter (id BIGINT PRIMARY KEY, n BIGINT)").await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO counter VALUES (1, 0)").await.ok();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let caller = ann.clone();
        tasks.spawn(async move {
            for _ in 0..15 {
                caller.sql("UPDATE counter SET n = n + 1").await.ok();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    assert_eq!(ann.sql("SELECT n FROM counter").await.success().number(), 90);
}

#[tokio::test]
async fn a_key_is_inserted_once_however_many_try() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE SHARED TABLE t (id BIGINT PRIMARY KEY, who BIGINT)").await.ok();
    let caller = server.service();
    for id in 0..5 {
        let mut tasks = tokio::task::JoinSet::new();
        for who in 0..8 {
            let caller = caller.clone();
            tasks.spawn(
                async move { (who, caller.sql_params("INSERT INTO t VALUES ($1, $2)", json!([id, who])).await) },
            );
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            tasks.join_all().await.into_iter().partition(|(_, answer)| answer.status == 200);
        assert_eq!(won.len(), 1, "key {id}");
        for (_, answer) in lost {
            answer.fails(409, "DUPLICATE_KEY");
        }
        let stored = caller.sql_params("SELECT who FROM t WHERE id = $1", json!([id])).await.success();
        assert_eq!(stored.number(), won[0].0);
    }
}
