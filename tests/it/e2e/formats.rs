//! How results look in JSON: every type, repeated names, messages.

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

#[tokio::test]
async fn every_column_type_has_its_form() {
    let server = TestServer::start().await;
    let create =
        "CREATE USER TABLE t (id BIGINT PRIMARY KEY, si SMALLINT, i INT, f FLOAT, d DOUBLE, de DECIMAL(10,3), tx TEXT,
        bo BOOLEAN, ts TIMESTAMP, da DATE, uu UUID, by BYTES, js JSON)";
    server.admin().sql(create).await.ok();
    let ann = server.user("ann");
    let row = json!([
        9007199254740993_i64,
        -7,
        8,
        1.5,
        0.1,
        "-0.5",
        "naïve \"q\" \\ \u{1}",
        false,
        "2025-10-21T14:30:00.5Z",
        "2025-10-21",
        "67E55044-10B1-426F-9247-BB680E5FE0C8",
        "AP/+",
        "{\"b\": [1.25, null], \"a\": {}}"
    ]);
    ann.sql_params("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)", row).await.ok();
    let answer = ann.sql("SELECT * FROM t").await.success();
    let types = [
        "id BIGINT",
        "si SMALLINT",
        "i INT",
        "f FLOAT",
        "d DOUBLE",
        "de DECIMAL(10,3)",
        "tx TEXT",
        "bo BOOLEAN",
        "ts TIMESTAMP",
        "da DATE",
        "uu UUID",
        "by BYTES",
        "js JSON",
    ];
    assert_eq!(answer.columns(), types);
    let expected = json!({"id": 9007199254740993_i64, "si": -7, "i": 8, "f": 1.5, "d": 0.1, "de": "-0.500", "tx": "naïve \"q\" \\ \u{1}",
        "bo": false, "ts": "2025-10-21T14:30:00.500000Z", "da": "2025-10-21", "uu": "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "by": "AP/+", "js": {"b": [1.25, null], "a": {}}});
    assert_eq!(answer.rows()[0], expected, "{}", answer.text);
    let nullable: Vec<bool> =
        answer.results()[0]["columns"].as_array().into_iter().flatten().map(|c| c["nullable"] == json!(true)).collect();
    assert!(!nullable[0] && nullable[1..].iter().all(|nullable| *nullable), "{}", answer.text);
}

#[tokio::test]
async fn results_that_no_column_can_have_are_shown_too() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let mut wrong = Vec::new();
    for (sql, data_type, expected) in [
        ("SELECT CAST('NaN' AS DOUBLE) AS v", "DOUBLE", json!("NaN")),
        ("SELECT CAST('Infinity' AS DOUBLE) AS v", "DOUBLE", json!("Infinity")),
        ("SELECT CAST('-Infinity' AS FLOAT) AS v", "FLOAT", json!("-Infinity")),
        ("SELECT row_number() OVER () AS v", "BIGINT", json!(1)),
        ("SELECT INTERVAL '1 day 2 hours 3 minutes' AS v", "INTERVAL", json!("P1DT2H3M")),
        ("SELECT make_array(1, NULL, 3) AS v", "ARRAY", json!([1, null, 3])),
        ("SELECT [[1], [2, 3]] AS v", "ARRAY", json!([[1], [2, 3]])),
        ("SELECT array_agg(x ORDER BY x) AS v FROM (VALUES ('b'), ('a')) AS t (x)", "ARRAY", json!(["a", "b"])),
        ("SELECT named_struct('a', 1, 'b', 'x') AS v", "OBJECT", json!({"a": 1, "b": "x"})),
        ("SELECT CAST(1.25 AS DECIMAL(5,2)) + CAST(2 AS DECIMAL(5,2)) AS v", "", json!("3.25")),
        ("SELECT CAST('0001-01-01' AS TIMESTAMP) AS v", "TIMESTAMP", json!("0001-01-01T00:00:00.000000Z")),
    ] {
        let answer = ann.sql(sql).await.success();
        let column = answer.columns().remove(0);
        let shown = column.strip_prefix("v ").unwrap_or_default();
        if answer.scalar() != expected || (!data_type.is_empty() && shown != data_type) {
            wrong.push(format!("{sql}: {}, expected {expected} of type {data_type}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let time = ann.sql("SELECT CURRENT_TIME AS v").await.success();
    assert_eq!(time.columns(), ["v TIME"]);
    let shape: String = time.scalar().as_str().unwrap_or_default().replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(shape, "00:00:00.000000", "{}", time.text);
}

#[tokio::test]
async fn repeated_names_are_numbered_in_order() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO t VALUES (1, 'a')").await.ok();
    for (sql, names) in [
        ("SELECT 1 AS a, 2 AS a, 3 AS a", &["a", "a_2", "a_3"][..]),
        ("SELECT x.id, y.id FROM t AS x JOIN t AS y ON x.id = y.id", &["id", "id_2"]),
        ("SELECT * FROM t AS x JOIN t AS y ON x.id = y.id", &["id", "v", "id_2", "v_2"]),
        ("SELECT 1, 1", &["1", "1_2"]),
        ("SELECT count(*), COUNT(*) FROM t", &["count(*)", "count(*)_2"]),
        ("INSERT INTO t VALUES (2, 'b') RETURNING id, id", &["id", "id_2"]),
    ] {
        let answer = ann.sql(sql).await.success();
        let row = answer.rows()[0].as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(row, names, "{sql}");
        let columns = answer.columns();
        let columns: Vec<&str> =
            columns.iter().filter_map(|column| column.rsplit_once(' ')).map(|(name, _)| name).collect();
        assert_eq!(columns, names, "{sql}");
    }
}

#[tokio::test]
async fn changes_say_what_they_did() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    for (sql, count, message) in [
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", 3, "3 rows inserted"),
        ("INSERT INTO t VALUES (4, 'd')", 1, "1 row inserted"),
        ("UPDATE t SET v = 'x' WHERE id > 1", 3, "3 rows updated"),
        ("UPDATE t SET v = 'x' WHERE false", 0, "0 rows updated"),
        ("DELETE FROM t WHERE id = 1", 1, "1 row deleted"),
    ] {
        let answer = ann.sql(sql).await.success();
        assert_eq!((answer.row_count(), answer.message()), (count, message), "{sql}");
        assert_eq!(answer.results()[0]["rows"], json!([]), "{sql}");
    }
    let made = server.admin().sql("CREATE NAMESPACE IF NOT EXISTS default").await.success();
    assert_eq!(made.row_count(), 0);
    assert!(!made.message().is_empty());
}

#[tokio::test]
async fn timing_is_reported_only_where_it_is_wanted() {
    let server = TestServer::start_with(&[("query.report_timing", "false")]).await;
    let answer = server.user("ann").sql("SELECT 1; SELECT 2").await.success();
    assert!(!answer.text.contains("took_ms"), "{}", answer.text);
    let failed = server.user("ann").sql("SELECT").await;
    assert!(!failed.text.contains("took_ms"), "{}", failed.text);
}

#[tokio::test]
async fn numbers_beyond_what_scripts_can_hold_arrive_whole() {
    let server = TestServer::start().await;
    let answer =
        server.user("ann").sql("SELECT 9223372036854775807 AS big, -9223372036854775808 AS small").await.success();
    assert!(
        answer.text.contains("9223372036854775807") && answer.text.contains("-9223372036854775808"),
        "{}",
        answer.text
    );
    let types: Vec<Value> = answer.values().remove(0);
    assert!(types.iter().all(Value::is_number), "{}", answer.text);
}
