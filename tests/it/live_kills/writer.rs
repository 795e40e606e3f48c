//! The only writer of a user's rows, and what it saw after each statement.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use kalamdb_tests::Client;

use super::Progress;
use super::history::{Rows, Truth};

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) user: &'static str,
    pub(super) truth: Truth,
    die: StdRng,
}

impl Writer {
    pub(super) fn new(user: &'static str, seed: u64) -> Self {
        Self { user, truth: Truth::new(), die: StdRng::seed_from_u64(seed) }
    }

    /// Looks at all rows at one moment; none if the server is gone.
    pub(super) async fn look(&mut self, caller: &Client) -> Option<()> {
        let sql = "SELECT id, n, length(v) AS bytes, _seq, _deleted FROM kills.t WHERE _deleted OR NOT _deleted";
        let found = caller.try_sql(sql, None).await.ok()?.success();
        let number = |row: &Value, name: &str| row[name].as_i64().unwrap_or_else(|| panic!("no {name}: {row}"));
        let seq = found.rows().iter().filter_map(|row| row["_seq"].as_u64()).max().unwrap_or(0);
        let live = found.rows().iter().filter(|row| row["_deleted"] == false);
        let row = |row: &Value| {
            let bytes = usize::try_from(number(row, "bytes")).expect("a length");
            (number(row, "id"), (number(row, "n"), bytes))
        };
        let rows: Rows = live.map(row).collect();
        self.truth.saw(seq, rows).unwrap_or_else(|error| panic!("{}: {error}", self.user));
        Some(())
    }

    fn statement(&mut self) -> String {
        let die = &mut self.die;
        let id: i64 = die.random_range(0..25);
        let n: i64 = die.random_range(0..6);
        match die.random_range(0..12) {
            0..4 => {
                let values: Vec<String> = (0..die.random_range(1..5))
                    .map(|at| {
                        format!("({}, {}, '{}')", id + at * 7, (n + at) % 6, "x".repeat(die.random_range(0..1500)))
                    })
                    .collect();
                // Some are there: an insertion and an update in one statement.
                format!(
                    "INSERT INTO kills.t (id, n, v) VALUES {}
                     ON CONFLICT (id) DO UPDATE SET n = (t.n + excluded.n) % 6, v = excluded.v",
                    values.join(", ")
                )
            }
            4 => format!("INSERT INTO kills.t (id, n, v) VALUES ({id}, {n}, '')"),
            5 => format!("UPDATE kills.t SET n = (n + 1) % 6 WHERE id % 3 = {}", id % 3),
            6 => format!("UPDATE kills.t SET n = {n}, v = '{}' WHERE id = {id}", "x".repeat(die.random_range(0..6000))),
            7 => format!(
                "UPDATE kills.t SET id = CASE WHEN id < 50 THEN id + 50 ELSE id - 50 END WHERE id % 5 = {}",
                id % 5
            ),
            8 => format!(
                "UPDATE kills.t SET id = CASE id WHEN {id} THEN {0} ELSE {id} END WHERE id IN ({id}, {0})",
                id + 1
            ),
            9 => format!("DELETE FROM kills.t WHERE n = {n}"),
            10 => format!("DELETE FROM kills.t WHERE id = {id}"),
            _ => "FLUSH TABLE kills.t".to_owned(),
        }
    }

    /// Statement after statement until the server is gone or it is over.
    pub(super) async fn write(mut self, caller: Client, admin: Client, progress: Arc<Progress>) -> Self {
        while !progress.is_over() {
            let sql = self.statement();
            let who = if sql.starts_with("FLUSH") { &admin } else { &caller };
            let Ok(answer) = who.try_sql(&sql, None).await else { break };
            if answer.status != 200 {
                assert!(["DUPLICATE_KEY", "CONFLICT"].contains(&answer.code()), "{sql}: {}", answer.text);
            }
            if self.look(&caller).await.is_none() {
                break;
            }
            progress.note_statement();
        }
        self
    }
}
