//! Words that sqlparser takes for keywords where they are names.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Turns a word into a quoted name where it can be nothing else: `user`, and functions with a syntax of
/// their own where no bracket follows.
pub(crate) fn as_name(token: &TokenWithSpan, next: Option<&Token>) -> TokenWithSpan {
    match &token.token {
        Token::Word(word) if is_name(word.keyword, next) => TokenWithSpan::new(
            Token::Word(Word { value: word.value.to_ascii_lowercase(), quote_style: Some('"'), keyword: Keyword::NoKeyword }),
            token.span,
        ),
        _ => token.clone(),
    }
}

fn is_name(keyword: Keyword, next: Option<&Token>) -> bool {
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
        | Keyword::TRIM => next != Some(&Token::LParen),
        // sqlparser reads any expression after it, and that twice over.
        Keyword::INTERVAL => !matches!(
            next,
            Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::Number(..) | Token::Placeholder(_))
        ),
        _ => false,
    }
}
