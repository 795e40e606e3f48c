//! WR-1, WR-3, SQ-1, FL-1 to FL-5: `kill -9` in the middle of concurrent writes and flushes, again and again.
//!
//! Tables are flushed by rows, by time and by command. Writers keep a journal of what was acknowledged. After each kill and restart every acknowledged row is
//! there with its value, a statement without an answer is there whole or not at all, nothing that a
//! reader saw is gone, definitions that were acknowledged exist, and no `_seq` ever means two changes; soon after, the
//! files in the storage are those that the manifest names, and no job is one of an earlier life.
//! `KALAMDB_CRASH_ROUNDS` says how often, three times if unset.

mod files;
mod journal;
mod sequence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use kalamdb_tests::{BinaryServer, Client, Role, eventually};

use files::Segments;
use journal::{Change, TABLES, Writer};
use sequence::Sequences;

const WRITERS: usize = 4;
/// Rows that wait when a table is flushed by itself.
const FLUSH_ROWS: &str = "1000";
/// Statements between two flushes by command. Each leaves a file for each writer, and nothing makes one of many.
const FLUSH_STATEMENTS: u64 = 20;
/// Rounds after which both tables are dropped and made anew: reads cost something for each file.
const ROUNDS_OF_A_TABLE: usize = 4;
const SCHEMA: &str = "
    CREATE USER TABLE crash.own (id BIGINT PRIMARY KEY, n BIGINT NOT NULL, v TEXT NOT NULL);
    CREATE SHARED TABLE crash.common (owner TEXT, id BIGINT, n BIGINT NOT NULL, v TEXT NOT NULL, PRIMARY KEY (owner, id))";

fn rounds() -> usize {
    let given = std::env::var("KALAMDB_CRASH_ROUNDS").ok();
    given.map_or(3, |text| text.parse().unwrap_or_else(|error| panic!("KALAMDB_CRASH_ROUNDS={text}: {error}")))
}

/// Told to the one who kills.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicU64,
    /// The highest statement number that the reader of the first writer saw.
    seen: AtomicI64,
    /// Flushes by command that found rows.
    flushed: AtomicU64,
    /// The server was killed.
    dead: AtomicBool,
}

