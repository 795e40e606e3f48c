//! One statement as tokens, each with its place in the text.

use std::ops::Range;

use kalamdb_commons::{Error, ErrorCode, Position, Result};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::dialect::KalamDialect;
use crate::limits::{Limits, Shape};
use crate::scan::{Mark, Piece, Scanner};
use crate::words::read_as_name;

/// A statement cut into tokens, white space and comments left out; its places are those of the whole
/// text it stands in.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    sql: &'a str,
    tokens: Vec<TokenWithSpan>,
    /// Where each token stands in `sql`, in bytes.
    ranges: Vec<Range<usize>>,
    shape: Shape,
}

impl<'a> Source<'a> {
    /// Reads the next statement, which may be empty; none at the end of the text.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`] for what is no token, and for a statement beyond the limits: those
    /// are checked token by token, so that memory stays bounded whatever is sent.
    pub(crate) fn read(scanner: &mut Scanner<'a>) -> Result<Option<Self>> {
        let mut source = Self { sql: scanner.sql(), tokens: Vec::new(), ranges: Vec::new(), shape: Shape::default() };
        let dialect = KalamDialect::new(0, 0);
        let mut limits = Limits::default();
        let mut piece_tokens = Vec::new();
        loop {
            let piece = scanner.next_piece()?;
            let Some(Piece::Code { text, start, whole }) = piece else {
                let end = source.position_of(source.tokens.len());
                source.shape = limits.finish().map_err(|error| error.at(end.line, end.column))?;
                return Ok((piece.is_some() || !source.ranges.is_empty()).then_some(source));
            };
            let tokenized = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut piece_tokens);
            // What a piece cut inside a token holds is over the limits; if not, the token is too long.
            if whole && let Err(error) = tokenized {
                let at = absolute(error.location, start);
                return Err(Error::new(ErrorCode::InvalidSql, error.message).at(at.line, at.column));
            }
            let mut mark = start;
            for token in piece_tokens.drain(..) {
                let from = mark;
                let end = absolute(token.span.end, start);
                while let Some(character) = source.character_at(mark).filter(|_| before(mark.position, end)) {
                    mark.advance(character);
                }
                source.push(token.token, from, mark, &mut limits)?;
            }
            if !whole {
                let message = "a word or number longer than 1 MiB";
                return Err(Error::new(ErrorCode::InvalidSql, message).at(start.position.line, start.position.column));
            }
        }
    }

    /// How many tokens it has.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// How deep it is.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Its tokens.
    pub(crate) fn tokens(&self) -> &[TokenWithSpan] {
        &self.tokens
    }

    /// One of its tokens.
    pub(crate) fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|token| &token.token)
    }

    /// Where a token stands in the text, in bytes.
    pub(crate) fn range(&self, index: usize) -> Range<usize> {
        self.ranges.get(index).cloned().unwrap_or(0..0)
    }

    /// The text of some tokens, with what stands between them.
    pub(crate) fn text(&self, indexes: Range<usize>) -> &'a str {
        let Some(last) = indexes.end.checked_sub(1) else { return "" };
        self.sql.get(self.range(indexes.start).start..self.range(last).end).unwrap_or_default()
    }

    /// The whole statement.
    pub(crate) fn whole_text(&self) -> &'a str {
        self.text(0..self.len())
    }

    /// Where it begins.
    pub(crate) fn position(&self) -> Position {
        self.position_of(0)
    }

    /// Where a token begins; past the last one, where that ends.
    pub(crate) fn position_of(&self, index: usize) -> Position {
        let location = match (self.tokens.get(index), self.tokens.last()) {
            (Some(token), _) => token.span.start,
            (None, Some(last)) => last.span.end,
            (None, None) => Location::new(1, 1),
        };
        Position { line: location.line, column: location.column }
    }

    /// Hands its tokens to sqlparser, words that are names as names, with an end that has a place too.
    pub(crate) fn take_tokens(&mut self) -> Vec<TokenWithSpan> {
        let end = self.position_of(self.tokens.len());
        let end = Location::new(end.line, end.column);
        let mut tokens = std::mem::take(&mut self.tokens);
        tokens.push(TokenWithSpan::new(Token::EOF, Span::new(end, end)));
        // `CREATE USER TABLE`, `ALTER USER`: there it is a keyword.
        let ddl = matches!(tokens.first().map(|token| &token.token),
            Some(Token::Word(word)) if matches!(word.keyword, Keyword::CREATE | Keyword::ALTER | Keyword::DROP));
        for index in (if ddl { 3 } else { 1 })..tokens.len() {
            if let Some([token, next]) = tokens.get_mut(index - 1..=index) {
                read_as_name(token, &next.token);
            }
        }
        tokens
    }

    /// Takes them back.
    pub(crate) fn return_tokens(&mut self, mut tokens: Vec<TokenWithSpan>) {
        tokens.truncate(self.ranges.len());
        self.tokens = tokens;
    }

    fn character_at(&self, mark: Mark) -> Option<char> {
        self.sql.get(mark.offset..)?.chars().next()
    }

    fn push(&mut self, token: Token, from: Mark, to: Mark, limits: &mut Limits) -> Result<()> {
        if matches!(token, Token::Whitespace(_)) {
            return Ok(());
        }
        limits.accept(&token).map_err(|error| error.at(from.position.line, from.position.column))?;
        let start = Location::new(from.position.line, from.position.column);
        let end = Location::new(to.position.line, to.position.column);
        if token == Token::RParen && self.closes_current_user() {
            // sqlparser knows CURRENT_USER without parentheses only.
            self.tokens.pop();
            self.ranges.pop();
            if let (Some(name), Some(range)) = (self.tokens.last_mut(), self.ranges.last_mut()) {
                name.span.end = end;
                range.end = to.offset;
            }
            return Ok(());
        }
        self.tokens.push(TokenWithSpan::new(token, Span::new(start, end)));
        self.ranges.push(from.offset..to.offset);
        Ok(())
    }

    fn closes_current_user(&self) -> bool {
        let [.., name, open] = self.tokens.as_slice() else { return false };
        open.token == Token::LParen && matches!(&name.token, Token::Word(word) if word.keyword == Keyword::CURRENT_USER)
    }
}

