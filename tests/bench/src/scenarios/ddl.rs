//! What the scenarios of table definitions share: tables of the administrator, one for each operation.

use serde_json::json;

use crate::failure::Failure;
use crate::run::rows;
use crate::run::target::Target;

use super::ground::{Expected, Ground, Left, Prepared};
use super::steps::{Step, Steps};

/// Operations in this namespace that leave no table behind.
///
/// # Errors
/// When no token can be made.
pub(crate) fn prepared(ground: &Ground<'_>, steps: impl FnOnce(&str) -> Vec<Step>) -> Result<Prepared, Failure> {
    // A shared table's only caller is the administrator, who may define tables of any kind.
    let place = ground.stage.place(Target::Shared, 1)?;
    let namespace = ground.stage.namespace();
    let mut prepared = Prepared::new(Steps::new(steps(namespace)), &place.heads);
    prepared.left = place.callers.into_iter().next().map(|caller| Left {
        caller,
        sql: format!(
            "SELECT count(*) AS how_many FROM information_schema.tables WHERE table_schema = '{}'",
            namespace.to_lowercase()
        ),
        expected: Expected::Each { base: 0, each: 0 },
    });
    Ok(prepared)
}

/// The table of an operation.
pub(crate) fn name(namespace: &str, number: u64) -> String {
    format!("{namespace}.t_{number}")
}

/// Makes it.
pub(crate) fn create(namespace: &str) -> Step {
    let namespace = namespace.to_owned();
    Step::text(move |number| format!("CREATE USER TABLE {} ({})", name(&namespace, number), rows::COLUMNS))
}

/// Drops it.
pub(crate) fn drop(namespace: &str) -> Step {
    let namespace = namespace.to_owned();
    Step::text(move |number| format!("DROP TABLE {}", name(&namespace, number)))
}

/// Checks that it can be read, and holds nothing.
pub(crate) fn empty(namespace: &str) -> Step {
    let namespace = namespace.to_owned();
    let count = Step::text(move |number| format!("SELECT count(*) AS how_many FROM {}", name(&namespace, number)));
    count.brings(|_, rows| rows == [json!({"how_many": 0})])
}
