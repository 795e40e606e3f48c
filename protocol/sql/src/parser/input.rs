//! A statement's tokens, read from left to right, with errors that know their place.

use std::ops::Range;

use kalamdb_commons::{Error, ErrorCode, Position, Result};
use sqlparser::ast::Ident;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::dialect::{KalamDialect, within_budget};
use crate::source::Source;

/// How often sqlparser's own counter of recursion counts a bracket or CASE, at most.
const RECURSIONS_PER_NESTING: usize = 6;
/// The same for an operator.
const RECURSIONS_PER_OPERATOR: usize = 2;
/// The same for the rest.
const BASE_RECURSIONS: usize = 50;
/// Longest message from sqlparser, in characters: it quotes tokens, which may be large.
const MAX_MESSAGE_CHARS: usize = 300;

/// The rest of a statement.
pub(super) struct Input<'a> {
    /// Without its tokens: the parser has them.
    source: &'a Source<'a>,
    parser: Parser<'a>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a Source<'a>, tokens: Vec<TokenWithSpan>, dialect: &'a KalamDialect) -> Self {
        // The limits have counted; this catches what recurs without bracket and operator.
        let shape = source.shape();
        let recursions =
            BASE_RECURSIONS + shape.nesting * RECURSIONS_PER_NESTING + shape.open_operators * RECURSIONS_PER_OPERATOR;
        let parser = Parser::new(dialect).with_recursion_limit(recursions).with_tokens_with_locations(tokens);
        Self { source, parser }
    }

    /// The tokens, when all is read.
    pub(super) fn into_tokens(self) -> Vec<TokenWithSpan> {
        self.parser.into_tokens()
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.source.len()
    }

    /// One of the tokens; none past the end.
    pub(super) fn token(&self, index: usize) -> Option<&Token> {
        (index < self.len()).then(|| &self.parser.token_at(index).token)
    }

    /// The next token.
    pub(super) fn peek(&self) -> Option<&Token> {
        self.token(self.index())
    }

    /// The text of some tokens.
    pub(super) fn text(&self, indexes: Range<usize>) -> &'a str {
        self.source.text(indexes)
    }

    /// How many tokens were read.
    pub(super) fn index(&self) -> usize {
        self.parser.index().min(self.len())
    }

    /// Where the next token stands.
    pub(super) fn position(&self) -> Position {
        self.position_of(self.index())
    }

    /// Where a token stands.
    pub(super) fn position_of(&self, index: usize) -> Position {
        let start = self.parser.token_at(index.min(self.len())).span.start;
        Position { line: start.line, column: start.column }
    }

    /// Reads with sqlparser.
    pub(super) fn parse<T>(&mut self, parse: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>) -> Result<T> {
        match within_budget(|| parse(&mut self.parser)) {
            Some(Ok(parsed)) => Ok(parsed),
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => {
                let message = "too many ways to read this statement: it has too many brackets within brackets";
                Err(self.at_start(Error::new(ErrorCode::InvalidSql, message)))
            }
        }
    }

    /// The next token, where it is an unquoted word, in upper case.
    pub(super) fn peek_word(&self) -> Option<String> {
        self.word_at(0)
    }

    /// As [`Self::peek_word`], some tokens further on.
    pub(super) fn word_at(&self, ahead: usize) -> Option<String> {
        match self.token(self.index() + ahead) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    pub(super) fn peek_open_paren(&self) -> bool {
        self.peek() == Some(&Token::LParen)
    }

    /// Whether the next token is this word, which is read then.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let taken = self.peek_word().as_deref() == Some(word);
        if taken {
            self.parser.advance_token();
        }
        taken
    }

    /// Whether the next tokens are these words, which are read then.
    pub(super) fn take_words(&mut self, words: &[&str]) -> bool {
        let taken = words.iter().enumerate().all(|(ahead, word)| self.word_at(ahead).as_deref() == Some(*word));
        if taken {
            for _ in words {
                self.parser.advance_token();
            }
        }
        taken
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(word)) }
    }

    /// Whether the next token is this one, which is read then.
    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let taken = self.peek() == Some(token);
        if taken {
            self.parser.advance_token();
        }
        taken
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.unexpected(&format!("'{token}'"))) }
    }

    /// The next token, which must be a word.
    pub(super) fn expect_ident(&mut self, what: &str) -> Result<Ident> {
        match self.peek() {
            Some(Token::Word(_)) => self.parse(Parser::parse_identifier),
            _ => Err(self.unexpected(what)),
        }
    }

    /// Passes the next token.
    pub(super) fn advance(&mut self) {
        self.parser.advance_token();
    }

    pub(super) fn expect_end(&self) -> Result<()> {
        if self.index() == self.len() { Ok(()) } else { Err(self.unexpected("the end of the statement")) }
    }

    /// An error that says what was expected instead of the next token.
    pub(super) fn unexpected(&self, expected: &str) -> Error {
        let index = self.index();
        let found = if index == self.len() {
            "the end of the statement".to_owned()
        } else {
            shortened(self.source.text(index..index + 1))
        };
        self.at(Error::new(ErrorCode::InvalidSql, format!("expected {expected}, found {found}")), index)
    }

    /// An error at the next token.
    pub(super) fn here(&self, error: Error) -> Error {
        self.at(error, self.index())
    }

    /// An error about the statement as a whole.
    pub(super) fn at_start(&self, error: Error) -> Error {
        self.at(error, 0)
    }

    fn at(&self, error: Error, index: usize) -> Error {
        let position = self.position_of(index);
        error.at(position.line, position.column)
    }

    fn syntax_error(&self, error: &ParserError) -> Error {
        let message = match error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
            ParserError::RecursionLimitExceeded => {
                return self.at_start(Error::new(ErrorCode::InvalidSql, "the statement is nested too deep"));
            }
        };
        let (text, position) = split_place(message);
        let text = text.replace("Expected: ", "expected ").replace("found: EOF", "found the end of the statement");
        let text = text.replace("found: ", "found ");
        let error = Error::new(ErrorCode::InvalidSql, shortened(&text));
        match position {
            Some(position) => error.at(position.line, position.column),
            // Without a place it is about the token just read.
            None => self.at(error, self.index().saturating_sub(1)),
        }
    }
}

/// sqlparser puts the place at the end of its message.
fn split_place(message: &str) -> (&str, Option<Position>) {
    let place = message.rsplit_once(" at Line: ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((text, Position { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    place.map_or((message, None), |(text, position)| (text, Some(position)))
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_MESSAGE_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_from_messages() {
        let place = Position { line: 3, column: 14 };
        assert_eq!(split_place("Expected: x, found: y at Line: 3, Column: 14"), ("Expected: x, found: y", Some(place)));
        assert_eq!(split_place("no place"), ("no place", None));
        assert_eq!(split_place("odd at Line: x, Column: 1"), ("odd at Line: x, Column: 1", None));
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(shortened(&"é".repeat(1000)).chars().count(), MAX_MESSAGE_CHARS + 1);
        assert_eq!(shortened("short"), "short");
    }
}
