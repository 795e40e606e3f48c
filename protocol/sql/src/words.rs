//! Words that sqlparser takes for keywords where they are names.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Turns a word into a quoted name where it can be nothing else: `user`, and functions with a syntax of
/// their own where no bracket follows.
pub(crate) fn read_as_name(token: &mut TokenWithSpan, next: &Token) {
    if let Token::Word(word) = &mut token.token
        && is_name(word.keyword, next)
    {
        word.value.make_ascii_lowercase();
        word.quote_style = Some('"');
        word.keyword = Keyword::NoKeyword;
    }
}

fn is_name(keyword: Keyword, next: &Token) -> bool {
    match keyword {
        Keyword::USER => true,
        Keyword::CAST
        | Keyword::TRY_CAST
        | Keyword::SAFE_CAST
        | Keyword::CONVERT
        | Keyword::EXTRACT
        | Keyword::CEIL
        | Keyword::FLOOR
        | Keyword::POSITION
        | Keyword::SUBSTRING
        | Keyword::SUBSTR
        | Keyword::OVERLAY
        | Keyword::TRIM => *next != Token::LParen,
        // sqlparser reads any expression after it, and that twice over.
        Keyword::INTERVAL => !matches!(
            next,
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::Number(..) | Token::Placeholder(_)
        ),
        _ => false,
    }
}
