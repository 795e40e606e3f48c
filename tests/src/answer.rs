//! One answer of `POST /api/sql`, and what a test may say about it.

use serde_json::Value;

/// An HTTP response with all that is needed to explain a failed assertion.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, shortened.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The `X-Request-Id` header.
    pub request_id: Option<String>,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The body, `null` if it is no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    fn explain(&self, problem: &str) -> String {
        let asked: String = self.asked.chars().take(600).collect();
        let text: String = self.text.chars().take(2000).collect();
        format!("{problem}\n  asked: {asked}\n  answer: {} {text}", self.status)
    }

    /// The answer, if it is a success; else a panic that shows it.
    #[must_use]
    #[track_caller]
    pub fn success(self) -> Self {
        let success = self.status == 200 && self.body["status"] == "success";
        assert!(success, "{}", self.explain("expected success"));
        self
    }

    /// Like [`Answer::success`] where only that matters.
    #[track_caller]
    pub fn ok(self) {
        drop(self.success());
    }

    /// Asserts an error with this status and code; gives back its message.
    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) -> String {
        assert!(
            self.status == status && self.body["status"] == "error" && self.body["error"]["code"] == code,
            "{}",
            self.explain(&format!("expected {status} {code}"))
        );
        self.body["error"]["message"].as_str().expect("an error has a message").to_owned()
    }

    /// The error's code, empty if there is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// All results.
    #[must_use]
    #[track_caller]
    pub fn results(&self) -> &[Value] {
        self.body["results"].as_array().unwrap_or_else(|| panic!("{}", self.explain("no results")))
    }

    #[track_caller]
    fn last(&self) -> &Value {
        self.results().last().unwrap_or_else(|| panic!("{}", self.explain("no results")))
    }

    /// The last result's rows.
    #[must_use]
    #[track_caller]
    pub fn rows(&self) -> &[Value] {
        self.last()["rows"].as_array().unwrap_or_else(|| panic!("{}", self.explain("no rows")))
    }

    /// The last result's rows as arrays of values, in column order.
    #[must_use]
    #[track_caller]
    pub fn values(&self) -> Vec<Vec<Value>> {
        let in_order = |row: &Value| row.as_object().map(|row| row.values().cloned().collect());
        self.rows()
            .iter()
            .map(|row| in_order(row).unwrap_or_else(|| panic!("{}", self.explain("a row is no object"))))
            .collect()
    }

    /// One column of the last result's rows.
    #[must_use]
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<Value> {
        let cell = |row: &Value| row.get(name).cloned();
        self.rows()
            .iter()
            .map(|row| cell(row).unwrap_or_else(|| panic!("{}", self.explain(&format!("no column {name}")))))
            .collect()
    }

    /// The only value of the only row.
    #[must_use]
    #[track_caller]
    pub fn scalar(&self) -> Value {
        match self.values().as_slice() {
            [row] if row.len() == 1 => row[0].clone(),
            _ => panic!("{}", self.explain("expected one row with one value")),
        }
    }

    /// The only value of the only row, a whole number.
    #[must_use]
    #[track_caller]
    pub fn number(&self) -> i64 {
        self.scalar().as_i64().unwrap_or_else(|| panic!("{}", self.explain("expected a whole number")))
    }

    /// The last result's `row_count`.
    #[must_use]
    #[track_caller]
    pub fn row_count(&self) -> u64 {
        self.last()["row_count"].as_u64().unwrap_or_else(|| panic!("{}", self.explain("no row_count")))
    }

    /// The last result's `message`.
    #[must_use]
    #[track_caller]
    pub fn message(&self) -> &str {
        self.last()["message"].as_str().unwrap_or_else(|| panic!("{}", self.explain("no message")))
    }

    /// The last result's columns as `name TYPE`.
    #[must_use]
    #[track_caller]
    pub fn columns(&self) -> Vec<String> {
        let columns = self.last()["columns"].as_array().unwrap_or_else(|| panic!("{}", self.explain("no columns")));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        columns.iter().map(|column| format!("{} {}", text(&column["name"]), text(&column["type"]))).collect()
    }
}
