//! What a caller is shown of namespaces, tables and columns.

use std::collections::BTreeSet;

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
    hidden.fails(403, "FORBIDDEN");
    assert!(!hidden.text.contains("secret_id"), "{}", hidden.text);
    let shown = server.user("ann").sql("SHOW TABLES").await.success();
    assert_eq!(shown.rows().len(), 2, "{}", shown.text);
    assert_eq!(server.service().sql("SHOW TABLES").await.success().rows().len(), 3);
}

/// Each with its columns in order; `?` where one may be null. Programs read them by name, and people by place.
const SYSTEM_TABLES: [(&str, &str); 11] = [
    ("settings", "name TEXT, value TEXT?"),
    ("namespaces", "namespace_id TEXT, created_at TIMESTAMP"),
    (
        "tables",
        "table_id BIGINT, namespace_id TEXT, table_name TEXT, table_type TEXT, schema_version INT, options JSON, \
         created_at TIMESTAMP",
    ),
    (
        "table_schemas",
        "table_id BIGINT, namespace_id TEXT, table_name TEXT, schema_version INT, is_current BOOLEAN, columns JSON",
    ),
    (
        "storages",
        "storage_name TEXT, storage_type TEXT, location TEXT, user_path_template TEXT, shared_path_template TEXT, \
         options JSON, created_at TIMESTAMP?, updated_at TIMESTAMP?",
    ),
    (
        "users",
        "user_id TEXT, username TEXT?, role TEXT?, disabled BOOLEAN, metadata JSON?, created_at TIMESTAMP, \
         updated_at TIMESTAMP",
    ),
    (
        "sessions",
        "user_id TEXT, registrations BIGINT, hits BIGINT, misses BIGINT, evictions BIGINT, created_at TIMESTAMP, \
         last_active_at TIMESTAMP",
    ),
    (
        "live_queries",
        "live_id TEXT, connection_id TEXT, query_id TEXT, user_id TEXT, namespace_id TEXT, table_name TEXT, query TEXT, \
         options JSON, changes BIGINT, created_at TIMESTAMP, last_update_at TIMESTAMP?, node TEXT",
    ),
    (
        "jobs",
        "job_id TEXT, job_type TEXT, status TEXT, namespace_id TEXT?, table_name TEXT?, trigger TEXT, rows BIGINT, \
         segments BIGINT, storage_location TEXT?, attempts INT, error TEXT?, node TEXT, created_at TIMESTAMP, \
         started_at TIMESTAMP?, finished_at TIMESTAMP?",
    ),
    (
        "segments",
        "segment_id TEXT, namespace_id TEXT, table_name TEXT, user_id TEXT?, shard TEXT?, storage TEXT, path TEXT, \
         rows BIGINT, deleted_rows BIGINT, bytes BIGINT, schema_version INT, min_seq BIGINT, max_seq BIGINT, \
         created_at TIMESTAMP",
    ),
    (
        "plan_cache",
        "sql TEXT, hits BIGINT, compilations BIGINT, schema_versions TEXT, bytes BIGINT, created_at TIMESTAMP, \
         last_used_at TIMESTAMP",
    ),
];

#[tokio::test]
async fn system_tables_have_the_columns_that_programs_know() {
    let server = TestServer::start().await;
    let service = server.service();
    for (name, expected) in SYSTEM_TABLES {
        let described = service.sql(format!("DESCRIBE system.{name}")).await.success();
        let column = |row: &Value| {
            let text = |cell: &str| row[cell].as_str().expect("a text").to_owned();
            let mark = if row["nullable"] == json!(true) { "?" } else { "" };
            format!("{} {}{mark}", text("column"), text("type"))
        };
        let columns: Vec<String> = described.rows().iter().map(column).collect();
        assert_eq!(columns.join(", "), expected, "system.{name}");
        // What is described is what is answered.
        let selected = service.sql(format!("SELECT * FROM system.{name} WHERE false")).await.success();
        let selected = selected.columns();
        let without_marks = expected.replace('?', "");
        assert_eq!(selected.join(", "), without_marks, "system.{name}");
        server.user("ann").sql(format!("DESCRIBE system.{name}")).await.fails(403, "FORBIDDEN");
    }
    let shown = service.sql("SHOW TABLES IN system").await.success();
    let shown: BTreeSet<String> =
        shown.column("table").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    assert_eq!(shown, SYSTEM_TABLES.map(|(name, _)| name.to_owned()).into());
    // Nobody made them at a time.
    for namespace in ["system", "information_schema"] {
        let made = service.sql(format!("SHOW TABLES IN {namespace}")).await.success().column("created_at");
        assert!(!made.is_empty() && made.iter().all(Value::is_null), "{namespace}: {made:?}");
    }
}

