//! Two tables with the same rows, one of which is flushed again and again: no query can tell them apart.
//!
//! Rows, changes and conditions are random, with what segments could get wrong among them often: NULL, NaN, -0.0,
//! decimals of other scales, texts that begin alike for longer than bounds of pages, columns that come and go.
//! `KALAMDB_TWIN_SEEDS` says how many pairs of tables are tried.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::flushed::start;
use super::*;

const ROWS: usize = 1100;
const ROUNDS: usize = 3;
const CONDITIONS: usize = 15;

const COMPARISONS: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"];

struct Die(StdRng);

impl Die {
    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.0.random_range(0..of.len())]
    }

    fn below(&mut self, most: usize) -> usize {
        self.0.random_range(0..most)
    }

    fn comparison(&mut self) -> &'static str {
        self.one(&COMPARISONS)
    }

    fn int(&mut self) -> String {
        match self.below(5) {
            0 => self.one(&["-2147483648", "2147483647", "0"]).to_owned(),
            _ => (self.below(24) as i64 - 4).to_string(),
        }
    }

    fn float(&mut self) -> &'static str {
        self.one(&["'NaN'", "0.0", "-0.0", "'-Infinity'", "'Infinity'", "1.5", "-1.5", "3", "1e300"])
    }

    fn decimal(&mut self) -> &'static str {
        self.one(&["0", "1.50", "1.5", "-1.50", "99999999.99", "-99999999.99", "2", "0.01"])
    }

    fn text(&mut self) -> String {
        match self.below(6) {
            0 => "''".to_owned(),
            1 => format!("'{}{}'", "long ".repeat(20), self.one(&["", "a", "b", "c"])),
            2 => format!("'{}{}'", "\u{10ffff}".repeat(20), self.one(&["", "a"])),
            _ => format!("'{}{}'", self.one(&["a", "ab", "abc", "B", "b_", "%"]), self.one(&["", "x", "é"])),
        }
    }

    fn time(&mut self) -> &'static str {
        self.one(&["'1969-12-31 23:59:59.999999'", "'2026-01-02 03:04:05'", "'9999-12-31 00:00:00'", "'0001-01-01'"])
    }

    fn day(&mut self) -> &'static str {
        self.one(&["'1969-12-31'", "'2026-01-02'", "'9999-12-31'", "'0001-01-01'"])
    }

    fn uuid(&mut self) -> String {
        format!("'{}0000000-0000-4000-8000-00000000000{}'", self.one(&["0", "7", "f"]), self.below(3))
    }

    fn bytes(&mut self) -> &'static str {
        self.one(&["X''", "X'00'", "X'ff'", "X'61'"])
    }

    /// A row; what is in it is much the same for some hundred rows, so that pages differ.
    fn row(&mut self, id: usize, stretch: &[String]) -> String {
        let mut values = vec![id.to_string()];
        for usual in stretch {
            values.push(if self.below(200) == 0 { "NULL".to_owned() } else { usual.clone() });
        }
        format!("({})", values.join(", "))
    }

    fn stretch(&mut self) -> Vec<String> {
        let values = [
            self.int(),
            self.float().to_owned(),
            self.decimal().to_owned(),
            self.text(),
            self.one(&["true", "false"]).to_owned(),
            self.time().to_owned(),
            self.day().to_owned(),
            self.uuid(),
            self.bytes().to_owned(),
        ];
        values.into_iter().map(|value| if self.below(6) == 0 { "NULL".to_owned() } else { value }).collect()
    }

    fn condition(&mut self, depth: usize, columns: &Columns) -> String {
        if depth > 0 && self.below(2) == 0 {
            let left = self.condition(depth - 1, columns);
            return match self.below(4) {
                0 => format!("NOT ({left})"),
                1 => format!("({left}) IS NOT TRUE"),
                2 => format!("(({left}) AND ({}))", self.condition(depth - 1, columns)),
                _ => format!("(({left}) OR ({}))", self.condition(depth - 1, columns)),
            };
        }
        let compare = self.comparison();
        let n = columns.number;
        match self.below(24) {
            0 => format!("{n} {compare} {}", self.int()),
            1 => format!("{n} IN ({}, {}, NULL)", self.int(), self.int()),
            2 => format!("{n} NOT IN ({}, {})", self.int(), self.int()),
            3 => format!("{n} BETWEEN {} AND {}", self.int(), self.int()),
            4 => format!("{n} {compare} {}", self.one(&["2.5", "3.0", "4000000000", "1e2"])),
            5 => format!("CAST({n} AS BIGINT) + 1 {compare} {}", self.int()),
            6 | 7 => format!("x {compare} CAST({} AS DOUBLE)", self.float()),
            8 => format!("x IN (0.0, 1.5, CAST({} AS DOUBLE))", self.float()),
            9 => format!("x BETWEEN -1.5 AND CAST({} AS DOUBLE)", self.float()),
            10 => format!("m {compare} {}", self.decimal()),
            11 => format!("m {compare} {}", self.one(&["1.505", "1.499", "1.5000", "123456789012.5"])),
            12 => format!("t {compare} {}", self.text()),
            13 => format!(
                "t {} {}",
                self.one(&["LIKE", "NOT LIKE", "ILIKE"]),
                self.one(&["'a%'", "'ab_'", "'%x'", "'long %'", "'B'", "'b\\_%'"])
            ),
            14 => format!("t IN ({}, {})", self.text(), self.text()),
            15 => format!("upper(t) = {}", self.text()),
            16 => self.one(&["b", "NOT b", "b IS NOT FALSE", "b = false", "b IS UNKNOWN"]).to_owned(),
            17 => format!("at {compare} {}", self.time()),
            18 => format!("day {compare} {}", self.day()),
            19 => format!("u {compare} {}", self.uuid()),
            20 => format!("y {compare} {}", self.bytes()),
            21 => format!("id {compare} {}", self.below(ROWS * ROUNDS)),
            22 => {
                columns.added.map_or("true".to_owned(), |added| format!("{added} {compare} {}", self.one(&["5", "6"])))
            }
            _ => {
                let column = self.one(&[n, "x", "m", "t", "b", "at", "day", "u", "y", columns.added.unwrap_or("id")]);
                format!("{column} IS {}NULL", self.one(&["", "NOT "]))
            }
        }
    }
}

