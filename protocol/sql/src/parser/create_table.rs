//! `CREATE TABLE`.

use std::collections::HashSet;

use kalamdb_commons::{ColumnName, Error, ErrorCode, Result, TableType};
use sqlparser::ast::{ColumnOption, Ident};
use sqlparser::tokenizer::Token;

use super::input::Input;
use super::{constants, names, options, refused};
use crate::limits::{MAX_COLUMNS, too_many_columns};
use crate::{ColumnSpec, CreateTable, DefaultClause, column_type_of};

/// What follows `CREATE … TABLE`.
pub(super) fn create_table(input: &mut Input<'_>, leading_type: Option<TableType>) -> Result<CreateTable> {
    let if_not_exists = input.take_words(&["IF", "NOT", "EXISTS"]);
    let name = names::changed_table_name(input)?;
    if let Some(word @ ("AS" | "LIKE" | "PARTITION" | "USING")) = input.peek_word().as_deref() {
        return Err(refused::never(input, &format!("CREATE TABLE … {word}")));
    }
    let mut body = Body::default();
    input.expect_token(&Token::LParen)?;
    loop {
        body.element(input)?;
        if !input.take_token(&Token::Comma) {
            break;
        }
    }
    input.expect_token(&Token::RParen)?;
    let (table_type, table_options) = options::table_options(input, leading_type)?;
    let primary_key = body.primary_key(input)?;
    let columns = body.columns.into_iter().map(|mut column| {
        column.nullable &= !primary_key.contains(&column.name);
        column
    });
    Ok(CreateTable { name, table_type, if_not_exists, columns: columns.collect(), primary_key, options: table_options })
}

/// The columns and constraints as they are read.
#[derive(Default)]
struct Body {
    columns: Vec<ColumnSpec>,
    names: HashSet<String>,
    /// From the column's own clause or the table's.
    key: Option<Vec<Ident>>,
    /// Columns said to take NULL.
    said_nullable: HashSet<String>,
}

impl Body {
    /// A column or a table constraint.
    fn element(&mut self, input: &mut Input<'_>) -> Result<()> {
        if input.take_words(&["PRIMARY", "KEY"]) {
            let columns = key_columns(input)?;
            return self.set_key(input, columns);
        }
        if let Some(word @ ("UNIQUE" | "CHECK" | "FOREIGN" | "CONSTRAINT" | "LIKE")) = input.peek_word().as_deref() {
            return Err(refused::never(input, &format!("{word} in CREATE TABLE")));
        }
        if self.columns.len() >= MAX_COLUMNS {
            return Err(input.here(too_many_columns()));
        }
        let ident = input.expect_ident("a column")?;
        let name = names::new_column(&ident)?;
        if !self.names.insert(name.as_str().to_owned()) {
            let error = Error::new(ErrorCode::Conflict, format!("column '{name}' is declared twice"));
            return Err(names::at(error, ident.span));
        }
        self.column(input, &ident, name)?;
        match input.peek() {
            Some(Token::Comma | Token::RParen) => Ok(()),
            _ => Err(not_an_option(input, "NOT NULL, DEFAULT, PRIMARY KEY, ',' or ')'")),
        }
    }

    fn column(&mut self, input: &mut Input<'_>, ident: &Ident, name: ColumnName) -> Result<()> {
        let position = input.position();
        if !matches!(input.peek(), Some(Token::Word(_))) {
            return Err(input.unexpected(&format!("the type of column '{name}'")));
        }
        let sql_type = input.parse(|parser| parser.parse_data_type())?;
        let column_type = column_type_of(&sql_type).map_err(|error| error.at(position.line, position.column))?;
        let mut nullability: Option<bool> = None;
        let mut default: Option<DefaultClause> = None;
        loop {
            if input.take_words(&["NOT", "NULL"]) {
                once(input, nullability.replace(false), "NULL or NOT NULL")?;
            } else if input.take_word("NULL") {
                once(input, nullability.replace(true), "NULL or NOT NULL")?;
            } else if input.take_words(&["PRIMARY", "KEY"]) {
                self.set_key(input, vec![ident.clone()])?;
            } else if input.peek_word().as_deref() == Some("DEFAULT") {
                let begin = input.index() + 1;
                let option = input.parse(|parser| parser.parse_optional_column_option())?;
                let Some(ColumnOption::Default(value)) = option else { return Err(input.unexpected("a DEFAULT")) };
                let text = input.text(begin..input.index());
                let place = input.position_of(begin);
                let clause = constants::default_clause(value, text, &name, column_type)
                    .map_err(|error| error.at(place.line, place.column))?;
                once(input, default.replace(clause), "DEFAULT")?;
            } else {
                break;
            }
        }
        if nullability == Some(true) {
            self.said_nullable.insert(name.as_str().to_owned());
        }
        self.columns.push(ColumnSpec { name, column_type, nullable: nullability != Some(false), default });
        Ok(())
    }