#[tokio::test]
async fn a_name_with_its_catalog_is_the_same_table() {
    let server = TestServer::start().await;
    server.admin().sql(TABLES).await.ok();
    let (service, namespace) = (server.service(), server.namespace());
    service.sql(format!("INSERT INTO kalamdb.{namespace}.open VALUES (1), (2), (3)")).await.ok();
    service.sql(format!("UPDATE kalamdb.{namespace}.open SET id = 4 WHERE id = 3")).await.ok();
    service.sql(format!("DELETE FROM \"kalamdb\".{namespace}.open WHERE id = 2")).await.ok();
    let same = format!(
        "SELECT a.id FROM KalamDB.{namespace}.open AS a JOIN open AS b ON a.id = b.id WHERE a._seq = b._seq ORDER BY 1"
    );
    assert_eq!(service.sql(same).await.success().column("id"), [json!(1), json!(4)]);
    let qualified = format!("SELECT kalamdb.{namespace}.open.id FROM kalamdb.{namespace}.open WHERE id = $1");
    // Planned alone or kept.
    for _ in 0..2 {
        assert_eq!(service.sql_params(&qualified, json!([4])).await.success().number(), 4);
    }
    for (table, catalogs) in
        [("information_schema.tables", ["kalamdb", "system"]), ("system.tables", ["kalamdb", "system"])]
    {
        let count = |name: String| format!("SELECT count(*) FROM {name} WHERE table_name = 'closed'");
        for catalog in catalogs {
            let found = service.sql(count(format!("{catalog}.{table}"))).await.success().number();
            assert!(found >= 1, "{catalog}.{table}");
        }
    }
    // What is in no such catalog, and what is the qualifier.
    for (sql, status, code) in [
        (format!("SELECT * FROM system.{namespace}.open"), 400, "INVALID_SQL"),
        (format!("SELECT * FROM elsewhere.{namespace}.open"), 400, "INVALID_SQL"),
        ("SELECT * FROM system.user.users".to_owned(), 400, "INVALID_SQL"),
        ("SELECT * FROM kalamdb.user.own".to_owned(), 404, "NAMESPACE_NOT_FOUND"),
        ("INSERT INTO system.system.users VALUES (1)".to_owned(), 403, "FORBIDDEN"),
    ] {
        service.sql(&sql).await.fails(status, code);
    }
    server.user("ann").sql("SELECT * FROM kalamdb.system.users").await.fails(403, "FORBIDDEN");
    let message = service.sql("SELECT * FROM user.own").await.fails(404, "NAMESPACE_NOT_FOUND");
    assert!(!message.contains("Create it"), "{message}");
}

#[tokio::test]
async fn options_are_shown_as_they_are_written() {
    let server = TestServer::start().await;
    let (admin, namespace) = (server.admin(), server.namespace());
    admin.sql("CREATE STREAM TABLE typing (id BIGINT PRIMARY KEY) WITH (ttl = '5s', max_rows = '7')").await.ok();
    admin.sql("CREATE USER TABLE never (id BIGINT PRIMARY KEY) WITH (flush_interval = 'OFF')").await.ok();
    admin
        .sql("CREATE SHARED TABLE often (id BIGINT PRIMARY KEY) WITH (flush_interval = '30s', access = 'private')")
        .await
        .ok();
    admin.sql("CREATE USER TABLE unsaid (id BIGINT PRIMARY KEY)").await.ok();
    for (table, option, expected) in [
        ("typing", "ttl", json!("5s")),
        ("typing", "max_rows", json!(7)),
        ("typing", "flush_interval", Value::Null),
        ("never", "flush_interval", json!("off")),
        ("often", "flush_interval", json!("30s")),
        ("often", "access", json!("private")),
        ("unsaid", "flush_interval", Value::Null),
    ] {
        let sql =
            format!("SELECT options FROM system.tables WHERE namespace_id = '{namespace}' AND table_name = '{table}'");
        let options = server.service().sql(sql).await.success().scalar();
        assert_eq!(options.get(option), Some(&expected), "{table}: {options}");
    }
}

#[tokio::test]
async fn whoever_names_an_unknown_system_table_is_told_which_there_are() {
    let server = TestServer::start().await;
    let service = server.service();
    for sql in [
        "SELECT * FROM system.nothing",
        "DESCRIBE system.nothing",
        "FLUSH TABLE system.nothing",
        "SHOW TABLE STATS system.nothing",
    ] {
        let message = service.sql(sql).await.fails(404, "TABLE_NOT_FOUND");
        for (name, _) in SYSTEM_TABLES {
            assert!(message.contains(name), "{sql}: {message}");
        }
        server.user("ann").sql(sql).await.fails(403, "FORBIDDEN");
    }
    let message = service.sql("DESCRIBE information_schema.nothing").await.fails(404, "TABLE_NOT_FOUND");
    assert!(message.contains("tables, columns"), "{message}");
    // Those that there are have nothing to be flushed.
    for sql in ["FLUSH TABLE system.jobs", "SHOW TABLE STATS system.jobs", "FLUSH TABLE information_schema.tables"] {
        let message = service.sql(sql).await.fails(400, "UNSUPPORTED");
        assert!(message.contains("made by the server"), "{sql}: {message}");
    }
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
        // Names that the planner uses are not those that a user knows.
        let marked = |plan: &Value| plan.as_str().is_none_or(|plan| plan.contains('\u{1f}'));
        assert!(!answer.column("plan").iter().any(marked), "{sql}: {}", answer.text);
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
        ("INSERT INTO t SELECT id + 10, v FROM t", json!([]), compiled),
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

#[tokio::test]
async fn settings_are_shown_as_they_are_in_force_without_secrets() {
    let server = TestServer::start_with(&[("query.max_waiting", "77")]).await;
    let values = async |name: &str| {
        let sql = format!("SELECT value FROM system.settings WHERE name = '{name}'");
        server.service().sql(sql).await.success().values()
    };
    assert_eq!(values("query.max_waiting").await, [[json!("77")]]);
    assert_eq!(values("no.such.setting").await, Vec::<Vec<Value>>::new());
    let all = server.service().sql("SELECT * FROM system.settings").await.success();
    assert!(!all.text.contains(server.secret()), "the secret that tokens are checked with");
    assert_eq!(values("auth.jwt_secret").await.len(), 1);
    server.user("ann").sql("SELECT * FROM system.settings").await.fails(403, "FORBIDDEN");
}
