//! `ALTER TABLE`: one change for each statement.

use kalamdb_commons::Result;

use super::input::Input;
use super::{create_table, given, names, options, refused};
use crate::{Statement, TableChange};

/// What follows `ALTER TABLE`.
pub(super) fn alter_table(input: &mut Input<'_>) -> Result<Statement> {
    let table = names::changed_table_name(input)?;
    let change = if input.take_word("ADD") {
        input.take_word("COLUMN");
        if let Some(word @ ("PRIMARY" | "UNIQUE" | "CHECK" | "FOREIGN" | "CONSTRAINT")) = input.peek_word().as_deref() {
            return Err(refused::never(input, &format!("ALTER TABLE … ADD {word}")));
        }
        TableChange::AddColumn(create_table::added_column(input)?)
    } else if input.take_word("DROP") {
        input.take_word("COLUMN");
        TableChange::DropColumn(names::written_column(&input.expect_ident("a column")?)?)
    } else if input.take_word("RENAME") {
        if input.peek_word().as_deref() == Some("TO") {
            return Err(refused::never(input, "ALTER TABLE … RENAME TO"));
        }
        input.take_word("COLUMN");
        let from = names::written_column(&input.expect_ident("a column")?)?;
        input.expect_word("TO")?;
        TableChange::RenameColumn { from, to: names::new_column(&input.expect_ident("a new name")?)? }
    } else if input.take_word("SET") {
        TableChange::SetOptions(options::OptionChanges::new(given::list(input, &[])?))
    } else if let Some(word @ ("ALTER" | "MODIFY" | "CHANGE" | "OWNER" | "ENABLE" | "DISABLE")) =
        input.peek_word().as_deref()
    {
        return Err(refused::never(input, &format!("ALTER TABLE … {word}")));
    } else {
        return Err(input.unexpected("ADD COLUMN, DROP COLUMN, RENAME COLUMN or SET"));
    };
    Ok(Statement::AlterTable { table, change })
}
