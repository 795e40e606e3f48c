use super::*;
use crate::{Statement, statements};

fn options(kind: &str, list: &str) -> Result<TableOptions> {
    let sql = format!("CREATE {kind} TABLE t (id BIGINT) WITH ({list})");
    match statements(&sql).next().expect("one statement")?.statement {
        Statement::CreateTable(table) => Ok(table.options),
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_are_read_and_normalised() {
    let list = "flush_interval = '30s', FLUSH_ROWS = '500', storage = 'Cold', sharding = 'Hash:4',
        path_template = '{storageLocation}/{namespace}/{shard}/{userId}/{tableName}/'";
    let read = options("USER", list).expect("options");
    let expected = TableOptions {
        flush_interval: Some(Some(Duration::from_secs(30))),
        flush_rows: Some(500),
        storage: Some("cold".to_owned()),
        sharding: Some("hash:4".to_owned()),
        path_template: Some("{storageLocation}/{namespace}/{shard}/{userId}/{tableName}/".to_owned()),
        ..TableOptions::default()
    };
    assert_eq!(read, expected);
    let shared = options("SHARED", "access = 'Private', flush_interval = 'off', flush_rows = 7").expect("options");
    assert_eq!(shared.access, Some(Access::Private));
    assert_eq!(shared.flush_interval, Some(None));
    assert_eq!(shared.flush_rows, Some(7));
}

#[test]
fn what_an_option_cannot_be_is_named() {
    for (kind, list) in [
        ("USER", "colour = 'red'"),
        ("USER", "access = 'public'"),
        ("USER", "ttl = '10s'"),
        ("STREAM", "flush_rows = '1'"),
        ("STREAM", "ttl = 'never'"),
        ("STREAM", "max_rows = '0'"),
        ("SHARED", "access = 'everybody'"),
        ("USER", "flush_interval = 'often'"),
        ("USER", "flush_interval = '0s'"),
        ("USER", "flush_rows = '-1'"),
        ("USER", "flush_rows = '0'"),
        ("USER", "flush_rows = '1.5'"),
        ("USER", "flush_rows = '18446744073709551615'"),
        ("USER", "flush_rows = '1', flush_rows = '2'"),
        ("USER", "storage = ''"),
        ("USER", "storage = 'a b'"),
        ("USER", "sharding = 'hash:0'"),
        ("USER", "sharding = 'hash:x'"),
        ("USER", "sharding = 'hash:99999999'"),
        ("USER", "sharding = 'round-robin'"),
        ("USER", "type = 'shared'"),
        ("SHARED", "type = 'view'"),
        ("USER", "path_template = ''"),
        ("USER", "path_template = '{storageLocation}/{tableName}'"),
        ("USER", "path_template = '{storageLocation}/{userId}/{color}'"),
        ("USER", "path_template = '{storageLocation}/../{userId}'"),
        ("USER", "path_template = '{storageLocation}/./{userId}'"),
        ("USER", "path_template = '/etc/{userId}'"),
        ("USER", "path_template = '{storageLocation}{userId}'"),
        ("USER", "path_template = '{storageLocation}/{userId'"),
        ("USER", "path_template = '{storageLocation}/}{userId}{'"),
        ("USER", "path_template = '{storageLocation}/{userId}/{storageLocation}'"),
        ("SHARED", "path_template = '{storageLocation}/{userId}'"),
    ] {
        let error = options(kind, list).expect_err(list);
        assert_eq!(error.code, ErrorCode::InvalidOption, "{list}: {}", error.message);
        let name = list.rsplit(", ").next().and_then(|option| option.split(' ').next()).unwrap_or_default();
        assert!(error.message.contains(name), "{list}: {}", error.message);
        assert!(error.position.is_some(), "{list}");
    }
}

#[test]
fn the_list_itself_has_a_syntax() {
    for list in [
        "",
        "flush_rows",
        "flush_rows = ",
        "flush_rows = off",
        "flush_rows '1'",
        "'flush_rows' = '1'",
        "flush_rows = '1',",
    ] {
        let error = options("USER", list).expect_err(list);
        assert_eq!(error.code, ErrorCode::InvalidSql, "{list}: {}", error.message);
    }
}

#[test]
fn the_type_may_be_an_option() {
    let kind = |sql: &str| match statements(sql).next().expect("one")?.statement {
        Statement::CreateTable(table) => Ok(table.table_type),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind("CREATE TABLE t (a INT) WITH (type = 'shared')").expect("shared"), TableType::Shared);
    assert_eq!(
        kind("CREATE TABLE t (a INT) WITH (access = 'public', type = 'SHARED')").expect("shared"),
        TableType::Shared
    );
    assert_eq!(kind("CREATE USER TABLE t (a INT) WITH (type = 'user')").expect("user"), TableType::User);
    let error: Error = kind("CREATE TABLE t (a INT)").expect_err("no type");
    assert_eq!(error.code, ErrorCode::InvalidOption);
    for kind in ["USER", "SHARED", "STREAM", "'user'", "'shared'", "'stream'"] {
        assert!(error.message.contains(kind), "{kind}: {}", error.message);
    }
}
