//! NUL, control characters and other text that careless code trips over.

use serde_json::json;

use kalamdb_tests::TestServer;

#[tokio::test]
async fn any_text_is_a_value() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE t (k TEXT PRIMARY KEY, v TEXT)").await.ok();
    let ann = server.user("ann");
    let texts = [
        "",
        "\0",
        "\0\0",
        "a",
        "a\0",
        "a\0b",
        "a\u{1}",
        "a\u{1}b",
        "a\u{ff}",
        "\u{ff}",
        "\u{ffff}",
        "\u{10ffff}",
        "\r\n\t\u{7f}\u{85}",
        "\u{200b}",
        "\u{202e}abc",
        "\u{feff}",
        "'",
        "\"",
        "\\",
        "\\0",
        "%",
        "_",
        "$1",
        "{}",
        "\u{1b}[31m",
        "é",
        "e\u{301}",
    ];
    for text in texts {
        ann.sql_params("INSERT INTO t VALUES ($1, $1)", json!([text])).await.ok();
    }
    for text in texts {
        let answer = ann.sql_params("SELECT k, v FROM t WHERE k = $1", json!([text])).await.success();
        assert_eq!(answer.values(), [[json!(text), json!(text)]], "{text:?}");
        ann.sql_params("INSERT INTO t (k) VALUES ($1)", json!([text])).await.fails(409, "DUPLICATE_KEY");
    }
    // In order of their bytes.
    let mut sorted = texts.to_vec();
    sorted.sort_unstable();
    let answer = ann.sql("SELECT k FROM t ORDER BY k").await.success();
    assert_eq!(answer.column("k"), sorted.iter().map(|text| json!(text)).collect::<Vec<_>>());
    let range =
        ann.sql_params("SELECT count(*) FROM t WHERE k > $1 AND k <= $2", json!(["a", "a\u{1}"])).await.success();
    assert_eq!(range.number(), 3, "a NUL, a NUL b, a U+0001");
}

#[tokio::test]
async fn nul_and_control_characters_in_sql_have_their_code() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for sql in [
        "SELECT \0",
        "\0SELECT 1",
        "SELECT 1\0",
        "SEL\u{1}ECT 1",
        "SELECT 1 \u{7f}",
        "SELECT * FROM a\0b",
        "\u{feff}\u{202e}",
        "SELECT \u{85}\u{1f}+",
    ] {
        let answer = ann.sql(sql).await;
        let codes = ["INVALID_SQL", "INVALID_NAME", "UNSUPPORTED"];
        assert!(answer.status == 400 && codes.contains(&answer.code()), "{sql:?}: {} {}", answer.status, answer.text);
    }
    for sql in [
        "SELECT * FROM \"a\0b\"",
        "SELECT * FROM \"a\nb\"",
        "SELECT * FROM \"..\"",
        "SELECT * FROM \"../../etc/passwd\"",
    ] {
        let answer = ann.sql(sql).await;
        let codes = ["INVALID_NAME", "TABLE_NOT_FOUND", "INVALID_SQL"];
        assert!(codes.contains(&answer.code()), "{sql:?}: {} {}", answer.status, answer.text);
    }
    // In a literal it is a character like any other, or refused; never cut off.
    for text in ["a\0b", "a\u{1}b", "a\nb"] {
        let answer = ann.sql(format!("SELECT '{text}' AS v")).await;
        let kept = answer.status == 200 && answer.scalar() == json!(text);
        assert!(kept || answer.code() == "INVALID_SQL", "{text:?}: {} {}", answer.status, answer.text);
    }
}

#[tokio::test]
async fn names_beyond_the_rules_are_refused() {
    let server = TestServer::start().await;
    let admin = server.admin();
    for name in
        ["\"\"", "\"a\0\"", "\"a b\"", "\"ж\"", "\"a/b\"", "\"..\"", "\"a.b\"", "\"1a\"", "\"a-b\"", "\"a\"\"b\""]
    {
        for sql in [
            format!("CREATE NAMESPACE {name}"),
            format!("CREATE USER TABLE {name} (id BIGINT PRIMARY KEY)"),
            format!("CREATE USER TABLE t (id BIGINT PRIMARY KEY, {name} TEXT)"),
        ] {
            let answer = admin.sql(&sql).await;
            let codes = ["INVALID_NAME", "INVALID_SQL"];
            assert!(
                answer.status == 400 && codes.contains(&answer.code()),
                "{sql:?}: {} {}",
                answer.status,
                answer.text
            );
        }
        let answer = admin.in_namespace(name).sql("SELECT 1").await;
        assert_eq!(answer.status, 400, "namespace {name}: {}", answer.text);
    }
    let names = admin.sql("SHOW TABLES").await.success();
    assert_eq!(names.rows().len(), 0, "{}", names.text);
}
