//! CA-1, CA-3: DDL against running writers and readers. No acknowledged row is lost, none lands under a
//! dropped table, nobody sees a stale schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use kalamdb_tests::{Answer, Client, TestServer, eventually};

const ROUNDS: u64 = 10;
const USERS: u64 = 3;

/// Told to writers and readers, and counted by them.
#[derive(Debug, Default)]
struct Load {
    over: AtomicBool,
    acknowledged: AtomicU64,
    read: AtomicU64,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Returns once writers and readers did something since the call.
    async fn advance(&self) {
        let written = self.acknowledged.load(Ordering::Relaxed) + 3;
        let read = self.read.load(Ordering::Relaxed) + 3;
        eventually("writers and readers go on", std::time::Duration::from_secs(30), async || {
            let further =
                self.acknowledged.load(Ordering::Relaxed) >= written && self.read.load(Ordering::Relaxed) >= read;
            further.then_some(())
        })
        .await;
    }

    async fn end(&self, mut tasks: JoinSet<()>) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(done) = tasks.join_next().await {
            done.expect("a writer or reader");
        }
    }
}

/// What a statement may meet while its table is dropped and made again.
fn assert_expected(answer: &Answer) {
    let expected =
        answer.status == 200 || ["TABLE_NOT_FOUND", "COLUMN_NOT_FOUND", "DUPLICATE_KEY"].contains(&answer.code());
    assert!(expected, "{}: {} {}", answer.asked, answer.status, answer.text);
}

async fn write(caller: Client, load: Arc<Load>) {
    let mut id = 0;
    while load.goes_on() {
        id += 1;
        let answer = caller.sql_params("INSERT INTO t (id) VALUES ($1), (-$1)", json!([id])).await;
        assert_expected(&answer);
        load.acknowledged.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
    }
}

