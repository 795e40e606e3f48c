//! Namespaces and tables: making, listing, dropping, and what is refused.

use serde_json::{Value, json};

use kalamdb_tests::{TestServer, unique};

#[tokio::test]
async fn namespaces_come_and_go() {
    let server = TestServer::start().await;
    let admin = server.admin();
    let name = unique("ns");
    admin.sql(format!("CREATE NAMESPACE {name}")).await.ok();
    admin.sql(format!("CREATE NAMESPACE {name}")).await.fails(409, "NAMESPACE_EXISTS");
    admin.sql(format!("CREATE NAMESPACE IF NOT EXISTS {name}")).await.ok();
    let listed = |answer: &[Vec<Value>]| answer.iter().flatten().any(|value| value == &json!(name));
    assert!(listed(&admin.sql("SHOW NAMESPACES").await.success().values()));
    admin.sql(format!("CREATE USER TABLE {name}.t (id BIGINT PRIMARY KEY)")).await.ok();
    admin.sql(format!("DROP NAMESPACE {name}")).await.fails(409, "NAMESPACE_NOT_EMPTY");
    admin.sql(format!("DROP NAMESPACE {name} CASCADE")).await.ok();
    assert!(!listed(&admin.sql("SHOW NAMESPACES").await.success().values()));
    admin.sql(format!("SELECT * FROM {name}.t")).await.fails(404, "NAMESPACE_NOT_FOUND");
    admin.sql(format!("DROP NAMESPACE {name}")).await.fails(404, "NAMESPACE_NOT_FOUND");
    admin.sql(format!("DROP NAMESPACE IF EXISTS {name}")).await.ok();
    let names = admin.sql("SHOW NAMESPACES").await.success().values();
    assert!(names.iter().flatten().any(|value| value == "default"), "{names:?}");
}

#[tokio::test]
async fn a_table_needs_its_namespace() {
    let server = TestServer::start().await;
    let missing = unique("missing");
    for kind in ["USER", "SHARED"] {
        let sql = format!("CREATE {kind} TABLE {missing}.t (id BIGINT PRIMARY KEY)");
        let message = server.admin().sql(sql).await.fails(404, "NAMESPACE_NOT_FOUND");
        assert_eq!(message, format!("Namespace '{missing}' does not exist. Create it first with CREATE NAMESPACE."));
    }
}

#[tokio::test]
async fn tables_are_made_listed_described_and_dropped() {
    let server = TestServer::start().await;
    let admin = server.admin();
    let create = "CREATE USER TABLE t (id BIGINT, at TIMESTAMP DEFAULT NOW(), v VARCHAR NOT NULL, p DECIMAL(8,3), PRIMARY KEY (id))";
    let made = admin.sql(create).await.success();
    assert_eq!(made.row_count(), 0);
    assert!(!made.message().is_empty());
    admin.sql(create).await.fails(409, "TABLE_EXISTS");
    admin.sql(create.replace("USER TABLE", "USER TABLE IF NOT EXISTS")).await.ok();
    let other_spelling = "CREATE TABLE s (id BIGINT PRIMARY KEY) WITH (type = 'shared', access = 'private')";
    admin.sql(other_spelling).await.ok();
    admin.sql("CREATE TABLE u (id BIGINT PRIMARY KEY)").await.fails(400, "INVALID_OPTION");

    let show = format!("SHOW TABLES IN {}", server.namespace());
    let shown = admin.sql(&show).await.success();
    let text = shown.text.clone();
    assert_eq!(shown.rows().len(), 2, "{text}");
    assert!(
        text.contains("\"t\"") && text.contains("\"s\"") && text.contains("user") && text.contains("shared"),
        "{text}"
    );

    let described = admin.sql("DESCRIBE t").await.success();
    let names: Vec<Value> = described.values().into_iter().map(|row| row[0].clone()).collect();
    for column in ["id", "at", "v", "p"] {
        assert!(names.contains(&json!(column)), "{}", described.text);
    }
    for word in ["BIGINT", "TIMESTAMP", "TEXT", "DECIMAL(8,3)"] {
        assert!(described.text.contains(word), "{word}: {}", described.text);
    }
    admin.sql("DESCRIBE nothing").await.fails(404, "TABLE_NOT_FOUND");

    admin.sql("DROP TABLE t").await.ok();
    admin.sql("SELECT * FROM t").await.fails(404, "TABLE_NOT_FOUND");
    admin.sql("DROP TABLE t").await.fails(404, "TABLE_NOT_FOUND");
    admin.sql("DROP TABLE IF EXISTS t").await.ok();
    admin.sql("DROP SHARED TABLE s").await.ok();
    assert_eq!(admin.sql(&show).await.success().rows().len(), 0);
}

