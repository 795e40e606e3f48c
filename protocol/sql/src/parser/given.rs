//! Options as they are written: `(name = 'value', …)`. What each may be is known where they are read.

use std::collections::HashSet;

use kalamdb_commons::{Error, ErrorCode, Result};
use sqlparser::tokenizer::Token;

use super::input::Input;
use super::names;

/// An option as it was written.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: String,
    /// The text; of a bare word, the word in upper case.
    pub(super) value: String,
    /// Whether the value is a bare word: NULL is none of the texts.
    pub(super) is_word: bool,
    line: u64,
    column: u64,
}

/// At least one option in brackets, none of them twice. A value is a text in single quotes, a number, or one of `words`.
pub(super) fn list(input: &mut Input<'_>, words: &[&str]) -> Result<Vec<Given>> {
    input.expect_token(&Token::LParen)?;
    let mut options: Vec<Given> = Vec::new();
    let mut seen = HashSet::new();
    loop {
        let position = input.position();
        let name = names::folded(&input.expect_ident("an option")?);
        input.expect_token(&Token::Eq)?;
        let word = input.peek_word().filter(|word| words.contains(&word.as_str()));
        let is_word = word.is_some();
        let value = match (word, input.peek()) {
            (Some(word), _) => word,
            (None, Some(Token::SingleQuotedString(text) | Token::Number(text, false))) => text.clone(),
            (None, _) => return Err(input.unexpected("a value in single quotes")),
        };
        input.advance();
        let option = Given { name, value, is_word, line: position.line, column: position.column };
        if !seen.insert(option.name.clone()) {
            return Err(option.invalid("is given twice".to_owned()));
        }
        options.push(option);
        if !input.take_token(&Token::Comma) {
            break;
        }
    }
    input.expect_token(&Token::RParen)?;
    Ok(options)
}

impl Given {
    /// An error at the option's place.
    pub(super) fn at(&self, error: Error) -> Error {
        error.at(self.line, self.column)
    }

    pub(super) fn invalid(&self, what: String) -> Error {
        let name: String = self.name.chars().take(80).collect();
        self.at(Error::new(ErrorCode::InvalidOption, format!("option '{name}' {what}")))
    }

    pub(super) fn wrong_value(&self, allowed: &str) -> Error {
        let value: String = self.value.chars().take(80).collect();
        self.invalid(format!("cannot be {value:?}: {allowed}"))
    }
}
