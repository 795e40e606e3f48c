//! Queries: sqlparser's, less what changes data or means nothing here.

use std::ops::ControlFlow;

use kalamdb_commons::{Error, ErrorCode, Result};
use sqlparser::ast::{Query, Select, SelectItem, SetExpr, TableFactor, Visit, Visitor};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::input::Input;
use super::refused;
use crate::Statement;

/// `SELECT`, `WITH … SELECT`, `VALUES`, in brackets or not.
pub(super) fn query(input: &mut Input<'_>) -> Result<Statement> {
    let modified = refuse_clauses(input, false)?;
    let query = input.parse(|parser| parser.parse_query())?;
    refuse_modifiers(input, modified, &query)?;
    check(input, &query)?;
    Ok(Statement::Query(query))
}

/// Whether a statement has a word that begins a modifier of a table or of a SELECT; a name may be such a word too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModifierWord {
    Absent,
    Present,
}

/// Refuses what the engine would take and the contract does not have, at any depth. Modifiers can be told from
/// names only once the statement is parsed: [`refuse_modifiers`].
pub(super) fn refuse_clauses(input: &Input<'_>, insert: bool) -> Result<ModifierWord> {
    let begin = input.index();
    let mut modified = ModifierWord::Absent;
    let keyword_at = |index: usize| match input.token(index) {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    for index in begin..input.len() {
        let named = index
            .checked_sub(1)
            .is_some_and(|before| input.token(before) == Some(&Token::Period) || keyword_at(before) == Keyword::AS);
        if named {
            continue;
        }
        let what = match (keyword_at(index), keyword_at(index + 1)) {
            // sqlparser would go on with it, and on with what follows it.
            (Keyword::INSERT | Keyword::MERGE, _)
                if index > begin && input.token(index - 1) == Some(&Token::RParen) =>
            {
                "INSERT or MERGE in a query"
            }
            (Keyword::INTO, _) if !(insert && index == begin + 1) => "INTO in a query",
            (Keyword::FOR, Keyword::UPDATE | Keyword::SHARE | Keyword::NO | Keyword::KEY) => {
                "row locks (FOR UPDATE, FOR SHARE)"
            }
            (Keyword::OPERATOR, _) if input.token(index + 1) == Some(&Token::LParen) => "OPERATOR()",
            (Keyword::TABLESAMPLE | Keyword::SAMPLE | Keyword::ORDINALITY | Keyword::CONNECT, _) => {
                modified = ModifierWord::Present;
                continue;
            }
            (Keyword::WITH, _) if input.token(index + 1) == Some(&Token::LParen) => {
                modified = ModifierWord::Present;
                continue;
            }
            _ => continue,
        };
        let position = input.position_of(index);
        return Err(refused::never(input, what).at(position.line, position.column));
    }
    Ok(modified)
}

/// Refuses what the engine would leave out without a word: samples and hints of tables, their rows' numbers, hierarchies.
pub(super) fn refuse_modifiers(input: &Input<'_>, modified: ModifierWord, parsed: &impl Visit) -> Result<()> {
    if modified == ModifierWord::Present
        && let ControlFlow::Break(what) = parsed.visit(&mut ModifierFinder)
    {
        return Err(refused::never(input, what));
    }
    Ok(())
}

struct ModifierFinder;

impl Visitor for ModifierFinder {
    /// What it is.
    type Break = &'static str;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if select.connect_by.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break("CONNECT BY") }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break("TABLESAMPLE")
            }
            // A function in FROM has rows to number, too, and the engine does not.
            TableFactor::Table { with_ordinality: true, .. } | TableFactor::UNNEST { with_ordinality: true, .. } => {
                ControlFlow::Break("WITH ORDINALITY")
            }
            TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => ControlFlow::Break("hints of a table"),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Refuses what is a query to sqlparser only.
pub(super) fn check(input: &Input<'_>, query: &Query) -> Result<()> {
    let ctes = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.query.body.as_ref());
    for body in std::iter::once(query.body.as_ref()).chain(ctes) {
        match body {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return Err(refused::never(input, "INSERT, UPDATE, DELETE or MERGE in a query"));
            }
            SetExpr::Table(_) => return Err(refused::never(input, "TABLE as a query: use SELECT * FROM")),
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } | SetExpr::Values(_) => {}
        }
    }
    if let SetExpr::Values(values) = query.body.as_ref() {
        check_rows(input, values.rows.iter().map(|row| row.content.len()))?;
    }
    Ok(())
}

/// Rows of VALUES are of one width; answers which.
pub(super) fn check_rows(input: &Input<'_>, mut widths: impl Iterator<Item = usize>) -> Result<usize> {
    let first = widths.next().unwrap_or_default();
    match widths.find(|width| *width != first) {
        None => Ok(first),
        Some(other) => {
            let message = format!("rows of VALUES have one length: the first has {first} values, another {other}");
            Err(input.at_start(Error::new(ErrorCode::InvalidSql, message)))
        }
    }
}

/// The select list that names a query's columns.
pub(super) fn leftmost_list(body: &SetExpr) -> Option<&[SelectItem]> {
    let mut body = body;
    loop {
        match body {
            SetExpr::Select(select) => return Some(&select.projection),
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    }
}
