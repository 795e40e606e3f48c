//! Single-row inserts: `INSERT INTO t (id, body, n) VALUES ($1, $2, $3)`.

use super::{Ask, Operation, index, statement};
use crate::run::{answer, rows};

/// Row after row, ids from 0, the callers in turn.
#[derive(Debug)]
pub(crate) struct Insert {
    start: String,
    callers: usize,
}

impl Insert {
    pub(crate) fn new(table: &str, callers: usize) -> Self {
        Self { start: statement(&rows::insert(table)), callers }
    }

    /// The request that inserts the row with this id, for whoever that row belongs to.
    pub(super) fn row(&self, id: u64) -> Ask {
        let mut body = String::with_capacity(self.start.len() + 128);
        body.push_str(&self.start);
        rows::write_params(&mut body, id);
        body.push_str("]}");
        Ask { caller: index(id, self.callers), body: body.into() }
    }
}

impl Operation for Insert {
    fn ask(&self, number: u64) -> Ask {
        self.row(number)
    }

    fn is_right(&self, _number: u64, body: &[u8]) -> bool {
        answer::changed_one_row(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_row_of_the_next_caller() {
        let insert = Insert::new("bench.t", 64);
        let ask = insert.ask(130);
        assert_eq!(ask.caller, 2);
        let body: serde_json::Value = serde_json::from_slice(&ask.body).unwrap();
        assert_eq!(body["sql"], "INSERT INTO bench.t (id, body, n) VALUES ($1, $2, $3)");
        assert_eq!(body["params"], serde_json::json!([130, rows::body(130), rows::number(130)]));
        assert_eq!(insert.ask(130), ask);
        assert_ne!(insert.ask(131).body, ask.body);
    }

    #[test]
    fn one_inserted_row_is_right() {
        let insert = Insert::new("t", 1);
        let answer = |count: u64| format!(r#"{{"status":"success","results":[{{"rows":[],"row_count":{count}}}]}}"#);
        assert!(insert.is_right(0, answer(1).as_bytes()));
        for count in [0, 2, 10, 11] {
            assert!(!insert.is_right(0, answer(count).as_bytes()), "{count}");
        }
        assert!(!insert.is_right(0, b""));
    }
}
