//! What a query takes of its table's columns: while the table has that, the query goes on as it is, whatever else is
//! altered.

use std::sync::atomic::{AtomicU32, Ordering};

use kalamdb_commons::{ColumnId, SchemaVersion};
use kalamdb_sql::{ColumnDefinition, TableSchema};

/// Which columns a query names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Some of the table's.
    These,
    /// All that the table has: `*`.
    Every,
}

/// See the module.
#[derive(Debug)]
pub struct UsedColumns {
    named: Named,
    columns: Vec<ColumnDefinition>,
    primary_key: Vec<ColumnId>,
    /// The version that was found to have them last: asked for with every statement, and versions never change.
    found_in: AtomicU32,
}

impl UsedColumns {
    /// Every column, for a query with `*`: one more is another result.
    #[must_use]
    pub fn every(schema: &TableSchema) -> Self {
        Self::new(Named::Every, schema, schema.columns.clone())
    }

    /// The columns at these places, those of the key among them.
    #[must_use]
    pub fn at(schema: &TableSchema, places: impl IntoIterator<Item = usize>) -> Self {
        let columns = places.into_iter().filter_map(|place| schema.columns.get(place)).cloned().collect();
        Self::new(Named::These, schema, columns)
    }

    fn new(named: Named, schema: &TableSchema, columns: Vec<ColumnDefinition>) -> Self {
        let found_in = AtomicU32::new(schema.version.0);
        Self { named, columns, primary_key: schema.primary_key.clone(), found_in }
    }

    /// Whether the table has them still: each the same column, under the name that the query has for it.
    #[must_use]
    pub fn are_in(&self, now: &TableSchema) -> bool {
        if SchemaVersion(self.found_in.load(Ordering::Relaxed)) == now.version {
            return true;
        }
        let found = self.primary_key == now.primary_key
            && match self.named {
                Named::These => self.columns.iter().all(|column| {
                    let place = now.position_of_id(column.id);
                    place.and_then(|place| now.columns.get(place)).is_some_and(|known| is_same(known, column))
                }),
                Named::Every => {
                    self.columns.len() == now.columns.len()
                        && self.columns.iter().zip(&now.columns).all(|(column, known)| is_same(known, column))
                }
            };
        if found {
            self.found_in.store(now.version.0, Ordering::Relaxed);
        }
        found
    }
}

/// Whether a query sees no difference: what an INSERT puts into a column that it does not name is none.
fn is_same(one: &ColumnDefinition, other: &ColumnDefinition) -> bool {
    one.id == other.id
        && one.name == other.name
        && one.column_type == other.column_type
        && one.nullable == other.nullable
}

#[cfg(test)]
mod tests;
