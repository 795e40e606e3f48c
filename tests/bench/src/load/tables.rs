//! The tables, and how a line becomes the values of a row.
//!
//! Each kind of line goes into two tables: a user table, where a row lies in the partition of its user,
//! and a shared table with the same columns and `user_id`.

use serde_json::{Value, json};

use crate::load::dataset::{Change, Commit, Line};

/// A kind of line that can be loaded.
pub(crate) trait Loadable: Line + Send + Sync + 'static {
    /// The user table's name; the shared one's is `shared_` and this.
    const TABLE: &'static str;
    /// Columns with their types, the key first; without the user.
    const COLUMNS: &'static [(&'static str, &'static str)];

    /// The values of [`Self::COLUMNS`].
    fn values(&self) -> Vec<Value>;
}

impl Loadable for Commit {
    const TABLE: &'static str = "commits";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("id", "BIGINT"), ("commit", "TEXT"), ("created_at", "TIMESTAMP"), ("subject", "TEXT"), ("body", "TEXT")];

    fn values(&self) -> Vec<Value> {
        vec![json!(self.id), json!(self.commit), json!(self.created_at), json!(self.subject), json!(self.body)]
    }
}

impl Loadable for Change {
    const TABLE: &'static str = "changes";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("id", "BIGINT"), ("commit_id", "BIGINT"), ("path", "TEXT"), ("kind", "TEXT")];

    fn values(&self) -> Vec<Value> {
        vec![json!(self.id), json!(self.commit_id), json!(self.path), json!(self.kind)]
    }
}

/// Which of the two tables of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Shared,
}

impl Kind {
    /// The table's name in its namespace.
    pub(crate) fn table<T: Loadable>(self) -> String {
        match self {
            Self::User => T::TABLE.to_owned(),
            Self::Shared => format!("shared_{}", T::TABLE),
        }
    }

    /// `DROP TABLE` and `CREATE TABLE`.
    pub(crate) fn ddl<T: Loadable>(self, namespace: &str) -> String {
        let table = self.table::<T>();
        let mut columns: Vec<String> = T::COLUMNS
            .iter()
            .map(|(name, data_type)| {
                let rule = if *name == "id" { "PRIMARY KEY" } else { "NOT NULL" };
                format!("\"{name}\" {data_type} {rule}")
            })
            .collect();
        let word = match self {
            Self::User => "USER",
            Self::Shared => {
                columns.push("user_id TEXT NOT NULL".to_owned());
                "SHARED"
            }
        };
        format!(
            "DROP TABLE IF EXISTS {namespace}.{table}; CREATE {word} TABLE {namespace}.{table} ({})",
            columns.join(", ")
        )
    }

    /// An INSERT of `rows` rows with numbered parameters.
    pub(crate) fn insert<T: Loadable>(self, table: &str, rows: usize) -> String {
        let mut names: Vec<&str> = T::COLUMNS.iter().map(|(name, _)| *name).collect();
        if self == Self::Shared {
            names.push("user_id");
        }
        let groups: Vec<String> = (0..rows)
            .map(|row| {
                let numbers: Vec<String> =
                    (1..=names.len()).map(|column| format!("${}", row * names.len() + column)).collect();
                format!("({})", numbers.join(", "))
            })
            .collect();
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        format!("INSERT INTO {table} ({}) VALUES {}", names.join(", "), groups.join(", "))
    }

    /// The parameters of that INSERT.
    pub(crate) fn params<T: Loadable>(self, rows: &[&T]) -> Vec<Value> {
        let values = |row: &&T| -> Vec<Value> {
            let mut values = row.values();
            if self == Self::Shared {
                values.push(json!(row.user()));
            }
            values
        };
        rows.iter().flat_map(values).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: i64) -> Change {
        Change { user_id: "ann".into(), id, commit_id: 7, path: "a/b".into(), kind: "add".into() }
    }

    #[test]
    fn parameters_are_numbered_row_by_row() {
        assert_eq!(
            Kind::User.insert::<Change>("ns.user.changes", 2),
            r#"INSERT INTO ns.user.changes ("id", "commit_id", "path", "kind") VALUES ($1, $2, $3, $4), ($5, $6, $7, $8)"#
        );
        let (one, two) = (change(1), change(2));
        let params = Kind::Shared.params(&[&one, &two]);
        assert_eq!(params.len(), 10);
        assert_eq!(params[4], json!("ann"));
        assert_eq!(params[5], json!(2));
        assert_eq!(Kind::Shared.insert::<Change>("t", 2).matches('$').count(), params.len());
    }

    #[test]
    fn the_shared_table_names_the_user() {
        assert!(!Kind::User.ddl::<Commit>("ns").contains("user_id"));
        let ddl = Kind::Shared.ddl::<Commit>("ns");
        assert!(ddl.contains("CREATE SHARED TABLE ns.shared_commits (\"id\" BIGINT PRIMARY KEY, "), "{ddl}");
        assert!(ddl.ends_with("user_id TEXT NOT NULL)"), "{ddl}");
    }
}
