//! Random statements, changes of the table, flushes and restarts against a map.
//!
//! `KALAMDB_FLUSH_SEEDS` says how many histories are made, `KALAMDB_FLUSH_STEPS` how long each is.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::flush;
use kalamdb_tests::{BinaryServer, Client};

/// Names that columns come and go under: few, so that they come again.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

#[tokio::test]
async fn a_model_tells_no_difference() {
    let steps = number("KALAMDB_FLUSH_STEPS", 100);
    for seed in 0..number("KALAMDB_FLUSH_SEEDS", 2) {
        History::begin(seed).await.run(steps).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Text,
    Truth,
    Real,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Whole, Self::Text, Self::Truth, Self::Real];

    fn sql(self) -> &'static str {
        match self {
            Self::Whole => "BIGINT",
            Self::Text => "TEXT",
            Self::Truth => "BOOLEAN",
            Self::Real => "DOUBLE",
        }
    }

    /// One of a few values, so that many rows have the same.
    fn value(self, die: &mut StdRng) -> Value {
        let number = die.random_range(0..4_i32);
        match self {
            Self::Whole => json!(number),
            Self::Text => json!(format!("text {number}")),
            Self::Truth => json!(number % 2 == 0),
            Self::Real => json!(f64::from(number) + 0.5),
        }
    }
}

/// A value as SQL.
fn literal(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"))
}

/// A column that ALTER TABLE added.
#[derive(Debug)]
struct Column {
    name: &'static str,
    kind: Kind,
    /// Null where it was added without one.
    default: Value,
}

/// What is beside the key: `n`, and then each column in turn.
type Rows = BTreeMap<i64, Vec<Value>>;

/// The server, and what it has to say.
struct History {
    seed: u64,
    step: u64,
    die: StdRng,
    server: BinaryServer,
    admin: Client,
    users: Vec<Client>,
    models: Vec<Rows>,
    columns: Vec<Column>,
}

