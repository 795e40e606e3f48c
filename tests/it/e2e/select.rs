//! SELECT: what the engine offers, and how values look in the answer.

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

#[tokio::test]
async fn joins_aggregates_windows_and_the_rest() {
    let server = TestServer::start().await;
    server
        .admin()
        .sql(
            "CREATE USER TABLE orders (id BIGINT PRIMARY KEY, item TEXT, n INT);
             CREATE SHARED TABLE items (name TEXT PRIMARY KEY, price DECIMAL(10,2));
             INSERT INTO items VALUES ('tea', 2.50), ('cake', 4.00), ('air', 0)",
        )
        .await
        .ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO orders VALUES (1, 'tea', 2), (2, 'cake', 1), (3, 'tea', 5)").await.ok();
    for (sql, expected) in [
        ("SELECT sum(o.n * i.price) FROM orders o JOIN items i ON i.name = o.item", json!([["21.50"]])),
        (
            "SELECT i.name, count(o.id) FROM items i LEFT JOIN orders o ON o.item = i.name GROUP BY i.name ORDER BY 1",
            json!([["air", 0], ["cake", 1], ["tea", 2]]),
        ),
        (
            "SELECT id, sum(n) OVER (PARTITION BY item ORDER BY id) FROM orders ORDER BY id",
            json!([[1, 2], [2, 1], [3, 7]]),
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r WHERE x < 4) SELECT sum(x) FROM r",
            json!([[10]]),
        ),
        ("SELECT DISTINCT item FROM orders ORDER BY item DESC", json!([["tea"], ["cake"]])),
        ("SELECT item FROM orders GROUP BY item HAVING sum(n) > 3", json!([["tea"]])),
        ("SELECT id FROM orders INTERSECT SELECT 2", json!([[2]])),
        ("SELECT id FROM orders EXCEPT SELECT 2 ORDER BY id LIMIT 1 OFFSET 1", json!([[3]])),
        ("SELECT upper(item) || '-' || CAST(n AS TEXT) FROM orders WHERE id = 1", json!([["TEA-2"]])),
        ("SELECT count(*) FROM orders WHERE item ~ '^c'", json!([[1]])),
    ] {
        let values: Vec<Value> = ann.sql(sql).await.success().values().into_iter().map(Value::Array).collect();
        assert_eq!(Value::Array(values), expected, "{sql}");
    }
}

#[tokio::test]
async fn values_look_as_the_contract_says() {
    let server = TestServer::start().await;
    let sql = "SELECT CAST(1 AS BIGINT) AS b, CAST(2 AS INT) AS i, CAST(1.5 AS DOUBLE) AS d,
        CAST('NaN' AS DOUBLE) AS nan, CAST(1.5 AS DECIMAL(6,2)) AS de, 'x' AS t, true AS bo, NULL AS nul,
        CAST('2025-10-21T14:30:00Z' AS TIMESTAMP) AS ts, CAST('2025-10-21' AS DATE) AS da";
    let answer = server.user("ann").sql(sql).await.success();
    let expected = json!({"b": 1, "i": 2, "d": 1.5, "nan": "NaN", "de": "1.50", "t": "x", "bo": true, "nul": null,
        "ts": "2025-10-21T14:30:00.000000Z", "da": "2025-10-21"});
    assert_eq!(answer.rows()[0], expected);
    let types: Vec<String> = answer.columns().into_iter().filter(|column| !column.starts_with("nul ")).collect();
    let expected = [
        "b BIGINT",
        "i INT",
        "d DOUBLE",
        "nan DOUBLE",
        "de DECIMAL(6,2)",
        "t TEXT",
        "bo BOOLEAN",
        "ts TIMESTAMP",
        "da DATE",
    ];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn columns_keep_their_order_and_case() {
    let server = TestServer::start().await;
    let answer = server.user("ann").sql("SELECT 1 AS z, 2 AS \"Mixed Case\", 3 AS a").await.success();
    let row = answer.rows()[0].as_object().expect("an object");
    assert_eq!(row.keys().collect::<Vec<_>>(), ["z", "Mixed Case", "a"]);
    assert!(answer.text.find("\"z\"") < answer.text.find("\"Mixed Case\""));
}

#[tokio::test]
async fn a_column_without_alias_is_named_as_written() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    let answer = admin.sql("SELECT COUNT(*), MAX(t.id), t.id + 1, 5 FROM t GROUP BY t.id").await.success();
    let names: Vec<String> =
        answer.columns().iter().map(|column| column.rsplit_once(' ').map_or("", |parts| parts.0).to_owned()).collect();
    assert_eq!(names, ["count(*)", "max(id)", "id + 1", "5"]);
}

#[tokio::test]
async fn evaluation_errors_have_their_code() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin
        .sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (0), (9223372036854775807)")
        .await
        .ok();
    for sql in ["SELECT 1 / id FROM t", "SELECT 1 / 0", "SELECT id + 1 FROM t", "SELECT CAST('x' AS INT)"] {
        admin.sql(sql).await.fails(400, "EVALUATION_ERROR");
    }
}

#[tokio::test]
async fn a_large_result_is_complete() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    for begin in (0..5000).step_by(1000) {
        let rows: Vec<String> = (begin..begin + 1000).map(|id| format!("({id}, 'value {id}')")).collect();
        let answer = admin.sql(format!("INSERT INTO t VALUES {}", rows.join(", "))).await.success();
        assert_eq!(answer.row_count(), 1000);
    }
    let answer = admin.sql("SELECT id, v FROM t ORDER BY id").await.success();
    assert_eq!(answer.rows().len(), 5000);
    assert!(answer.rows().iter().enumerate().all(|(id, row)| row["v"] == json!(format!("value {id}"))));
    let part = admin.sql("SELECT count(*), min(id), max(id) FROM t WHERE id >= 100 AND id < 200").await.success();
    assert_eq!(part.values(), [[json!(100), json!(100), json!(199)]]);
    let last = admin.sql("SELECT id FROM t ORDER BY id DESC LIMIT 3").await.success();
    assert_eq!(last.column("id"), [json!(4999), json!(4998), json!(4997)]);
}

#[tokio::test]
async fn only_the_statements_of_the_dialect_exist() {
    let server = TestServer::start().await;
    let admin = server.admin();
    for sql in [
        "COPY t TO 'file.csv'",
        "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW v AS SELECT 1",
        "SET x = 1",
        "PREPARE p AS SELECT 1",
        "TRUNCATE TABLE t",
        "BEGIN",
        "COMMIT",
        "CREATE DATABASE d",
        "CREATE SCHEMA s",
        "CREATE INDEX i ON t (a)",
        "GRANT SELECT ON t TO ann",
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ] {
        admin.sql(sql).await.fails(400, "UNSUPPORTED");
    }
    // Nor do the engine's own files and functions.
    for sql in ["SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\"", "SELECT * FROM read_csv('/etc/passwd')"]
    {
        let answer = admin.sql(sql).await;
        assert!((400..500).contains(&answer.status), "{sql}: {} {}", answer.status, answer.text);
    }
}