/// Statement after statement until the connection breaks; gives the journal back.
async fn write(mut writer: Writer, caller: Client, progress: Arc<Progress>) -> Writer {
    loop {
        let (sql, params) = writer.next();
        let Ok(answer) = caller.try_sql(&sql, Some(params)).await else { return writer };
        let answer = answer.success();
        writer.acknowledged(answer.row_count());
        progress.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads the first writer's rows until the connection breaks.
async fn read(caller: Client, progress: Arc<Progress>) {
    while let Ok(answer) = caller.try_sql("SELECT max(n) AS n FROM crash.own", None).await {
        let highest = answer.success().scalar().as_i64().unwrap_or(0);
        progress.seen.fetch_max(highest, Ordering::Relaxed);
    }
}

/// Flushes one table after the other, each time that so many more statements were acknowledged, until the server is dead.
async fn flush(caller: Client, progress: Arc<Progress>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let mut flushed_at = progress.acknowledged.load(Ordering::Relaxed);
    for table in TABLES.into_iter().cycle() {
        while progress.acknowledged.load(Ordering::Relaxed) < flushed_at + FLUSH_STATEMENTS {
            if progress.dead.load(Ordering::Acquire) {
                return;
            }
            ticks.tick().await;
        }
        flushed_at = progress.acknowledged.load(Ordering::Relaxed);
        let Ok(answer) = caller.try_sql(format!("FLUSH TABLE {}", table.name()), None).await else { return };
        if answer.success().rows()[0]["status"] == json!("flushed") {
            progress.flushed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes against the running server until it is killed.
async fn one_life(server: &mut BinaryServer, writers: Vec<Writer>, progress: &Arc<Progress>) -> Vec<Writer> {
    let admin = server.admin();
    progress.dead.store(false, Ordering::Release);
    let mut tasks = JoinSet::new();
    let mut readers = JoinSet::new();
    readers.spawn(flush(admin.clone(), Arc::clone(progress)));
    readers.spawn(read(admin.as_role(&writers[0].name, Role::User), Arc::clone(progress)));
    for writer in writers {
        let caller = admin.as_role(&writer.name, Role::Service);
        tasks.spawn(write(writer, caller, Arc::clone(progress)));
    }
    let enough = progress.acknowledged.load(Ordering::Relaxed) + rand::random_range(20..150);
    let acknowledged = || progress.acknowledged.load(Ordering::Relaxed);
    // The first life goes on until a flush was acknowledged, too.
    let deadline = Instant::now() + Duration::from_secs(120);
    while acknowledged() < enough || progress.flushed.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline, "no flush was acknowledged");
        let before = acknowledged();
        eventually("writers go on", Duration::from_secs(60), async || (acknowledged() > before).then_some(())).await;
    }
    server.kill9();
    progress.dead.store(true, Ordering::Release);
    let mut writers = tasks.join_all().await;
    readers.join_all().await;
    writers.sort_by(|one, other| one.name.cmp(&other.name));
    writers
}

/// What is there against what the journal says.
async fn check(server: &BinaryServer, writer: &mut Writer, seen: i64, sequences: &mut Sequences) {
    let caller = server.admin().as_role(&writer.name, Role::Service);
    for table in TABLES {
        let sql = format!("SELECT id, n, v, _seq FROM {} WHERE {} ORDER BY id", table.name(), table.condition("$1"));
        let found = caller.sql_params(sql, json!([writer.name])).await.success();
        let rows = found.values();
        let number = |value: &serde_json::Value| value.as_i64().unwrap_or_else(|| panic!("{value} is no number"));
        for row in &rows {
            let (id, n) = (number(&row[0]), number(&row[1]));
            assert_eq!(row[2], json!(writer.value(n)), "{} of {}: row {id}", table.name(), writer.name);
            sequences.tell(number(&row[3]), format!("{} {} {id} {n}", table.name(), writer.name));
        }
        let ids: Vec<i64> = rows.iter().map(|row| number(&row[0])).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "a row twice: {ids:?}");
        let rows = rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
        writer.settle(table, rows, seen);
    }
    writer.begin_again();
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let mut server = BinaryServer::start_with(&[
        ("logging.level", "warn"),
        ("flush.default_rows", FLUSH_ROWS),
        ("flush.default_interval", "2s"),
    ])
    .await;
    server.admin().sql(format!("CREATE NAMESPACE crash; {SCHEMA}")).await.ok();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(format!("w{number}"))).collect();
    let (mut sequences, mut segments) = (Sequences::default(), Segments::default());
    let progress = Arc::new(Progress::default());
    let mut left = 0;
    for round in 0..rounds() {
        let made = format!("CREATE USER TABLE crash.made{round} (id BIGINT PRIMARY KEY)");
        server.admin().sql(made).await.ok();
        writers = one_life(&mut server, writers, &progress).await;
        server.restart().await;
        for (number, writer) in writers.iter_mut().enumerate() {
            let seen = if number == 0 { progress.seen.load(Ordering::Relaxed) } else { 0 };
            check(&server, writer, seen, &mut sequences).await;
        }
        sequences.end_of_life();
        segments.check(&server, round).await;
        let tables = server.admin().sql("SHOW TABLES IN crash").await.success().rows().len();
        assert_eq!(tables, 2 + round + 1, "tables acknowledged in round {round}");
        left += writers.iter().map(Writer::rows).sum::<usize>();
        if round % ROUNDS_OF_A_TABLE == ROUNDS_OF_A_TABLE - 1 {
            server.admin().sql(format!("DROP TABLE crash.own; DROP TABLE crash.common; {SCHEMA}")).await.ok();
            writers.iter_mut().for_each(Writer::lose_all);
        }
    }
    assert!(sequences.count() > 0);
    assert!(progress.flushed.load(Ordering::Relaxed) > 0 && segments.most() > 0, "tables were flushed meanwhile");
    assert!(left > 0, "the writers left rows to look at");
}

#[test]
fn the_journal_tells_whole_from_half() {
    let mut writer = Writer::new("w".into());
    writer.begin(TABLES[0], Change::Put(vec![1, 2]));
    writer.acknowledged(2);
    writer.begin(TABLES[0], Change::Put(vec![2, 3]));
    let state = |rows: &[(i64, i64)]| rows.iter().copied().collect();
    let settles = |writer: &Writer, rows: &[(i64, i64)], seen| {
        let (mut writer, rows) = (writer.clone(), state(rows));
        std::panic::catch_unwind(move || writer.settle(TABLES[0], rows, seen)).is_ok()
    };
    assert!(settles(&writer, &[(1, 1), (2, 1)], 1), "not at all");
    assert!(settles(&writer, &[(1, 1), (2, 2), (3, 2)], 1), "whole");
    assert!(!settles(&writer, &[(1, 1), (2, 2)], 1), "half");
    assert!(!settles(&writer, &[(1, 1)], 1), "an acknowledged row lost");
    assert!(!settles(&writer, &[(1, 1), (2, 1)], 2), "seen by a reader, and gone");
}
