//! Where statements, comments, quotes and white space begin and end: all that is known of a text
//! before it is cut into tokens, found in one pass without memory.
//!
//! sqlparser's tokenizer reads what is left, piece by piece. Should it see a piece otherwise than the
//! scanner did, the statement is refused: a piece never holds a `;` outside quotes.

use kalamdb_commons::{Error, ErrorCode, Position, Result};

/// A piece ends at the next bracket or comma past so many bytes.
const SOFT_PIECE_BYTES: usize = 4096;
/// A piece without white space, bracket or comma ends here whatever comes; no statement within the
/// limits has one so long.
const HARD_PIECE_BYTES: usize = 1 << 20;

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// In bytes from the text's beginning.
    pub(crate) offset: usize,
    /// As people count.
    pub(crate) position: Position,
}

impl Mark {
    /// The place after a character.
    pub(crate) fn advance(&mut self, character: char) {
        self.offset += character.len_utf8();
        if character == '\n' {
            self.position = Position { line: self.position.line + 1, column: 1 };
        } else {
            self.position.column += 1;
        }
    }
}

/// What a text consists of, comments and white space aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Code without white space outside quotes.
    Code {
        /// The text.
        text: &'a str,
        /// Where it begins.
        start: Mark,
        /// False where it was cut for its length, maybe inside a token.
        whole: bool,
    },
    /// `;`
    Semicolon,
}

