//! Users who write and read all the time, and a journal of what they were told.
//!
//! The table has no primary key, so a statement that ran twice shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kalamdb_commons::{ErrorCode, Outcome};
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually};

const WRITERS: usize = 4;
/// What a statement may end with when an actor is lost, apart from success.
const ALLOWED: [ErrorCode; 3] = [ErrorCode::Overloaded, ErrorCode::Timeout, ErrorCode::ShuttingDown];

/// What one user was told.
#[derive(Debug, Default)]
struct Journal {
    acknowledged: Vec<i64>,
    refused: Vec<i64>,
}

/// See the module.
pub(super) struct Load {
    fixture: Fixture,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: JoinSet<(String, Journal)>,
    others: JoinSet<()>,
    tables: JoinSet<Vec<String>>,
}

impl Load {
    /// Writers alone.
    pub(super) async fn start(fixture: &Fixture) -> Self {
        fixture.rows("admin", "CREATE USER TABLE t (id BIGINT, owner TEXT)").await;
        let mut load = Self {
            fixture: fixture.clone(),
            stop: Arc::default(),
            acknowledged: Arc::default(),
            writers: JoinSet::new(),
            others: JoinSet::new(),
            tables: JoinSet::new(),
        };
        for number in 0..WRITERS {
            let (fixture, stop, acknowledged) =
                (fixture.clone(), Arc::clone(&load.stop), Arc::clone(&load.acknowledged));
            load.writers.spawn(write(fixture, format!("writer{number}"), stop, acknowledged));
        }
        load
    }

    /// And users who come once.
    pub(super) fn with_visitors(mut self) -> Self {
        let (fixture, stop) = (self.fixture.clone(), Arc::clone(&self.stop));
        self.others.spawn(async move {
            for number in 0.. {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let outcome = fixture.run(&format!("visitor{number}"), "SELECT 1").await;
                let error = outcome.error.map(|failed| failed.error);
                assert!(error.as_ref().is_none_or(|error| ALLOWED.contains(&error.code)), "{error:?}");
            }
        });
        self
    }

    /// And one who makes tables.
    pub(super) fn with_ddl(mut self) -> Self {
        let (fixture, stop) = (self.fixture.clone(), Arc::clone(&self.stop));
        self.tables.spawn(async move {
            let mut made = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let name = format!("made{number}");
                let outcome = fixture.run("admin", format!("CREATE USER TABLE {name} (id BIGINT)")).await;
                match outcome.error.map(|failed| failed.error) {
                    None => made.push(name),
                    // DDL that has begun ends by itself, too.
                    Some(error) => assert!(ALLOWED.contains(&error.code), "{name}: {error:?}"),
                }
            }
            made
        });
        self
    }

    /// Waits until so many more statements were acknowledged.
    pub(super) async fn goes_on(&self, more: usize) {
        let enough = self.acknowledged.load(Ordering::Acquire) + more;
        eventually("users go on", || self.acknowledged.load(Ordering::Acquire) >= enough).await;
    }

    /// Ends the load and looks: every acknowledged row is there once, every refused one is not, and nothing else is.
    pub(super) async fn check(mut self) {
        self.stop.store(true, Ordering::Release);
        self.others.join_all().await;
        for (name, journal) in self.writers.join_all().await {
            let found = found(&self.fixture, &name).await;
            for (id, count) in &found {
                assert!(*count == 1, "{name}: row {id} is there {count} times: {journal:?}");
            }
            assert_eq!(found.len(), journal.acknowledged.len(), "{name}: {found:?} {journal:?}");
            for id in &journal.acknowledged {
                assert!(found.contains_key(id), "{name}: acknowledged row {id} is gone: {journal:?}");
            }
            for id in &journal.refused {
                assert!(!found.contains_key(id), "{name}: refused row {id} is there: {journal:?}");
            }
        }
        while let Some(made) = self.tables.join_next().await {
            for name in made.expect("no panic") {
                self.fixture.rows("admin", &format!("INSERT INTO {name} VALUES (1)")).await;
            }
        }
    }
}

async fn found(fixture: &Fixture, name: &str) -> BTreeMap<i64, usize> {
    let outcome = fixture.run(name, "SELECT id, owner FROM t").await;
    assert!(outcome.error.is_none(), "{name}: {:?}", outcome.error);
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(outcome.results[0].rows.as_str()).expect("rows are an array");
    let mut counts = BTreeMap::new();
    for row in rows {
        assert_eq!(row["owner"], name, "another user's row");
        *counts.entry(row["id"].as_i64().expect("a number")).or_default() += 1;
    }
    counts
}

async fn write(
    fixture: Fixture,
    name: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> (String, Journal) {
    let mut journal = Journal::default();
    for id in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let outcome = fixture.run(&name, format!("INSERT INTO t VALUES ({id}, '{name}')")).await;
        match outcome.error.map(|failed| failed.error) {
            None => {
                journal.acknowledged.push(id);
                acknowledged.fetch_add(1, Ordering::AcqRel);
            }
            // A write that has begun ends by itself, whatever becomes of the actors: its outcome is never unknown.
            Some(error) => {
                assert!(ALLOWED.contains(&error.code) && error.outcome == Outcome::NothingChanged, "{name}: {error:?}");
                journal.refused.push(id);
            }
        }
        if id % 8 == 7 {
            let outcome = fixture.run(&name, "SELECT id FROM t").await;
            let Some(result) = outcome.results.first() else { continue };
            assert_eq!(result.row_count, journal.acknowledged.len() as u64, "{name}: {journal:?}");
        }
    }
    (name, journal)
}
