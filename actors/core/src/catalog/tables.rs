//! The tables of a snapshot, by name and by id.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use kalamdb_commons::{QualifiedTableName, TableId};

use super::TableEntry;

/// Read like the map by name that it is. What always holds: both indexes have the same tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    by_name: BTreeMap<QualifiedTableName, Arc<TableEntry>>,
    by_id: HashMap<TableId, Arc<TableEntry>>,
}

impl Tables {
    /// The table of an id; flushes ask for each group and file, however many tables there are.
    pub(super) fn of_id(&self, id: TableId) -> Option<&Arc<TableEntry>> {
        self.by_id.get(&id)
    }

    /// Adds a table, in place of the one of its name.
    pub(crate) fn put(&mut self, entry: Arc<TableEntry>) {
        self.by_id.insert(entry.id(), Arc::clone(&entry));
        let replaced = self.by_name.insert(entry.definition.name.clone(), Arc::clone(&entry));
        if let Some(other) = replaced.filter(|replaced| replaced.id() != entry.id()) {
            self.by_id.remove(&other.id());
        }
    }

    /// Takes a table away.
    pub(crate) fn remove(&mut self, name: &QualifiedTableName) {
        if let Some(entry) = self.by_name.remove(name) {
            self.by_id.remove(&entry.id());
        }
    }
}

impl Deref for Tables {
    type Target = BTreeMap<QualifiedTableName, Arc<TableEntry>>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

impl FromIterator<Arc<TableEntry>> for Tables {
    fn from_iter<I: IntoIterator<Item = Arc<TableEntry>>>(entries: I) -> Self {
        let mut tables = Self::default();
        entries.into_iter().for_each(|entry| tables.put(entry));
        tables
    }
}

#[cfg(test)]
mod tests {
    use kalamdb_commons::{ColumnId, NamespaceId, SchemaVersion, TableName, TableType};
    use kalamdb_sql::{TableDefinition, TableOptions, TableSchema};

    use super::*;

    fn entry(id: u64, table: &str) -> Arc<TableEntry> {
        let name = QualifiedTableName {
            namespace: NamespaceId::default_namespace(),
            table: TableName::new(table).expect("a name"),
        };
        let schema = TableSchema {
            version: SchemaVersion::FIRST,
            columns: Vec::new(),
            primary_key: Vec::new(),
            next_column_id: ColumnId(1),
        };
        let options = TableOptions::default();
        let definition =
            TableDefinition { id: TableId(id), name, table_type: TableType::User, schema, options, created_at: 0 };
        Arc::new(TableEntry::new(definition, HashMap::default()))
    }

    fn ids(tables: &Tables) -> Vec<u64> {
        let mut ids: Vec<u64> = tables.values().map(|entry| entry.id().0).collect();
        ids.sort_unstable();
        let known: Vec<bool> = ids.iter().map(|id| tables.of_id(TableId(*id)).is_some()).collect();
        assert!(known.iter().all(|known| *known) && tables.by_id.len() == ids.len());
        ids
    }

    #[test]
    fn both_indexes_tell_the_same() {
        let mut tables: Tables = [entry(1, "a"), entry(2, "b")].into_iter().collect();
        assert_eq!(ids(&tables), [1, 2]);
        let changed = entry(1, "a");
        tables.put(Arc::clone(&changed));
        assert!(Arc::ptr_eq(tables.of_id(TableId(1)).expect("there"), &changed));
        tables.remove(&entry(2, "b").definition.name);
        assert_eq!(ids(&tables), [1]);
        assert!(tables.of_id(TableId(2)).is_none());
        // Made anew under its name.
        tables.put(entry(3, "a"));
        assert_eq!(ids(&tables), [3]);
        tables.remove(&entry(9, "none").definition.name);
        assert_eq!(ids(&tables), [3]);
    }
}
