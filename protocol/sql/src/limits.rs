//! The limits on one statement, counted token by token before any recursive parser sees it.
//!
//! A tree's depth is what costs stack, in the parser and in all that comes after it. It is told here
//! from operators, their precedence, and brackets, as an operator-precedence parser would build the
//! tree, keeping depths only.

mod frame;
mod operators;

use kalamdb_commons::{Error, ErrorCode, Result};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use self::frame::{Frame, Place};
use self::operators::{BETWEEN, Role, role_of};

/// Brackets and CASEs within each other.
const MAX_NESTING: usize = 1000;
/// Operators, joins or set operations in one chain.
const MAX_CHAIN: usize = 5000;
/// Columns of a select list, a row or a table.
pub const MAX_COLUMNS: usize = 10_000;
/// Depth of the tree in all: one chain at its limit, nested at the limit, and a little for the rest.
const MAX_DEPTH: usize = MAX_NESTING + MAX_CHAIN + 200;
/// Tokens of one statement; beyond it the syntax tree would take gigabytes.
const MAX_TOKENS: usize = 2_000_000;

/// What a statement costs those who walk its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    /// Most brackets and CASEs within each other.
    pub(crate) nesting: usize,
    /// Most operators whose right side was open at once.
    pub(crate) open_operators: usize,
    /// Depth of the tree.
    pub(crate) depth: usize,
}

/// Watches a statement's tokens go by.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The innermost bracket or CASE.
    frame: Frame,
    /// Those around it.
    outer: Vec<Frame>,
    tokens: usize,
    /// Operators of the outer frames whose right side is open.
    outer_operators: usize,
    shape: Shape,
    previous: Previous,
}

/// What the token before was, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Previous {
    Close,
    Comma,
    /// `.` or AS: a word after it is a name.
    NameFollows,
    Distinct,
    Not,
    Values,
    Array,
    Other,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: Frame::new(Place::Bracket),
            outer: Vec::new(),
            tokens: 0,
            outer_operators: 0,
            shape: Shape::default(),
            previous: Previous::Other,
        }
    }
}

impl Limits {
    /// Takes the next token.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`] naming the limit it breaks.
    pub(crate) fn accept(&mut self, token: &Token) -> Result<()> {
        self.tokens += 1;
        if self.tokens > MAX_TOKENS {
            return Err(over(format!("a statement has at most {MAX_TOKENS} tokens")));
        }
        let role = self.role(token);
        match role {
            Role::Open => self.open(Place::Bracket)?,
            Role::Case => self.open(Place::Case)?,
            Role::Close => {
                while self.frame.place == Place::Case {
                    self.close();
                }
                self.close();
            }
            Role::End => self.close(),
            Role::Comma => self.comma()?,
            Role::Separator => self.frame.finish_expression(),
            Role::Select => self.begin_clause(Some(0), false, false),
            Role::From => self.begin_clause(None, true, false),
            Role::Where => self.begin_clause(None, false, false),
            Role::Values => self.begin_clause(None, false, true),
            Role::Clause => self.frame.in_from = false,
            Role::Join => self.join()?,
            Role::SetOperation => {
                self.begin_clause(None, false, false);
                self.frame.set_operations += 1;
                if self.frame.set_operations > MAX_CHAIN {
                    return Err(over(format!("at most {MAX_CHAIN} set operations in a chain")));
                }
            }
            Role::Operator(precedence) => check_run(self.frame.push_operator(precedence))?,
            Role::Prefix(precedence) => check_run(self.frame.push_prefix(precedence))?,
            Role::Operand => self.frame.has_operand = true,
            Role::None => {}
        }
        self.previous = previous(token);
        self.check_depth()
    }

