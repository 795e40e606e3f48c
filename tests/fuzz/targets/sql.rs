//! The SQL parser: every text is statements or one error, and what it says hangs together.

#![no_main]

use kalamdb_commons::{Error, ErrorCode};
use kalamdb_fuzz::on_deep_stack;
use kalamdb_sql::{ParsedStatement, statements};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| on_deep_stack(text.to_owned(), check));

fn check(text: &str) {
    let parsed = statements(text);
    let (promised, mut yielded) = (parsed.len(), 0);
    let mut failed = false;
    for outcome in parsed {
        assert!(!failed, "something after an error");
        yielded += 1;
        match outcome {
            Ok(statement) => check_statement(text, &statement),
            Err(error) => {
                failed = true;
                check_error(text, &error);
            }
        }
    }
    assert!(yielded >= 1 && yielded <= promised, "{yielded} of {promised}");
    assert!(failed || yielded == promised, "{yielded} of {promised}");
}

fn check_statement(text: &str, statement: &ParsedStatement) {
    assert!(text.contains(&*statement.text), "{:?} is no part of the text", statement.text);
    assert!(statement.parameters <= text.matches('$').count());
    assert!(statement.depth <= 6200, "deeper than promised: {}", statement.depth);
    assert_inside(text, statement.position.line, statement.position.column);
    // A statement's own text is the statement, and says the same.
    let mut again = statements(&statement.text);
    assert_eq!(again.len(), 1);
    let again = again.next().expect("one").expect("what was parsed is parsed again");
    assert_eq!(again.text, statement.text);
    assert_eq!(again.parameters, statement.parameters);
    assert_eq!(again.column_names, statement.column_names);
    assert_eq!(again.depth, statement.depth);
    assert_eq!(
        std::mem::discriminant(&again.statement),
        std::mem::discriminant(&statement.statement),
        "another kind of statement"
    );
}

fn check_error(text: &str, error: &Error) {
    assert_ne!(error.code, ErrorCode::Internal, "{:?}", error.detail);
    // Of what a text alone can be refused for, two things are no plain 400: a name declared twice, and making or
    // dropping what is the server's.
    let is_other = matches!(error.code, ErrorCode::Conflict | ErrorCode::Forbidden);
    assert!(is_other || error.code.http_status() == 400, "{error}");
    assert!(!error.message.is_empty() && error.message.len() < 2000, "{}", error.message);
    if let Some(position) = error.position {
        assert_inside(text, position.line, position.column);
    }
}

/// Just behind a line's last character is inside too: that is where something is missing.
fn assert_inside(text: &str, line: u64, column: u64) {
    let at = usize::try_from(line).expect("a small number").checked_sub(1).expect("lines count from 1");
    let found = text.split('\n').nth(at).unwrap_or_else(|| panic!("no line {line}"));
    let characters = found.chars().count() as u64;
    assert!(column >= 1 && column <= characters + 1, "no column {column} in {found:?}");
}
