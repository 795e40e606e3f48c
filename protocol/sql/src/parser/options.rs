//! The options of a table: `WITH (name = 'value', …)`.

use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode, PathTemplate, Result, TableName, TableType, parse_duration};

use super::given::{Given, list};
use super::input::Input;
use crate::{Access, TableOptions};

/// Most shards of `hash:N`.
const MAX_SHARDS: u32 = 65_536;

/// The kind of table and its options; `leading_type` is the kind where a word before TABLE said it.
pub(super) fn table_options(
    input: &mut Input<'_>,
    leading_type: Option<TableType>,
) -> Result<(TableType, TableOptions)> {
    let given = if input.take_word("WITH") { list(input, &[])? } else { Vec::new() };
    let mut table_type = leading_type;
    for option in given.iter().filter(|option| option.name == "type") {
        let named: TableType = option.value.parse().map_err(|error| option.at(error))?;
        if leading_type.is_some_and(|leading| leading != named) {
            return Err(option.invalid("contradicts the word before TABLE".to_owned()));
        }
        table_type = Some(named);
    }
    let Some(table_type) = table_type else {
        let message = "a table has a type: CREATE USER TABLE, CREATE SHARED TABLE, CREATE STREAM TABLE, or \
                       WITH (type = 'user' | 'shared' | 'stream')";
        return Err(input.at_start(Error::new(ErrorCode::InvalidOption, message)));
    };
    let mut options = TableOptions::default();
    for option in given.iter().filter(|option| option.name != "type") {
        option.check_fits(table_type)?;
        option.apply(table_type, &mut options)?;
    }
    Ok((table_type, options))
}

/// What `ALTER TABLE … SET (…)` says. Which options there are depends on the table's kind, which the text does not say.
#[derive(Debug, Clone)]
pub struct OptionChanges {
    given: Vec<Given>,
}

impl OptionChanges {
    pub(super) fn new(given: Vec<Given>) -> Self {
        Self { given }
    }

    /// The options of a table of a kind after the change; what it does not name stays.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidOption`] for one that tables of the kind do not have, or that cannot be so.
    pub fn apply(&self, table_type: TableType, options: &TableOptions) -> Result<TableOptions> {
        let mut options = options.clone();
        for option in &self.given {
            if option.name == "type" {
                return Err(option.invalid("is decided when the table is made".to_owned()));
            }
            option.check_fits(table_type)?;
            option.apply(table_type, &mut options)?;
        }
        Ok(options)
    }
}

impl Given {
    /// Whether tables of a kind have such an option.
    fn check_fits(&self, table_type: TableType) -> Result<()> {
        let known: &[&str] = match table_type {
            TableType::User => &["flush_interval", "flush_rows", "storage", "sharding", "path_template"],
            TableType::Shared => &["flush_interval", "flush_rows", "storage", "sharding", "path_template", "access"],
            TableType::Stream => &["ttl", "max_rows"],
        };
        if known.contains(&self.name.as_str()) {
            return Ok(());
        }
        Err(self.invalid(format!("is none of a {table_type} table: it has {}", known.join(", "))))
    }

    fn apply(&self, table_type: TableType, options: &mut TableOptions) -> Result<()> {
        match self.name.as_str() {
            "flush_interval" if self.value.eq_ignore_ascii_case("off") => options.flush_interval = Some(None),
            "flush_interval" => options.flush_interval = Some(Some(self.duration("a duration like '30s', or 'off'")?)),
            "flush_rows" => options.flush_rows = Some(self.count()?),
            "storage" => options.storage = Some(self.storage()?),
            "sharding" => options.sharding = Some(self.sharding()?),
            "path_template" => options.path_template = Some(self.template(table_type)?),
            "access" => options.access = Some(self.access()?),
            "ttl" => options.ttl = Some(self.duration("a duration like '10s'")?),
            "max_rows" => options.max_rows = Some(self.count()?),
            _ => return Err(self.invalid("is unknown".to_owned())),
        }
        Ok(())
    }

    fn duration(&self, allowed: &str) -> Result<Duration> {
        parse_duration(&self.value).filter(|duration| !duration.is_zero()).ok_or_else(|| self.wrong_value(allowed))
    }

    fn count(&self) -> Result<u64> {
        let count: Option<u64> = self.value.parse().ok();
        // No counter of rows goes beyond i64.
        count
            .filter(|count| (1..=i64::MAX.unsigned_abs()).contains(count))
            .ok_or_else(|| self.wrong_value("a whole number of 1 or more"))
    }

    fn storage(&self) -> Result<String> {
        // The rules for names are those of tables.
        TableName::new(&self.value)
            .map(|name| name.as_str().to_ascii_lowercase())
            .map_err(|_| self.wrong_value("the name of a storage"))
    }

    fn sharding(&self) -> Result<String> {
        let lower = self.value.to_ascii_lowercase();
        let shards = lower.strip_prefix("hash:").and_then(|number| number.parse::<u32>().ok());
        match (lower.as_str(), shards) {
            ("alphabetic" | "none", _) => Ok(lower),
            (_, Some(shards)) if (1..=MAX_SHARDS).contains(&shards) => Ok(format!("hash:{shards}")),
            _ => Err(self.wrong_value(&format!("'alphabetic', 'none' or 'hash:N' with N from 1 to {MAX_SHARDS}"))),
        }
    }

    fn access(&self) -> Result<Access> {
        match self.value.to_ascii_lowercase().as_str() {
            "public" => Ok(Access::Public),
            "private" => Ok(Access::Private),
            _ => Err(self.wrong_value("'public' or 'private'")),
        }
    }

    fn template(&self, table_type: TableType) -> Result<String> {
        match PathTemplate::parse(&self.value, table_type) {
            Ok(_) => Ok(self.value.clone()),
            Err(error) => Err(self.wrong_value(&error.message)),
        }
    }
}

#[cfg(test)]
mod tests;
