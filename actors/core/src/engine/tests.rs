//! The engine over the memory backend, below the actors.

mod casts;
mod flushed;
mod live_heavy;
mod plain;
mod plans;
mod plans_random;
mod ranges;
mod sessions;
mod twins;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kalamdb_commons::settings::Settings;
use kalamdb_commons::{ErrorCode, Identity, NamespaceId, Outcome, Result, Role, TableType, UserId};
use kalamdb_sql::{ParsedStatement, Statement};
use kalamdb_store::BackendRegistry;
use kalamdb_wire::StatementResult;
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dml::{self, Dml};
use super::params::Params;
use super::query::select;
use super::scope::{Caller, Scope};
use super::{Runtime, run_request};
use crate::tree::{Tree, TreeArgs};
use crate::{SqlOutcome, SqlRequest};

/// A server without a door.
struct Server {
    runtime: Arc<Runtime>,
    tree: Tree,
}

fn identity(user: &str, role: Role) -> Identity {
    Identity { user_id: UserId::new(user).expect("a user id"), role }
}

impl Server {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on(BackendRegistry::standard(), change).await
    }

    async fn start_on(registry: BackendRegistry, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.storage.backend = "memory".to_owned();
        change(&mut settings);
        // Rows stay where the tests count them.
        settings.flush.default_rows = u64::MAX;
        let runtime = Arc::new(Runtime::open(Arc::new(settings), registry).await.expect("the memory backend opens"));
        let tree = Tree::start(TreeArgs::new(Arc::clone(&runtime))).await.expect("the tree starts");
        Self { runtime, tree }
    }

    fn request(user: &str, role: Role, sql: &str, params: Vec<Json>) -> SqlRequest {
        SqlRequest {
            identity: identity(user, role),
            header_user: Ok(None),
            sql: sql.to_owned(),
            params: Arc::new(params),
            namespace: NamespaceId::default_namespace(),
            request_id: "test".to_owned(),
        }
    }

    async fn outcome(&self, user: &str, role: Role, sql: &str, params: Vec<Json>) -> SqlOutcome {
        self.tree.execute(Self::request(user, role, sql, params), None).await
    }

    async fn run(&self, user: &str, sql: &str, params: Vec<Json>) -> Vec<StatementResult> {
        let outcome = self.outcome(user, Role::Dba, sql, params).await;
        assert!(outcome.error.is_none(), "{sql}: {:?}", outcome.error);
        outcome.results
    }

    async fn scalar(&self, user: &str, sql: &str) -> Json {
        let results = self.run(user, sql, Vec::new()).await;
        let rows: Json = serde_json::from_str(results.last().expect("a result").rows.as_str()).expect("JSON");
        rows[0].as_object().and_then(|row| row.values().next()).cloned().expect("one value")
    }

    fn scope(&self, user: &str, statement: &ParsedStatement, cancel: &CancellationToken) -> Scope {
        let identity = identity(user, Role::User);
        let caller = Caller::new(&self.runtime, identity, Ok(None), NamespaceId::default_namespace(), cancel);
        Scope::new(&self.runtime, &caller, statement, Instant::now() + Duration::from_secs(60))
    }

    /// How many keys a query looks at.
    async fn keys_read(&self, user: &str, sql: &str) -> u64 {
        self.keys_read_of(TableType::User, user, sql).await
    }

    /// The same where the rows of tables of a kind are.
    async fn keys_read_of(&self, kind: TableType, user: &str, sql: &str) -> u64 {
        let parsed = kalamdb_sql::statements(sql).next().expect("a statement").expect("it parses");
        let scope = self.scope(user, &parsed, &CancellationToken::new());
        let context = scope.begin(None).await.expect("a context");
        let Statement::Query(query) = parsed.statement else { panic!("a query") };
        select(&context, *query, None, &Params::none()).await.expect("it runs");
        context.rows_of(kind).expect("it reads").keys_read()
    }
}

fn insert_many(table: &str, rows: std::ops::Range<usize>) -> String {
    let values: Vec<String> = rows.map(|id| format!("({id}, 'row {id}')")).collect();
    format!("INSERT INTO {table} VALUES {}", values.join(", "))
}