/// A place within a piece as one in the text.
fn absolute(location: Location, start: Mark) -> Position {
    if location.line <= 1 {
        let column = start.position.column + location.column.saturating_sub(1);
        return Position { line: start.position.line, column };
    }
    Position { line: start.position.line + location.line - 1, column: location.column }
}

fn before(position: Position, end: Position) -> bool {
    (position.line, position.column) < (end.line, end.column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Source<'_> {
        Source::read(&mut Scanner::new(sql)).expect(sql).expect("a statement")
    }

    #[test]
    fn tokens_keep_their_places() {
        let sql = "SELECT 'é\n;' /* x */ AS b,\n  1.5e-3+c ; SELECT 2";
        let source = read(sql);
        let texts: Vec<&str> = (0..source.tokens().len()).map(|at| source.text(at..at + 1)).collect();
        assert_eq!(texts, ["SELECT", "'é\n;'", "AS", "b", ",", "1.5e-3", "+", "c"]);
        assert_eq!(source.whole_text(), "SELECT 'é\n;' /* x */ AS b,\n  1.5e-3+c");
        assert_eq!(source.position_of(3), Position { line: 2, column: 15 });
        assert_eq!(source.position_of(7), Position { line: 3, column: 10 });
        assert_eq!(source.position_of(99), Position { line: 3, column: 11 });
    }

    #[test]
    fn current_user_loses_its_parentheses_and_keeps_its_text() {
        let source = read("SELECT current_user ( ), f()");
        let texts: Vec<&str> = (0..source.tokens().len()).map(|at| source.text(at..at + 1)).collect();
        assert_eq!(texts, ["SELECT", "current_user ( )", ",", "f", "(", ")"]);
    }

    #[test]
    fn what_is_no_token_is_refused_where_it_stands() {
        let error = Source::read(&mut Scanner::new("SELECT\n  U&'\\zzzz'")).expect_err("an escape");
        assert_eq!(error.code, ErrorCode::InvalidSql);
        assert_eq!(error.position.map(|position| position.line), Some(2));
        let word = "x".repeat(3 << 20);
        let error = Source::read(&mut Scanner::new(&word)).expect_err("a word");
        assert!(error.message.contains("longer than"), "{}", error.message);
    }
}
