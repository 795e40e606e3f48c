//! What statements cost in the engine, without HTTP: found by their key, by a plan that is kept, and planned anew; in a session that
//! knows the table, and in a new one.
//!
//! Run it as `cargo bench --workspace --bench plans`: with `-p` other features are resolved, and RocksDB is built anew. The bars:
//! 15 µs for a lookup by key, 60 µs for a plan that is kept and finds one row; a fifth of the time of the same statement after
//! `CLEAR PLAN CACHE`; 30 % less time in a session that knows the table than in a new one; 5 ms for an aggregate over 10 000
//! rows, and for deleting 100 rows by a range. Rows are hot, in RocksDB, durability `buffered`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use kalamdb_commons::settings::{Durability, Settings};
use kalamdb_commons::{Identity, NamespaceId, Role, UserId};
use kalamdb_core::{BuildInfo, Engine, EngineArgs, SqlRequest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Rows of the large table.
const ROWS: i64 = 10_000;
const LOOKUP: &str = "SELECT text FROM small WHERE id = $1";
const FILTER: &str = "SELECT text FROM small WHERE number = $1";
const JOIN: &str = "SELECT a.text, b.id FROM small AS a JOIN small AS b ON a.number = b.id \
    WHERE a.number > $1 AND b.text LIKE 'message%' ORDER BY b.id DESC LIMIT 3";

fn main() {
    divan::main();
}

struct Database {
    threads: Runtime,
    engine: Engine,
    _directory: TempDir,
}

impl Database {
    /// With one row in `small` and many in `large`.
    fn new() -> Self {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let directory = TempDir::new().expect("a directory");
        let mut settings = Settings::default();
        settings.storage.rocksdb_dir = directory.path().join("rocksdb");
        settings.storage.default_location = directory.path().join("storage");
        settings.storage.durability = Durability::Buffered;
        settings.flush.default_rows = u64::MAX;
        let build = BuildInfo { version: "bench", branch: "bench", commit: "bench" };
        let args = EngineArgs { settings: Arc::new(settings), build };
        let engine = threads.block_on(Engine::start(args)).expect("the engine starts");
        let database = Self { threads, engine, _directory: directory };
        let columns = "(id BIGINT PRIMARY KEY, text TEXT, number INT)";
        database.run("ann", &format!("CREATE USER TABLE small {columns}; CREATE USER TABLE large {columns}"), vec![]);
        database.run("ann", "INSERT INTO small VALUES (1, 'message', 1)", vec![]);
        database.fill(0..ROWS);
        database
    }

    fn fill(&self, ids: std::ops::Range<i64>) {
        let rows: Vec<String> = ids.map(|id| format!("({id}, 'message {id}', {})", id % 50)).collect();
        self.run("ann", &format!("INSERT INTO large VALUES {}", rows.join(", ")), vec![]);
    }

    fn run(&self, user: &str, sql: &str, params: Vec<Json>) {
        let request = SqlRequest {
            identity: Identity { user_id: UserId::new(user).expect("a user id"), role: Role::Dba },
            header_user: Ok(None),
            sql: sql.to_owned(),
            params: Arc::new(params),
            namespace: NamespaceId::default_namespace(),
            request_id: "bench".to_owned(),
        };
        let outcome = black_box(self.threads.block_on(self.engine.execute(request)));
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.threads.block_on(self.engine.stop(Instant::now() + Duration::from_secs(5))));
    }
}

#[divan::bench(args = [LOOKUP, FILTER, JOIN])]
fn kept(bencher: Bencher<'_, '_>, sql: &str) {
    let database = Database::new();
    for _ in 0..3 {
        database.run("ann", sql, vec![json!(1)]);
    }
    bencher.bench_local(|| database.run("ann", sql, vec![json!(1)]));
}

#[divan::bench(args = [LOOKUP, FILTER, JOIN], sample_size = 1)]
fn after_clear(bencher: Bencher<'_, '_>, sql: &str) {
    let database = Database::new();
    let clear = || database.run("ann", "CLEAR PLAN CACHE", vec![]);
    bencher.with_inputs(clear).bench_local_values(|()| database.run("ann", sql, vec![json!(1)]));
}

/// Each call is the first of a user, whose session is opened for it; another user's have made the plan.
#[divan::bench(args = [LOOKUP, FILTER, JOIN])]
fn new_session(bencher: Bencher<'_, '_>, sql: &str) {
    static USERS: AtomicI64 = AtomicI64::new(0);
    let database = Database::new();
    for _ in 0..3 {
        database.run("ann", sql, vec![json!(1)]);
    }
    let user = || format!("u{}", USERS.fetch_add(1, Ordering::Relaxed));
    bencher.with_inputs(user).bench_local_values(|user| database.run(&user, sql, vec![json!(1)]));
}

#[divan::bench]
fn aggregate_of_ten_thousand(bencher: Bencher<'_, '_>) {
    let database = Database::new();
    let sql = "SELECT number, count(*), sum(id), max(text) FROM large WHERE id >= $1 GROUP BY number";
    database.run("ann", sql, vec![json!(0)]);
    bencher.bench_local(|| database.run("ann", sql, vec![json!(0)]));
}

#[divan::bench(sample_size = 1)]
fn delete_a_hundred_by_range(bencher: Bencher<'_, '_>) {
    let database = Database::new();
    let next = AtomicI64::new(ROWS);
    let fill = || {
        let from = next.fetch_add(100, Ordering::Relaxed);
        database.fill(from..from + 100);
        from
    };
    let sql = "DELETE FROM large WHERE id >= $1 AND id < $2";
    bencher.with_inputs(fill).bench_local_values(|from| database.run("ann", sql, vec![json!(from), json!(from + 100)]));
}
