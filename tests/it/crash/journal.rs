//! What one writer did, and what may therefore be there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The rows of one writer in one table: id to the number of the statement that wrote it last.
pub(super) type Rows = BTreeMap<i64, i64>;

/// A table the writers write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Own,
    Common,
}

/// Both tables.
pub(super) const TABLES: [Table; 2] = [Table::Own, Table::Common];

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Own => "crash.own",
            Self::Common => "crash.common",
        }
    }

    /// The condition for one writer's rows; the user table's partition is one already.
    pub(super) fn condition(self, writer: &str) -> String {
        match self {
            Self::Own => format!("CURRENT_USER() = {writer}"),
            Self::Common => format!("owner = {writer}"),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Own => 0,
            Self::Common => 1,
        }
    }
}

/// One statement's meaning.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// These rows are there, with this statement's number.
    Put(Vec<i64>),
    /// Rows with this remainder modulo five get this statement's number.
    Touch(i64),
    /// Rows with this remainder modulo eleven are gone.
    Remove(i64),
}

impl Change {
    /// Does it; gives the number of rows affected.
    fn apply(&self, rows: &mut Rows, number: i64) -> u64 {
        let affected = match self {
            Self::Put(ids) => {
                rows.extend(ids.iter().map(|id| (*id, number)));
                ids.len()
            }
            Self::Touch(rest) => rows.iter_mut().filter(|(id, _)| *id % 5 == *rest).map(|(_, n)| *n = number).count(),
            Self::Remove(rest) => {
                let before = rows.len();
                rows.retain(|id, _| id % 11 != *rest);
                before - rows.len()
            }
        };
        affected as u64
    }
}

/// A user who writes one statement after the other.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) name: String,
    rows: [Rows; 2],
    /// Of the last statement begun.
    number: i64,
    under_way: Option<(Table, Change)>,
    next_id: i64,
}

impl Writer {
    pub(super) fn new(name: String) -> Self {
        Self { name, rows: Default::default(), number: 0, under_way: None, next_id: 1 }
    }

    /// The text that a row of this statement holds; of many lengths.
    pub(super) fn value(&self, number: i64) -> String {
        let filler = usize::try_from(number % 61).unwrap_or_default();
        format!("{}/{number}/{}", self.name, "x".repeat(filler * filler / 4))
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.iter().map(Rows::len).sum()
    }

    /// The tables are new ones.
    pub(super) fn lose_all(&mut self) {
        self.rows = Default::default();
    }

    /// The next statement and its parameters.
    pub(super) fn next(&mut self) -> (String, Value) {
        let table = TABLES[rand::random_range(0..TABLES.len())];
        let change = match rand::random_range(0..10) {
            0..6 => {
                let count: i64 = rand::random_range(1..=20);
                let first = self.next_id;
                self.next_id += count;
                Change::Put((first..first + count).collect())
            }
            6 => {
                // Some of them are there already.
                let last = self.next_id + 3;
                let first = (last - 10).max(1);
                self.next_id = last + 1;
                Change::Put((first..=last).collect())
            }
            7..9 => Change::Touch(rand::random_range(0..5)),
            _ => Change::Remove(rand::random_range(0..11)),
        };
        self.begin(table, change.clone());
        self.statement(table, &change)
    }

    /// Notes a statement as begun.
    pub(super) fn begin(&mut self, table: Table, change: Change) {
        assert!(self.under_way.is_none(), "one statement at a time");
        self.number += 1;
        self.under_way = Some((table, change));
    }

    fn statement(&self, table: Table, change: &Change) -> (String, Value) {
        let (name, mine) = (table.name(), table.condition("$1"));
        let (n, v) = (self.number, self.value(self.number));
        match change {
            Change::Put(ids) => {
                let ids_are = ids.iter().enumerate().map(|(at, _)| match table {
                    Table::Own => format!("(${}, $1, $2)", at + 3),
                    Table::Common => format!("($3, ${}, $1, $2)", at + 4),
                });
                let values: Vec<String> = ids_are.collect();
                let (columns, key, mut params) = match table {
                    Table::Own => ("id, n, v", "id", vec![json!(n), json!(v)]),
                    Table::Common => ("owner, id, n, v", "owner, id", vec![json!(n), json!(v), json!(self.name)]),
                };
                params.extend(ids.iter().map(|id| json!(id)));
                let sql = format!(
                    "INSERT INTO {name} ({columns}) VALUES {} ON CONFLICT ({key}) DO UPDATE SET n = excluded.n, v = excluded.v",
                    values.join(", ")
                );
                (sql, Value::Array(params))
            }
            Change::Touch(rest) => {
                let sql = format!("UPDATE {name} SET n = $2, v = $3 WHERE {mine} AND id % 5 = $4");
                (sql, json!([self.name, n, v, rest]))
            }
            Change::Remove(rest) => {
                (format!("DELETE FROM {name} WHERE {mine} AND id % 11 = $2"), json!([self.name, rest]))
            }
        }
    }

    /// The statement under way was answered.
    pub(super) fn acknowledged(&mut self, row_count: u64) {
        let (table, change) = self.under_way.take().expect("a statement is under way");
        let expected = change.apply(&mut self.rows[table.index()], self.number);
        assert_eq!(row_count, expected, "rows affected by {change:?} of {} in {}", self.name, table.name());
    }

    /// Compares with what is there after a restart, and takes that as the truth. `seen` is the highest
    /// statement number that a reader saw in the writer's own partition.
    pub(super) fn settle(&mut self, table: Table, found: Rows, seen: i64) {
        let kept = &self.rows[table.index()];
        let (was_seen, mut with_last) = (seen == self.number && table == Table::Own, kept.clone());
        if let Some((_, change)) = self.under_way.as_ref().filter(|(of, _)| *of == table) {
            change.apply(&mut with_last, self.number);
        }
        let fits = found == with_last || (!was_seen && found == *kept);
        assert!(
            fits,
            "{} of {}: found {}\nacknowledged {}\nunder way {:?} as statement {}, seen up to {seen}",
            table.name(),
            self.name,
            difference(&found, kept),
            kept.len(),
            self.under_way,
            self.number,
        );
        self.rows[table.index()] = found;
    }

    /// Forgets the statement that got no answer, after both tables were compared.
    pub(super) fn begin_again(&mut self) {
        self.under_way = None;
    }
}

fn difference(found: &Rows, expected: &Rows) -> String {
    let missing: Vec<_> = expected.iter().filter(|(id, _)| !found.contains_key(id)).take(20).collect();
    let added: Vec<_> = found.iter().filter(|(id, _)| !expected.contains_key(id)).take(20).collect();
    let changed: Vec<_> = found
        .iter()
        .filter_map(|(id, n)| expected.get(id).filter(|was| *was != n).map(|was| (id, was, n)))
        .take(20)
        .collect();
    format!("{} rows: missing {missing:?}, added {added:?}, changed {changed:?}", found.len())
}