/// Reads a text from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    sql: &'a str,
    mark: Mark,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        Self { sql, mark: Mark { offset: 0, position: Position { line: 1, column: 1 } } }
    }

    /// The whole text.
    pub(crate) fn sql(&self) -> &'a str {
        self.sql
    }

    /// How many statements are left, empty ones not counted.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`] for a quote or comment without end, or a control character outside
    /// string literals, anywhere in the text.
    pub(crate) fn count_statements(&self) -> Result<usize> {
        let mut scanner = self.clone();
        let (mut count, mut inside) = (0, false);
        while let Some(piece) = scanner.next_piece()? {
            match piece {
                Piece::Code { .. } if !inside => {
                    count += 1;
                    inside = true;
                }
                Piece::Code { .. } => {}
                Piece::Semicolon => inside = false,
            }
        }
        Ok(count)
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// As [`Self::count_statements`].
    pub(crate) fn next_piece(&mut self) -> Result<Option<Piece<'a>>> {
        self.skip_blanks()?;
        let start = self.mark;
        match self.peek() {
            None => return Ok(None),
            Some(';') => {
                self.bump();
                return Ok(Some(Piece::Semicolon));
            }
            Some(_) => {}
        }
        let mut word_start: Option<usize> = None;
        let mut quoted_bytes = 0;
        let mut whole = true;
        while let Some(character) = self.peek() {
            let ends = match character {
                ';' => true,
                '-' | '/' => self.at_comment(),
                _ => is_blank(character),
            };
            if ends {
                break;
            }
            refuse_control(character, self.mark)?;
            let before = self.mark.offset;
            match character {
                '\'' => {
                    let escapes = word_start.is_some_and(|from| matches!(self.sql.get(from..before), Some("e" | "E")));
                    self.skip_string(escapes)?;
                    quoted_bytes += self.mark.offset - before;
                    word_start = None;
                }
                '"' => {
                    self.skip_quoted_name()?;
                    quoted_bytes += self.mark.offset - before;
                    word_start = None;
                }
                '$' if word_start.is_none() => quoted_bytes += self.skip_dollar()?,
                _ => {
                    self.bump();
                    let in_word =
                        character.is_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii();
                    word_start = in_word.then(|| word_start.unwrap_or(before));
                }
            }
            let bytes = (self.mark.offset - start.offset).saturating_sub(quoted_bytes);
            if bytes >= SOFT_PIECE_BYTES && matches!(character, '(' | ')' | '[' | ']' | ',') {
                break;
            }
            if bytes >= HARD_PIECE_BYTES {
                whole = false;
                break;
            }
        }
        let text = self.sql.get(start.offset..self.mark.offset).unwrap_or_default();
        Ok(Some(Piece::Code { text, start, whole }))
    }

    fn rest(&self) -> &'a str {
        self.sql.get(self.mark.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.mark.advance(character);
        Some(character)
    }

    fn at_comment(&self) -> bool {
        self.rest().starts_with("--") || self.rest().starts_with("/*")
    }

    fn skip_blanks(&mut self) -> Result<()> {
        while let Some(character) = self.peek() {
            if is_blank(character) {
                self.bump();
            } else if self.rest().starts_with("--") {
                while let Some(inside) = self.peek().filter(|inside| !matches!(inside, '\n' | '\r')) {
                    refuse_control(inside, self.mark)?;
                    self.bump();
                }
            } else if self.rest().starts_with("/*") {
                self.skip_block_comment()?;
            } else {
                return refuse_control(character, self.mark);
            }
        }
        Ok(())
    }

    /// Comments nest, as in PostgreSQL.
    fn skip_block_comment(&mut self) -> Result<()> {
        let start = self.mark;
        let mut depth = 0_usize;
        while let Some(character) = self.peek() {
            refuse_control(character, self.mark)?;
            let opens = self.rest().starts_with("/*");
            let closes = self.rest().starts_with("*/");
            self.bump();
            if opens || closes {
                self.bump();
                depth = if opens { depth + 1 } else { depth.saturating_sub(1) };
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(unterminated("a comment", start))
    }

    fn skip_string(&mut self, escapes: bool) -> Result<()> {
        let start = self.mark;
        self.bump();
        while let Some(character) = self.bump() {
            match character {
                '\\' if escapes => {
                    self.bump();
                }
                '\'' if self.peek() == Some('\'') => {
                    self.bump();
                }
                '\'' => return Ok(()),
                _ => {}
            }
        }
        Err(unterminated("a string", start))
    }

    fn skip_quoted_name(&mut self) -> Result<()> {
        let start = self.mark;
        self.bump();
        while let Some(character) = self.peek() {
            refuse_control(character, self.mark)?;
            self.bump();
            match character {
                '"' if self.peek() == Some('"') => {
                    self.bump();
                }
                '"' => return Ok(()),
                _ => {}
            }
        }
        Err(unterminated("a quoted name", start))
    }

    /// `$tag$ … $tag$`, or the `$` and digits of a parameter; answers how many bytes were quoted.
    fn skip_dollar(&mut self) -> Result<usize> {
        let start = self.mark;
        let rest = self.rest();
        let after = rest.get(1..).unwrap_or_default();
        let tag = after.find(|inside: char| !inside.is_alphanumeric() && inside != '_').unwrap_or(after.len());
        let quote = rest.get(..tag + 2).filter(|quote| quote.ends_with('$'));
        let Some(quote) = quote else {
            self.skip_to(start.offset + 1 + tag);
            return Ok(0);
        };
        let body = start.offset + quote.len();
        match self.sql.get(body..).and_then(|text| text.find(quote)) {
            Some(length) => {
                self.skip_to(body + length + quote.len());
                Ok(self.mark.offset - start.offset)
            }
            None => Err(unterminated("a string", start)),
        }
    }

    fn skip_to(&mut self, offset: usize) {
        while self.mark.offset < offset && self.bump().is_some() {}
    }
}

fn is_blank(character: char) -> bool {
    match character {
        ' ' | '\t' | '\n' | '\r' => true,
        '!'..='~' => false,
        _ => character.is_whitespace() && !character.is_control(),
    }
}

fn refuse_control(character: char, mark: Mark) -> Result<()> {
    if character.is_control() && !is_blank(character) {
        let message = format!("control character U+{:04X} outside a string", u32::from(character));
        return Err(invalid(message, mark));
    }
    Ok(())
}

fn unterminated(what: &str, start: Mark) -> Error {
    invalid(format!("{what} that begins here has no end"), start)
}

fn invalid(message: String, mark: Mark) -> Error {
    Error::new(ErrorCode::InvalidSql, message).at(mark.position.line, mark.position.column)
}

#[cfg(test)]
mod tests;
