//! What is understood and not offered.

use kalamdb_commons::{Error, ErrorCode};

use super::input::Input;

/// First words of the contract's statements that this version lacks.
const NOT_YET: [&str; 2] = ["BACKUP", "COMPACT"];

/// First words of statements that other databases have.
const NEVER: [&str; 69] = [
    "ABORT",
    "ANALYZE",
    "ASSERT",
    "ATTACH",
    "BEGIN",
    "CACHE",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "DEALLOCATE",
    "DECLARE",
    "DENY",
    "DESC",
    "DETACH",
    "DISCARD",
    "DO",
    "END",
    "EXEC",
    "EXECUTE",
    "EXPORT",
    "FETCH",
    "FROM",
    "GRANT",
    "HANDLER",
    "IMPORT",
    "INSTALL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "MSCK",
    "NOTIFY",
    "OPEN",
    "OPTIMIZE",
    "PRAGMA",
    "PREPARE",
    "PURGE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "RESTORE",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SET",
    "START",
    "SUBSCRIBE",
    "TABLE",
    "TRUNCATE",
    "UNCACHE",
    "UNDROP",
    "UNINSTALL",
    "UNLISTEN",
    "UNLOAD",
    "UNLOCK",
    "UPSERT",
    "USE",
    "VACUUM",
];

/// What follows CREATE, DROP or ALTER elsewhere.
const OBJECTS: [&str; 52] = [
    "ACCESS",
    "AGGREGATE",
    "CAST",
    "CATALOG",
    "COLLATION",
    "CONNECTOR",
    "CONVERSION",
    "DATABASE",
    "DICTIONARY",
    "DOMAIN",
    "EVENT",
    "EXTENSION",
    "EXTERNAL",
    "FOREIGN",
    "FULLTEXT",
    "FUNCTION",
    "GLOBAL",
    "GROUP",
    "INDEX",
    "LANGUAGE",
    "LIVE",
    "LOCAL",
    "MACRO",
    "MATERIALIZED",
    "OPERATOR",
    "OR",
    "OWNED",
    "POLICY",
    "PROCEDURE",
    "PUBLICATION",
    "RECURSIVE",
    "ROLE",
    "ROUTINE",
    "RULE",
    "SCHEMA",
    "SECRET",
    "SEQUENCE",
    "SERVER",
    "SPATIAL",
    "STAGE",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLESPACE",
    "TEMP",
    "TEMPORARY",
    "TEXT",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "UNIQUE",
    "UNLOGGED",
    "VIEW",
];

/// What SHOW shows elsewhere.
const SHOWN: [&str; 24] = [
    "ALL",
    "CATALOGS",
    "COLLATION",
    "COLUMNS",
    "CREATE",
    "DATABASES",
    "ENGINES",
    "ERRORS",
    "EVENTS",
    "FIELDS",
    "FULL",
    "FUNCTIONS",
    "GRANTS",
    "INDEX",
    "INDEXES",
    "KEYS",
    "PRIVILEGES",
    "PROCESSLIST",
    "SCHEMAS",
    "STATUS",
    "TRIGGERS",
    "VARIABLES",
    "VIEWS",
    "WARNINGS",
];

/// The error for a statement that begins with `word`.
pub(super) fn statement(input: &Input<'_>, word: &str) -> Error {
    let word = word.to_ascii_uppercase();
    if NOT_YET.contains(&word.as_str()) {
        return not_yet(input, &two_words(input, &word));
    }
    if NEVER.contains(&word.as_str()) {
        let hint = if word == "DESC" { ": use DESCRIBE" } else { "" };
        return never(input, &format!("{word}{hint}"));
    }
    input.unexpected("a statement")
}

/// The error for CREATE, ALTER or DROP of something that is no namespace, table, user or storage; the next word says what.
pub(super) fn object(input: &Input<'_>, verb: &str) -> Error {
    match input.peek_word().as_deref() {
        Some(word) if OBJECTS.contains(&word) => never(input, &format!("{verb} {word}")),
        _ => input.unexpected(
            if verb == "ALTER" {
                "TABLE, USER or STORAGE after ALTER".to_owned()
            } else {
                format!("NAMESPACE, TABLE, USER or STORAGE after {verb}")
            }
            .as_str(),
        ),
    }
}

/// The error for SHOW of something else; the next word says what.
pub(super) fn shown(input: &Input<'_>) -> Error {
    match input.peek_word().as_deref() {
        Some(word @ ("BACKUPS" | "BACKUP")) => not_yet(input, &format!("SHOW {word}")),
        Some(word) if SHOWN.contains(&word) => never(input, &format!("SHOW {word}")),
        _ => input.unexpected("NAMESPACES, TABLES, STORAGES or TABLE STATS after SHOW"),
    }
}

/// [`ErrorCode::Unsupported`] for a statement of a later version.
pub(super) fn not_yet(input: &Input<'_>, what: &str) -> Error {
    input.at_start(Error::new(ErrorCode::Unsupported, format!("{what} is not available in this version")))
}

/// [`ErrorCode::Unsupported`] for what there will not be.
pub(super) fn never(input: &Input<'_>, what: &str) -> Error {
    input.at_start(Error::new(ErrorCode::Unsupported, format!("not supported: {what}")))
}

fn two_words(input: &Input<'_>, first: &str) -> String {
    input.word_at(1).map_or(first.to_owned(), |second| {
        let second: String = second.chars().take(40).collect();
        format!("{first} {second}")
    })
}
