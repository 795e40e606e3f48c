//! From text to [`Statement`]s.
//!
//! The kinds of statements are told apart here; what has a syntax of our own is read here as well,
//! queries and DML are sqlparser's, checked clause by clause.

mod alter_table;
mod constants;
mod create_table;
mod dml;
mod given;
mod input;
mod names;
mod options;
mod queries;
mod refused;
mod schema_statements;
mod stack;
mod storages;
mod users;

use kalamdb_commons::{Error, ErrorCode, Result};

use self::input::Input;
pub use self::options::OptionChanges;
use crate::column_names::{name_nested_columns, result_column_names};
use crate::dialect::KalamDialect;
use crate::parameters::count_parameters;
use crate::scan::Scanner;
use crate::source::Source;
use crate::{ParsedStatement, Statement};

/// The statements of a text, in order; each is parsed when it is asked for, so that the ones before
/// it can have run. See [`statements`].
#[derive(Debug)]
pub struct Statements<'a> {
    scanner: Scanner<'a>,
    left: usize,
    /// What is wrong with the text as a whole.
    error: Option<Error>,
}

/// Splits a text at `;` and parses its statements one by one.
///
/// The iterator's length is that of the statements in the text, known at once; empty ones do not count.
/// A text without any, with a quote or comment that does not end, or with control characters outside
/// string literals, yields one error and nothing else. After an error it yields nothing.
///
/// Call [`Iterator::next`] on a thread with a stack of 16 MiB, and drop what it yields there: a
/// statement may be as deep as the limits allow. Whoever clones or plans one needs more for the deepest
/// of them, see [`ParsedStatement::depth`].
///
/// ```
/// let mut statements = kalamdb_sql::statements("SELECT 1; SELEC 2");
/// assert_eq!(statements.len(), 2);
/// assert!(statements.next().is_some_and(|statement| statement.is_ok()));
/// assert!(statements.next().is_some_and(|statement| statement.is_err()));
/// ```
#[must_use]
pub fn statements(sql: &str) -> Statements<'_> {
    let scanner = Scanner::new(sql);
    let (left, error) = match scanner.count_statements() {
        Ok(0) => (1, Some(Error::new(ErrorCode::InvalidSql, "the text holds no statement"))),
        Ok(count) => (count, None),
        Err(error) => (1, Some(error)),
    };
    Statements { scanner, left, error }
}

impl Iterator for Statements<'_> {
    type Item = Result<ParsedStatement>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let parsed = match self.error.take() {
            Some(error) => Err(error),
            None => parse_next(&mut self.scanner),
        };
        if parsed.is_err() {
            self.left = 0;
        }
        Some(parsed)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Statements<'_> {}

fn parse_next(scanner: &mut Scanner<'_>) -> Result<ParsedStatement> {
    loop {
        let Some(source) = Source::read(scanner)? else {
            return Err(Error::internal("fewer statements than were counted"));
        };
        if source.len() > 0 {
            return stack::with_enough_stack(source.shape(), || parse(source));
        }
    }
}

fn parse(mut source: Source<'_>) -> Result<ParsedStatement> {
    let parameters = count_parameters(&source)?;
    let position = source.position();
    let dialect = KalamDialect::new(source.len(), source.shape().nesting);
    let tokens = source.take_tokens();
    let mut input = Input::new(&source, tokens, &dialect);
    let mut statement = statement(&mut input)?;
    input.expect_end()?;
    let tokens = input.into_tokens();
    source.return_tokens(tokens);
    if parameters > 0 && !takes_parameters(&statement) {
        let error = Error::new(ErrorCode::InvalidSql, "parameters stand in queries, INSERT, UPDATE and DELETE only");
        return Err(error.at(position.line, position.column));
    }
    name_nested_columns(&source, &mut statement);
    Ok(ParsedStatement {
        column_names: result_items(&statement).and_then(|items| result_column_names(&source, items)),
        statement,
        text: source.whole_text().into(),
        parameters,
        position,
        depth: source.shape().depth,
    })
}

fn takes_parameters(statement: &Statement) -> bool {
    match statement {
        Statement::Explain { statement, .. } => statement.is_query_or_dml(),
        other => other.is_query_or_dml(),
    }
}

/// The list whose items are the statement's result columns.
fn result_items(statement: &Statement) -> Option<&[sqlparser::ast::SelectItem]> {
    match statement {
        Statement::Query(query) => queries::leftmost_list(&query.body),
        Statement::Insert(insert) => insert.returning.as_deref(),
        Statement::Update(update) => update.returning.as_deref(),
        Statement::Delete(delete) => delete.returning.as_deref(),
        _ => None,
    }
}

/// One statement, by its first words.
fn statement(input: &mut Input<'_>) -> Result<Statement> {
    let Some(word) = input.peek_word() else {
        if input.peek_open_paren() {
            return queries::query(input);
        }
        return Err(input.unexpected("a statement"));
    };
    match word.as_str() {
        "SELECT" | "WITH" | "VALUES" => queries::query(input),
        "INSERT" => dml::insert(input),
        "UPDATE" => dml::update(input),
        "DELETE" => dml::delete(input),
        "CREATE" => schema_statements::create(input),
        "ALTER" => schema_statements::alter(input),
        "DROP" => schema_statements::drop(input),
        "FLUSH" => schema_statements::flush(input),
        "KILL" => schema_statements::kill(input),
        "CLEAR" => schema_statements::clear(input),
        "SHOW" => schema_statements::show(input),
        "DESCRIBE" => schema_statements::describe(input),
        "EXPLAIN" => explain(input),
        _ => Err(refused::statement(input, &word)),
    }
}

fn explain(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("EXPLAIN")?;
    let analyze = input.take_word("ANALYZE");
    let verbose = input.take_word("VERBOSE");
    let explained = match input.peek_word().as_deref() {
        Some("SELECT" | "WITH" | "VALUES" | "INSERT" | "UPDATE" | "DELETE") => statement(input)?,
        None if input.peek_open_paren() => queries::query(input)?,
        _ => return Err(input.unexpected("a query, INSERT, UPDATE or DELETE to explain")),
    };
    Ok(Statement::Explain { analyze, verbose, statement: Box::new(explained) })
}

#[cfg(test)]
mod tests;
