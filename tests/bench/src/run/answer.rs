//! Looking at an answer's bytes: first for the text that a right answer holds, which is cheap, and only
//! where that is not found as JSON.

use serde_json::Value;

/// Whether the bytes occur.
pub(crate) fn contains(body: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(wanted) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// The answer as JSON.
pub(crate) fn parse(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// The only row of the only result.
pub(crate) fn only_row(body: &[u8]) -> Option<Value> {
    let mut rows = only_rows(body)?;
    rows.as_array_mut().filter(|rows| rows.len() == 1)?.pop()
}

/// The rows of the only result.
pub(crate) fn only_rows(body: &[u8]) -> Option<Value> {
    let mut json = parse(body)?;
    let results = json["results"].as_array_mut().filter(|results| results.len() == 1)?;
    Some(results[0]["rows"].take()).filter(Value::is_array)
}

/// Whether the only statement is done, with so many rows changed.
pub(crate) fn changed_rows(body: &[u8], count: u64) -> bool {
    parse(body).is_some_and(|json| {
        json["results"].as_array().is_some_and(|results| results.len() == 1 && results[0]["row_count"] == count)
    })
}

/// Whether the only statement changed exactly one row.
pub(crate) fn changed_one_row(body: &[u8]) -> bool {
    let by_bytes = [&br#""row_count":1,"#[..], br#""row_count":1}"#].iter().any(|wanted| contains(body, wanted));
    by_bytes || changed_rows(body, 1)
}

/// The code under which an answer that is no success is counted.
pub(crate) fn error_code(status: u16, body: &[u8]) -> String {
    let code = parse(body).and_then(|json| json["error"]["code"].as_str().map(str::to_owned));
    code.unwrap_or_else(|| format!("HTTP_{status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found() {
        for (body, wanted, found) in
            [("aab", "ab", true), ("aab", "b", true), ("aab", "ba", false), ("", "a", false), ("a", "", true)]
        {
            assert_eq!(contains(body.as_bytes(), wanted.as_bytes()), found, "{body} {wanted}");
        }
    }

    #[test]
    fn errors_are_counted_by_code() {
        let body = br#"{"status":"error","results":[],"error":{"code":"OVERLOADED","message":"x"}}"#;
        assert_eq!(error_code(503, body), "OVERLOADED");
        assert_eq!(error_code(502, b"<html>"), "HTTP_502");
    }

    #[test]
    fn one_changed_row() {
        assert!(changed_one_row(br#"{"results":[{"rows":[],"row_count":1,"message":null}]}"#));
        assert!(changed_one_row(br#"{"results": [{"rows": [], "row_count": 1}]}"#));
        assert!(!changed_one_row(br#"{"results": [{"rows": [], "row_count": 12}]}"#));
        assert!(only_row(br#"{"results":[{"rows":[{},{}]}]}"#).is_none());
    }
}
