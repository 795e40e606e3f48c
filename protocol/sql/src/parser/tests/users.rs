use kalamdb_commons::Role;

use super::*;
use crate::UserOptions;

fn options(list: &str) -> Result<UserOptions> {
    let of = |sql: &str| match one(sql)? {
        Statement::CreateUser { options, .. } => Ok(options),
        Statement::AlterUser { changes, .. } => Ok(changes),
        other => panic!("{other:?}"),
    };
    let created = of(&format!("CREATE USER 'ann' WITH ({list})"));
    let altered = of(&format!("ALTER USER 'ann' SET ({list})"));
    assert_eq!(created.as_ref().ok(), altered.as_ref().ok(), "{list}: the same in both statements");
    created
}

#[test]
fn users_are_named_in_single_quotes_as_they_are() {
    for (sql, id, fine) in [
        ("CREATE USER 'Ann'", "Ann", false),
        ("create user if not exists 'ann' with (role = 'dba')", "ann", true),
        ("CREATE USER 'TABLE'", "TABLE", false),
        ("CREATE USER '../../etc'", "../../etc", false),
        ("CREATE USER 'o''brien'", "o'brien", false),
        ("CREATE USER '日本'", "日本", false),
        ("DROP USER 'ann'", "ann", false),
        ("DROP USER IF EXISTS 'ann'", "ann", true),
    ] {
        match one(sql).expect(sql) {
            Statement::CreateUser { user, if_not_exists, .. } => assert_eq!((user.as_str(), if_not_exists), (id, fine)),
            Statement::DropUser { user, if_exists } => assert_eq!((user.as_str(), if_exists), (id, fine)),
            other => panic!("{sql}: {other:?}"),
        }
    }
    // The kind of table it begins like.
    assert!(matches!(one("CREATE USER TABLE t (id BIGINT)"), Ok(Statement::CreateTable(_))));
    assert!(matches!(one("DROP USER TABLE t"), Ok(Statement::DropTable { .. })));
    assert!(!one("DROP USER 'a'").expect("a statement").is_query_or_dml());
}

#[test]
fn options_of_users_are_read() {
    let all = r#"role = 'Service', username = 'Ann A.', metadata = '{"team": [1, null]}', disabled = 'TRUE'"#;
    let expected = UserOptions {
        role: Some(Some(Role::Service)),
        username: Some(Some("Ann A.".to_owned())),
        metadata: Some(Some(r#"{"team": [1, null]}"#.to_owned())),
        disabled: Some(true),
    };
    assert_eq!(options(all).expect("options"), expected);
    let none = UserOptions { role: Some(None), username: Some(None), metadata: Some(None), disabled: Some(false) };
    assert_eq!(options("ROLE = null, username = NULL, metadata = NULL, disabled = false").expect("options"), none);
    let text = UserOptions { username: Some(Some("NULL".to_owned())), ..UserOptions::default() };
    assert_eq!(options("username = 'NULL'").expect("a text is a text"), text);
}

#[test]
fn what_an_option_of_a_user_cannot_be_is_named() {
    let long_name = format!("username = '{}'", "x".repeat(257));
    let long_data = format!("metadata = '{{\"a\": \"{}\"}}'", "x".repeat(16 << 10));
    let deep_data = format!("metadata = '{{\"a\": {}{}}}'", "[".repeat(500), "]".repeat(500));
    for (list, says) in [
        ("role = 'root'", "'user', 'service' or 'dba'"),
        ("role = ''", "'user', 'service' or 'dba'"),
        ("role = 'system'", "localhost rule"),
        ("role = true", "single quotes, or NULL"),
        ("username = ''", "1 to 256"),
        ("username = 'a\nb'", "control character"),
        (&long_name, "1 to 256"),
        ("metadata = ''", "JSON object"),
        ("metadata = '{'", "JSON object"),
        ("metadata = '[1]'", "JSON object"),
        ("metadata = 'null'", "JSON object"),
        ("metadata = '{} {}'", "JSON object"),
        (&long_data, "bytes long"),
        (&deep_data, "JSON object"),
        ("disabled = 'yes'", "'true' or 'false'"),
        ("disabled = ''", "'true' or 'false'"),
        ("disabled = NULL", "'true' or 'false'"),
        ("disabled = 1", "'true' or 'false'"),
        ("password = 'x'", "role, username, metadata, disabled"),
        ("type = 'user'", "none of a user"),
        ("role = 'dba', Role = 'user'", "twice"),
    ] {
        let error = options(list).expect_err(list);
        assert_eq!(error.code, ErrorCode::InvalidOption, "{list}: {}", error.message);
        assert!(error.message.contains(says) && error.position.is_some(), "{list}: {}", error.message);
        assert!(error.message.len() < 500, "{}", error.message);
    }
}

#[test]
fn a_user_statement_that_is_none_is_refused() {
    for sql in [
        "CREATE USER",
        "CREATE USER ann",
        "CREATE USER \"ann\"",
        "CREATE USER 7",
        "CREATE USER 'ann' PASSWORD 'x'",
        "CREATE USER 'ann' WITH PASSWORD 'x'",
        "CREATE USER 'ann' WITH ()",
        "CREATE USER 'ann' WITH (role)",
        "CREATE USER 'ann' WITH (role = dba)",
        "CREATE USER 'ann' WITH (role = 'dba'",
        "CREATE USER 'ann', 'bob'",
        "CREATE USER 'ann' WITH (role = $1)",
        "ALTER USER 'ann'",
        "ALTER USER 'ann' SET role = 'dba'",
        "ALTER USER 'ann' SET ()",
        "ALTER USER 'ann' RENAME TO 'bob'",
        "DROP USER",
        "DROP USER ann",
        "DROP USER 'ann' CASCADE",
    ] {
        refused(sql, ErrorCode::InvalidSql);
    }
    for sql in ["CREATE USER ''", "DROP USER 'a\nb'", &format!("CREATE USER '{}'", "x".repeat(129))] {
        refused(sql, ErrorCode::InvalidName);
    }
}
