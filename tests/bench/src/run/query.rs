//! A statement whose rows are known, with one set of parameters or several in turn.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer;
use super::scenario::{Ask, Operation, index};

/// The statement with its answers.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    cases: Vec<Case>,
    order: Order,
}

/// Whether the order of the rows is part of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Given,
    Any,
}

#[derive(Debug, Clone)]
struct Case {
    body: Bytes,
    rows: Value,
    /// How the rows are written if nothing stands between them.
    text: String,
}

impl Query {
    /// Asked of the first caller.
    pub(crate) fn new(sql: &str, rows: Vec<Value>) -> Self {
        Self { cases: vec![Case::new(&json!({"sql": sql}), rows)], order: Order::Given }
    }

    /// With these parameters and the rows that they bring, one pair after the other, then again from the first.
    pub(crate) fn in_turn(sql: &str, cases: impl IntoIterator<Item = (Vec<Value>, Vec<Value>)>) -> Self {
        let case = |(params, rows)| Case::new(&json!({"sql": sql, "params": Value::Array(params)}), rows);
        Self { cases: cases.into_iter().map(case).collect(), order: Order::Given }
    }

    /// The same where the statement promises no order.
    pub(crate) fn in_any_order(self) -> Self {
        Self { order: Order::Any, ..self }
    }

    fn case(&self, number: u64) -> Option<&Case> {
        self.cases.get(index(number, self.cases.len()))
    }
}

impl Case {
    fn new(body: &Value, rows: Vec<Value>) -> Self {
        let rows = Value::Array(rows);
        Self { body: body.to_string().into(), text: format!("\"rows\":{rows}"), rows }
    }
}

impl Operation for Query {
    fn ask(&self, number: u64) -> Ask {
        Ask { caller: 0, body: self.case(number).map(|case| case.body.clone()).unwrap_or_default() }
    }

    fn is_right(&self, number: u64, body: &[u8]) -> bool {
        let Some(case) = self.case(number) else { return false };
        if answer::contains(body, case.text.as_bytes()) {
            return true;
        }
        let Some(rows) = answer::only_rows(body) else { return false };
        match (self.order, &case.rows) {
            (Order::Given, rows_wanted) => *rows_wanted == rows,
            (Order::Any, rows_wanted) => sorted(rows_wanted) == sorted(&rows),
        }
    }
}

/// The rows as text, in an order that depends on nothing else.
fn sorted(rows: &Value) -> Option<Vec<String>> {
    let mut rows: Vec<String> = rows.as_array()?.iter().map(Value::to_string).collect();
    rows.sort_unstable();
    Some(rows)
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

    #[test]
    fn parameters_come_in_turn() {
        let cases = [1, 2].map(|id| (vec![json!(id)], vec![json!({"id": id})]));
        let query = Query::in_turn("SELECT id FROM t WHERE id = $1", cases);
        assert_eq!(&query.ask(3).body[..], br#"{"sql":"SELECT id FROM t WHERE id = $1","params":[2]}"#);
        assert_eq!(query.ask(3), query.ask(1));
        let answer = br#"{"results":[{"rows":[{"id":2}]}]}"#;
        assert!(query.is_right(1, answer) && !query.is_right(2, answer), "that of another's parameters is wrong");
    }

    #[test]
    fn where_no_order_is_promised_none_is_asked_for() {
        let query = Query::new("SELECT id FROM t", vec![json!({"id": 1}), json!({"id": 2})]).in_any_order();
        assert!(query.is_right(0, br#"{"results":[{"rows":[{"id":2},{"id":1}]}]}"#));
        for rows in [r#"[{"id":2},{"id":2}]"#, r#"[{"id":1}]"#, r#"[{"id":1},{"id":2},{"id":2}]"#] {
            assert!(!query.is_right(0, format!(r#"{{"results":[{{"rows":{rows}}}]}}"#).as_bytes()), "{rows}");
        }
    }
}
