//! Casts of parameters: by the plan that is kept as by one of their own.

use super::*;

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// The rows, or the code.
async fn rows(server: &Server, sql: &str, params: Vec<Json>) -> std::result::Result<Json, ErrorCode> {
    let outcome = server.outcome("ann", Role::User, sql, params).await;
    match outcome.error {
        Some(failed) => Err(failed.error.code),
        None => Ok(serde_json::from_str(outcome.results[0].rows.as_str()).expect("JSON")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_read_as_what_they_are_cast_to() {
    let server = Server::start().await;
    server.run("admin", "CREATE USER TABLE docs (id UUID PRIMARY KEY, j JSON)", vec![]).await;
    server.run("ann", "INSERT INTO docs VALUES ($1, '{\"k\": 1}')", vec![json!(UUID)]).await;
    // The first makes a plan that the others may use.
    for (given, expected) in [
        (json!(UUID.to_uppercase()), Ok(json!([{"j": {"k": 1}}]))),
        (json!("no uuid"), Err(ErrorCode::EvaluationError)),
        (json!("00000000-0000-0000-0000-000000000000"), Ok(json!([]))),
        (json!(null), Ok(json!([]))),
    ] {
        let found = rows(&server, "SELECT j FROM docs WHERE id = CAST($1 AS UUID)", vec![given.clone()]).await;
        assert_eq!(found, expected, "{given}");
    }
    for (given, expected) in
        [("[1]", Ok(json!([{"x": [1]}]))), ("{", Err(ErrorCode::EvaluationError)), ("\"s\"", Ok(json!([{"x": "s"}])))]
    {
        let found = rows(&server, "SELECT CAST($1 AS JSON) AS x FROM docs", vec![json!(given)]).await;
        assert_eq!(found, expected, "{given}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_looked_up_by_a_uuid_that_was_cast() {
    let server = Server::start().await;
    server.run("admin", "CREATE USER TABLE docs (id UUID PRIMARY KEY)", vec![]).await;
    let values: Vec<String> = (0..100).map(|at| format!("('550e8400-e29b-41d4-a716-{at:012}')")).collect();
    server.run("ann", &format!("INSERT INTO docs VALUES {}", values.join(", ")), vec![]).await;
    let sql = "SELECT id FROM docs WHERE id = CAST('550E8400-E29B-41D4-A716-000000000007' AS UUID)";
    assert!(server.keys_read("ann", sql).await <= RECORD + 1);
}
