//! What a caller is shown of namespaces, tables and columns.

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

const TABLES: &str = "CREATE USER TABLE own (id BIGINT, part TEXT, v DECIMAL(8,3) DEFAULT 1.5, at TIMESTAMP NOT NULL DEFAULT NOW(), PRIMARY KEY (part, id));
    CREATE SHARED TABLE open (id BIGINT PRIMARY KEY); CREATE SHARED TABLE closed (secret_id BIGINT PRIMARY KEY) WITH (access = 'private')";

#[tokio::test]
async fn the_information_schema_lists_what_may_be_seen() {
    let server = TestServer::start().await;
    server.admin().sql(TABLES).await.ok();
    let tables = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}' ORDER BY table_name",
        server.namespace()
    );
    let seen = server.admin().sql(&tables).await.success();
    assert_eq!(seen.column("table_name"), [json!("closed"), json!("open"), json!("own")]);
    let seen = server.user("ann").sql(&tables).await.success();
    assert_eq!(seen.column("table_name"), [json!("open"), json!("own")]);

    let columns = format!(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
         WHERE table_schema = '{}' AND table_name = 'own' ORDER BY ordinal_position",
        server.namespace()
    );
    let seen = server.user("ann").sql(&columns).await.success();
    assert_eq!(seen.column("column_name"), [json!("id"), json!("part"), json!("v"), json!("at")]);
    assert_eq!(seen.column("is_nullable"), [json!("NO"), json!("NO"), json!("YES"), json!("NO")]);
    let hidden = columns.replace("'own'", "'closed'");
    assert_eq!(server.user("ann").sql(&hidden).await.success().rows().len(), 0);
    assert_eq!(server.admin().sql(&hidden).await.success().rows().len(), 1);
    let written = server.admin().sql("DELETE FROM information_schema.tables").await;
    assert!((400..500).contains(&written.status), "{}", written.text);
}

#[tokio::test]
async fn describe_tells_all_about_columns() {
    let server = TestServer::start().await;
    server.admin().sql(TABLES).await.ok();
    let answer = server.user("ann").sql("DESCRIBE own").await.success();
    assert_eq!(answer.rows().len(), 4, "{}", answer.text);
    let row = |name: &str| -> Value {
        let found =
            answer.rows().iter().find(|row| row.as_object().is_some_and(|row| row.values().any(|cell| cell == name)));
        found.unwrap_or_else(|| panic!("{name} is not in {}", answer.text)).clone()
    };
    assert!(row("v").to_string().contains("DECIMAL(8,3)"), "{}", answer.text);
    assert!(row("v").to_string().contains("1.5"), "a default is shown: {}", answer.text);
    assert!(row("at").to_string().to_uppercase().contains("NOW()"), "{}", answer.text);
    assert!(row("id").to_string().contains("BIGINT"), "{}", answer.text);
    // Not what may not be read, not even that it is there.
    let hidden = server.user("ann").sql("DESCRIBE closed").await;
    assert!(!hidden.text.contains("secret_id"), "{}", hidden.text);
    let shown = server.user("ann").sql("SHOW TABLES").await.success();
    assert_eq!(shown.rows().len(), 2, "{}", shown.text);
    assert_eq!(server.service().sql("SHOW TABLES").await.success().rows().len(), 3);
}

#[tokio::test]
async fn explain_shows_a_plan_and_does_nothing() {
    let server = TestServer::start().await;
    server.admin().sql(TABLES).await.ok();
    let ann = server.user("ann");
    for sql in [
        "EXPLAIN SELECT v FROM own WHERE id = 1",
        "EXPLAIN INSERT INTO own (id, part) VALUES (1, 'a')",
        "EXPLAIN UPDATE own SET v = 2",
        "EXPLAIN DELETE FROM own",
    ] {
        let answer = ann.sql(sql).await.success();
        assert!(!answer.rows().is_empty(), "{sql}");
    }
    assert_eq!(ann.sql("SELECT count(*) FROM own").await.success().number(), 0);
    let analyzed = ann.sql("EXPLAIN ANALYZE SELECT count(*) FROM own").await.success();
    assert!(!analyzed.rows().is_empty());
}

#[tokio::test]
async fn explain_says_which_way_a_statement_takes() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    let lookup = "lookup by primary key, without a plan";
    let compiled = "plan compiled once and kept for all callers";
    let alone = "planned for this statement alone";
    for (sql, params, way) in [
        ("SELECT v FROM t WHERE id = $1", json!([1]), lookup),
        ("SELECT v AS w, id FROM t WHERE id = 7", json!([]), lookup),
        ("UPDATE t SET v = 'x' WHERE id = $1", json!([1]), lookup),
        ("DELETE FROM t WHERE id = $1", json!([1]), lookup),
        ("SELECT v FROM t WHERE id = $1 OR v = $2", json!([1, "a"]), compiled),
        ("SELECT id FROM t ORDER BY v LIMIT $1", json!([5]), compiled),
        ("UPDATE t SET v = v || $1 WHERE id > $2", json!(["x", 1]), compiled),
        ("INSERT INTO t SELECT id + 10, v FROM t", json!([]), alone),
        ("SELECT count(*) FROM information_schema.tables", json!([]), alone),
        (
            "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT x FROM n",
            json!([]),
            alone,
        ),
    ] {
        let explain = format!("EXPLAIN {sql}");
        let answer = match params.as_array().is_some_and(Vec::is_empty) {
            true => ann.sql(&explain).await.success(),
            false => ann.sql_params(&explain, params).await.success(),
        };
        let rows = answer.values();
        assert_eq!(rows.last(), Some(&vec![json!("execution"), json!(way)]), "{sql}");
    }
}

#[tokio::test]
async fn a_plan_tells_nobody_of_other_users() {
    let server = TestServer::start().await;
    server.admin().sql(TABLES).await.ok();
    server.user("a-very-private-person").sql("INSERT INTO own (id, part) VALUES (1, 'a')").await.ok();
    let answer = server.user("ann").sql("EXPLAIN ANALYZE SELECT * FROM own").await.success();
    assert!(!answer.text.contains("private-person"), "{}", answer.text);
}