#[tokio::test]
async fn what_a_table_cannot_be() {
    let server = TestServer::start().await;
    let admin = server.admin();
    for (sql, code) in [
        ("CREATE USER TABLE t (id BIGINT PRIMARY KEY, x HSTORE)", "UNSUPPORTED"),
        ("CREATE USER TABLE t (id INTERVAL PRIMARY KEY)", "UNSUPPORTED"),
        ("CREATE USER TABLE t (id BIGINT, id TEXT)", "CONFLICT"),
        ("CREATE USER TABLE t (id BIGINT, PRIMARY KEY (nope))", "COLUMN_NOT_FOUND"),
        ("CREATE USER TABLE t (_seq BIGINT)", "INVALID_NAME"),
        ("CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (colour = 'red')", "INVALID_OPTION"),
        ("CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (access = 'public')", "INVALID_OPTION"),
        ("CREATE SHARED TABLE t (id BIGINT PRIMARY KEY) WITH (access = 'everybody')", "INVALID_OPTION"),
        ("CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_interval = 'often')", "INVALID_OPTION"),
        ("CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_rows = '-1')", "INVALID_OPTION"),
        ("CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (storage = 'nowhere')", "STORAGE_NOT_FOUND"),
        ("CREATE USER TABLE t (\"a b\" BIGINT)", "INVALID_NAME"),
        ("CREATE USER TABLE \"ta/ble\" (id BIGINT)", "INVALID_NAME"),
        ("CREATE USER TABLE t ()", "INVALID_SQL"),
        ("CREATE NAMESPACE system", "INVALID_NAME"),
        ("CREATE NAMESPACE information_schema", "INVALID_NAME"),
        ("CREATE NAMESPACE \"user\"", "INVALID_NAME"),
        ("CREATE NAMESPACE \"1st\"", "INVALID_NAME"),
    ] {
        let answer = admin.sql(sql).await;
        let refused = answer.code();
        // Where the contract leaves the choice, any refusal of the caller's mistake will do.
        let near = (400..500).contains(&answer.status) && ["CONFLICT", "INVALID_NAME"].contains(&code);
        assert!(refused == code || near, "{sql}: expected {code}, got {} {}", answer.status, answer.text);
    }
    let long = "n".repeat(64);
    admin.sql(format!("CREATE USER TABLE {long} (id BIGINT)")).await.fails(400, "INVALID_NAME");
    admin.sql(format!("CREATE USER TABLE {} (id BIGINT)", &long[1..])).await.ok();
}

#[tokio::test]
async fn the_options_of_tables_are_taken() {
    let server = TestServer::start().await;
    let admin = server.admin();
    for (number, sql) in [
        "CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_interval = '30s', flush_rows = '500', storage = 'local')",
        "CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_interval = 'off', sharding = 'hash:16')",
        "CREATE SHARED TABLE t (id BIGINT PRIMARY KEY) WITH (access = 'private', sharding = 'none')",
        "CREATE TABLE t (id BIGINT PRIMARY KEY) WITH (type = 'user', sharding = 'alphabetic')",
    ]
    .into_iter()
    .enumerate()
    {
        admin.sql(sql.replace("TABLE t ", &format!("TABLE t{number} "))).await.ok();
    }
    for option in
        ["sharding = 'hash:0'", "sharding = 'random'", "type = 'global'", "flush_rows = 'many'", "ttl = '10s'"]
    {
        let sql = format!("CREATE USER TABLE x (id BIGINT PRIMARY KEY) WITH ({option})");
        admin.sql(sql).await.fails(400, "INVALID_OPTION");
    }
    for template in [
        "{storageLocation}/{namespace}/{tableName}/",
        "{storageLocation}/{userId}/{nope}/",
        "{storageLocation}/../{userId}/",
    ] {
        let sql = format!("CREATE USER TABLE x (id BIGINT PRIMARY KEY) WITH (path_template = '{template}')");
        admin.sql(sql).await.fails(400, "INVALID_OPTION");
    }
}

#[tokio::test]
async fn names_ignore_case_unless_quoted() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE Notes (Id BIGINT PRIMARY KEY, \"Body\" TEXT)").await.ok();
    admin.sql("INSERT INTO NOTES (ID, \"Body\") VALUES (1, 'x')").await.ok();
    let answer = admin.sql("SELECT iD, \"Body\" FROM nOtEs").await.success();
    assert_eq!(answer.columns(), ["id BIGINT", "Body TEXT"]);
    admin.sql("SELECT body FROM notes").await.fails(400, "COLUMN_NOT_FOUND");
}

#[tokio::test]
async fn a_table_made_anew_is_empty_and_its_numbers_go_on() {
    let server = TestServer::start().await;
    let (admin, ann) = (server.admin(), server.user("ann"));
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    ann.sql("INSERT INTO t VALUES (1), (2)").await.ok();
    let before = ann.sql("SELECT max(_seq) FROM t").await.success().number();
    admin.sql("DROP TABLE t; CREATE USER TABLE t (id TEXT PRIMARY KEY, extra INT)").await.ok();
    let empty = ann.sql("SELECT * FROM t").await.success();
    assert_eq!(empty.rows().len(), 0);
    assert_eq!(empty.columns(), ["id TEXT", "extra INT"]);
    assert_eq!(ann.sql("SELECT count(*) FROM t WHERE _deleted IS NOT NULL").await.success().number(), 0);
    ann.sql("INSERT INTO t VALUES ('1', 1)").await.ok();
    assert!(ann.sql("SELECT max(_seq) FROM t").await.success().number() > before);
}

#[tokio::test]
async fn user_and_shared_of_one_name_are_one_name() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await.ok();
    admin.sql("CREATE SHARED TABLE t (id BIGINT PRIMARY KEY)").await.fails(409, "TABLE_EXISTS");
    let wrong_kind = admin.sql("DROP SHARED TABLE t").await;
    assert!((400..500).contains(&wrong_kind.status), "{}", wrong_kind.text);
    admin.sql("SELECT * FROM t").await.ok();
}