/// The partition's own record, which says whether it has segments.
const RECORD: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_ten_rows_pays_for_ten() {
    let server = Server::start().await;
    server.run("admin", "CREATE USER TABLE notes (id BIGINT PRIMARY KEY, text TEXT)", vec![]).await;
    for chunk in 0..20 {
        let sql = insert_many("notes", chunk * 5000..(chunk + 1) * 5000);
        server.run("big", &sql, vec![]).await;
    }
    server.run("small", &insert_many("notes", 0..10), vec![]).await;

    assert_eq!(server.keys_read("small", "SELECT * FROM notes").await, RECORD + 10);
    assert_eq!(server.keys_read("small", "SELECT count(*) FROM notes WHERE text LIKE 'row%'").await, RECORD + 10);
    assert_eq!(server.keys_read("nobody", "SELECT * FROM notes").await, RECORD);
    let lookup = "SELECT text FROM notes WHERE id = 77777";
    assert_eq!(server.keys_read("big", lookup).await, 1, "a key that is hot is in no segment");
    assert_eq!(
        server.keys_read("big", "SELECT text FROM notes WHERE id >= 99990").await,
        RECORD + 10,
        "a range of keys"
    );
    assert_eq!(server.keys_read("big", "SELECT text FROM notes WHERE id = 5 AND id = 6").await, 0);
    assert!(server.keys_read("big", "SELECT text FROM notes LIMIT 3").await <= 256, "LIMIT reaches the scan");
}