/// What some columns are called by now.
struct Columns {
    number: &'static str,
    added: Option<&'static str>,
}

struct Twins {
    server: Server,
    seed: u64,
}

impl Twins {
    /// Does the same to both.
    async fn both(&self, sql: &str) {
        let mut counts = Vec::new();
        for table in ["hot", "cold"] {
            let results = self.server.run("u", &sql.replace("$t", table), vec![]).await;
            counts.push(results.last().map(|result| result.row_count));
        }
        assert_eq!(counts[0], counts[1], "seed {}: {sql}", self.seed);
    }

    async fn answer(&self, sql: &str, table: &str) -> std::result::Result<String, ErrorCode> {
        let outcome = self.server.outcome("u", Role::Dba, &sql.replace("$t", table), vec![]).await;
        match outcome.error {
            Some(failed) => Err(failed.error.code),
            None => Ok(outcome.results[0].rows.as_str().to_owned()),
        }
    }

    async fn agree(&self, sql: &str) -> std::result::Result<String, ErrorCode> {
        let (hot, cold) = (self.answer(sql, "hot").await, self.answer(sql, "cold").await);
        assert!(hot == cold, "seed {}: {sql}\n hot: {hot:.300?}\ncold: {cold:.300?}", self.seed);
        hot
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_tells_flushed_rows_from_hot_ones() {
    let seeds: u64 = std::env::var("KALAMDB_TWIN_SEEDS").map_or(1, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        twins(seed).await;
    }
}

async fn twins(seed: u64) {
    let mut die = Die(StdRng::seed_from_u64(seed));
    let (server, _directory) = start().await;
    let twins = Twins { server, seed };
    twins
        .both(
            "CREATE USER TABLE $t (id BIGINT PRIMARY KEY, n INT, x DOUBLE, m DECIMAL(10, 2), t TEXT, b BOOLEAN, \
             at TIMESTAMP, day DATE, u UUID, y BYTES, gone INT DEFAULT 1)",
        )
        .await;
    let mut columns = Columns { number: "n", added: None };
    let mut answered = 0;
    for round in 0..ROUNDS {
        let mut stretch = die.stretch();
        let mut rows = Vec::new();
        // Ids of all rounds lie between one another.
        for id in (0..ROWS).map(|row| row * ROUNDS + round) {
            if die.below(200) == 0 {
                stretch = die.stretch();
            }
            rows.push(die.row(id, &stretch));
        }
        let names = format!("id, {}, x, m, t, b, at, day, u, y", columns.number);
        twins.both(&format!("INSERT INTO $t ({names}) VALUES {}", rows.join(", "))).await;
        // Of tombstones, too, there are some in segments.
        twins.both(&format!("DELETE FROM $t WHERE id % 97 = {}", die.below(97))).await;
        twins.server.run("u", "FLUSH TABLE cold", vec![]).await;
        let (condition, other) = (die.condition(1, &columns), die.condition(1, &columns));
        twins.both(&format!("UPDATE $t SET t = 'changed', x = -0.0 WHERE ({condition}) AND id % 7 = 0")).await;
        twins.both(&format!("DELETE FROM $t WHERE ({other}) AND id % 11 = 0")).await;
        for _ in 0..CONDITIONS {
            let condition = die.condition(3, &columns);
            let all = twins.agree(&format!("SELECT * FROM $t WHERE {condition} ORDER BY id")).await;
            answered += usize::from(all.is_ok_and(|rows| rows.len() > 2));
            let selected = die.one(&["count(*)", "count(t), min(id), max(day)", "sum(id)", "max(m), min(at)"]);
            drop(twins.agree(&format!("SELECT {selected} FROM $t WHERE {condition}")).await);
            let few = format!("SELECT id, t FROM $t WHERE {condition} ORDER BY id LIMIT 5 OFFSET {}", die.below(4));
            drop(twins.agree(&few).await);
            let counted =
                format!("SELECT count(*) FROM (SELECT x FROM $t WHERE {condition} LIMIT {})", die.below(2000));
            drop(twins.agree(&counted).await);
            drop(twins.agree(&format!("SELECT id, _deleted FROM $t WHERE {condition} ORDER BY id")).await);
        }
        match round {
            0 => {
                twins.both("ALTER TABLE $t ADD COLUMN c INT DEFAULT 5").await;
                twins.both("ALTER TABLE $t DROP COLUMN gone").await;
                columns.added = Some("c");
            }
            1 => {
                twins.both("ALTER TABLE $t RENAME COLUMN n TO number").await;
                twins.both("UPDATE $t SET c = 6 WHERE id % 3 = 0").await;
                columns.number = "number";
            }
            _ => {}
        }
    }
    // Else it would show nothing.
    assert!(answered > ROUNDS * CONDITIONS / 3, "seed {seed}: {answered} conditions had rows");
}
