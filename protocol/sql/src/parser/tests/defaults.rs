//! DEFAULT clauses.

use super::*;

#[test]
fn defaults_are_folded_where_they_fit() {
    let default = |column: &str| {
        let parsed = table(&format!("CREATE USER TABLE t (c {column})"));
        parsed.columns[0].default.clone().expect("a default").value
    };
    let known = |column: &str| match default(column) {
        DefaultSpec::Known(known) => known,
        DefaultSpec::Expr(expr) => panic!("{column}: {expr:?}"),
    };
    for (column, value) in [
        ("INT DEFAULT 5", Value::Int(5)),
        ("SMALLINT DEFAULT (-5)", Value::SmallInt(-5)),
        ("BIGINT DEFAULT -9223372036854775808", Value::BigInt(i64::MIN)),
        ("DOUBLE DEFAULT 1.5", Value::Double(1.5)),
        ("FLOAT DEFAULT -0.0", Value::Float(0.0)),
        ("BOOLEAN DEFAULT FALSE", Value::Boolean(false)),
        ("TEXT DEFAULT 'it''s'", Value::Text("it's".to_owned())),
        ("TEXT DEFAULT E'a\\nb'", Value::Text("a\nb".to_owned())),
        ("JSON DEFAULT '[1]'", Value::Json("[1]".to_owned())),
        ("DATE DEFAULT NULL", Value::Null),
    ] {
        assert_eq!(known(column), ColumnDefault::Constant(value), "{column}");
    }
    for (column, function) in [
        ("TIMESTAMP DEFAULT NOW()", DefaultFunction::Now),
        ("TIMESTAMP DEFAULT CURRENT_TIMESTAMP", DefaultFunction::Now),
        ("TEXT DEFAULT current_user", DefaultFunction::CurrentUser),
        ("BIGINT DEFAULT (SNOWFLAKE_ID())", DefaultFunction::SnowflakeId),
        ("UUID DEFAULT uuid_v7()", DefaultFunction::UuidV7),
        ("TEXT DEFAULT UUID_V7()", DefaultFunction::UuidV7),
        ("TEXT DEFAULT Ulid()", DefaultFunction::Ulid),
    ] {
        assert_eq!(known(column), ColumnDefault::Function(function), "{column}");
    }
    for column in [
        "DECIMAL(5,2) DEFAULT 1.5",
        "DATE DEFAULT '2025-01-01'",
        "TIMESTAMP DEFAULT TIMESTAMP '2025-01-01 00:00:00'",
        "INT DEFAULT 1 + 1",
        "INT DEFAULT '5'",
        "TEXT DEFAULT upper('a') || 'b'",
        "INT DEFAULT 1.5",
        "BYTES DEFAULT X'00'",
    ] {
        assert!(matches!(default(column), DefaultSpec::Expr(_)), "{column}");
    }
}

#[test]
fn defaults_that_do_not_fit_or_vary_are_refused() {
    for (column, code) in [
        ("SMALLINT DEFAULT 40000", ErrorCode::TypeMismatch),
        ("INT DEFAULT 99999999999", ErrorCode::TypeMismatch),
        ("JSON DEFAULT '{broken'", ErrorCode::TypeMismatch),
        ("TEXT DEFAULT NOW()", ErrorCode::TypeMismatch),
        ("INT DEFAULT SNOWFLAKE_ID()", ErrorCode::TypeMismatch),
        ("JSON DEFAULT UUID_V7()", ErrorCode::TypeMismatch),
        ("DOUBLE DEFAULT 1e999", ErrorCode::TypeMismatch),
        ("INT DEFAULT other", ErrorCode::InvalidSql),
        ("INT DEFAULT t.other + 1", ErrorCode::InvalidSql),
        ("INT DEFAULT $1", ErrorCode::InvalidSql),
        ("INT DEFAULT (SELECT 1)", ErrorCode::Unsupported),
        ("INT DEFAULT 1 + (SELECT max(a) FROM b)", ErrorCode::Unsupported),
        ("TIMESTAMP DEFAULT NOW() + INTERVAL '1 day'", ErrorCode::Unsupported),
        ("TEXT DEFAULT 'by ' || CURRENT_USER()", ErrorCode::Unsupported),
        ("DATE DEFAULT CURRENT_DATE", ErrorCode::Unsupported),
        ("DOUBLE DEFAULT random() * 2", ErrorCode::Unsupported),
        ("INT DEFAULT", ErrorCode::InvalidSql),
        ("INT DEFAULT 1 DEFAULT 2", ErrorCode::InvalidSql),
    ] {
        let error = refused(&format!("CREATE USER TABLE t (c {column})"), code);
        assert!(error.position.is_some(), "{column}");
    }
}
