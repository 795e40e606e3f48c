//! Parameters of a statement: `$1` to `$n`, each at least once.

use std::collections::BTreeSet;

use kalamdb_commons::{Error, ErrorCode, Position, Result};
use sqlparser::tokenizer::Token;

use crate::source::Source;

/// How many parameters a statement expects.
///
/// # Errors
/// [`ErrorCode::InvalidSql`] for `$0`, a gap, or the parameters of another dialect.
pub(crate) fn count_parameters(source: &Source<'_>) -> Result<usize> {
    let mut seen = BTreeSet::new();
    for (index, token) in source.tokens().iter().enumerate() {
        match &token.token {
            Token::Placeholder(name) => {
                seen.insert(number_of(name).map_err(|error| at(error, source.position_of(index)))?);
            }
            Token::Colon if names_parameter(source, index) => {
                let error = invalid("parameters are written $1, $2, …, not by name".to_owned());
                return Err(at(error, source.position_of(index)));
            }
            _ => {}
        }
    }
    let count = seen.len();
    // Without a gap the numbers are 1 to their count.
    if let Some(gap) = (1..=count).find(|number| !seen.contains(number)) {
        let highest = seen.last().copied().unwrap_or_default();
        return Err(invalid(format!("parameter ${gap} is missing: ${highest} is used, and numbers have no gaps")));
    }
    Ok(count)
}

fn number_of(name: &str) -> Result<usize> {
    let digits = name.strip_prefix('$').unwrap_or_default();
    if name.starts_with('?') {
        return Err(invalid("parameters are written $1, $2, …, not ?".to_owned()));
    }
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<usize>().ok()).flatten();
    match number {
        Some(number) if number > 0 && !digits.starts_with('0') => Ok(number),
        _ => {
            let shown: String = name.chars().take(40).collect();
            Err(invalid(format!("{shown} is no parameter: they are written $1, $2, …")))
        }
    }
}

/// `:name`, where no value stands before it (`a[x:y]`, `json_object('k': v)` are something else).
fn names_parameter(source: &Source<'_>, colon: usize) -> bool {
    let next = colon + 1;
    let adjacent = source.range(colon).end == source.range(next).start;
    let word = matches!(source.token(next), Some(Token::Word(word)) if word.quote_style.is_none());
    let before = colon.checked_sub(1);
    let attached = before.is_some_and(|before| {
        source.range(before).end == source.range(colon).start
            && !matches!(source.token(before), Some(Token::LParen | Token::Comma | Token::Eq | Token::Lt | Token::Gt))
    });
    word && adjacent && !attached
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidSql, message)
}

fn at(error: Error, position: Position) -> Error {
    error.at(position.line, position.column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scanner;

    fn count(sql: &str) -> Result<usize> {
        count_parameters(&Source::read(&mut Scanner::new(sql)).expect(sql).expect(sql))
    }

    #[test]
    fn parameters_are_counted_once() {
        for (sql, expected) in [
            ("SELECT 1", 0),
            ("SELECT $1", 1),
            ("SELECT $2, $1, $2", 2),
            ("SELECT '$5', \"$6\", $$ $7 $$, a$8", 0),
            ("SELECT $1::int", 1),
            ("SELECT a[1:2], a[x:y]", 0),
        ] {
            assert_eq!(count(sql).expect(sql), expected, "{sql}");
        }
    }

    #[test]
    fn anything_else_is_refused_where_it_stands() {
        for (sql, hint, column) in [
            ("SELECT $0", "$0", Some(8)),
            ("SELECT $01", "$01", Some(8)),
            ("SELECT $x", "$x", Some(8)),
            ("SELECT $", "$", Some(8)),
            ("SELECT $99999999999999999999", "$9999", Some(8)),
            ("SELECT $1, $3", "$2", None),
            ("SELECT $2", "$1", None),
            ("SELECT ?", "not ?", Some(8)),
            ("SELECT ?1", "not ?", Some(8)),
            ("SELECT :name", "by name", Some(8)),
            ("SELECT 1 WHERE a =:name", "by name", Some(19)),
            ("SELECT f(:name)", "by name", Some(10)),
        ] {
            let error = count(sql).expect_err(sql);
            assert_eq!(error.code, ErrorCode::InvalidSql);
            assert!(error.message.contains(hint), "{sql}: {}", error.message);
            assert_eq!(error.position.map(|position| position.column), column, "{sql}");
        }
    }
}
