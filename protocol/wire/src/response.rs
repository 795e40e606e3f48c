//! The answer to `POST /api/sql`.

use serde::{Deserialize, Serialize};

use crate::RawRows;

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The column's name, unique within the result.
    pub name: String,
    /// The SQL type, as in `BIGINT`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether NULL can occur.
    pub nullable: bool,
}

/// Whether a statement's plan was at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanCache {
    /// Compiled before.
    Hit,
    /// Compiled now, or planned for this statement alone and kept if its text comes again.
    Miss,
}

/// What one statement gave.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct StatementResult {
    /// The columns of `rows`; empty where there are none.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: RawRows,
    /// Rows returned, or rows affected.
    pub row_count: u64,
    /// What was done, in a plain sentence, for anything but a query.
    pub message: Option<String>,
    /// Absent for a statement that is not cached.
    #[serde(default)]
    pub plan_cache: Option<PlanCache>,
    /// Milliseconds, where timing is reported.
    #[serde(default)]
    pub took_ms: Option<f64>,
}

impl StatementResult {
    /// The result of a statement that changed `row_count` rows, or none.
    pub fn message(row_count: u64, message: impl Into<String>) -> Self {
        Self { row_count, message: Some(message.into()), ..Self::default() }
    }

    /// Appends the result as JSON.
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"columns\":");
        write_value(out, &self.columns);
        out.extend_from_slice(b",\"rows\":");
        out.extend_from_slice(self.rows.as_str().as_bytes());
        out.extend_from_slice(b",\"row_count\":");
        write_value(out, &self.row_count);
        out.extend_from_slice(b",\"message\":");
        write_value(out, &self.message);
        write_optional(out, "plan_cache", self.plan_cache.as_ref());
        write_optional(out, "took_ms", self.took_ms.as_ref());
        out.push(b'}');
    }
}

/// `"status": "success"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuccessTag {
    /// The only value.
    #[default]
    Success,
}

/// The body of a success.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SqlResponse {
    /// Always `success`.
    pub status: SuccessTag,
    /// One per statement, in order.
    pub results: Vec<StatementResult>,
    /// Milliseconds for the whole request, where timing is reported.
    #[serde(default)]
    pub took_ms: Option<f64>,
}

impl SqlResponse {
    /// The body's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(size_hint(&self.results));
        out.extend_from_slice(b"{\"status\":\"success\",\"results\":");
        write_results(&mut out, &self.results);
        write_optional(&mut out, "took_ms", self.took_ms.as_ref());
        out.push(b'}');
        out
    }
}

/// About how many bytes the results take, so that a large answer is written without growing.
pub(crate) fn size_hint(results: &[StatementResult]) -> usize {
    results.iter().map(|result| result.rows.as_str().len() + 96 * (result.columns.len() + 2)).sum::<usize>() + 128
}

pub(crate) fn write_results(out: &mut Vec<u8>, results: &[StatementResult]) {
    out.push(b'[');
    for (index, result) in results.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        result.write_json(out);
    }
    out.push(b']');
}

pub(crate) fn write_value<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        // These types hold nothing that JSON lacks, and a Vec takes every write.
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

fn write_optional<T: Serialize>(out: &mut Vec<u8>, name: &str, value: Option<&T>) {
    if let Some(value) = value {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_value(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_written_as_the_contract_shows_it() {
        let response = SqlResponse {
            results: vec![
                StatementResult {
                    columns: vec![Column { name: "id".into(), data_type: "BIGINT".into(), nullable: false }],
                    rows: RawRows::from_json(r#"[{"id":1}]"#.into()),
                    row_count: 1,
                    message: None,
                    plan_cache: Some(PlanCache::Hit),
                    took_ms: Some(0.412),
                },
                StatementResult::message(3, "3 rows \"inserted\""),
            ],
            took_ms: Some(0.53),
            ..SqlResponse::default()
        };
        let text = String::from_utf8(response.to_json()).expect("UTF-8");
        assert_eq!(
            text,
            concat!(
                r#"{"status":"success","results":[{"columns":[{"name":"id","type":"BIGINT","nullable":false}],"#,
                r#""rows":[{"id":1}],"row_count":1,"message":null,"plan_cache":"hit","took_ms":0.412},"#,
                r#"{"columns":[],"rows":[],"row_count":3,"message":"3 rows \"inserted\""}],"took_ms":0.53}"#
            )
        );
        assert_eq!(serde_json::from_str::<SqlResponse>(&text).expect("reads back"), response);
    }

    #[test]
    fn debug_output_shows_no_rows() {
        let result = StatementResult { rows: RawRows::from_json(r#"["secret"]"#.into()), ..StatementResult::default() };
        assert!(!format!("{result:?}").contains("secret"));
    }
}
