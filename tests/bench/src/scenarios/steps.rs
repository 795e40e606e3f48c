//! An operation of one statement or several, made from its number.

use std::fmt;

use serde_json::{Value, json};

use crate::run::answer;
use crate::run::scenario::{Ask, Operation, index, statement};

/// Statements of the first caller, one after the other.
#[derive(Debug)]
pub(crate) struct Steps(Vec<Step>);

/// One of them.
pub(crate) struct Step {
    body: Body,
    right: Right,
    timed: bool,
}

/// The request's body from the operation's number.
type Body = Box<dyn Fn(u64) -> String + Send + Sync>;
/// Whether the rows are those of the operation with this number.
type Check = Box<dyn Fn(u64, &[Value]) -> bool + Send + Sync>;

/// What its answer has to say.
enum Right {
    /// So many rows changed; none where nothing is changed.
    Changed(u64),
    /// Rows that this finds right.
    Rows(Check),
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Step")
            .field("body", &(self.body)(0))
            .field("timed", &self.timed)
            .finish_non_exhaustive()
    }
}

impl Step {
    /// A statement with the parameters of the operation's number; changes one row.
    pub(crate) fn with_params(sql: &str, params: impl Fn(u64) -> Vec<Value> + Send + Sync + 'static) -> Self {
        let start = statement(sql);
        let body = move |number| {
            let params = Value::Array(params(number)).to_string();
            format!("{start}{}}}", params.strip_prefix('[').unwrap_or("]"))
        };
        Self { body: Box::new(body), right: Right::Changed(1), timed: true }
    }

    /// A statement that is another for each number; changes no row.
    pub(crate) fn text(sql: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self {
            body: Box::new(move |number| json!({"sql": sql(number)}).to_string()),
            right: Right::Changed(0),
            timed: true,
        }
    }

    /// It changes so many rows instead.
    pub(crate) fn changes(self, rows: u64) -> Self {
        Self { right: Right::Changed(rows), ..self }
    }

    /// It brings rows.
    pub(crate) fn brings(self, right: impl Fn(u64, &[Value]) -> bool + Send + Sync + 'static) -> Self {
        Self { right: Right::Rows(Box::new(right)), ..self }
    }

    /// Its time does not count.
    pub(crate) fn untimed(self) -> Self {
        Self { timed: false, ..self }
    }
}

impl Steps {
    /// In this order.
    pub(crate) fn new(steps: impl Into<Vec<Step>>) -> Self {
        Self(steps.into())
    }

    /// The step of a request, and the number of its operation.
    fn step(&self, request: u64) -> Option<(&Step, u64)> {
        Some((self.0.get(index(request, self.0.len()))?, request / self.steps()))
    }
}

impl Operation for Steps {
    fn ask(&self, request: u64) -> Ask {
        let body = self.step(request).map(|(step, number)| (step.body)(number)).unwrap_or_default();
        Ask { caller: 0, body: body.into() }
    }

    fn is_right(&self, request: u64, body: &[u8]) -> bool {
        self.step(request).is_some_and(|(step, number)| match &step.right {
            Right::Changed(1) => answer::changed_one_row(body),
            Right::Changed(rows) => answer::changed_rows(body, *rows),
            Right::Rows(right) => {
                answer::only_rows(body).is_some_and(|rows| rows.as_array().is_some_and(|rows| right(number, rows)))
            }
        })
    }

    fn steps(&self) -> u64 {
        self.0.len().max(1) as u64
    }

    fn is_timed(&self, request: u64) -> bool {
        self.step(request).is_some_and(|(step, _)| step.timed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Steps {
        Steps::new([
            Step::with_params("INSERT INTO t VALUES ($1)", |number| vec![json!(number)]).untimed(),
            Step::text(|number| format!("SELECT {number} AS n")).brings(|number, rows| rows == [json!({"n": number})]),
            Step::with_params("DELETE FROM t", |_| Vec::new()).changes(2),
        ])
    }

    #[test]
    fn requests_are_numbered_through() {
        let steps = steps();
        let body = |request| String::from_utf8(steps.ask(request).body.to_vec()).unwrap();
        assert_eq!(steps.steps(), 3);
        assert_eq!(body(15), r#"{"sql":"INSERT INTO t VALUES ($1)","params":[5]}"#);
        assert_eq!(body(16), r#"{"sql":"SELECT 5 AS n"}"#);
        assert_eq!(body(17), r#"{"sql":"DELETE FROM t","params":[]}"#);
        assert_eq!([15, 16, 17].map(|request| steps.is_timed(request)), [false, true, true]);
    }

    #[test]
    fn each_step_has_an_answer_of_its_own() {
        let steps = steps();
        let answer = |rows: &str, count: u64| format!(r#"{{"results":[{{"rows":{rows},"row_count":{count}}}]}}"#);
        let right = |request, rows, count| steps.is_right(request, answer(rows, count).as_bytes());
        assert!(right(0, "[]", 1) && !right(0, "[]", 0));
        assert!(right(16, r#"[{"n":5}]"#, 1) && !right(16, r#"[{"n":6}]"#, 1) && !right(16, "[]", 0));
        assert!(right(17, "[]", 2) && !right(17, "[]", 1));
        assert!(!steps.is_right(16, b"nonsense"));
    }
}
