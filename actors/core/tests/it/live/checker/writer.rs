//! The only writer of a user's partition, and what it saw after each statement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kalamdb_commons::ErrorCode;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::Life;
use crate::server::Server;

/// id → n
pub(super) type Rows = BTreeMap<i64, i64>;

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) user: &'static str,
    die: StdRng,
    /// The truth, by the `_seq` from which on it was that.
    truth: Vec<(u64, Rows)>,
}

impl Writer {
    pub(super) fn new(user: &'static str, seed: u64) -> Self {
        let salt = user.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self { user, die: StdRng::seed_from_u64(salt), truth: vec![(0, Rows::new())] }
    }

    fn rows(&self) -> &Rows {
        &self.truth.last().expect("there is a first").1
    }

    pub(super) fn newest(&self) -> u64 {
        self.truth.last().expect("there is a first").0
    }

    /// The truth at a number.
    pub(super) fn at(&self, seq: u64) -> &Rows {
        let after = self.truth.partition_point(|(from, _)| *from <= seq);
        &self.truth[after - 1].1
    }

    /// What was the truth for a while between two numbers, both left out.
    pub(super) fn between(&self, one: u64, other: u64) -> impl Iterator<Item = &(u64, Rows)> {
        self.truth.iter().filter(move |(seq, _)| one < *seq && *seq < other)
    }

    /// Looks at the whole partition, at one snapshot; none if the server cannot say.
    pub(super) async fn look(&mut self, server: &Server) -> Option<()> {
        let sql = "SELECT id, n, _seq, _deleted FROM t WHERE _deleted OR NOT _deleted";
        let found = server.rows(self.user, sql, vec![]).await.ok()?;
        let number = |row: &[serde_json::Value], at: usize| row[at].as_i64().expect("a number");
        let seq = found.iter().map(|row| u64::try_from(number(row, 2)).expect("a seq")).max().unwrap_or(0);
        let live = found.iter().filter(|row| row[3] == serde_json::json!(false));
        let rows: Rows = live.map(|row| (number(row, 0), number(row, 1))).collect();
        if seq > self.newest() {
            self.truth.push((seq, rows));
        } else {
            assert_eq!((seq, &rows), (self.newest(), self.rows()), "{}: rows changed without a number", self.user);
        }
        Some(())
    }

    fn statement(&mut self) -> String {
        let die = &mut self.die;
        let id = die.random_range(0..25);
        let n = die.random_range(0..6);
        match die.random_range(0..12) {
            0..4 => {
                let values: Vec<String> =
                    (0..die.random_range(1..5)).map(|at| format!("({}, {})", id + at * 7, (n + at) % 6)).collect();
                let sql = format!("INSERT INTO t (id, n) VALUES {}", values.join(", "));
                // Some are there: an insertion and an update in one statement.
                format!("{sql} ON CONFLICT (id) DO UPDATE SET n = (t.n + excluded.n) % 6")
            }
            4 => format!("INSERT INTO t (id, n) VALUES ({id}, {n})"),
            5 => format!("UPDATE t SET n = (n + 1) % 6 WHERE id % 3 = {}", id % 3),
            6 => format!("UPDATE t SET n = {n} WHERE id = {id}"),
            7 => format!("UPDATE t SET id = CASE WHEN id < 50 THEN id + 50 ELSE id - 50 END WHERE id % 5 = {}", id % 5),
            8 => format!(
                "UPDATE t SET id = CASE id WHEN {id} THEN {} ELSE {id} END WHERE id IN ({id}, {})",
                id + 1,
                id + 1
            ),
            9 => format!("DELETE FROM t WHERE n = {n}"),
            10 => format!("DELETE FROM t WHERE id = {id}"),
            _ => "FLUSH TABLE t".to_owned(),
        }
    }

    /// Statement after statement until the life is over.
    pub(super) async fn write(mut self, server: Server, life: Arc<Life>) -> Self {
        while !life.is_over() {
            let sql = self.statement();
            let result = server.run(if sql.starts_with("FLUSH") { "admin" } else { self.user }, &sql, vec![]).await;
            if let Err(error) = &result {
                let expected = [
                    ErrorCode::DuplicateKey,
                    ErrorCode::Conflict,
                    ErrorCode::StorageUnavailable,
                    ErrorCode::ShuttingDown,
                ];
                assert!(expected.contains(&error.code), "{sql}: {error:?} {:?}", error.detail);
            }
            if self.look(&server).await.is_none() {
                // The power is gone, or going.
                tokio::task::yield_now().await;
                continue;
            }
            life.statements.fetch_add(1, Ordering::AcqRel);
        }
        self
    }
}
