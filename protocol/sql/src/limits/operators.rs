//! What tokens do, with PostgreSQL's precedences.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

pub(super) const BETWEEN: u8 = 60;
const NOT: u8 = 30;
const SIGN: u8 = 90;

/// What a token does to the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Open,
    Close,
    Comma,
    Case,
    End,
    /// WHEN, THEN, ELSE: the end of an expression.
    Separator,
    Select,
    From,
    Where,
    Values,
    Join,
    SetOperation,
    /// A clause after FROM and WHERE.
    Clause,
    /// A binary operator of some precedence.
    Operator(u8),
    /// An operator without a left side.
    Prefix(u8),
    Operand,
    /// Part of what is there already.
    None,
}

/// The role of a token; `has_operand` tells a binary operator from a sign.
pub(super) fn role_of(token: &Token, has_operand: bool) -> Role {
    let precedence = match token {
        Token::Word(word) => return word_role(word.keyword, has_operand),
        Token::LParen | Token::LBracket | Token::LBrace => return Role::Open,
        Token::RParen | Token::RBracket | Token::RBrace => return Role::Close,
        Token::Comma | Token::SemiColon => return Role::Comma,
        Token::Mul if !has_operand => return Role::Operand,
        Token::Period => 200,
        Token::DoubleColon => 140,
        Token::Caret | Token::CaretAt => 100,
        Token::Mul | Token::Div | Token::DuckIntDiv | Token::Mod => 90,
        Token::Plus | Token::Minus => 80,
        Token::Eq
        | Token::DoubleEq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Spaceship
        | Token::Assignment
        | Token::RArrow => 50,
        Token::Number(..)
        | Token::Placeholder(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => return Role::Operand,
        _ => 70,
    };
    if has_operand { Role::Operator(precedence) } else { Role::Prefix(SIGN) }
}

fn word_role(keyword: Keyword, has_operand: bool) -> Role {
    let precedence = match keyword {
        Keyword::CASE if !has_operand => return Role::Case,
        Keyword::END => return Role::End,
        Keyword::WHEN | Keyword::THEN | Keyword::ELSE => return Role::Separator,
        Keyword::SELECT => return Role::Select,
        Keyword::FROM => return Role::From,
        Keyword::WHERE => return Role::Where,
        Keyword::VALUES => return Role::Values,
        Keyword::JOIN | Keyword::APPLY | Keyword::PIVOT | Keyword::UNPIVOT | Keyword::MATCH_RECOGNIZE => {
            return Role::Join;
        }
        Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => return Role::SetOperation,
        // Not GROUP where it follows WITHIN, but that makes no difference: there is no FROM before it.
        Keyword::GROUP
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::LIMIT
        | Keyword::WINDOW
        | Keyword::QUALIFY
        | Keyword::RETURNING => return Role::Clause,
        Keyword::NOT if has_operand => return Role::None,
        Keyword::NOT => return Role::Prefix(NOT),
        Keyword::OR => 10,
        Keyword::AND => 20,
        Keyword::IS | Keyword::NOTNULL => 40,
        Keyword::IN
        | Keyword::BETWEEN
        | Keyword::OVERLAPS
        | Keyword::LIKE
        | Keyword::ILIKE
        | Keyword::RLIKE
        | Keyword::REGEXP
        | Keyword::MATCH
        | Keyword::SIMILAR
        | Keyword::MEMBER
        | Keyword::OPERATOR => BETWEEN,
        Keyword::XOR => 75,
        Keyword::DIV => 90,
        Keyword::AT => 110,
        Keyword::COLLATE => 120,
        _ => return Role::Operand,
    };
    if has_operand { Role::Operator(precedence) } else { Role::Operand }
}
