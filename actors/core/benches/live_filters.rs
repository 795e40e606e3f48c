//! What a change costs a live query: with its compiled filter, and with the filter's text read anew for each change.
//!
//! Run it as `cargo bench --workspace --bench live_filters`: with `-p` other features are resolved, and RocksDB is built anew.
//! The bar is half of the time, the aim a twentieth. One call is one change of one row: decoded, filtered, and written as
//! JSON where it matches. `text_each_time` parses the condition and makes an expression of it with DataFusion alone, over
//! the columns that are known already: the least that one has to do who keeps the text. `query_each_time` is the way of a
//! subscription whose text was not seen before, checks and the way to a thread for statements included.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use divan::Bencher;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Identity, NamespaceId, Role, Seq, UserId};
use kalamdb_core::{BuildInfo, Engine, EngineArgs, LiveCaller, SqlRequest};
use kalamdb_live::{LiveProgram, LiveQuery, LiveSource};
use kalamdb_store::codec::changelog::LogEntry;
use kalamdb_wire::{RowChanges, SubscribeOptions, SubscribeRequest};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

const NUMBER: &str = "stars >= 3";
const BOTH: &str = "conversation = 'conversation-3' AND stars >= 2";
const FUNCTIONS: &str = "upper(text) LIKE '%MESSAGE 1%' OR (length(text) % 7 = 2 AND stars IN (1, 3))";

/// Rows that are inserted and then changed, each by a statement of its own.
const ROWS: i64 = 200;

fn main() {
    divan::main();
}

struct Database {
    threads: Runtime,
    engine: Engine,
    source: Arc<dyn LiveSource>,
}

impl Database {
    fn new() -> Self {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let mut settings = Settings::default();
        settings.storage.backend = "memory".to_owned();
        let build = BuildInfo { version: "bench", branch: "bench", commit: "bench" };
        let engine = threads
            .block_on(Engine::start(EngineArgs { settings: Arc::new(settings), build }))
            .expect("the engine starts");
        let source = engine.live_source();
        let database = Self { threads, engine, source };
        database
            .run("CREATE USER TABLE t (id BIGINT PRIMARY KEY, conversation TEXT, text TEXT, stars INT)", Vec::new());
        for id in 0..ROWS {
            let values = vec![
                json!(id),
                json!(format!("conversation-{}", id % 5)),
                json!(format!("message {id}")),
                json!(id % 7),
            ];
            database.run("INSERT INTO t VALUES ($1, $2, $3, $4)", values);
            database.run("UPDATE t SET stars = $2 WHERE id = $1", vec![json!(id), json!(id % 4)]);
        }
        database
    }

    fn run(&self, sql: &str, params: Vec<Json>) {
        let request = SqlRequest {
            identity: ann(),
            header_user: Ok(None),
            sql: sql.to_owned(),
            params: Arc::new(params),
            namespace: NamespaceId::default_namespace(),
            request_id: "bench".to_owned(),
        };
        let outcome = self.threads.block_on(self.engine.execute(request));
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }

    fn compile(&self, sql: String) -> LiveQuery {
        let caller = LiveCaller { identity: ann(), header_user: Ok(None) };
        let request = SubscribeRequest {
            query_id: "q".to_owned(),
            sql,
            params: Vec::new(),
            namespace: None,
            user_id: None,
            options: SubscribeOptions::default(),
        };
        self.threads.block_on(self.source.compile(&caller, &request)).expect("a live query")
    }

    /// Every change of the query's partition.
    fn entries(&self, query: &LiveQuery) -> Vec<LogEntry> {
        let reader = self.source.reader(query);
        let (mut entries, mut reached, published) = (Vec::new(), Seq(0), reader.published());
        while reached < published {
            let page = self.threads.block_on(reader.log(reached, published, usize::MAX)).expect("the change log");
            entries.extend(page.entries.into_iter().map(|(_, entry)| entry));
            reached = page.reached;
        }
        assert_eq!(entries.len() as i64, 2 * ROWS);
        entries
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        drop(self.threads.block_on(self.engine.stop(deadline)));
    }
}

fn ann() -> Identity {
    Identity { user_id: UserId::new("ann").expect("a user id"), role: Role::Dba }
}

fn query(filter: &str) -> String {
    format!("SELECT id, text FROM t WHERE {filter}")
}

/// Reads a condition's text, over columns that are known.
struct Texts {
    context: SessionContext,
    columns: DFSchema,
}

impl Texts {
    fn new(program: &LiveProgram) -> Self {
        let decoded = program.format.decode(&[]).expect("no rows");
        let columns = DFSchema::try_from(decoded.schema()).expect("columns");
        Self { context: SessionContext::new(), columns }
    }

    /// The same program with the condition compiled anew.
    fn program(&self, filter: &str, program: &LiveProgram) -> LiveProgram {
        let expr = self.context.parse_sql_expr(filter, &self.columns).expect("a condition");
        let filter = self.context.create_physical_expr(expr, &self.columns).expect("an expression");
        LiveProgram {
            filter: Some(filter),
            outputs: program.outputs.clone(),
            schema: Arc::clone(&program.schema),
            format: Arc::clone(&program.format),
        }
    }
}

fn changes(program: &LiveProgram, entry: &LogEntry) -> [RowChanges; 3] {
    program.changes(entry).expect("changes")
}

#[divan::bench(args = [NUMBER, BOTH, FUNCTIONS])]
fn compiled(bencher: Bencher<'_, '_>, filter: &str) {
    let database = Database::new();
    let query = database.compile(query(filter));
    let entries = database.entries(&query);
    let mut next = entries.iter().cycle();
    bencher.bench_local(|| next.next().map(|entry| changes(&query.program, entry)));
}

#[divan::bench(args = [NUMBER, BOTH, FUNCTIONS])]
fn text_each_time(bencher: Bencher<'_, '_>, filter: &str) {
    let database = Database::new();
    let query = database.compile(query(filter));
    let entries = database.entries(&query);
    let texts = Texts::new(&query.program);
    // What is compared has to come to the same.
    let mut matched = 0;
    for entry in &entries {
        let found = changes(&texts.program(filter, &query.program), entry);
        let expected = changes(&query.program, entry);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((&found.rows, &found.old_rows), (&expected.rows, &expected.old_rows));
        }
        matched += usize::from(found.iter().any(|changes| !changes.rows.is_empty()));
    }
    assert!(matched > 0 && matched < entries.len(), "{matched} of {} match", entries.len());
    let mut next = entries.iter().cycle();
    bencher.bench_local(|| next.next().map(|entry| changes(&texts.program(filter, &query.program), entry)));
}

#[divan::bench(args = [NUMBER, BOTH, FUNCTIONS])]
fn query_each_time(bencher: Bencher<'_, '_>, filter: &str) {
    let database = Database::new();
    let known = database.compile(query(filter));
    let entries = database.entries(&known);
    let mut next = entries.iter().cycle();
    let mut number = 0_u64;
    bencher.bench_local(|| {
        // Another text for the same query is not known yet.
        number += 1;
        let query = database.compile(format!("{} -- {number}", query(filter)));
        next.next().map(|entry| changes(&query.program, entry))
    });
}
