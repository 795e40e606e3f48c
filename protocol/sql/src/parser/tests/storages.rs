//! CREATE, ALTER, DROP and SHOW of storages.

use super::*;
use crate::StorageOptions;

fn options(sql: &str) -> Result<StorageOptions> {
    match one(sql)? {
        Statement::CreateStorage { options, .. } => Ok(options),
        Statement::AlterStorage { changes, .. } => Ok(changes),
        other => panic!("{sql}: {other:?}"),
    }
}

fn given(pairs: &[(&str, Option<&str>)]) -> StorageOptions {
    let given = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    StorageOptions { given: given.collect() }
}

#[test]
fn storages_are_created_altered_and_dropped() {
    let create =
        "CREATE STORAGE IF NOT EXISTS Archive WITH (type = 's3', location = 's3://b/a', region = 'x', timeout = 5)";
    let Ok(Statement::CreateStorage { name, if_not_exists: true, options: found }) = one(create) else {
        panic!("{create}")
    };
    assert_eq!(name, "archive");
    let pairs = [("type", Some("s3")), ("location", Some("s3://b/a")), ("region", Some("x")), ("timeout", Some("5"))];
    assert_eq!(found, given(&pairs));
    assert_eq!(
        options("ALTER STORAGE a SET (Region = NULL, user_path_template = NULL)").expect("an alteration"),
        given(&[("region", None), ("user_path_template", None)])
    );
    for (sql, fine) in [("DROP STORAGE a", false), ("DROP STORAGE IF EXISTS A;", true)] {
        let Ok(Statement::DropStorage { name, if_exists }) = one(sql) else { panic!("{sql}") };
        assert_eq!((name.as_str(), if_exists), ("a", fine));
    }
    assert!(matches!(one("SHOW STORAGES"), Ok(Statement::ShowStorages)));
}

#[test]
fn what_is_wrong_with_a_storage_is_said_at_its_place() {
    for (sql, code, column) in [
        ("CREATE STORAGE a", ErrorCode::InvalidSql, 17),
        ("CREATE STORAGE a WITH ()", ErrorCode::InvalidSql, 24),
        ("CREATE STORAGE a WITH (type = NULL)", ErrorCode::InvalidSql, 31),
        ("CREATE STORAGE \"a b\" WITH (type = 's3')", ErrorCode::InvalidName, 16),
        ("CREATE STORAGE a WITH (type = 's3', type = 's3')", ErrorCode::InvalidOption, 37),
        ("CREATE STORAGE a WITH (user_path_template = '{storageLocation}/x/')", ErrorCode::InvalidOption, 24),
        ("ALTER STORAGE a SET (shared_path_template = '{storageLocation}/../x/')", ErrorCode::InvalidOption, 22),
        ("ALTER STORAGE a WITH (region = 'x')", ErrorCode::InvalidSql, 17),
    ] {
        let error = one(sql).expect_err(sql);
        assert_eq!(error.code, code, "{sql}: {}", error.message);
        assert_eq!(error.position.map(|position| position.column), Some(column), "{sql}: {}", error.message);
    }
    let long = format!("CREATE STORAGE a WITH (account_key = '{}')", "x".repeat(20_000));
    let error = one(&long).expect_err("too long");
    assert!(error.code == ErrorCode::InvalidOption && !error.message.contains("xxx"), "{}", error.message);
}

#[test]
fn values_are_not_shown_by_debug() {
    let parsed = one("CREATE STORAGE a WITH (secret_access_key = 'hunter2')").expect("a storage");
    let shown = format!("{parsed:?}");
    assert!(shown.contains("secret_access_key") && !shown.contains("hunter2"), "{shown}");
}
