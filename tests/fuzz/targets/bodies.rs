//! HTTP bodies: a request is read as plain JSON would be, or refused; an answer is JSON that reads back.

#![no_main]

use kalamdb_commons::{Error, ErrorCode};
use kalamdb_wire::{Column, ErrorBody, MAX_PARAMS, RawRows, SqlRequestBody, SqlResponse, StatementResult};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    request(bytes);
    // An input too short for an answer has been a request.
    let _ = answer(bytes);
});

fn request(bytes: &[u8]) {
    let json = serde_json::from_slice::<Value>(bytes).ok();
    let body = match SqlRequestBody::from_json(bytes) {
        Ok(body) => body,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::InvalidRequest);
            let shown = ErrorBody::new(&error, None, Vec::new()).error.message;
            assert!(shown.chars().count() <= 2001, "{shown}");
            let repeated = error.message.contains("duplicate field");
            // A number in disguise is an object to us.
            let disguised = bytes.windows(11).any(|part| part == b"$serde_json");
            assert!(repeated || disguised || !json.is_some_and(|json| is_request(&json)), "{}", error.message);
            return;
        }
    };
    let json = json.expect("what is read is JSON");
    assert!(is_request(&json), "{json}");
    assert_eq!(json["sql"], body.sql);
    assert_eq!(json["namespace"].as_str(), body.namespace.as_deref());
    let params = json["params"].as_array().cloned().unwrap_or_default();
    assert_eq!(params, body.params);
}

/// Whether a body is one by the contract.
fn is_request(json: &Value) -> bool {
    let Some(members) = json.as_object() else { return false };
    members.contains_key("sql")
        && members.iter().all(|(name, value)| match name.as_str() {
            "sql" => value.is_string(),
            "namespace" => value.is_string() || value.is_null(),
            "params" => match value {
                Value::Null => true,
                Value::Array(params) => {
                    params.len() <= MAX_PARAMS && params.iter().all(|param| !param.is_array() && !param.is_object())
                }
                _ => false,
            },
            _ => false,
        })
}

fn answer(bytes: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(bytes);
    let mut results = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let mut columns = Vec::new();
        for _ in 0..input.int_in_range(0..=3)? {
            let (name, data_type, nullable) = input.arbitrary()?;
            columns.push(Column { name, data_type, nullable });
        }
        let rows: Vec<String> = input.arbitrary()?;
        let message: Option<String> = input.arbitrary()?;
        let rows = RawRows::from_json(Value::from(rows).to_string());
        results.push(StatementResult {
            columns,
            rows,
            row_count: input.arbitrary()?,
            message,
            ..StatementResult::default()
        });
    }
    let response = SqlResponse { results: results.clone(), ..SqlResponse::default() };
    assert_eq!(serde_json::from_slice::<SqlResponse>(&response.to_json()).expect("JSON"), response);

    let message: String = input.arbitrary()?;
    let statement: Option<u16> = input.arbitrary()?;
    let error = Error::new(ErrorCode::InvalidSql, message).at(input.arbitrary()?, input.arbitrary()?);
    let body = ErrorBody::new(&error, statement.map(usize::from), results);
    assert_eq!(serde_json::from_slice::<ErrorBody>(&body.to_json()).expect("JSON"), body);
    Ok(())
}
