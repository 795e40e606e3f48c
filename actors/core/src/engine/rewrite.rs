//! Rewrites on the syntax tree before DataFusion sees it: system columns, and names of result columns.
//!
//! A table reference has a system column only if its own query block names it. Such a reference is replaced
//! by one to a variant of the table (its name, [`MARK`], a letter per column) under the table's own name
//! as alias, and `*` excludes what the variant adds. A unit separator cannot occur in a name a user writes.

mod chains;
mod decimals;
mod distinct;
mod naming;
mod subqueries;
mod system_columns;

use kalamdb_commons::SystemColumn;

pub(crate) use chains::balance_chains;
pub(crate) use decimals::keep_decimals_exact;
pub(crate) use distinct::order_distinct_by_items;
pub(crate) use naming::{name_outputs, unique_names};
pub(crate) use subqueries::make_subqueries_nullable;
pub(crate) use system_columns::{expose_system_columns, folded};

/// Between a table's name and the letters of its variant; between a result name and what keeps it unique.
pub(crate) const MARK: char = '\u{1f}';
/// The encoded primary key, as a column for statements that change rows.
pub(crate) const KEY_COLUMN: &str = "\u{1f}key";

/// Columns beyond the declared ones that one table reference has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExposedColumns {
    pub(crate) seq: bool,
    pub(crate) updated: bool,
    /// Also: deleted rows are seen.
    pub(crate) deleted: bool,
    pub(crate) key: bool,
}

impl ExposedColumns {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn expose(&mut self, column: SystemColumn) {
        match column {
            SystemColumn::Seq => self.seq = true,
            SystemColumn::Updated => self.updated = true,
            SystemColumn::Deleted => self.deleted = true,
        }
    }

    /// Their names, in the order they follow the declared columns.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        [
            self.seq.then_some(SystemColumn::Seq.as_str()),
            self.updated.then_some(SystemColumn::Updated.as_str()),
            self.deleted.then_some(SystemColumn::Deleted.as_str()),
            self.key.then_some(KEY_COLUMN),
        ]
        .into_iter()
        .flatten()
    }

    /// The name of the table's variant with these columns.
    pub(crate) fn variant_name(self, table: &str) -> String {
        let mut name = format!("{table}{MARK}");
        for (letter, on) in [('s', self.seq), ('u', self.updated), ('d', self.deleted), ('k', self.key)] {
            if on {
                name.push(letter);
            }
        }
        name
    }

    /// Takes a variant's name apart.
    pub(crate) fn split_name(name: &str) -> (&str, Self) {
        let Some((table, letters)) = name.split_once(MARK) else { return (name, Self::default()) };
        let has = |letter| letters.contains(letter);
        (table, Self { seq: has('s'), updated: has('u'), deleted: has('d'), key: has('k') })
    }
}
