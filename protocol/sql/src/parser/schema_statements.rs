//! CREATE, ALTER and DROP by what they are of; namespaces; FLUSH; SHOW, DESCRIBE.

use kalamdb_commons::{Result, TableType};

use sqlparser::tokenizer::Token;

use super::input::Input;
use super::{alter_table, create_table, names, refused, storages, users};
use crate::Statement;

/// `CREATE …`
pub(super) fn create(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("CREATE")?;
    if input.take_word("NAMESPACE") {
        let if_not_exists = input.take_words(&["IF", "NOT", "EXISTS"]);
        return Ok(Statement::CreateNamespace { name: names::own_namespace(input)?, if_not_exists });
    }
    match take_table(input) {
        Some(table_type) => create_table::create_table(input, table_type).map(Statement::CreateTable),
        None if input.take_word("USER") => users::create(input),
        None if input.take_word("STORAGE") => storages::create(input),
        None => Err(refused::object(input, "CREATE")),
    }
}

/// `ALTER …`
pub(super) fn alter(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("ALTER")?;
    if input.take_word("TABLE") {
        return alter_table::alter_table(input);
    }
    if input.take_word("USER") {
        return users::alter(input);
    }
    if input.take_word("STORAGE") { storages::alter(input) } else { Err(refused::object(input, "ALTER")) }
}

/// `DROP …`
pub(super) fn drop(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("DROP")?;
    if input.take_word("NAMESPACE") {
        let if_exists = input.take_words(&["IF", "EXISTS"]);
        let name = names::dropped_namespace(input)?;
        return Ok(Statement::DropNamespace { name, if_exists, cascade: input.take_word("CASCADE") });
    }
    match take_table(input) {
        Some(table_type) => {
            let if_exists = input.take_words(&["IF", "EXISTS"]);
            Ok(Statement::DropTable { table: names::changed_table_name(input)?, table_type, if_exists })
        }
        None if input.take_word("USER") => users::drop(input),
        None if input.take_word("STORAGE") => storages::drop(input),
        None => Err(refused::object(input, "DROP")),
    }
}

/// `SHOW …`
pub(super) fn show(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("SHOW")?;
    if input.take_word("NAMESPACES") {
        return Ok(Statement::ShowNamespaces);
    }
    if input.take_word("TABLES") {
        let namespace = if input.take_word("IN") { Some(names::namespace(input)?) } else { None };
        return Ok(Statement::ShowTables { namespace });
    }
    if input.take_word("STORAGES") {
        return Ok(Statement::ShowStorages);
    }
    if input.take_words(&["TABLE", "STATS"]) {
        return Ok(Statement::ShowTableStats { table: names::own_table_name(input)? });
    }
    Err(refused::shown(input))
}

/// `FLUSH TABLE t`, `FLUSH ALL TABLES`
pub(super) fn flush(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("FLUSH")?;
    if input.take_words(&["ALL", "TABLES"]) {
        return Ok(Statement::FlushAllTables);
    }
    if input.take_word("TABLE") {
        return Ok(Statement::FlushTable { table: names::own_table_name(input)? });
    }
    Err(input.unexpected("TABLE or ALL TABLES after FLUSH"))
}

/// `KILL LIVE QUERY 'id'`
pub(super) fn kill(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("KILL")?;
    if !input.take_words(&["LIVE", "QUERY"]) {
        return Err(refused::not_yet(input, "KILL of anything but a LIVE QUERY"));
    }
    let Some(Token::SingleQuotedString(id)) = input.peek() else {
        return Err(input.unexpected("the id of a live query in single quotes"));
    };
    let live_id = id.clone();
    input.advance();
    Ok(Statement::KillLiveQuery { live_id })
}

/// `CLEAR PLAN CACHE`, `CLEAR SESSION CACHE ['user']`
pub(super) fn clear(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("CLEAR")?;
    if input.take_words(&["PLAN", "CACHE"]) {
        return Ok(Statement::ClearPlanCache);
    }
    if input.take_words(&["SESSION", "CACHE"]) {
        let user = if input.peek().is_some() { Some(users::user_id(input)?) } else { None };
        return Ok(Statement::ClearSessionCache { user });
    }
    Err(input.unexpected("PLAN CACHE or SESSION CACHE after CLEAR"))
}

/// `DESCRIBE t`
pub(super) fn describe(input: &mut Input<'_>) -> Result<Statement> {
    input.expect_word("DESCRIBE")?;
    Ok(Statement::Describe { table: names::own_table_name(input)? })
}

/// `[USER | SHARED | STREAM] TABLE`: the kind it names, where it is a table at all.
fn take_table(input: &mut Input<'_>) -> Option<Option<TableType>> {
    if input.take_word("TABLE") {
        return Some(None);
    }
    [("USER", TableType::User), ("SHARED", TableType::Shared), ("STREAM", TableType::Stream)]
        .into_iter()
        .find(|(word, _)| input.take_words(&[word, "TABLE"]))
        .map(|(_, table_type)| Some(table_type))
}