    fn set_key(&mut self, input: &Input<'_>, columns: Vec<Ident>) -> Result<()> {
        once(input, self.key.replace(columns), "PRIMARY KEY")
    }

    /// The key's columns: declared, distinct, and not said to take NULL.
    fn primary_key(&self, input: &Input<'_>) -> Result<Vec<ColumnName>> {
        let mut key: Vec<ColumnName> = Vec::new();
        for ident in self.key.iter().flatten() {
            let name = names::folded(ident);
            let error = match self.columns.iter().find(|column| column.name.as_str() == name) {
                None => {
                    Error::new(ErrorCode::ColumnNotFound, format!("column '{name}' of the primary key is not declared"))
                }
                Some(column) if key.contains(&column.name) => {
                    Error::new(ErrorCode::InvalidSql, format!("column '{name}' is in the primary key twice"))
                }
                Some(_) if self.said_nullable.contains(&name) => {
                    Error::new(ErrorCode::InvalidSql, format!("column '{name}' of the primary key cannot take NULL"))
                }
                Some(column) => {
                    key.push(column.name.clone());
                    continue;
                }
            };
            return Err(names::at(input.at_start(error), ident.span));
        }
        Ok(key)
    }
}

/// What follows `ADD COLUMN`. Rows that are there already take the column as it is added, so it takes NULL or has a
/// DEFAULT, and is no part of the key.
pub(super) fn added_column(input: &mut Input<'_>) -> Result<ColumnSpec> {
    let ident = input.expect_ident("a column")?;
    let name = names::new_column(&ident)?;
    let mut body = Body::default();
    body.column(input, &ident, name)?;
    if input.peek().is_some() {
        return Err(not_an_option(input, "NOT NULL, DEFAULT or the end of the statement"));
    }
    let unsupported = |message: &str| Err(names::at(Error::new(ErrorCode::Unsupported, message), ident.span));
    if body.key.is_some() {
        return unsupported("a table's primary key is declared with the table: a column added later is no part of it");
    }
    match body.columns.pop() {
        Some(spec) if !spec.nullable && spec.default.is_none() => {
            unsupported("an added column that does not take NULL needs a DEFAULT, for the rows that are there")
        }
        Some(spec) => Ok(spec),
        None => Err(input.unexpected("a column")),
    }
}

/// The error for what stands behind a column's options.
fn not_an_option(input: &Input<'_>, expected: &str) -> Error {
    match input.peek() {
        Some(Token::Word(word)) if is_foreign_option(&word.value) => {
            let word = word.value.to_ascii_uppercase();
            refused::never(input, &format!("{word} in a column"))
        }
        _ => input.unexpected(expected),
    }
}

fn key_columns(input: &mut Input<'_>) -> Result<Vec<Ident>> {
    input.expect_token(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        columns.push(input.expect_ident("a column of the primary key")?);
        if columns.len() > MAX_COLUMNS {
            return Err(input.here(too_many_columns()));
        }
        if !input.take_token(&Token::Comma) {
            break;
        }
    }
    input.expect_token(&Token::RParen)?;
    Ok(columns)
}

fn once<T>(input: &Input<'_>, earlier: Option<T>, clause: &str) -> Result<()> {
    match earlier {
        None => Ok(()),
        Some(_) => Err(input.here(Error::new(ErrorCode::InvalidSql, format!("{clause} is said twice")))),
    }
}

/// Clauses of columns elsewhere.
fn is_foreign_option(word: &str) -> bool {
    let words = [
        "AS",
        "AUTOINCREMENT",
        "AUTO_INCREMENT",
        "CHARACTER",
        "CHECK",
        "COLLATE",
        "COMMENT",
        "CONSTRAINT",
        "GENERATED",
        "IDENTITY",
        "ON",
        "REFERENCES",
        "STORAGE",
        "UNIQUE",
    ];
    words.iter().any(|foreign| word.eq_ignore_ascii_case(foreign))
}
