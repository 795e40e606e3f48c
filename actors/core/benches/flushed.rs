//! What queries of flushed rows cost, beside DataFusion on the same files and beside rows that are hot.
//!
//! Run it as `cargo bench --workspace --bench flushed`. Two bars: an aggregate over 200 000 rows in 20 segments takes no more
//! than 1.5 times what DataFusion takes, and a point read among 1 000 000 rows in 20 segments less than 5 times one
//! of a hot row. Ratios of one run are what counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use divan::Bencher;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Identity, NamespaceId, Role, UserId};
use kalamdb_core::{BuildInfo, Engine, EngineArgs, SqlRequest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SEGMENTS: i64 = 20;
/// Rows of one INSERT.
const CHUNK: i64 = 5000;

const NUMBERS: &str = "SELECT count(*), sum(stars), min(id), max(id) FROM t";
const TEXTS: &str = "SELECT conversation, count(*), max(text), sum(stars) FROM t GROUP BY conversation";
const FILTERED: &str = "SELECT count(*), max(text) FROM t WHERE stars = 3 AND conversation > 'conversation-1'";

fn main() {
    divan::main();
}

struct Database {
    directory: TempDir,
    threads: Runtime,
    engine: Engine,
}

impl Database {
    /// A table of some rows, flushed in 20 segments between whose keys those of the others lie, or hot.
    fn new(rows: i64, is_flushed: bool) -> Self {
        let directory = TempDir::new().expect("a directory");
        let threads = Runtime::new().expect("threads");
        let mut settings = Settings::default();
        settings.storage.rocksdb_dir = directory.path().join("db");
        settings.storage.default_location = directory.path().join("storage");
        settings.flush.default_rows = u64::MAX;
        let build = BuildInfo { version: "bench", branch: "bench", commit: "bench" };
        let engine = threads
            .block_on(Engine::start(EngineArgs { settings: Arc::new(settings), build }))
            .expect("the engine starts");
        let database = Self { directory, threads, engine };
        database.run(
            "CREATE USER TABLE t (id BIGINT PRIMARY KEY, conversation TEXT, text TEXT, stars INT) \
             WITH (flush_interval = 'off')",
            Vec::new(),
        );
        for segment in 0..SEGMENTS {
            let ids: Vec<i64> = (0..rows / SEGMENTS).map(|row| row * SEGMENTS + segment).collect();
            for some in ids.chunks(CHUNK as usize) {
                let values: Vec<String> = some.iter().map(|id| row(*id)).collect();
                database.run(&format!("INSERT INTO t VALUES {}", values.join(", ")), Vec::new());
            }
            if is_flushed {
                database.run("FLUSH TABLE t", Vec::new());
            }
        }
        database
    }

    fn run(&self, sql: &str, params: Vec<Json>) -> u64 {
        let request = SqlRequest {
            identity: Identity { user_id: UserId::new("ann").expect("a user id"), role: Role::Dba },
            header_user: Ok(None),
            sql: sql.to_owned(),
            params: Arc::new(params),
            namespace: NamespaceId::default_namespace(),
            request_id: "bench".to_owned(),
        };
        let outcome = self.threads.block_on(self.engine.execute(request));
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        outcome.results.last().map_or(0, |result| result.row_count)
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        find(self.directory.path(), &mut found);
        found.iter().map(|path| path.display().to_string()).collect()
    }
}

fn row(id: i64) -> String {
    let noise = id.wrapping_mul(0x9e37_79b9);
    format!("({id}, 'conversation-{}', 'message {id} says something about {noise}', {})", id / 1000, id % 5)
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
}

const AGGREGATED: i64 = 200_000;

#[divan::bench(args = [NUMBERS, TEXTS, FILTERED], sample_count = 30, sample_size = 1)]
fn aggregate(bencher: Bencher<'_, '_>, sql: &str) {
    let database = Database::new(AGGREGATED, true);
    bencher.bench_local(|| database.run(sql, Vec::new()));
}

/// On one thread, and on two.
#[divan::bench(args = [NUMBERS, TEXTS, FILTERED], consts = [1, 2], sample_count = 30, sample_size = 1)]
fn aggregate_by_datafusion<const PARTITIONS: usize>(bencher: Bencher<'_, '_>, sql: &str) {
    let database = Database::new(AGGREGATED, true);
    let files = database.files();
    assert_eq!(files.len() as i64, SEGMENTS);
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(PARTITIONS));
    database.threads.block_on(async {
        let table = context.read_parquet(files, ParquetReadOptions::default()).await.expect("the files");
        context.register_table("t", table.into_view()).expect("registered");
    });
    bencher.bench_local(|| {
        database
            .threads
            .block_on(async { context.sql(sql).await.expect("planned").collect().await.expect("run").len() })
    });
}

#[divan::bench(consts = [false, true], sample_count = 500, sample_size = 1)]
fn point_read<const IS_FLUSHED: bool>(bencher: Bencher<'_, '_>) {
    let rows = 1_000_000;
    let database = Database::new(rows, IS_FLUSHED);
    let mut id = 0;
    bencher.bench_local(|| {
        id = (id + 48_271 * 7) % rows;
        assert_eq!(database.run("SELECT * FROM t WHERE id = $1", vec![json!(id)]), 1);
    });
}
