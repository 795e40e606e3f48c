use crate::{Statement, statements};

fn names(sql: &str) -> Option<Vec<String>> {
    statements(sql).next().expect("one").expect(sql).column_names
}

#[test]
fn expressions_are_named_as_written() {
    for (sql, expected) in [
        ("SELECT a, B, \"C\", t.d, s.t.E FROM t", vec!["a", "b", "C", "d", "e"]),
        ("SELECT COUNT(*), MAX(t.id), t.id + 1, 5 FROM t", vec!["count(*)", "max(id)", "id + 1", "5"]),
        ("SELECT 1 AS x, 2 y, 3 AS \"Mixed Case\", 4 AS BIG", vec!["x", "y", "Mixed Case", "big"]),
        ("SELECT a+b,\n  a\n  /* c */ + -- d\n b", vec!["a+b", "a + b"]),
        ("SELECT *, t.*, A + 1", vec!["*", "*", "A + 1"]),
        ("SELECT CURRENT_USER(), Now(), CURRENT_DATE", vec!["current_user()", "now()", "current_date"]),
        ("SELECT SUM(n) OVER (PARTITION BY t.x ORDER BY y) FROM t", vec!["sum(n) OVER (PARTITION BY x ORDER BY y)"]),
        (
            "SELECT a IN (1, 2), NOT (a AND (b)), EXISTS (SELECT 1)",
            vec!["a IN (1, 2)", "NOT (a AND (b))", "EXISTS (SELECT 1)"],
        ),
        ("SELECT CAST(a AS DECIMAL(5,2)), a::DECIMAL(5,2)", vec!["cast(a AS DECIMAL(5,2))", "a::DECIMAL(5,2)"]),
        ("SELECT a IS DISTINCT FROM b, c FROM t", vec!["a IS DISTINCT FROM b", "c"]),
        ("SELECT EXTRACT(YEAR FROM t.a), f(a, b) FROM t", vec!["extract(YEAR FROM a)", "f(a, b)"]),
        ("SELECT CASE WHEN t.a THEN 'T.x' ELSE \"T.y\" END", vec!["CASE WHEN a THEN 'T.x' ELSE \"T.y\" END"]),
        ("SELECT DISTINCT ON (a, b) c, D(1) FROM t", vec!["c", "d(1)"]),
        ("SELECT ALL a+1 WHERE true", vec!["a+1"]),
        ("SELECT 1.5, .5, 'it''s', $1", vec!["1.5", ".5", "'it''s'", "$1"]),
        (
            "SELECT array_agg(a) WITHIN GROUP (ORDER BY b), 2 FROM t",
            vec!["array_agg(a) WITHIN GROUP (ORDER BY b)", "2"],
        ),
    ] {
        assert_eq!(names(sql).expect(sql), expected, "{sql}");
    }
}

#[test]
fn nested_lists_have_the_names_of_results_as_aliases() {
    for (sql, expected) in [
        (
            "SELECT * FROM (SELECT COUNT(*), t.a+1, B, C c FROM t)",
            "COUNT(*) AS \"count(*)\", t.a + 1 AS \"a+1\", B, C AS c",
        ),
        ("EXPLAIN SELECT * FROM (SELECT F(1) UNION SELECT G(2))", "(SELECT F(1) AS \"f(1)\" UNION SELECT G(2))"),
        (
            "WITH x AS (SELECT\n  ABS(a) FROM t) SELECT ABS(1) FROM x",
            "AS (SELECT ABS(a) AS \"abs(a)\" FROM t) SELECT ABS(1) FROM",
        ),
        (
            "SELECT * FROM (SELECT (SELECT MAX(b) FROM u))",
            "(SELECT MAX(b) AS \"max(b)\" FROM u) AS \"(SELECT max(b) FROM u)\"",
        ),
        ("DELETE FROM t WHERE a IN (SELECT -a FROM u)", "SELECT -a AS \"-a\" FROM u"),
    ] {
        let parsed = statements(sql).next().expect("one").expect(sql).statement;
        let text = match parsed {
            Statement::Query(query) => query.to_string(),
            Statement::Explain { statement, .. } => match *statement {
                Statement::Query(query) => query.to_string(),
                other => panic!("{sql}: {other:?}"),
            },
            Statement::Delete(delete) => delete.selection.expect("a condition").to_string(),
            other => panic!("{sql}: {other:?}"),
        };
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn deep_nesting_is_read_a_bounded_number_of_times() {
    let sql = format!("{}1{}", "SELECT (".repeat(100), ")".repeat(100));
    let text = sql.clone();
    // To write a tree takes stack per level.
    let written = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let Statement::Query(query) = statements(&text).next().expect("one").expect("parsed").statement else {
            panic!("a query");
        };
        query.to_string().len()
    });
    let written = written.expect("a thread").join().expect("its end");
    // With every text in every list it would be fifty times the text.
    assert!(written > 8 * sql.len() && written < 32 * sql.len(), "{written} of {}", sql.len());
}

#[test]
fn the_leftmost_list_names_the_result() {
    for (sql, expected) in [
        ("SELECT A(1) UNION SELECT B(2)", vec!["a(1)"]),
        ("(SELECT A(1)) UNION (SELECT 2)", vec!["a(1)"]),
        ("((SELECT A(1) LIMIT 1))", vec!["a(1)"]),
        ("WITH x AS (SELECT F(9)), y (p, q) AS MATERIALIZED (SELECT 1, 2) SELECT G(1) FROM x", vec!["g(1)"]),
        ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 2) (SELECT H(1), 3)", vec!["h(1)", "3"]),
        ("SELECT (SELECT F(1), 2), G(3)", vec!["(SELECT f(1), 2)", "g(3)"]),
        ("INSERT INTO t (a, b) SELECT F(1), 2 RETURNING a, F(b)", vec!["a", "f(b)"]),
        ("INSERT INTO t VALUES (1) RETURNING *", vec!["*"]),
        ("UPDATE t SET a = F(1), b = 2 WHERE c RETURNING a + 1 AS more, t.b", vec!["more", "b"]),
        ("DELETE FROM t RETURNING id, UPPER(t.x)", vec!["id", "upper(x)"]),
    ] {
        assert_eq!(names(sql).expect(sql), expected, "{sql}");
    }
}

#[test]
fn without_a_list_there_are_no_names() {
    for sql in ["VALUES (1, 2)", "INSERT INTO t VALUES (1)", "SHOW TABLES", "EXPLAIN SELECT 1", "CREATE NAMESPACE n"] {
        assert_eq!(names(sql), None, "{sql}");
    }
}
