//! One statement, asked again and again, whose rows are known.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::run::answer;
use crate::run::meter::Series;
use crate::run::pace::Pace;
use crate::run::report::Figures;
use crate::run::scenario::{Ask, Operation};

use super::Bench;
use super::table::Table;

/// The statement with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    body: Bytes,
    rows: Value,
    /// How the rows are written if nothing stands between them.
    text: String,
}

impl Query {
    /// Asked of the first caller.
    pub(crate) fn new(sql: &str, rows: Vec<Value>) -> Self {
        let rows = Value::Array(rows);
        Self { body: json!({"sql": sql}).to_string().into(), text: format!("\"rows\":{rows}"), rows }
    }
}

impl Query {
    /// Asks it so many times, one after the other.
    ///
    /// # Errors
    /// As for [`Meter::measure`](crate::run::meter::Meter::measure).
    pub(crate) async fn measure(self, bench: &Bench<'_>, table: &Table, times: usize) -> Result<Figures, Failure> {
        let series = Series {
            operation: Arc::new(self),
            heads: table.heads(),
            in_flight: 1,
            first: 0,
            count: times as u64,
            cap: None,
            pace: Pace::Closed,
        };
        Ok(bench.meter.measure(series).await?.figures)
    }
}

impl Operation for Query {
    fn ask(&self, _number: u64) -> Ask {
        Ask { caller: 0, body: self.body.clone() }
    }

    fn is_right(&self, _number: u64, body: &[u8]) -> bool {
        answer::contains(body, self.text.as_bytes())
            || answer::parse(body).is_some_and(|json| {
                json["results"].as_array().is_some_and(|results| results.len() == 1 && results[0]["rows"] == self.rows)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_rows_are_right() {
        let query = Query::new("SELECT id FROM t ORDER BY id", vec![json!({"id": 1}), json!({"id": 2})]);
        assert_eq!(&query.ask(3).body[..], br#"{"sql":"SELECT id FROM t ORDER BY id"}"#);
        assert!(query.is_right(0, br#"{"results":[{"rows":[{"id":1},{"id":2}],"row_count":2}]}"#));
        assert!(query.is_right(0, br#"{"results": [{"rows": [{"id": 1}, {"id": 2}]}]}"#), "however it is spaced");
        for rows in [r"[]", r#"[{"id":1}]"#, r#"[{"id":2},{"id":1}]"#, r#"[{"id":1},{"id":2},{"id":3}]"#] {
            assert!(!query.is_right(0, format!(r#"{{"results":[{{"rows":{rows}}}]}}"#).as_bytes()), "{rows}");
        }
        assert!(!query.is_right(0, b"nonsense"));
    }
}
