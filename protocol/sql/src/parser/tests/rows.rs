//! Queries and DML.

use super::*;

#[test]
fn inserts() {
    let values =
        insert("INSERT INTO chat.user.Messages AS m (Id, \"Body\") VALUES (1, 'x'), ($1, DEFAULT) RETURNING *");
    assert_eq!(name(&values.table), "chat user messages");
    assert_eq!(values.alias.map(|alias| alias.value).as_deref(), Some("m"));
    let columns: Vec<String> = values.columns.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(columns, ["id", "Body"]);
    assert_eq!(values.returning.map(|items| items.len()), Some(1));
    match values.source {
        InsertSource::Values(rows) => assert!(rows.len() == 2 && is_default_keyword(&rows[1][1])),
        other => panic!("{other:?}"),
    }
    assert!(matches!(insert("INSERT INTO t DEFAULT VALUES").source, InsertSource::DefaultValues));
    assert!(matches!(insert("INSERT INTO t SELECT * FROM u").source, InsertSource::Query(_)));
    assert!(matches!(insert("INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x").source, InsertSource::Query(_)));
    assert!(matches!(insert("INSERT INTO default.t (SELECT 1)").source, InsertSource::Query(_)));
    assert!(insert("INSERT INTO t (user, position) VALUES (1, 2)").columns.is_some());
    let nothing = insert("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING").on_conflict.expect("a clause");
    assert!(nothing.target.is_empty() && matches!(nothing.action, OnConflictAction::DoNothing));
    let sql = "INSERT INTO t VALUES (1) ON CONFLICT (a, b) DO UPDATE SET n = excluded.n, m = 1 WHERE t.n < 5";
    let change = insert(sql).on_conflict.expect("a clause");
    assert_eq!(change.target.len(), 2);
    match change.action {
        OnConflictAction::DoUpdate { assignments, selection } => assert!(assignments.len() == 2 && selection.is_some()),
        OnConflictAction::DoNothing => panic!("an update"),
    }
    for (sql, code) in [
        ("INSERT INTO t (id, id) VALUES (1, 1)", ErrorCode::InvalidSql),
        ("INSERT INTO t (id, n) VALUES (9)", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1), (1, 2)", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES ()", ErrorCode::InvalidSql),
        ("INSERT INTO t (id, _deleted) VALUES (9, true)", ErrorCode::InvalidSql),
        ("INSERT INTO t (t.id) VALUES (9)", ErrorCode::InvalidSql),
        ("INSERT INTO t (\"a b\") VALUES (9)", ErrorCode::ColumnNotFound),
        ("INSERT INTO t", ErrorCode::InvalidSql),
        ("INSERT t VALUES (1)", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1, a = 2", ErrorCode::InvalidSql),
        ("INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING", ErrorCode::Unsupported),
        ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1", ErrorCode::Unsupported),
        ("INSERT INTO a.b.c VALUES (1)", ErrorCode::InvalidSql),
        ("INSERT INTO t SELECT 1 INTO u", ErrorCode::Unsupported),
        ("INSERT OVERWRITE t VALUES (1)", ErrorCode::InvalidSql),
        ("INSERT INTO t WITH x AS (DELETE FROM u RETURNING a) SELECT * FROM x", ErrorCode::Unsupported),
    ] {
        refused(sql, code);
    }
}

#[test]
fn updates_and_deletes() {
    let change = update("UPDATE ns.user.T AS x SET a = a + 1, \"B\" = DEFAULT WHERE x.id IN (SELECT 1) RETURNING a");
    assert_eq!(name(&change.table), "ns user t");
    assert!(change.alias.is_some() && change.selection.is_some() && change.returning.is_some());
    let columns: Vec<&str> = change.assignments.iter().map(|(column, _)| column.as_str()).collect();
    assert_eq!(columns, ["a", "B"]);
    assert!(is_default_keyword(&change.assignments[1].1));
    let removal = delete("DELETE FROM t WHERE id = $1 RETURNING *");
    assert!(removal.selection.is_some() && removal.returning.is_some() && removal.alias.is_none());
    assert!(delete("DELETE FROM ns.t x").alias.is_some());
    for (sql, code) in [
        ("UPDATE t SET _seq = 1", ErrorCode::InvalidSql),
        ("UPDATE t SET a = 1, A = 2", ErrorCode::InvalidSql),
        ("UPDATE t SET t.a = 1", ErrorCode::InvalidSql),
        ("UPDATE t SET (a, b) = (1, 2)", ErrorCode::Unsupported),
        ("UPDATE t SET a = 1 FROM u", ErrorCode::Unsupported),
        ("UPDATE t JOIN u ON true SET a = 1", ErrorCode::Unsupported),
        ("UPDATE (SELECT 1) x SET a = 1", ErrorCode::Unsupported),
        ("UPDATE t SET", ErrorCode::InvalidSql),
        ("UPDATE t SET a", ErrorCode::InvalidSql),
        ("DELETE FROM t USING u WHERE true", ErrorCode::Unsupported),
        ("DELETE FROM t, u", ErrorCode::Unsupported),
        ("DELETE t", ErrorCode::InvalidSql),
        ("DELETE FROM t WHERE", ErrorCode::InvalidSql),
        ("DELETE FROM t LIMIT 1", ErrorCode::Unsupported),
    ] {
        refused(sql, code);
    }
}

