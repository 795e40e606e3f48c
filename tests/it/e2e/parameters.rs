//! Parameters: where they may stand, what they become, and every way they can be wrong.

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

async fn with_types() -> TestServer {
    let server = TestServer::start().await;
    server
        .admin()
        .sql(
            "CREATE USER TABLE t (id BIGINT PRIMARY KEY, si SMALLINT, i INT, f FLOAT, d DOUBLE, de DECIMAL(6,2), tx TEXT,
             bo BOOLEAN, ts TIMESTAMP, da DATE, uu UUID, by BYTES, js JSON)",
        )
        .await
        .ok();
    server
}

#[tokio::test]
async fn every_type_takes_what_the_table_says() {
    let server = with_types().await;
    let ann = server.user("ann");
    let uuid = "67E55044-10B1-426F-9247-BB680E5FE0C8";
    let cases: Vec<(&str, Value, Value)> = vec![
        ("si", json!(-32768), json!(-32768)),
        ("si", json!(7.0), json!(7)),
        ("i", json!(1e3), json!(1000)),
        ("i", json!(2147483647), json!(2147483647)),
        ("id", json!(9007199254740993_i64), json!(9007199254740993_i64)),
        ("f", json!(1.5), json!(1.5)),
        ("f", json!("NaN"), json!("NaN")),
        ("d", json!(3), json!(3.0)),
        ("d", json!("Infinity"), json!("Infinity")),
        ("d", json!("-Infinity"), json!("-Infinity")),
        ("de", json!(1.5), json!("1.50")),
        ("de", json!("1234.567"), json!("1234.57")),
        ("de", json!("-0.005"), json!("-0.01")),
        ("de", json!(9999), json!("9999.00")),
        ("tx", json!("naïve 😀 'quoted' \"twice\" $1 ; --"), json!("naïve 😀 'quoted' \"twice\" $1 ; --")),
        ("tx", json!(""), json!("")),
        ("bo", json!(true), json!(true)),
        ("ts", json!("2025-10-21T14:30:00Z"), json!("2025-10-21T14:30:00.000000Z")),
        ("ts", json!("2025-10-21T14:30:00.123456+02:00"), json!("2025-10-21T12:30:00.123456Z")),
        ("ts", json!("2025-10-21 14:30:00"), json!("2025-10-21T14:30:00.000000Z")),
        ("ts", json!("2025-10-21"), json!("2025-10-21T00:00:00.000000Z")),
        ("da", json!("2025-10-21"), json!("2025-10-21")),
        ("da", json!("2025-10-21T00:00:00Z"), json!("2025-10-21")),
        ("da", json!("2025-10-21T14:30:00.5Z"), json!("2025-10-21")),
        ("da", json!("2025-10-21 14:30:00"), json!("2025-10-21")),
        ("da", json!("2025-10-21T00:30:00+02:00"), json!("2025-10-20")),
        ("uu", json!(uuid), json!(uuid.to_lowercase())),
        ("by", json!("aGVsbG8="), json!("aGVsbG8=")),
        ("js", json!("{\"a\": [1, null]}"), json!({"a": [1, null]})),
    ];
    for (row, (column, given, expected)) in cases.into_iter().enumerate() {
        let insert = if column == "id" {
            ann.sql_params("INSERT INTO t (id) VALUES ($1) RETURNING id", json!([given])).await
        } else {
            let sql = format!("INSERT INTO t (id, {column}) VALUES ($1, $2) RETURNING {column}");
            ann.sql_params(&sql, json!([row, given])).await
        };
        let got = insert.success().scalar();
        let same = got == expected || (got.as_f64().is_some() && got.as_f64() == expected.as_f64());
        assert!(same, "{column} given {given}: got {got}, expected {expected}");
        if column == "id" || column == "js" || given == json!("NaN") {
            continue;
        }
        let sql = format!("SELECT count(*) FROM t WHERE id = $1 AND {column} = $2");
        let found = ann.sql_params(&sql, json!([row, given])).await.success().number();
        // -0.005 and 1234.567 are rounded on both ways.
        assert_eq!(found, 1, "{column} = {given}");
    }
    let nulls = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let mut params = vec![json!(1000)];
    params.resize(13, Value::Null);
    ann.sql_params(nulls, Value::Array(params)).await.ok();
    let row = ann.sql("SELECT * FROM t WHERE id = 1000").await.success().values().remove(0);
    assert!(row[1..].iter().all(Value::is_null), "{row:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let server = with_types().await;
    let ann = server.user("ann");
    let cases: Vec<(&str, Value, &str)> = vec![
        ("si", json!(32768), "SMALLINT"),
        ("i", json!(2147483648_i64), "INT"),
        ("i", json!(1.5), "INT"),
        ("i", json!("1"), "INT"),
        ("i", json!(true), "INT"),
        ("d", json!("1.5"), "DOUBLE"),
        ("f", json!(false), "FLOAT"),
        ("de", json!(10000), "DECIMAL"),
        ("de", json!("twelve"), "DECIMAL"),
        ("tx", json!(1), "TEXT"),
        ("tx", json!(true), "TEXT"),
        ("bo", json!(1), "BOOLEAN"),
        ("bo", json!("true"), "BOOLEAN"),
        ("ts", json!("yesterday"), "TIMESTAMP"),
        ("ts", json!(1_700_000_000), "TIMESTAMP"),
        ("ts", json!("2025-13-01T00:00:00Z"), "TIMESTAMP"),
        ("da", json!("2025-02-30"), "DATE"),
        ("da", json!("2025-10-21T14:60:00Z"), "DATE"),
        ("da", json!(20251021), "DATE"),
        ("uu", json!("67e55044"), "UUID"),
        ("by", json!("not base64!"), "BYTES"),
        ("js", json!("{broken"), "JSON"),
        ("si", json!(-32769), "SMALLINT"),
        ("i", json!(-2147483649_i64), "INT"),
        ("f", json!(1e39), "FLOAT"),
        ("f", json!("nan"), "FLOAT"),
        ("d", json!("inf"), "DOUBLE"),
        ("d", json!(true), "DOUBLE"),
        ("de", json!("NaN"), "DECIMAL"),
        ("de", json!(true), "DECIMAL"),
        ("bo", json!("yes"), "BOOLEAN"),
        ("ts", json!("2025-10-21T24:00:00Z"), "TIMESTAMP"),
        ("ts", json!(true), "TIMESTAMP"),
        ("da", json!(20_250_101), "DATE"),
        ("da", json!("21.10.2025"), "DATE"),
        ("uu", json!("67e55044-10b1-426f-9247-bb680e5fe0cz"), "UUID"),
        ("uu", json!(5), "UUID"),
        ("by", json!("aGVsbG8"), "BYTES"),
        ("by", json!(1), "BYTES"),
        ("js", json!(""), "JSON"),
    ];
    // With the counts, gaps and structures below: forty and more.
    assert!(cases.len() >= 38);
    for (column, given, expected) in cases {
        let sql = format!("INSERT INTO t (id, {column}) VALUES (1, $1)");
        let message = ann.sql_params(&sql, json!([given])).await.fails(400, "PARAM_TYPE_MISMATCH");
        assert!(message.contains("$1"), "{column} given {given}: {message:?} names no parameter");
        assert!(message.contains(expected), "{column} given {given}: {message:?} does not say {expected}");
    }
    assert_eq!(ann.sql("SELECT count(*) FROM t").await.success().number(), 0);
}

#[tokio::test]
async fn counts_must_be_equal() {
    let server = with_types().await;
    let ann = server.user("ann");
    let select = "SELECT id FROM t WHERE id = $1 AND i = $2";
    let message = ann.sql_params(select, json!([1, 2, 3])).await.fails(400, "PARAM_COUNT_MISMATCH");
    assert_eq!(message, "Expected 2 parameters, got 3");
    let message = ann.sql_params(select, json!([1])).await.fails(400, "PARAM_COUNT_MISMATCH");
    assert_eq!(message, "Expected 2 parameters, got 1");
    ann.sql(select).await.fails(400, "PARAM_COUNT_MISMATCH");
    ann.sql_params("SELECT id FROM t", json!([1])).await.fails(400, "PARAM_COUNT_MISMATCH");
    // One parameter in two places is one parameter.
    ann.sql_params("SELECT id FROM t WHERE id = $1 OR i = $1", json!([1])).await.ok();
}

#[tokio::test]
async fn gaps_batches_and_structures_are_refused() {
    let server = with_types().await;
    let ann = server.user("ann");
    ann.sql_params("SELECT $1 + $3", json!([1, 2, 3])).await.fails(400, "INVALID_SQL");
    ann.sql_params("SELECT id FROM t WHERE id = $0", json!([1])).await.fails(400, "INVALID_SQL");
    ann.sql_params("SELECT $1; SELECT $1", json!([1])).await.fails(400, "PARAMS_WITH_BATCH");
    for structure in [json!([[1]]), json!([{"a": 1}])] {
        ann.sql_params("SELECT id FROM t WHERE id = $1", structure).await.fails(400, "INVALID_REQUEST");
    }
    ann.sql_params("SELECT 1", json!({"1": 1})).await.fails(400, "INVALID_REQUEST");
    server.admin().sql_params("CREATE NAMESPACE $1", json!(["x"])).await.fails(400, "INVALID_SQL");
}

#[tokio::test]
async fn they_stand_wherever_a_value_may() {
    let server = with_types().await;
    let ann = server.user("ann");
    let insert = "INSERT INTO t (id, i, tx) VALUES ($1, $2, $3), ($4, $2, $3)";
    assert_eq!(ann.sql_params(insert, json!([1, 10, "x", 2])).await.success().row_count(), 2);
    let update = "UPDATE t SET i = i + $1, tx = $2 WHERE id IN ($3, $4)";
    assert_eq!(ann.sql_params(update, json!([5, "y", 1, 2])).await.success().row_count(), 2);
    for (sql, params, expected) in [
        ("SELECT count(*) FROM t WHERE i BETWEEN $1 AND $2", json!([15, 15]), json!(2)),
        ("SELECT count(*) FROM t WHERE tx LIKE $1", json!(["%y%"]), json!(2)),
        ("SELECT id FROM t ORDER BY id LIMIT $1 OFFSET $2", json!([1, 1]), json!(2)),
        ("SELECT CASE WHEN id = $1 THEN $2 ELSE 'no' END FROM t WHERE id = 1", json!([1, "yes"]), json!("yes")),
        ("SELECT max(id) FROM t WHERE ts IS NULL AND id > $1", json!([0]), json!(2)),
        ("SELECT (SELECT count(*) FROM t AS inside WHERE inside.id = $1)", json!([2]), json!(1)),
    ] {
        assert_eq!(ann.sql_params(sql, params).await.success().scalar(), expected, "{sql}");
    }
    let all = ann.sql_params("SELECT id FROM t LIMIT $1", json!([null])).await.success();
    assert_eq!(all.rows().len(), 2);
    ann.sql_params("SELECT id FROM t LIMIT $1", json!([-1])).await.fails(400, "PARAM_TYPE_MISMATCH");
    ann.sql_params("SELECT id FROM t LIMIT $1", json!(["1"])).await.fails(400, "PARAM_TYPE_MISMATCH");
    ann.sql_params("SELECT id FROM t LIMIT $1", json!([1.5])).await.fails(400, "PARAM_TYPE_MISMATCH");
    ann.sql_params("SELECT id FROM t LIMIT $1", json!([true])).await.fails(400, "PARAM_TYPE_MISMATCH");
    ann.sql_params("SELECT id FROM t OFFSET $1", json!([-1])).await.fails(400, "PARAM_TYPE_MISMATCH");
    let delete = ann.sql_params("DELETE FROM t WHERE id = $1 RETURNING tx, $2 AS given", json!([1, "g"])).await;
    assert_eq!(delete.success().values(), [[json!("y"), json!("g")]]);
}

#[tokio::test]
async fn without_a_column_the_json_type_decides() {
    let server = TestServer::start().await;
    let answer = server.user("ann").sql_params("SELECT $1, $2, $3, $4", json!(["t", 1, 1.5, true])).await.success();
    let types: Vec<String> =
        answer.columns().iter().map(|column| column.rsplit(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(types, ["TEXT", "BIGINT", "DOUBLE", "BOOLEAN"]);
    assert_eq!(answer.values(), [[json!("t"), json!(1), json!(1.5), json!(true)]]);
}

#[tokio::test]
async fn null_fits_where_no_type_is_known() {
    let server = with_types().await;
    let ann = server.user("ann");
    let insert = "INSERT INTO t (id, si, i, f, d, de, tx, bo, ts, da, uu, by, js) VALUES (1, 1, 2, 1.5, 2.5, 3.25, 'x', \
                  true, '2026-01-01', '2026-01-02', '67e55044-10b1-426f-9247-bb680e5fe0c8', X'01', '[1]')";
    ann.sql(insert).await.ok();
    let before = ann.sql("SELECT * FROM t").await.success().values();
    // Not BYTES: the engine's coalesce takes no NULL beside them, the word neither.
    for column in ["si", "i", "f", "d", "de", "tx", "bo", "ts", "da", "uu", "js"] {
        let sql = format!("UPDATE t SET {column} = coalesce($1, {column}) WHERE id = 1");
        assert_eq!(ann.sql_params(&sql, json!([null])).await.success().row_count(), 1, "{sql}");
        let sql = format!("SELECT count(*) FROM t WHERE {column} = coalesce($1, {column})");
        assert_eq!(ann.sql_params(&sql, json!([null])).await.success().number(), 1, "{sql}");
    }
    assert_eq!(ann.sql("SELECT * FROM t").await.success().values(), before);
    for sql in [
        "SELECT id FROM t WHERE $1",
        "SELECT id FROM t WHERE NOT $1",
        "SELECT id FROM t WHERE $1 IS TRUE",
        "SELECT count(*) FROM t HAVING $1",
        "SELECT a.id FROM t AS a JOIN t AS b ON $1",
    ] {
        assert!(ann.sql_params(sql, json!([null])).await.success().rows().is_empty(), "{sql}");
    }
    for value in ["$1", "-$1", "$1 + $1", "abs($1)", "sqrt($1)", "round($1)", "substr($1, 1)"] {
        let sql = format!("SELECT {value} AS v");
        assert_eq!(ann.sql_params(&sql, json!([null])).await.success().scalar(), Value::Null, "{sql}");
    }
    let case = "UPDATE t SET i = CASE WHEN id = 1 THEN $1 ELSE i END RETURNING i";
    assert_eq!(ann.sql_params(case, json!([null])).await.success().scalar(), Value::Null);
}

#[tokio::test]
async fn text_beside_a_column_that_is_none_is_meant_for_it() {
    let server = with_types().await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO t (id) VALUES (1)").await.ok();
    for (column, given, expected) in [
        ("ts", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00.000000Z"),
        ("da", "2026-02-01", "2026-02-01"),
        ("de", "2.5", "2.50"),
    ] {
        for value in [format!("coalesce($1, {column})"), format!("CASE WHEN id = 1 THEN $1 ELSE {column} END")] {
            let sql = format!("UPDATE t SET {column} = {value} RETURNING {column}");
            assert_eq!(ann.sql_params(&sql, json!([given])).await.success().scalar(), json!(expected), "{sql}");
        }
    }
    // A UUID in any case, and by a plan that is kept as by one that is made for the statement.
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    ann.sql(format!("UPDATE t SET uu = '{id}'")).await.ok();
    for condition in [
        "CASE uu WHEN $1 THEN true ELSE false END",
        "nullif(uu, $1) IS NULL",
        "uu = ANY(ARRAY[$1])",
        "(uu, uu) = ($1, $1)",
    ] {
        let sql = format!("SELECT id FROM t WHERE {condition}");
        for given in [id.to_uppercase(), id.to_owned(), id.to_uppercase()] {
            assert_eq!(ann.sql_params(&sql, json!([given])).await.success().rows().len(), 1, "{sql}");
        }
    }
    let bytes = "UPDATE t SET by = CASE WHEN id = 1 THEN $1 ELSE by END RETURNING by";
    assert_eq!(ann.sql_params(bytes, json!(["aGk="])).await.success().scalar(), json!("aGk="));
    let wrong = ann.sql_params("SELECT coalesce($1, ts) FROM t", json!(["yesterday"])).await;
    assert!(wrong.fails(400, "PARAM_TYPE_MISMATCH").contains("TIMESTAMP"), "{}", wrong.text);
    let wrong = ann.sql_params("SELECT id FROM t WHERE ts > $1 + INTERVAL '17 days'", json!([5])).await;
    assert!(wrong.fails(400, "PARAM_TYPE_MISMATCH").contains("expected INTERVAL,"), "{}", wrong.text);
}

#[tokio::test]
async fn an_expression_with_parameters_is_one_wherever_it_is_repeated() {
    let server = with_types().await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO t (id, i, tx, ts) VALUES (1, 1, 'a', '2026-01-05'), (2, 1, 'b', '2026-01-06'), (3, 2, 'a', '2026-01-07')")
        .await
        .ok();
    for (sql, params, expected) in [
        (
            "SELECT date_trunc($1, ts) AS m, count(*) FROM t GROUP BY date_trunc($1, ts)",
            json!(["month"]),
            json!([["2026-01-01T00:00:00.000000Z", 3]]),
        ),
        (
            "SELECT i + $1, count(*) FROM t GROUP BY i + $1 HAVING i + $1 > $2 ORDER BY i + $1 DESC",
            json!([10, 0]),
            json!([[12, 1], [11, 2]]),
        ),
        ("SELECT id % $1, count(*) FROM t GROUP BY 1 ORDER BY id % $1", json!([2]), json!([[0, 1], [1, 2]])),
        ("SELECT DISTINCT i + $1 FROM t ORDER BY i + $1 DESC", json!([1]), json!([[3], [2]])),
        (
            "SELECT CASE WHEN id > $1 THEN $2 ELSE 'low' END AS k, count(*) FROM t \
             GROUP BY CASE WHEN id > $1 THEN $2 ELSE 'low' END ORDER BY k",
            json!([1, "high"]),
            json!([["high", 2], ["low", 1]]),
        ),
    ] {
        // Twice: the second finds the plan of the first.
        for _ in 0..2 {
            let answer = ann.sql_params(sql, params.clone()).await.success();
            assert_eq!(json!(answer.values()), expected, "{sql}");
        }
    }
    let message = ann.sql_params("SELECT i + $2, tx || $1 FROM t GROUP BY tx || $1", json!(["x", 1])).await;
    let message = message.fails(400, "INVALID_SQL");
    assert!(message.contains("|| $1"), "{message:?} does not name the caller's parameter");
}

#[tokio::test]
async fn text_never_becomes_sql() {
    let server = with_types().await;
    let ann = server.user("ann");
    let evil = "'); DROP TABLE t; --";
    ann.sql_params("INSERT INTO t (id, tx) VALUES (1, $1)", json!([evil])).await.ok();
    let answer = ann.sql_params("SELECT tx FROM t WHERE tx = $1", json!([evil])).await.success();
    assert_eq!(answer.scalar(), json!(evil));
}

#[tokio::test]
async fn each_place_of_a_repeated_parameter_has_its_own_type() {
    let server = with_types().await;
    let ann = server.user("ann");
    let insert = "INSERT INTO t (id, tx, ts, da) VALUES (1, $1, $1, $1) RETURNING tx, ts, da";
    let answer = ann.sql_params(insert, json!(["2025-10-21"])).await.success();
    assert_eq!(answer.values(), [[json!("2025-10-21"), json!("2025-10-21T00:00:00.000000Z"), json!("2025-10-21")]]);
    let mixed = "INSERT INTO t (id, de, d, i) VALUES (2, $1, $1, $1) RETURNING de, d, i";
    let answer = ann.sql_params(mixed, json!([7])).await.success();
    assert_eq!(answer.rows()[0]["de"], json!("7.00"));
    assert_eq!(answer.rows()[0]["i"], json!(7));
    let message = ann.sql_params("INSERT INTO t (id, tx, i) VALUES (3, $1, $1)", json!(["x"])).await;
    assert!(message.fails(400, "PARAM_TYPE_MISMATCH").contains("INT"), "{}", message.text);
}

/// Beside a star, in the parts of a UNION, and under a LIMIT too: the type is that of the column they go into.
#[tokio::test]
async fn a_parameter_of_a_query_that_is_inserted_has_its_columns_type() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE s (a BIGINT PRIMARY KEY, b DECIMAL(5,2))").await.ok();
    server.admin().sql("CREATE USER TABLE t (a BIGINT PRIMARY KEY, b DECIMAL(5,2), c DOUBLE, d TIMESTAMP)").await.ok();
    let ann = server.user("ann");
    ann.sql("INSERT INTO s VALUES (1, 1.5)").await.ok();
    let all = "SELECT a, b, c, d FROM t ORDER BY a";
    ann.sql_params("INSERT INTO t SELECT *, $1, $2 FROM s", json!([1.239, "2025-10-21"])).await.ok();
    let union = "INSERT INTO t (a, d) SELECT $1, $2 UNION ALL SELECT $3, $4";
    ann.sql_params(union, json!([2, "2025-10-21", 3, "2025-10-22T01:00:00Z"])).await.ok();
    ann.sql_params("INSERT INTO t (a, b) VALUES ($1, $2) LIMIT 1", json!([4, "7.125"])).await.ok();
    ann.sql_params("INSERT INTO t (a, d) SELECT a + 4, $1 AS x FROM s ORDER BY a LIMIT 1", json!(["2025-10-21"]))
        .await
        .ok();
    let day = "2025-10-21T00:00:00.000000Z";
    assert_eq!(
        ann.sql(all).await.success().values(),
        [
            [json!(1), json!("1.50"), json!(1.239), json!(day)],
            [json!(2), Value::Null, Value::Null, json!(day)],
            [json!(3), Value::Null, Value::Null, json!("2025-10-22T01:00:00.000000Z")],
            [json!(4), json!("7.13"), Value::Null, Value::Null],
            [json!(5), Value::Null, Value::Null, json!(day)],
        ]
    );
    let wrong = ann.sql_params("INSERT INTO t SELECT *, $1, $2 FROM s", json!([1.5, true])).await;
    assert!(wrong.fails(400, "PARAM_TYPE_MISMATCH").contains("TIMESTAMP"), "{}", wrong.text);
}

#[tokio::test]
async fn many_parameters_are_taken() {
    let server = with_types().await;
    let ann = server.user("ann");
    let rows: Vec<String> = (0..2000).map(|row| format!("(${}, ${})", 2 * row + 1, 2 * row + 2)).collect();
    let params: Vec<Value> = (0..2000).flat_map(|row| [json!(row), json!(format!("text {row}"))]).collect();
    let sql = format!("INSERT INTO t (id, tx) VALUES {}", rows.join(", "));
    assert_eq!(ann.sql_params(&sql, Value::Array(params)).await.success().row_count(), 2000);
    let last = ann.sql("SELECT tx FROM t WHERE id = 1999").await.success();
    assert_eq!(last.scalar(), json!("text 1999"));
}
