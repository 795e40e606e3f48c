//! What DML does without a planner, beside the same done with one.

use super::*;

const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n INT NOT NULL DEFAULT 7, v TEXT DEFAULT 'd', \
    m DECIMAL(10,2), j JSON, u UUID, \"Odd\" BOOLEAN)";

fn columns(result: &StatementResult) -> Vec<(String, String, bool)> {
    result.columns.iter().map(|one| (one.name.clone(), one.data_type.clone(), one.nullable)).collect()
}

fn rows(result: &StatementResult) -> Vec<serde_json::Map<String, Json>> {
    serde_json::from_str(result.rows.as_str()).expect("rows")
}

async fn start() -> Server {
    let server = Server::start().await;
    server.run("ann", TABLE, Vec::new()).await;
    server
}

/// A list of columns, and the same with an expression behind it, which a planner has to look at.
#[tokio::test(flavor = "multi_thread")]
async fn returning_columns_is_what_a_planner_makes_of_them() {
    let server = start().await;
    for list in [
        "*",
        "id",
        "ID, N, v",
        "t.id, T.n AS Total, v AS \"Vv\"",
        "id, id, n AS id, id AS id_2",
        "\"Odd\", m, j, u",
        "_deleted, id, _updated IS NULL AS x",
        "_deleted, id",
    ] {
        for (at, statement) in [
            "INSERT INTO t (id, v, m, j, u) VALUES (1, 'a', 1.5, '{\"a\": [1]}', '70000000-0000-4000-8000-000000000001'), \
             (2, NULL, NULL, NULL, NULL)",
            "INSERT INTO t (id, v) VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v",
            "UPDATE t SET n = n + 1, \"Odd\" = true",
            "DELETE FROM t",
        ]
        .into_iter()
        .enumerate()
        {
            let mut answers = Vec::new();
            for more in ["", ", 1 AS one"] {
                // Each in a partition of its own, brought to the same point.
                let user = format!("{}{at}", if more.is_empty() { "plain" } else { "planned" });
                server.run(&user, "DELETE FROM t", Vec::new()).await;
                if at > 0 {
                    server.run(&user, "INSERT INTO t (id, v, \"Odd\") VALUES (1, 'a', false), (2, 'b', NULL)", vec![]).await;
                }
                answers.push(server.run(&user, &format!("{statement} RETURNING {list}{more}"), vec![]).await.remove(0));
            }
            let [plain, planned] = answers.as_slice() else { panic!("two") };
            let case = format!("{statement} RETURNING {list}");
            let mut expected = columns(planned);
            assert_eq!(expected.pop().map(|(name, ..)| name).as_deref(), Some("one"), "{case}");
            assert_eq!(columns(plain), expected, "{case}");
            let mut expected = rows(planned);
            for row in &mut expected {
                assert_eq!(row.remove("one"), Some(json!(1)), "{case}");
            }
            assert_eq!(rows(plain), expected, "{case}");
            assert!(!expected.is_empty(), "{case}");
            assert_eq!((plain.row_count, &plain.message), (planned.row_count, &planned.message), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn returning_tells_the_numbers_of_the_commit() {
    let server = start().await;
    for user in ["ann", "bob"] {
        let insert = "INSERT INTO t (id) VALUES (1), (2) RETURNING id, _seq, _updated, t._deleted AS gone";
        let returned = rows(&server.run(user, insert, vec![]).await[0]);
        let stored =
            rows(&server.run(user, "SELECT id, _seq, _updated, _deleted AS gone FROM t ORDER BY id", vec![]).await[0]);
        assert_eq!(returned, stored);
        assert_eq!(returned.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_column_is_refused_and_changes_nothing() {
    let server = start().await;
    for (list, code) in [
        ("nope", ErrorCode::ColumnNotFound),
        ("other.id", ErrorCode::ColumnNotFound),
        ("\"ID\"", ErrorCode::ColumnNotFound),
        ("id, *, nope", ErrorCode::ColumnNotFound),
    ] {
        let sql = format!("INSERT INTO t (id) VALUES (1) RETURNING {list}");
        let outcome = server.outcome("ann", Role::User, &sql, vec![]).await;
        assert_eq!(outcome.error.map(|failed| failed.error.code), Some(code), "{list}");
    }
    assert_eq!(server.scalar("ann", "SELECT count(*) FROM t").await, json!(0));
}

/// Assignments of constants and columns, and the same with a condition, which a planner has to look at.
#[tokio::test(flavor = "multi_thread")]
async fn upserts_of_columns_are_what_a_planner_makes_of_them() {
    let server = start().await;
    for (set, params) in [
        ("v = excluded.v", vec![]),
        ("v = EXCLUDED.\"v\", n = t.n, m = (excluded.m)", vec![]),
        ("n = excluded.n, v = v, \"Odd\" = excluded.\"Odd\"", vec![]),
        ("n = DEFAULT, v = NULL, m = 2.25", vec![]),
        ("v = $1, n = $2", vec![json!("given"), json!(5)]),
        ("v = n", vec![]),
        ("v = excluded.n, n = excluded.n + t.n", vec![]),
        ("id = excluded.id, j = excluded.j, u = excluded.u", vec![]),
    ] {
        let mut answers = Vec::new();
        for condition in ["", " WHERE true"] {
            let user = if condition.is_empty() { "plain" } else { "planned" };
            server.run(user, "DELETE FROM t", Vec::new()).await;
            server
                .run(user, "INSERT INTO t (id, n, v, \"Odd\") VALUES (1, 10, 'a', true), (3, 30, 'c', NULL)", vec![])
                .await;
            let upsert = format!(
                "INSERT INTO t (id, n, v, m, j, u) VALUES (3, 33, 'z', 1, '3', NULL), (2, 22, 'y', 2, '[2]', NULL), \
                 (1, 11, NULL, 3, NULL, '70000000-0000-4000-8000-000000000001') ON CONFLICT (id) DO UPDATE SET {set}{condition}"
            );
            let outcome = server.outcome(user, Role::User, &upsert, params.clone()).await;
            let error = outcome.error.map(|failed| (failed.error.code, failed.error.message));
            let found = server.run(user, "SELECT * FROM t ORDER BY id", vec![]).await.remove(0);
            answers.push((error, rows(&found)));
        }
        assert_eq!(answers[0], answers[1], "{set}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_takes_what_was_given_and_checks_it() {
    let server = start().await;
    server.run("ann", "INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')", vec![]).await;
    let upsert =
        "INSERT INTO t (id, v, n) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET v = excluded.v, n = excluded.n";
    server.run("ann", upsert, vec![json!(1), json!("new"), json!(1)]).await;
    assert_eq!(server.scalar("ann", "SELECT v FROM t WHERE id = 1").await, json!("new"));
    let outcome = server.outcome("ann", Role::User, upsert, vec![json!(2), json!("x"), Json::Null]).await;
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::ConstraintViolation));
    for (set, code) in [
        ("v = excluded.nope", ErrorCode::ColumnNotFound),
        ("nope = excluded.v", ErrorCode::ColumnNotFound),
        ("_seq = excluded.id", ErrorCode::InvalidSql),
    ] {
        // Whether there is a conflict or not.
        for id in [1, 9] {
            let sql = format!("INSERT INTO t (id) VALUES ({id}) ON CONFLICT (id) DO UPDATE SET {set}");
            let outcome = server.outcome("ann", Role::User, &sql, vec![]).await;
            assert_eq!(outcome.error.map(|failed| failed.error.code), Some(code), "{set}, {id}");
        }
    }
    let aliased = "INSERT INTO t AS excluded (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET v = excluded.v";
    let outcome = server.outcome("ann", Role::User, aliased, vec![]).await;
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::InvalidSql));
    assert_eq!(server.scalar("ann", "SELECT count(*) FROM t WHERE v IN ('new', 'b')").await, json!(2));
}

/// One for each row, as it would be for each row of an UPDATE.
#[tokio::test(flavor = "multi_thread")]
async fn functions_that_make_ids_make_one_for_each_row_of_an_upsert() {
    let server = start().await;
    server.run("ann", "INSERT INTO t (id) VALUES (1), (2)", vec![]).await;
    server.run("ann", "INSERT INTO t (id) VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET v = ULID()", vec![]).await;
    assert_eq!(server.scalar("ann", "SELECT count(DISTINCT v) FROM t WHERE v <> 'd'").await, json!(2));
}
