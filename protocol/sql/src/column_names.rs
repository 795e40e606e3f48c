//! What to call the columns of a result: an item of a select list without alias is named as it was
//! written, functions in lower case, without qualifiers.

use std::ops::Range;

use sqlparser::ast::{Expr, Ident, SelectItem};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use crate::source::Source;

mod nested;

pub use nested::leftmost_select;
pub(crate) use nested::name_nested_columns;

/// A name for each item: its alias, its column's name, or its text; a `*` is itself. None where the
/// text cannot be matched with the items.
pub(crate) fn result_column_names(source: &Source<'_>, items: &[SelectItem]) -> Option<Vec<String>> {
    let begin = match source.token(0) {
        Some(Token::Word(word)) if matches!(word.keyword, Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE) => {
            returning_list(source)?
        }
        _ => select_list(source)?,
    };
    let texts = split_items(source, begin);
    if texts.len() != items.len() {
        return None;
    }
    let names = items.iter().zip(texts).map(|(item, text)| match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(column)) => folded(column),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map_or_else(|| written(source, text), folded)
        }
        _ => written(source, text),
    });
    Some(names.collect())
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn keyword(source: &Source<'_>, index: usize) -> Keyword {
    match source.token(index) {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Whether the word there is a name because of what stands before it.
fn is_named(source: &Source<'_>, index: usize) -> bool {
    index
        .checked_sub(1)
        .is_some_and(|before| source.token(before) == Some(&Token::Period) || keyword(source, before) == Keyword::AS)
}

/// How a token changes the depth of brackets.
fn nesting(token: Option<&Token>) -> isize {
    match token {
        Some(Token::LParen | Token::LBracket | Token::LBrace) => 1,
        Some(Token::RParen | Token::RBracket | Token::RBrace) => -1,
        _ => 0,
    }
}

/// The token after RETURNING.
fn returning_list(source: &Source<'_>) -> Option<usize> {
    let mut depth = 0;
    let found = (0..source.tokens().len()).find(|index| {
        depth += nesting(source.token(*index));
        depth == 0 && keyword(source, *index) == Keyword::RETURNING && !is_named(source, *index)
    });
    found.map(|index| index + 1)
}

/// The token after the leftmost SELECT and its DISTINCT.
fn select_list(source: &Source<'_>) -> Option<usize> {
    let mut index = 0;
    loop {
        match (source.token(index)?, keyword(source, index)) {
            (Token::LParen, _) => index += 1,
            (_, Keyword::WITH) => index = after_ctes(source, index)?,
            (_, Keyword::SELECT) => break,
            _ => return None,
        }
    }
    list_of(source, index)
}

/// The token after a SELECT and its DISTINCT.
fn list_of(source: &Source<'_>, select: usize) -> Option<usize> {
    let index = select + 1;
    match keyword(source, index) {
        Keyword::ALL => Some(index + 1),
        Keyword::DISTINCT if keyword(source, index + 1) == Keyword::ON => after_brackets(source, index + 2),
        Keyword::DISTINCT => Some(index + 1),
        _ => Some(index),
    }
}

/// The token after `WITH a AS (…), b AS (…)`.
fn after_ctes(source: &Source<'_>, with: usize) -> Option<usize> {
    let mut index = with + 1;
    loop {
        while keyword(source, index) != Keyword::AS {
            source.token(index)?;
            index += 1;
        }
        while source.token(index)? != &Token::LParen {
            index += 1;
        }
        index = after_brackets(source, index)?;
        if source.token(index)? != &Token::Comma {
            return Some(index);
        }
        index += 1;
    }
}

/// The token after the bracket that closes the one at `open`.
fn after_brackets(source: &Source<'_>, open: usize) -> Option<usize> {
    let mut depth = 0;
    (open..source.tokens().len())
        .find(|index| {
            depth += nesting(source.token(*index));
            depth == 0
        })
        .map(|close| close + 1)
}

/// Cuts a list at its commas, up to the clause or bracket that ends it.
fn split_items(source: &Source<'_>, begin: usize) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    let mut start = begin;
    let mut depth = 0;
    let mut index = begin;
    while let Some(token) = source.token(index) {
        depth += nesting(Some(token));
        if depth < 0 || (depth == 0 && ends_list(source, index)) {
            break;
        }
        if depth == 0 && *token == Token::Comma {
            items.push(start..index);
            start = index + 1;
        }
        index += 1;
    }
    items.push(start..index);
    items
}

fn ends_list(source: &Source<'_>, index: usize) -> bool {
    let before = index.checked_sub(1).map_or(Keyword::NoKeyword, |before| keyword(source, before));
    let ends = match keyword(source, index) {
        Keyword::FROM => before != Keyword::DISTINCT,
        Keyword::GROUP => before != Keyword::WITHIN,
        Keyword::WHERE
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::LIMIT
        | Keyword::OFFSET
        | Keyword::FETCH
        | Keyword::UNION
        | Keyword::EXCEPT
        | Keyword::INTERSECT
        | Keyword::MINUS
        | Keyword::WINDOW
        | Keyword::QUALIFY => true,
        _ => false,
    };
    ends && !is_named(source, index)
}

/// The text of an expression; what stands between tokens becomes one blank.
fn written(source: &Source<'_>, tokens: Range<usize>) -> String {
    let mut text = String::new();
    let mut end: Option<usize> = None;
    let mut index = tokens.start;
    while index < tokens.end {
        if end.is_some_and(|end| end < source.range(index).start) {
            text.push(' ');
        }
        while index + 2 < tokens.end && is_qualifier(source, index) {
            index += 2;
        }
        let token = source.text(index..index + 1);
        if is_function(source, index, tokens.start) {
            text.push_str(&token.to_lowercase())
        } else {
            text.push_str(token)
        }
        end = Some(source.range(index).end);
        index += 1;
    }
    text
}

fn is_qualifier(source: &Source<'_>, index: usize) -> bool {
    matches!(source.token(index), Some(Token::Word(_)))
        && source.token(index + 1) == Some(&Token::Period)
        && matches!(source.token(index + 2), Some(Token::Word(_) | Token::Mul))
}

fn is_function(source: &Source<'_>, index: usize, first: usize) -> bool {
    let Some(Token::Word(word)) = source.token(index) else { return false };
    if word.quote_style.is_some() {
        return false;
    }
    if matches!(
        word.keyword,
        Keyword::CURRENT_USER
            | Keyword::CURRENT_TIMESTAMP
            | Keyword::CURRENT_DATE
            | Keyword::CURRENT_TIME
            | Keyword::LOCALTIME
            | Keyword::LOCALTIMESTAMP
    ) {
        return true;
    }
    // A type with a precision is none: `CAST(x AS DECIMAL(5,2))`, `x::DECIMAL(5,2)`.
    let is_type = index.checked_sub(1).filter(|before| *before >= first).is_some_and(|before| {
        source.token(before) == Some(&Token::DoubleColon) || keyword(source, before) == Keyword::AS
    });
    source.token(index + 1) == Some(&Token::LParen) && !is_type && !is_syntax(word.keyword)
}

/// Words before a bracket that call nothing.
fn is_syntax(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::ALL
            | Keyword::AND
            | Keyword::ANY
            | Keyword::AS
            | Keyword::BETWEEN
            | Keyword::BY
            | Keyword::CASE
            | Keyword::DISTINCT
            | Keyword::ELSE
            | Keyword::ESCAPE
            | Keyword::EXISTS
            | Keyword::FILTER
            | Keyword::FOR
            | Keyword::FROM
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ILIKE
            | Keyword::IN
            | Keyword::IS
            | Keyword::JOIN
            | Keyword::LATERAL
            | Keyword::LIKE
            | Keyword::NOT
            | Keyword::ON
            | Keyword::OR
            | Keyword::OVER
            | Keyword::SELECT
            | Keyword::SOME
            | Keyword::THEN
            | Keyword::TO
            | Keyword::UNION
            | Keyword::USING
            | Keyword::VALUES
            | Keyword::WHEN
            | Keyword::WHERE
    )
}

#[cfg(test)]
mod tests;
