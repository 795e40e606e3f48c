//! Reads of one row by primary key: `SELECT body, n FROM t WHERE id = $1`.

use std::fmt::Write;

use super::{Ask, Operation, index, statement};
use crate::run::{answer, rows};

/// Rows that are there, in an order without order.
#[derive(Debug)]
pub(crate) struct PointRead {
    start: String,
    rows: u64,
    callers: usize,
}

impl PointRead {
    pub(crate) fn new(table: &str, rows: u64, callers: usize) -> Self {
        Self { start: statement(&format!("SELECT body, n FROM {table} WHERE id = $1")), rows, callers }
    }

    /// Which row the request with this number is about.
    pub(super) fn id(&self, number: u64) -> u64 {
        rows::scatter(number) % self.rows.max(1)
    }
}

impl Operation for PointRead {
    fn ask(&self, number: u64) -> Ask {
        let id = self.id(number);
        let mut body = String::with_capacity(self.start.len() + 24);
        body.push_str(&self.start);
        // Writing to a String cannot fail.
        let _ = write!(body, "{id}]}}");
        Ask { caller: index(id, self.callers), body: body.into() }
    }

    fn is_right(&self, number: u64, body: &[u8]) -> bool {
        let id = self.id(number);
        let wanted = format!(r#""rows":[{{"body":"{}","n":{}}}]"#, rows::body(id), rows::number(id));
        answer::contains(body, wanted.as_bytes()) || {
            let row = answer::only_row(body);
            row.is_some_and(|row| row["body"] == rows::body(id) && row["n"] == rows::number(id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_asked_of_its_owner() {
        let read = PointRead::new("bench.user.t", 1000, 64);
        let mut seen = std::collections::HashSet::new();
        for number in 0..2000 {
            let ask = read.ask(number);
            let body: serde_json::Value = serde_json::from_slice(&ask.body).unwrap();
            let id = body["params"][0].as_u64().unwrap();
            assert!(id < 1000);
            assert_eq!(ask.caller as u64, id % 64);
            seen.insert(id);
        }
        assert!(seen.len() > 700, "{} of 1000 rows", seen.len());
    }

    #[test]
    fn only_the_right_row_is_right() {
        let read = PointRead::new("t", 1000, 1);
        let (id, other) = (read.id(5), read.id(6));
        let answer = |id: u64, space: &str| {
            let (body, n) = (rows::body(id), rows::number(id));
            format!(
                r#"{{"status":"success","results":[{{"rows":[{{"body":{space}"{body}","n":{n}}}],"row_count":1}}]}}"#
            )
        };
        assert!(read.is_right(5, answer(id, "").as_bytes()));
        assert!(read.is_right(5, answer(id, " ").as_bytes()), "however the JSON is spaced");
        assert!(!read.is_right(5, answer(other, "").as_bytes()));
        assert!(!read.is_right(5, br#"{"status":"success","results":[{"rows":[],"row_count":0}]}"#));
        assert!(!read.is_right(5, b"nonsense"));
    }
}