impl History {
    async fn begin(seed: u64) -> Self {
        let server = BinaryServer::start().await;
        let admin = server.admin();
        admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)").await.ok();
        let users: Vec<Client> = ["ann", "anna", "../x"].into_iter().map(|user| admin.as_user(user)).collect();
        let models = vec![Rows::new(); users.len()];
        let die = StdRng::seed_from_u64(seed);
        Self { seed, step: 0, die, server, admin, users, models, columns: Vec::new() }
    }

    async fn run(mut self, steps: u64) {
        for step in 0..steps {
            self.step = step;
            let at = self.die.random_range(0..self.users.len());
            match self.die.random_range(0..18) {
                0..4 => self.insert(at).await,
                4 => self.insert_or_add(at).await,
                5..7 => self.update(at).await,
                7 => self.move_key(at).await,
                8..10 => self.delete(at).await,
                10..13 => drop(flush(&self.admin, "t").await),
                13 => self.restart().await,
                14 => self.set_column(at).await,
                _ => self.alter().await,
            }
            self.check(at).await;
        }
    }

    fn place(&self) -> String {
        format!("seed {} step {}, columns {:?}", self.seed, self.step, self.columns)
    }

    fn key(&mut self) -> i64 {
        self.die.random_range(0..30)
    }

    fn n(&mut self) -> i64 {
        self.die.random_range(0..1000)
    }

    /// A row that was inserted with its key and `n` alone.
    fn new_row(&self, n: i64) -> Vec<Value> {
        std::iter::once(json!(n)).chain(self.columns.iter().map(|column| column.default.clone())).collect()
    }

    async fn insert(&mut self, at: usize) {
        let (id, n) = (self.key(), self.n());
        let ids: Vec<i64> = (0..self.die.random_range(1..5)).map(|more| id + more).collect();
        let values: Vec<String> = ids.iter().map(|id| format!("({id}, {n})")).collect();
        let answer = self.users[at].sql(format!("INSERT INTO t (id, n) VALUES {}", values.join(", "))).await;
        let row = self.new_row(n);
        let rows = &mut self.models[at];
        if ids.iter().any(|id| rows.contains_key(id)) {
            answer.fails(409, "DUPLICATE_KEY");
        } else {
            answer.ok();
            rows.extend(ids.iter().map(|id| (*id, row.clone())));
        }
    }

    async fn insert_or_add(&mut self, at: usize) {
        let (id, n) = (self.key(), self.n());
        let sql = "INSERT INTO t (id, n) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n";
        self.users[at].sql_params(sql, json!([id, n])).await.ok();
        let row = self.new_row(n);
        let add = |row: &mut Vec<Value>| row[0] = json!(row[0].as_i64().expect("a number") + n);
        self.models[at].entry(id).and_modify(add).or_insert(row);
    }

    async fn update(&mut self, at: usize) {
        let (id, n) = (self.key(), self.n());
        let sql = "UPDATE t SET n = $1 WHERE id >= $2 AND id < $2 + 4";
        let answer = self.users[at].sql_params(sql, json!([n, id])).await;
        let mut count = 0;
        self.models[at].range_mut(id..id + 4).for_each(|(_, row)| {
            row[0] = json!(n);
            count += 1;
        });
        assert_eq!(answer.success().row_count(), count, "{}", self.place());
    }

    /// Sets a column that was added, perhaps to null, where another row's value is.
    async fn set_column(&mut self, at: usize) {
        if self.columns.is_empty() {
            return;
        }
        let chosen = self.die.random_range(0..self.columns.len());
        let Column { name, kind, .. } = self.columns[chosen];
        let value = if self.die.random_range(0..4) == 0 { Value::Null } else { kind.value(&mut self.die) };
        let old = kind.value(&mut self.die);
        let is_old = |row: &[Value]| row[1 + chosen] == old || row[1 + chosen].is_null();
        let (to, from) = (literal(&value), literal(&old));
        let sql = format!("UPDATE t SET {name} = {to} WHERE {name} = {from} OR {name} IS NULL");
        let answer = self.users[at].sql(sql).await;
        let mut count = 0;
        for row in self.models[at].values_mut().filter(|row| is_old(row)) {
            row[1 + chosen] = value.clone();
            count += 1;
        }
        assert_eq!(answer.success().row_count(), count, "{}", self.place());
    }

    async fn move_key(&mut self, at: usize) {
        let id = self.key();
        let answer = self.users[at].sql_params("UPDATE t SET id = id + 100 WHERE id = $1", json!([id])).await;
        let rows = &mut self.models[at];
        match (rows.contains_key(&id), rows.contains_key(&(id + 100))) {
            (true, true) => drop(answer.fails(409, "DUPLICATE_KEY")),
            (true, false) => {
                assert_eq!(answer.success().row_count(), 1);
                let row = rows.remove(&id).expect("it is there");
                rows.insert(id + 100, row);
            }
            (false, _) => assert_eq!(answer.success().row_count(), 0),
        }
    }

    async fn delete(&mut self, at: usize) {
        let part = self.key() % 5;
        let answer = self.users[at].sql_params("DELETE FROM t WHERE id % 5 = $1", json!([part])).await;
        let before = self.models[at].len();
        self.models[at].retain(|key, _| key % 5 != part);
        let gone = (before - self.models[at].len()) as u64;
        assert_eq!(answer.success().row_count(), gone, "{}", self.place());
    }

    async fn restart(&mut self) {
        if self.die.random_bool(0.5) {
            self.server.kill9();
        } else {
            let status = self.server.terminate().await;
            assert_eq!(status.code(), Some(0), "{}", self.server.logs());
        }
        self.server.restart().await;
    }

    /// Adds, drops or renames a column, as the die says; a name comes again with any type.
    async fn alter(&mut self) {
        let free: Vec<&str> =
            NAMES.into_iter().filter(|name| self.columns.iter().all(|column| column.name != *name)).collect();
        let chosen = (!self.columns.is_empty()).then(|| self.die.random_range(0..self.columns.len()));
        let name = (!free.is_empty()).then(|| free[self.die.random_range(0..free.len())]);
        match (self.die.random_range(0..5), chosen, name) {
            (0 | 1, Some(chosen), _) | (_, Some(chosen), None) => self.drop_column(chosen).await,
            (2, Some(chosen), Some(name)) => {
                let column = &mut self.columns[chosen];
                self.admin.sql(format!("ALTER TABLE t RENAME COLUMN {} TO {name}", column.name)).await.ok();
                column.name = name;
            }
            (_, _, Some(name)) => self.add_column(name).await,
            (_, None, None) => unreachable!("every name is either free or a column's"),
        }
    }

    async fn drop_column(&mut self, chosen: usize) {
        let column = self.columns.remove(chosen);
        self.admin.sql(format!("ALTER TABLE t DROP COLUMN {}", column.name)).await.ok();
        for row in self.models.iter_mut().flat_map(BTreeMap::values_mut) {
            row.remove(1 + chosen);
        }
    }

    async fn add_column(&mut self, name: &'static str) {
        let kind = Kind::ALL[self.die.random_range(0..Kind::ALL.len())];
        let default = if self.die.random_bool(0.5) { kind.value(&mut self.die) } else { Value::Null };
        let clause = if default.is_null() { String::new() } else { format!(" DEFAULT {}", literal(&default)) };
        self.admin.sql(format!("ALTER TABLE t ADD COLUMN {name} {}{clause}", kind.sql())).await.ok();
        for row in self.models.iter_mut().flat_map(BTreeMap::values_mut) {
            row.push(default.clone());
        }
        self.columns.push(Column { name, kind, default });
    }

    /// Every user's rows as a whole; one row by its key and some by a column of `at`'s.
    async fn check(&mut self, at: usize) {
        let whole = |(id, row): (&i64, &Vec<Value>)| -> Vec<Value> {
            std::iter::once(json!(id)).chain(row.iter().cloned()).collect()
        };
        for (caller, rows) in self.users.iter().zip(&self.models) {
            let found = caller.sql("SELECT * FROM t ORDER BY id").await.success().values();
            assert_eq!(found, rows.iter().map(whole).collect::<Vec<_>>(), "{}", self.place());
        }
        if let Some((id, row)) = self.models[at].iter().next() {
            let one = self.users[at].sql_params("SELECT * FROM t WHERE id = $1", json!([id])).await.success();
            assert_eq!(one.values(), [whole((id, row))], "{}", self.place());
        }
        if !self.columns.is_empty() {
            let chosen = self.die.random_range(0..self.columns.len());
            let Column { name, kind, .. } = self.columns[chosen];
            let value = if self.die.random_bool(0.3) { Value::Null } else { kind.value(&mut self.die) };
            let is = if value.is_null() { "IS NULL".to_owned() } else { format!("= {}", literal(&value)) };
            let found = self.users[at].sql(format!("SELECT id FROM t WHERE {name} {is} ORDER BY id")).await.success();
            let with_it = self.models[at].iter().filter(|(_, row)| row[1 + chosen] == value);
            let expected: Vec<Vec<Value>> = with_it.map(|(id, _)| vec![json!(id)]).collect();
            assert_eq!(found.values(), expected, "{name} {is}, {}", self.place());
        }
    }
}