    /// The end of the statement.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub(crate) fn finish(mut self) -> Result<Shape> {
        while !self.outer.is_empty() {
            self.close();
            self.check_depth()?;
        }
        self.frame.finish_expression();
        self.check_depth()?;
        Ok(self.shape)
    }

    /// What a token does where it stands.
    fn role(&mut self, token: &Token) -> Role {
        let role = role_of(token, self.frame.has_operand);
        let Token::Word(word) = token else {
            return if *token == Token::Lt && self.previous == Previous::Array { Role::Open } else { role };
        };
        if self.previous == Previous::NameFollows && role != Role::Case {
            return Role::Operand;
        }
        match role {
            Role::None if word.keyword == Keyword::NOT && self.previous == Previous::Not => role_of(token, false),
            Role::From if self.previous == Previous::Distinct => Role::None,
            Role::End if self.frame.place != Place::Case => Role::Operand,
            Role::Operator(_) if word.keyword == Keyword::BETWEEN => {
                self.frame.betweens += 1;
                role
            }
            Role::Operator(_) if word.keyword == Keyword::AND && self.frame.betweens > 0 => {
                self.frame.betweens -= 1;
                Role::Operator(BETWEEN)
            }
            _ => role,
        }
    }

    fn begin_clause(&mut self, list: Option<usize>, in_from: bool, rows: bool) {
        self.frame.finish_expression();
        self.frame.list = list;
        self.frame.in_from = in_from;
        self.frame.rows = rows;
    }

    fn open(&mut self, place: Place) -> Result<()> {
        self.frame.bracket_chain = if self.previous == Previous::Close { self.frame.bracket_chain + 1 } else { 0 };
        if self.outer.len() >= MAX_NESTING || self.frame.bracket_chain >= MAX_NESTING {
            return Err(over(format!("a statement is nested at most {MAX_NESTING} levels deep")));
        }
        let mut inner = Frame::new(place);
        if self.frame.rows && matches!(self.previous, Previous::Values | Previous::Comma) {
            inner.list = Some(0);
        }
        self.outer_operators += self.frame.open_operators();
        self.outer.push(std::mem::replace(&mut self.frame, inner));
        Ok(())
    }

    /// A closing bracket too many is the parser's to report.
    fn close(&mut self) {
        let Some(outer) = self.outer.pop() else { return };
        self.outer_operators -= outer.open_operators();
        self.frame.finish_expression();
        let depth = self.frame.depth() + 1;
        self.frame = outer;
        self.frame.take_operand(depth);
    }

    fn comma(&mut self) -> Result<()> {
        if self.frame.in_from {
            return self.join();
        }
        self.frame.finish_expression();
        if let Some(commas) = &mut self.frame.list {
            *commas += 1;
            if *commas >= MAX_COLUMNS {
                return Err(too_many_columns());
            }
        }
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        self.frame.finish_expression();
        self.frame.joins += 1;
        if self.frame.joins > MAX_CHAIN {
            return Err(over(format!("at most {MAX_CHAIN} joins in a chain")));
        }
        Ok(())
    }

    fn check_depth(&mut self) -> Result<()> {
        let operators = self.outer_operators + self.frame.open_operators();
        let depth = self.frame.depth().max(self.outer.len() + operators);
        self.shape.nesting = self.shape.nesting.max(self.outer.len());
        self.shape.open_operators = self.shape.open_operators.max(operators);
        self.shape.depth = self.shape.depth.max(depth);
        if depth > MAX_DEPTH { Err(chain_too_long()) } else { Ok(()) }
    }
}

fn previous(token: &Token) -> Previous {
    match token {
        Token::RParen | Token::RBracket | Token::RBrace => Previous::Close,
        Token::Comma => Previous::Comma,
        Token::Period => Previous::NameFollows,
        Token::Word(word) => match word.keyword {
            Keyword::AS => Previous::NameFollows,
            Keyword::DISTINCT => Previous::Distinct,
            Keyword::NOT => Previous::Not,
            Keyword::VALUES => Previous::Values,
            Keyword::ARRAY => Previous::Array,
            _ => Previous::Other,
        },
        _ => Previous::Other,
    }
}

fn check_run(run: usize) -> Result<()> {
    if run > MAX_CHAIN { Err(chain_too_long()) } else { Ok(()) }
}

fn chain_too_long() -> Error {
    over(format!("at most {MAX_CHAIN} operators in a chain"))
}

/// More than [`MAX_COLUMNS`] columns.
pub(crate) fn too_many_columns() -> Error {
    over(format!("at most {MAX_COLUMNS} columns"))
}

fn over(limit: String) -> Error {
    Error::new(ErrorCode::InvalidSql, format!("over the limit: {limit}"))
}

#[cfg(test)]
mod tests;