/// The same promise for rows in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_ten_rows_of_a_stream_pays_for_ten() {
    let server = Server::start().await;
    let table = "CREATE STREAM TABLE events (id BIGINT PRIMARY KEY, text TEXT) WITH (ttl = '1h', max_rows = '100000')";
    server.run("admin", table, vec![]).await;
    for chunk in 0..5 {
        let sql = insert_many("events", chunk * 5000..(chunk + 1) * 5000);
        server.run("big", &sql, vec![]).await;
    }
    server.run("small", &insert_many("events", 0..10), vec![]).await;
    // Whether the record is looked at as well is no matter.
    let read = async |user: &str, sql: &str| server.keys_read_of(TableType::Stream, user, sql).await;
    for sql in ["SELECT * FROM events", "SELECT count(*) FROM events WHERE text LIKE 'row%'"] {
        let small = read("small", sql).await;
        assert!((10..=RECORD + 10).contains(&small), "{sql}: {small}");
        let nobody = read("nobody", sql).await;
        assert!(nobody <= RECORD, "{sql}: {nobody}");
        let big = read("big", sql).await;
        assert!(big >= 25_000, "{sql}: the others' rows are there: {big}");
    }
    let lookup = read("big", "SELECT text FROM events WHERE id = 17777").await;
    assert!((1..=RECORD + 1).contains(&lookup), "{lookup}");
    let range = read("big", "SELECT text FROM events WHERE id >= 24990").await;
    assert!((10..=RECORD + 10).contains(&range), "{range}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_of_one_row_all_count() {
    let server = Arc::new(Server::start().await);
    server
        .run(
            "u",
            "CREATE USER TABLE counter (id BIGINT PRIMARY KEY, n BIGINT); INSERT INTO counter VALUES (1, 0)",
            vec![],
        )
        .await;
    let increments = (0..8).map(|_| {
        let server = Arc::clone(&server);
        async move {
            for _ in 0..25 {
                server.run("u", "UPDATE counter SET n = n + 1 WHERE id = 1", vec![]).await;
            }
        }
    });
    futures::future::join_all(increments).await;
    assert_eq!(server.scalar("u", "SELECT n FROM counter").await, json!(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_upserts_and_whole_table_updates_lose_nothing() {
    let server = Arc::new(Server::start().await);
    server.run("u", "CREATE SHARED TABLE tally (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)", vec![]).await;
    let work = (0..8).map(|worker| {
        let server = Arc::clone(&server);
        async move {
            for round in 0..20_i64 {
                let upsert = "INSERT INTO tally VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET n = tally.n + 1";
                server.run("u", upsert, vec![json!(round % 4)]).await;
                if worker == 0 {
                    server.run("u", "UPDATE tally SET n = n + 100 WHERE n > -1", vec![]).await;
                }
            }
        }
    });
    futures::future::join_all(work).await;
    let ones = server.scalar("u", "SELECT sum(n) % 100 FROM tally").await;
    assert_eq!(ones, json!(160 % 100), "each upsert counted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_whole_or_gone() {
    // RocksDB: its write takes as long as a sync, and that is when a reader must not look.
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let mut settings = Settings::default();
    settings.storage.rocksdb_dir = dir.path().join("db");
    let runtime =
        Arc::new(Runtime::open(Arc::new(settings), BackendRegistry::standard()).await.expect("RocksDB opens"));
    let tree = Tree::start(TreeArgs::new(Arc::clone(&runtime))).await.expect("the tree starts");
    let server = Server { runtime, tree };
    for _ in 0..60 {
        server.run("u", "CREATE SHARED TABLE brief (id BIGINT PRIMARY KEY, v TEXT)", vec![]).await;
        server.run("u", &insert_many("brief", 0..50), vec![]).await;
        let reads = AtomicUsize::new(0);
        let readers = futures::future::join_all((0..4).map(|_| async {
            loop {
                let outcome = server.outcome("u", Role::Dba, "SELECT id FROM brief", vec![]).await;
                reads.fetch_add(1, Ordering::Relaxed);
                match outcome.error {
                    None => {
                        assert_eq!(outcome.results[0].row_count, 50, "a table that is being dropped is read in part")
                    }
                    Some(failed) => break assert_eq!(failed.error.code, ErrorCode::TableNotFound),
                }
            }
        }));
        let drop_it = async {
            while reads.load(Ordering::Relaxed) < 8 {
                tokio::task::yield_now().await;
            }
            server.run("u", "DROP TABLE brief", vec![]).await;
        };
        tokio::join!(readers, drop_it);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_called_off_changes_nothing() {
    let server = Server::start().await;
    server.run("u", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)", vec![]).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let parsed = kalamdb_sql::statements("INSERT INTO t VALUES (1)").next().expect("one").expect("it parses");
    let scope = server.scope("u", &parsed, &cancel);
    let Statement::Insert(insert) = parsed.statement else { panic!("an INSERT") };
    let error = dml::run(&scope, Dml::Insert(&insert), None, &Params::none()).await.expect_err("called off");
    assert_eq!(error.code, ErrorCode::ShuttingDown);
    assert_eq!(server.scalar("u", "SELECT count(*) FROM t").await, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_query_ends_with_timeout() {
    let mut settings = Settings::default();
    settings.storage.backend = "memory".to_owned();
    settings.server.request_timeout = Duration::from_millis(200);
    let runtime = Arc::new(Runtime::open(Arc::new(settings), BackendRegistry::standard()).await.expect("opens"));
    let tree = Tree::start(TreeArgs::new(Arc::clone(&runtime))).await.expect("starts");
    let server = Server { runtime, tree };
    // A busy machine may need longer than that for these.
    let setup = format!("CREATE USER TABLE t (id BIGINT PRIMARY KEY, text TEXT); {}", insert_many("t", 0..2000));
    for sql in setup.split_inclusive(';') {
        let (clients, request) = (server.tree.clients(), Server::request("u", Role::Dba, sql, vec![]));
        let deadline = Instant::now() + Duration::from_secs(60);
        let outcome =
            run_request(&server.runtime, &clients, None, &request, None, deadline, &CancellationToken::new()).await.0;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }
    // Billions of pairs: no machine is done with them in time.
    let sql = "SELECT count(*) FROM t a, t b, t c WHERE a.text || b.text || c.text LIKE '%x%'";
    let outcome = server.outcome("u", Role::User, sql, vec![]).await;
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::Timeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_and_foreign_partitions_need_a_role() -> Result<()> {
    let server = Server::start().await;
    server.run("admin", "CREATE SHARED TABLE s (id BIGINT PRIMARY KEY) WITH (access = 'private')", vec![]).await;
    for sql in ["CREATE NAMESPACE x", "DROP TABLE s", "SELECT * FROM s", "INSERT INTO s VALUES (1)", "DESCRIBE s"] {
        let outcome = server.outcome("u", Role::User, sql, vec![]).await;
        assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::Forbidden), "{sql}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_parameters_is_refused_before_it_begins() {
    let server = Server::start().await;
    let clients = server.tree.clients();
    let request = Server::request("u", Role::Dba, "CREATE NAMESPACE a; SELECT $1", vec![json!(1)]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let outcome =
        run_request(&server.runtime, &clients, None, &request, None, deadline, &CancellationToken::new()).await.0;
    assert!(outcome.results.is_empty());
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::ParamsWithBatch));
}

#[tokio::test(flavor = "multi_thread")]
async fn time_spent_waiting_is_time_of_the_first_statement() {
    let server = Server::start().await;
    server.run("u", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)", vec![]).await;
    let clients = server.tree.clients();
    let run = async |sql: &str, deadline: Instant| {
        let request = Server::request("u", Role::Dba, sql, vec![]);
        run_request(&server.runtime, &clients, None, &request, None, deadline, &CancellationToken::new()).await.0
    };
    // It came so long ago that its time is over before it begins.
    let past = Instant::now().checked_sub(Duration::from_secs(1)).expect("the clock has run for a second");
    let outcome = run("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", past).await;
    let failed = outcome.error.expect("out of time");
    assert_eq!((failed.error.code, failed.statement), (ErrorCode::Timeout, Some(0)));
    assert_eq!(failed.error.outcome, Outcome::NothingChanged);
    assert_eq!(server.scalar("u", "SELECT count(*) FROM t").await, json!(0));
    assert_eq!(run("SELECT 1", past).await.error.map(|failed| failed.error.code), Some(ErrorCode::Timeout));
    // DDL runs until it is done, and a later statement has its own time.
    let outcome = run("CREATE NAMESPACE late; INSERT INTO t VALUES (3)", past).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(server.scalar("u", "SELECT count(*) FROM t").await, json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_to_be_written_count_as_memory_while_they_are_written() {
    let mut settings = Settings::default();
    settings.storage.backend = "memory".to_owned();
    settings.query.memory_limit = 1 << 20;
    let runtime = Arc::new(Runtime::open(Arc::new(settings), BackendRegistry::standard()).await.expect("opens"));
    let tree = Tree::start(TreeArgs::new(Arc::clone(&runtime))).await.expect("starts");
    let server = Server { runtime, tree };
    server.run("u", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, text TEXT)", vec![]).await;
    let insert = |id: usize, length: usize| format!("INSERT INTO t VALUES ({id}, '{}')", "x".repeat(length));
    let outcome = server.outcome("u", Role::User, &insert(0, 700 << 10), vec![]).await;
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::ResourcesExhausted));
    // What was taken is given back, also that of the one that was refused.
    for id in 1..=10 {
        server.run("u", &insert(id, 300 << 10), vec![]).await;
    }
    assert_eq!(server.scalar("u", "SELECT count(*) FROM t").await, json!(10));
    assert_eq!(server.runtime.memory().reserved(), 0);
}

/// DDL that has begun runs until it is done; what was called off does not begin.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_a_request_that_was_called_off_are_not_begun() {
    let server = Server::start().await;
    let run = async |sql: &str, deadline: Instant, cancel: &CancellationToken| {
        let request = Server::request("admin", Role::Dba, sql, vec![]);
        run_request(&server.runtime, &server.tree.clients(), None, &request, None, deadline, cancel).await.0
    };
    let (later, cancelled) = (Instant::now() + Duration::from_secs(60), CancellationToken::new());
    cancelled.cancel();
    let sql = "CREATE NAMESPACE a; CREATE USER 'u'; DROP NAMESPACE IF EXISTS b";
    let outcome = run(sql, later, &cancelled).await;
    let error = outcome.error.expect("called off");
    assert_eq!((error.statement, error.error.code), (Some(0), ErrorCode::ShuttingDown));
    let outcome = run("CREATE NAMESPACE a", later, &CancellationToken::new()).await;
    assert!(outcome.error.is_none(), "nothing of it was done: {:?}", outcome.error);
}

/// What a request takes is its text, digits too.
#[test]
fn the_digits_of_a_number_are_counted() {
    let digits = "1".repeat(1 << 20);
    let number: Json = serde_json::from_str(&digits).expect("a number");
    let request = Server::request("u", Role::User, "SELECT $1", vec![number]);
    assert!(request.size_in_memory() > 1 << 20);
}
