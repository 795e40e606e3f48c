//! Random SQL.

use proptest::prelude::*;

/// What SQL is made of, and what it is not.
#[rustfmt::skip]
const FRAGMENTS: &[&str] = &[
    "SELECT", "INSERT INTO", "UPDATE", "DELETE FROM", "FROM", "WHERE", "VALUES", "SET", "GROUP BY", "HAVING",
    "ORDER BY", "LIMIT", "OFFSET", "JOIN", "LEFT JOIN", "ON", "USING", "UNION ALL", "EXCEPT", "INTERSECT", "WITH",
    "RECURSIVE", "AS", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST(", "EXISTS (", "IN (", "NOT", "AND", "OR",
    "IS NULL", "LIKE", "BETWEEN", "DISTINCT", "ALL", "ANY(", "OVER (", "PARTITION BY", "ROWS", "RETURNING",
    "ON CONFLICT", "DO NOTHING", "DO UPDATE SET", "DEFAULT", "NULL", "TRUE", "INTERVAL", "CREATE", "USER TABLE",
    "SHARED TABLE", "TABLE", "DROP", "NAMESPACE", "IF EXISTS", "PRIMARY KEY", "SHOW", "TABLES", "DESCRIBE", "EXPLAIN",
    "ANALYZE", "LATERAL", "UNNEST(", "VALUES (1)", "t", "s", "kept", "t.id", "id", "i", "v", "d", "at", "p", "b",
    "_seq", "_deleted", "nowhere.t", "t.user.t", "system.tables", "information_schema.columns", "count(*)", "sum(",
    "max(id)", "abs(", "NOW()", "CURRENT_USER()", "SNOWFLAKE_ID()", "UUID_V7()", "coalesce(", "concat(",
    "substr(v, 1)", "to_timestamp(", "date_trunc('day', at)", "1", "0", "-1", "9223372036854775807",
    "9223372036854775808", "1e308", "1.5", "''", "'x'", "'ж'", "'2025-10-21'", "\"t\"", "\"T x\"", "$1", "$2", "$0",
    "$", "?", ":x", "@", "#", "~", "!~", "||", "::", "::INT", "+", "-", "*", "/", "%", "=", "<>", "<", ">=", "(", ")",
    "(", ")", "[", "]", "{", "}", ",", ",", ";", ".", "..", "--", "/*", "*/", "'", "\"", "`", "\\", "\0", "\u{1}",
    "😀", "e'\\n'", "x'0f'", "$$", "AT TIME ZONE 'UTC'",
];

/// Fragments in any order.
pub(super) fn fragments() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(FRAGMENTS), 0..14).prop_map(|parts| parts.join(" "))
}

/// Statements that mostly parse, so that what lies behind the parser gets its share.
pub(super) fn nearly_right() -> impl Strategy<Value = String> {
    let expression = proptest::sample::select(
        &[
            "id",
            "i",
            "v",
            "d",
            "at",
            "p",
            "b",
            "1",
            "NULL",
            "'x'",
            "-i",
            "i + 1",
            "id / i",
            "i / 0",
            "v || v",
            "p * 2",
            "d / 0",
            "CAST(v AS INT)",
            "CAST(i AS TEXT)",
            "at + INTERVAL '1 day'",
            "at - at",
            "NOT b",
            "i % 0",
            "abs(i)",
            "count(*)",
            "sum(i)",
            "max(v)",
            "avg(p)",
            "row_number() OVER ()",
            "CASE WHEN b THEN i END",
            "(SELECT max(id) FROM s)",
            "id IN (1, 2)",
            "v LIKE '%'",
            "_seq",
            "_deleted",
            "CURRENT_USER()",
            "NOW()",
            "length(v)",
            "9223372036854775807 + id",
            "$1",
            "-$1",
            "b AND $1",
        ][..],
    );
    let condition = expression.clone();
    let table = proptest::sample::select(
        &["t", "s", "kept", "t AS a", "t JOIN s USING (id)", "t, s", "(SELECT 1) AS q", "nowhere"][..],
    );
    let template = proptest::sample::select(
        &[
            "SELECT {e} FROM {t}",
            "SELECT {e}, * FROM {t} WHERE {c}",
            "SELECT {e} FROM {t} GROUP BY {c}",
            "SELECT {e} FROM {t} ORDER BY {c} LIMIT 3",
            "INSERT INTO t (id, i) VALUES ({e}, {c})",
            "INSERT INTO t (id, v) SELECT {e}, {c} FROM {t}",
            "INSERT INTO t (id) VALUES ({e}) ON CONFLICT (id) DO UPDATE SET i = {c} RETURNING {e}",
            "UPDATE t SET i = {e} WHERE {c}",
            "UPDATE t SET v = {e}, d = {c}",
            "DELETE FROM t WHERE {c} RETURNING {e}",
            "SELECT {e} UNION SELECT {c} FROM {t}",
            "EXPLAIN SELECT {e} FROM {t} WHERE {c}",
        ][..],
    );
    (template, expression, condition, table).prop_map(|(template, expression, condition, table)| {
        template.replace("{e}", expression).replace("{c}", condition).replace("{t}", table)
    })
}
