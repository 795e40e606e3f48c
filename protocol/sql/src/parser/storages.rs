//! Storages: CREATE, ALTER and DROP of the places that segments lie in.

use kalamdb_commons::{Error, PathTemplate, Result, TableName, TableType};

use super::given::{Given, list};
use super::input::Input;
use super::names;
use crate::{Statement, StorageOptions};

/// Longest value of an option, in bytes: keys of service accounts are some 2 KB.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// What follows `CREATE STORAGE`.
pub(super) fn create(input: &mut Input<'_>) -> Result<Statement> {
    let if_not_exists = input.take_words(&["IF", "NOT", "EXISTS"]);
    let name = storage_name(input)?;
    input.expect_word("WITH")?;
    Ok(Statement::CreateStorage { name, if_not_exists, options: options(input, &[])? })
}

/// What follows `ALTER STORAGE`.
pub(super) fn alter(input: &mut Input<'_>) -> Result<Statement> {
    let name = storage_name(input)?;
    input.expect_word("SET")?;
    Ok(Statement::AlterStorage { name, changes: options(input, &["NULL"])? })
}

/// What follows `DROP STORAGE`.
pub(super) fn drop(input: &mut Input<'_>) -> Result<Statement> {
    let if_exists = input.take_words(&["IF", "EXISTS"]);
    Ok(Statement::DropStorage { name: storage_name(input)?, if_exists })
}

/// The rules for names are those of tables; `WITH (storage = '…')` reads it by the same.
fn storage_name(input: &mut Input<'_>) -> Result<String> {
    let ident = input.expect_ident("the name of a storage")?;
    let name = names::folded(&ident);
    match TableName::new(&name) {
        Ok(name) => Ok(name.as_str().to_ascii_lowercase()),
        Err(error) => {
            let message = error.message.replacen("table name", "storage name", 1);
            Err(names::at(Error { message, ..error }, ident.span))
        }
    }
}

/// What each may be is for whoever opens the storage; the templates are ours.
fn options(input: &mut Input<'_>, words: &[&str]) -> Result<StorageOptions> {
    let mut options = StorageOptions::default();
    for option in list(input, words)? {
        let template = match option.name.as_str() {
            "user_path_template" => Some(TableType::User),
            "shared_path_template" => Some(TableType::Shared),
            _ => None,
        };
        if let (Some(table_type), false) = (template, option.is_word) {
            PathTemplate::parse(&option.value, table_type).map_err(|error| option.wrong_value(&error.message))?;
        }
        options.given.insert(option.name.clone(), option.text()?);
    }
    Ok(options)
}

impl Given {
    fn text(&self) -> Result<Option<String>> {
        if self.value.len() > MAX_VALUE_BYTES {
            return Err(self.invalid(format!("is {} bytes long: at most {MAX_VALUE_BYTES}", self.value.len())));
        }
        Ok((!self.is_word).then(|| self.value.clone()))
    }
}