#[test]
fn queries() {
    for sql in [
        "SELECT 1",
        "select * from T",
        "SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 5 OFFSET 2",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL SELECT 2",
        "VALUES (1, 'a'), (2, 'b')",
        "(SELECT 1)",
        "SELECT sum(n) OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON c.x = b.x CROSS JOIN d",
        "SELECT DISTINCT ON (a) a, b FROM t",
        "SELECT CASE WHEN a THEN 1 ELSE 2 END, CAST(a AS BIGINT), a::TEXT, a -> 'x' ->> 'y', a[1], ARRAY[1, 2]",
        "SELECT count(*) FILTER (WHERE a > 1), EXTRACT(YEAR FROM b), trim(both ' ' from c), substring(c from 1 for 2) FROM t",
        "SELECT now() - INTERVAL '1 hour', CURRENT_TIMESTAMP, CURRENT_DATE, position('a' IN b), ceil(1.5), floor(2)",
        "SELECT * FROM ns.user.t WHERE id = $1 LIMIT $2 OFFSET $3",
        "SELECT * FROM default.t",
        "SELECT user, t.user FROM t",
        "SELECT position, floor, interval, trim AS substring, date, timestamp, key, value, type, name FROM t",
        "SELECT a>-1, a<-1, a>=-1, a||-1, 5%-2, a<@b, -a, +a, ~a, a ~ '^x', a !~* 'y' FROM t",
        "SELECT E'\\n', $$a$$, N'x', X'00'",
        "SELECT * FROM (SELECT 1) AS x, LATERAL (SELECT 2) y",
        "SELECT a FROM t EXCEPT SELECT b FROM u INTERSECT SELECT 1",
        "SELECT * FROM t WHERE (a, b) IN ((1, 2), (3, 4)) AND NOT EXISTS (SELECT 1) AND x IS NOT DISTINCT FROM y",
        "SELECT point, line, box, circle, path, xml, point(1) FROM t",
        "SELECT a AS \"into\", b.into FROM b",
        "SELECT 1 WHERE a BETWEEN 1 AND 2 AND b NOT BETWEEN 3 AND 4",
        "SELECT f(a => 1, b := 2)",
        "SELECT {'a': 1}",
    ] {
        match one(sql) {
            Ok(Statement::Query(_)) => {}
            // What sqlparser does not know for PostgreSQL is an error with a place, not another statement.
            Err(error) if sql.contains('{') || sql.contains("=>") => {
                assert_eq!(error.code, ErrorCode::InvalidSql, "{sql}")
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    for sql in [
        "SELECT * INTO u FROM t",
        "SELECT (SELECT 1 INTO x)",
        "SELECT 1 FOR UPDATE",
        "SELECT * FROM (SELECT 1 FOR SHARE) x",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "WITH x AS (UPDATE t SET a = 1 RETURNING a) SELECT 1",
        "SELECT 1 OPERATOR(pg_catalog.+) 2",
        "TABLE t",
    ] {
        refused(sql, ErrorCode::Unsupported);
    }
    for sql in [
        "SELECT",
        "SELECT 1 1",
        "SELECT FROM",
        "SELECT (1",
        "SELECT 1)",
        "VALUES (1), (1, 2)",
        "SELECT * FROM t WHERE",
        "SELECT `a`",
    ] {
        refused(sql, ErrorCode::InvalidSql);
    }
}

#[test]
fn types_in_casts_are_left_to_the_planner() {
    // The engine maps them with `column_type_of`, where the error has the type's name.
    assert!(matches!(one("SELECT CAST(1 AS INTEGER)"), Ok(Statement::Query(_))));
    assert_eq!(
        table("CREATE USER TABLE t (a DECIMAL(5))").columns[0].column_type,
        ColumnType::Decimal { precision: 5, scale: 0 }
    );
}
