//! Namespaces and tables.

use super::*;

#[test]
fn namespaces() {
    assert!(
        matches!(one("create namespace Chat"), Ok(Statement::CreateNamespace { name, if_not_exists: false }) if name.as_str() == "chat")
    );
    assert!(
        matches!(one("CREATE NAMESPACE IF NOT EXISTS \"Chat\""), Ok(Statement::CreateNamespace { name, if_not_exists: true }) if name.as_str() == "Chat")
    );
    assert!(matches!(one("DROP NAMESPACE a"), Ok(Statement::DropNamespace { if_exists: false, cascade: false, .. })));
    assert!(matches!(
        one("DROP NAMESPACE IF EXISTS a CASCADE"),
        Ok(Statement::DropNamespace { if_exists: true, cascade: true, .. })
    ));
    assert!(matches!(one("SHOW NAMESPACES"), Ok(Statement::ShowNamespaces)));
    for sql in [
        "CREATE NAMESPACE system",
        "CREATE NAMESPACE User",
        "CREATE NAMESPACE \"information_schema\"",
        "DROP NAMESPACE system",
        "DROP NAMESPACE Default",
        "CREATE NAMESPACE \"1st\"",
        "CREATE NAMESPACE größe",
        "CREATE NAMESPACE \"\"",
        "CREATE NAMESPACE a$b",
    ] {
        let error = refused(sql, ErrorCode::InvalidName);
        assert!(error.position.is_some(), "{sql}");
    }
    for sql in [
        "CREATE NAMESPACE",
        "CREATE NAMESPACE a b",
        "CREATE NAMESPACE 'a'",
        "CREATE NAMESPACE $1",
        "DROP NAMESPACE a.b",
    ] {
        refused(sql, ErrorCode::InvalidSql);
    }
}

#[test]
fn tables_are_shown_described_and_dropped() {
    assert!(matches!(one("SHOW TABLES"), Ok(Statement::ShowTables { namespace: None })));
    assert!(
        matches!(one("SHOW TABLES IN System"), Ok(Statement::ShowTables { namespace: Some(ns) }) if ns.as_str() == "system")
    );
    assert!(matches!(one("DESCRIBE default.t"), Ok(Statement::Describe { table }) if name(&table) == "default t"));
    assert!(matches!(one("DROP TABLE t"), Ok(Statement::DropTable { table_type: None, if_exists: false, .. })));
    assert!(matches!(one("DROP SHARED TABLE IF EXISTS a.T"),
        Ok(Statement::DropTable { table, table_type: Some(TableType::Shared), if_exists: true }) if name(&table) == "a t"));
    refused("DROP TABLE a.user.t", ErrorCode::InvalidSql);
    refused("DESCRIBE a.b.c", ErrorCode::InvalidSql);
    refused("DROP TABLE system.jobs", ErrorCode::Forbidden);
    refused("DROP TABLE t, u", ErrorCode::InvalidSql);
    refused("SHOW TABLES LIKE 'a'", ErrorCode::InvalidSql);
}

#[test]
fn a_table_with_everything() {
    let table = table(
        "CREATE USER TABLE IF NOT EXISTS Chat.Messages (
            id BIGINT DEFAULT SNOWFLAKE_ID(), conv TEXT, \"Body\" VARCHAR NOT NULL DEFAULT 'none', user STRING NULL,
            n INT DEFAULT -5, at TIMESTAMP NOT NULL DEFAULT NOW (), price DECIMAL(8,3) DEFAULT (1 + 2) * 3 NOT NULL,
            key JSON DEFAULT '{}', position BOOLEAN DEFAULT true, by TEXT DEFAULT CURRENT_USER(),
            PRIMARY KEY (conv, id)
        ) WITH (flush_rows = '7')",
    );
    assert_eq!(name(&table.name), "chat messages");
    assert!(table.if_not_exists);
    assert_eq!(table.table_type, TableType::User);
    assert_eq!(table.options.flush_rows, Some(7));
    let key: Vec<&str> = table.primary_key.iter().map(|column| column.as_str()).collect();
    assert_eq!(key, ["conv", "id"]);
    let shown: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let default = column.default.as_ref().map_or("-", |default| default.text.as_str());
            format!(
                "{} {} {} {default}",
                column.name,
                column.column_type,
                if column.nullable { "null" } else { "not null" }
            )
        })
        .collect();
    let expected = [
        "id BIGINT not null SNOWFLAKE_ID()",
        "conv TEXT not null -",
        "Body TEXT not null 'none'",
        "user TEXT null -",
        "n INT null -5",
        "at TIMESTAMP not null NOW ()",
        "price DECIMAL(8,3) not null (1 + 2) * 3",
        "key JSON null '{}'",
        "position BOOLEAN null true",
        "by TEXT null CURRENT_USER()",
    ];
    assert_eq!(shown, expected);
    let single = self::table("CREATE SHARED TABLE s (id BIGINT PRIMARY KEY)");
    assert_eq!(single.primary_key.len(), 1);
    assert!(!single.columns[0].nullable);
    assert!(self::table("CREATE USER TABLE b (v TEXT)").primary_key.is_empty());
}

#[test]
fn what_a_table_cannot_be() {
    for (sql, code) in [
        ("CREATE USER TABLE t (id BIGINT, x HSTORE)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (id INTERVAL)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (id INT, ID TEXT)", ErrorCode::Conflict),
        ("CREATE USER TABLE t (id INT, PRIMARY KEY (nope))", ErrorCode::ColumnNotFound),
        ("CREATE USER TABLE t (id INT, PRIMARY KEY (id, id))", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (id INT PRIMARY KEY, PRIMARY KEY (id))", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT NULL, PRIMARY KEY (a))", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT NOT NULL NULL)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (_seq BIGINT)", ErrorCode::InvalidName),
        ("CREATE USER TABLE t (\"a b\" BIGINT)", ErrorCode::InvalidName),
        ("CREATE USER TABLE \"ta/ble\" (id BIGINT)", ErrorCode::InvalidName),
        ("CREATE USER TABLE t ()", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT,)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT b)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t ('a' INT)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE t (a INT) x", ErrorCode::InvalidSql),
        ("CREATE USER TABLE a.user.t (a INT)", ErrorCode::InvalidSql),
        ("CREATE USER TABLE system.t (a INT)", ErrorCode::Forbidden),
        ("CREATE USER TABLE t (a INT UNIQUE)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (a INT REFERENCES b)", ErrorCode::Unsupported),
        ("CREATE USER TABLE t (a INT, CHECK (a > 0))", ErrorCode::Unsupported),
        ("CREATE USER TABLE t AS SELECT 1", ErrorCode::Unsupported),
        ("CREATE TABLE t (a INT)", ErrorCode::InvalidOption),
        ("CREATE STREAM TABLE t (a INT) WITH (flush_rows = '1')", ErrorCode::InvalidOption),
    ] {
        refused(sql, code);
    }
    let long = "n".repeat(64);
    refused(&format!("CREATE USER TABLE {long} (id BIGINT)"), ErrorCode::InvalidName);
    let columns: Vec<String> = (0..10_001).map(|number| format!("c{number} INT")).collect();
    let error = refused(&format!("CREATE USER TABLE t ({})", columns.join(",")), ErrorCode::InvalidSql);
    assert!(error.message.contains("10000 columns"), "{}", error.message);
    assert!(one(&format!("CREATE USER TABLE t ({})", columns[..10_000].join(","))).is_ok());
}