/// Reads whole rows: every row of an answer has exactly the columns of one life of the table, and the
/// round that life was made with.
async fn read(caller: Client, load: Arc<Load>) {
    while load.goes_on() {
        let answer = caller.sql("SELECT * FROM t").await;
        assert_expected(&answer);
        load.read.fetch_add(1, Ordering::Relaxed);
        if answer.status != 200 {
            continue;
        }
        let columns = answer.columns();
        assert_eq!(columns.len(), 3, "{}", answer.text);
        let round = columns[2].trim_start_matches('c').trim_end_matches(" TEXT").to_owned();
        assert_eq!(answer.rows().len() % 2, 0, "a statement of two rows, whole or not at all");
        for row in answer.rows() {
            assert_eq!(row["round"].to_string(), round, "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn drop_and_create_against_writers_and_readers() {
    let server = TestServer::start().await;
    let admin = server.admin();
    let create = |round: u64| {
        format!("CREATE USER TABLE t (id BIGINT PRIMARY KEY, round BIGINT NOT NULL DEFAULT {round}, c{round} TEXT)")
    };
    admin.sql(create(0)).await.ok();
    let load = Arc::new(Load::default());
    let mut tasks = JoinSet::new();
    for user in 0..USERS {
        let caller = server.user(&format!("u{user}"));
        tasks.spawn(write(caller.clone(), Arc::clone(&load)));
        tasks.spawn(read(caller, Arc::clone(&load)));
    }
    for round in 1..=ROUNDS {
        load.advance().await;
        admin.sql("DROP TABLE t").await.ok();
        // Acknowledged: nobody finds it any more.
        admin.sql("SELECT count(*) FROM t").await.fails(404, "TABLE_NOT_FOUND");
        admin.sql(create(round)).await.ok();
        // Made anew, it is empty for whoever has not written since.
        let fresh = server.user("nobody").sql("SELECT * FROM t").await.success();
        assert_eq!(fresh.columns()[2], format!("c{round} TEXT"));
        assert_eq!(fresh.rows().len(), 0);
    }
    load.end(tasks).await;
}

#[tokio::test]
async fn other_tables_come_and_go_without_a_lost_row() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE kept (id BIGINT PRIMARY KEY)").await.ok();
    let load = Arc::new(Load::default());
    let mut tasks = JoinSet::new();
    for user in 0..USERS {
        let (caller, load) = (server.user(&format!("u{user}")), Arc::clone(&load));
        tasks.spawn(async move {
            let mut id: u64 = 0;
            while load.goes_on() {
                id += 1;
                caller.sql_params("INSERT INTO kept VALUES ($1)", json!([id])).await.ok();
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
                let seen = caller.sql("SELECT count(*) FROM kept").await.success();
                assert_eq!(seen.scalar(), json!(id));
                load.read.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..ROUNDS {
        admin.sql(format!("CREATE SHARED TABLE other{round} (id BIGINT PRIMARY KEY)")).await.ok();
        load.advance().await;
        admin.sql(format!("DROP TABLE other{round}")).await.ok();
    }
    load.end(tasks).await;
}

#[tokio::test]
async fn one_name_is_made_once() {
    let server = TestServer::start().await;
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let admin = server.admin();
            tasks
                .spawn(async move { admin.sql(format!("CREATE SHARED TABLE t{round} (id BIGINT PRIMARY KEY)")).await });
        }
        let answers = tasks.join_all().await;
        let made = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(made, 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.fails(409, "TABLE_EXISTS");
        }
    }
}

#[tokio::test]
async fn a_dropped_namespace_takes_no_table() {
    let server = TestServer::start().await;
    let admin = server.admin();
    for round in 0..8 {
        let namespace = format!("{}_{round}", server.namespace());
        admin.sql(format!("CREATE NAMESPACE {namespace}")).await.ok();
        let (create, drop_) = (admin.clone(), admin.clone());
        let create_sql = format!("CREATE USER TABLE {namespace}.t (id BIGINT PRIMARY KEY)");
        let drop_sql = format!("DROP NAMESPACE {namespace}");
        let (created, dropped) = tokio::join!(create.sql(&create_sql), drop_.sql(&drop_sql));
        match (created.status, dropped.status) {
            (200, 409) => dropped.fails(409, "NAMESPACE_NOT_EMPTY"),
            (404, 200) => created.fails(404, "NAMESPACE_NOT_FOUND"),
            _ => panic!("{} and {}", created.text, dropped.text),
        };
        admin.sql(format!("DROP NAMESPACE IF EXISTS {namespace} CASCADE")).await.ok();
    }
}

/// Columns come, go and change their names under writers and readers: every row reads as the table is, with each
/// column's own constant.
#[tokio::test]
async fn columns_come_and_go_against_writers_and_readers() {
    let server = TestServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)").await.ok();
    let load = Arc::new(Load::default());
    let mut tasks = JoinSet::new();
    for user in 0..USERS {
        let (writer, reader) = (server.user(&format!("u{user}")), server.user(&format!("u{user}")));
        let (writing, reading) = (Arc::clone(&load), Arc::clone(&load));
        tasks.spawn(async move {
            let mut id: i64 = 0;
            while writing.goes_on() {
                id += 1;
                writer.sql_params("INSERT INTO t (id, n) VALUES ($1, $1)", json!([id])).await.ok();
                writer.sql_params("UPDATE t SET n = n + 1 WHERE id = $1", json!([id])).await.ok();
                writing.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            let rows = writer.sql("SELECT count(*), sum(n - id) AS changed FROM t").await.success();
            assert_eq!(rows.values(), [[json!(id), json!(id)]], "no row and no change is lost");
        });
        tasks.spawn(async move {
            while reading.goes_on() {
                let answer = reader.sql("SELECT * FROM t").await.success();
                for row in answer.rows() {
                    for (name, value) in row.as_object().expect("a row").iter().skip(2) {
                        assert_eq!(format!("c{value}"), name.trim_end_matches("_new"), "{row}");
                    }
                }
                reading.read.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..ROUNDS {
        admin.sql(format!("ALTER TABLE t ADD COLUMN c{round} INT NOT NULL DEFAULT {round}")).await.ok();
        load.advance().await;
        admin.sql(format!("ALTER TABLE t RENAME COLUMN c{round} TO c{round}_new")).await.ok();
        load.advance().await;
        if round % 2 == 0 {
            admin.sql(format!("ALTER TABLE t DROP COLUMN c{round}_new")).await.ok();
            let columns = server.user("nobody").sql("SELECT * FROM t").await.success().columns();
            assert!(!columns.iter().any(|column| column.starts_with(&format!("c{round}_"))), "{columns:?}");
        }
    }
    load.end(tasks).await;
}
