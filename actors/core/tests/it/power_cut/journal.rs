//! What one user did, and what may therefore be there.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value as Json, json};

/// The rows of one user in one table: id to the number of the statement that wrote it last.
type Rows = BTreeMap<i64, i64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Own,
    Common,
}

pub(super) const TABLES: [Table; 2] = [Table::Own, Table::Common];

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Common => "common",
        }
    }

    /// The condition for one user's rows; `user` is that user's name.
    pub(super) fn condition(self, user: &str) -> String {
        match self {
            Self::Own => format!("CURRENT_USER() = {user}"),
            Self::Common => format!("owner = {user}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    /// New rows.
    Insert(Vec<i64>),
    /// Rows with this remainder modulo five get this statement's number.
    Update(i64),
    /// Rows with this remainder modulo seven are gone.
    Delete(i64),
}

#[derive(Debug, Clone)]
struct Statement {
    number: i64,
    table: Table,
    change: Change,
    /// The `_seq` of its last change, once it was acknowledged; none if nothing was changed.
    seq: Option<i64>,
}

impl Statement {
    fn apply(&self, rows: &mut Rows) {
        match &self.change {
            Change::Insert(ids) => rows.extend(ids.iter().map(|id| (*id, self.number))),
            Change::Update(rest) => {
                rows.iter_mut().filter(|(id, _)| *id % 5 == *rest).for_each(|(_, n)| *n = self.number);
            }
            Change::Delete(rest) => rows.retain(|id, _| id % 7 != *rest),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) user: String,
    pub(super) writer: usize,
    die: StdRng,
    /// As they were when the tables were last looked at.
    settled: [Rows; 2],
    /// Acknowledged since then, in order.
    since: Vec<Statement>,
    under_way: Option<Statement>,
    number: i64,
    next_id: i64,
}

impl Journal {
    pub(super) fn name_of(writer: usize) -> String {
        format!("writer{writer}")
    }

    pub(super) fn new(writer: usize, seed: u64) -> Self {
        Self {
            user: Self::name_of(writer),
            writer,
            die: StdRng::seed_from_u64(seed * 1000 + writer as u64),
            settled: Default::default(),
            since: Vec::new(),
            under_way: None,
            number: 0,
            next_id: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.settled.iter().map(Rows::len).sum()
    }

    /// The next statement with its parameters; it answers with the `_seq` of each change.
    pub(super) fn next(&mut self) -> (Table, String, Vec<Json>) {
        let table = TABLES[self.die.random_range(0..TABLES.len())];
        self.number += 1;
        let (change, sql, params) = match self.die.random_range(0..10) {
            0..6 => {
                let count = self.die.random_range(1..6);
                let ids: Vec<i64> = (self.next_id..self.next_id + count).collect();
                self.next_id += count;
                let (columns, row) = match table {
                    Table::Own => ("id, n", "(#, $2)"),
                    Table::Common => ("owner, id, n", "($1, #, $2)"),
                };
                let rows: Vec<String> = ids.iter().map(|id| row.replace('#', &id.to_string())).collect();
                let sql = format!("INSERT INTO {} ({columns}) VALUES {}", table.name(), rows.join(", "));
                // In the user's own table nobody names the user.
                let (sql, params) = match table {
                    Table::Own => (sql.replace("$2", "$1"), vec![json!(self.number)]),
                    Table::Common => (sql, vec![json!(self.user), json!(self.number)]),
                };
                (Change::Insert(ids), sql, params)
            }
            6..9 => {
                let rest = self.die.random_range(0..5);
                let sql = format!("UPDATE {} SET n = $2 WHERE {} AND id % 5 = $3", table.name(), table.condition("$1"));
                (Change::Update(rest), sql, vec![json!(self.user), json!(self.number), json!(rest)])
            }
            _ => {
                let rest = self.die.random_range(0..7);
                let sql = format!("DELETE FROM {} WHERE {} AND id % 7 = $2", table.name(), table.condition("$1"));
                (Change::Delete(rest), sql, vec![json!(self.user), json!(rest)])
            }
        };
        assert!(self.under_way.is_none(), "one statement at a time");
        self.under_way = Some(Statement { number: self.number, table, change, seq: None });
        (table, format!("{sql} RETURNING _seq"), params)
    }

    pub(super) fn acknowledged(&mut self, seqs: &[i64]) {
        assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
        let mut statement = self.under_way.take().expect("a statement is under way");
        statement.seq = seqs.last().copied();
        self.since.push(statement);
    }

    /// The statement under way has changed nothing, the server says.
    pub(super) fn refused(&mut self) {
        self.under_way = None;
    }

    /// Acknowledged changes of a table above a `_seq`.
    pub(super) fn acknowledged_after(&self, table: Table, seq: i64) -> impl Iterator<Item = i64> + '_ {
        self.since
            .iter()
            .filter(move |statement| statement.table == table)
            .filter_map(|statement| statement.seq)
            .filter(move |other| *other > seq)
    }

    /// Compares a table with what is there, and takes that as the truth. `last` is the highest `_seq` there;
    /// everything up to it has to be there, and nothing above it. `all`: everything acknowledged has to be.
    pub(super) fn settle(&mut self, table: Table, found: &[(i64, i64)], last: i64, all: bool) {
        assert!(found.is_sorted_by(|(one, _), (next, _)| one < next), "{}: a row twice: {found:?}", self.user);
        let found: Rows = found.iter().copied().collect();
        let mut expected = self.settled[table as usize].clone();
        for statement in self.since.iter().filter(|statement| statement.table == table) {
            if statement.seq.is_some_and(|seq| seq <= last) {
                statement.apply(&mut expected);
            } else if statement.seq.is_none() && all {
                let mut after = expected.clone();
                statement.apply(&mut after);
                assert_eq!(after, expected, "{}: {statement:?} said that it changed nothing", self.user);
            } else {
                let lost = statement.seq.is_some();
                assert!(!(all && lost), "{}: lost {statement:?}, {last} is the last that is there", self.user);
            }
        }
        let mut with_last = expected.clone();
        if let Some(statement) = self.under_way.as_ref().filter(|statement| statement.table == table) {
            statement.apply(&mut with_last);
        }
        assert!(
            found == expected || found == with_last,
            "{} in {}: found {found:?}\nexpected {expected:?}\nunder way {:?}",
            self.user,
            table.name(),
            self.under_way
        );
        self.settled[table as usize] = found;
        self.since.retain(|statement| statement.table != table);
        if self.under_way.as_ref().is_some_and(|statement| statement.table == table) {
            self.under_way = None;
        }
    }
}
