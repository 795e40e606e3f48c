//! A thousand clients where a few hundred may connect, a few dozen wait, and two of a user run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use kalamdb_tests::{BinaryServer, Role, eventually};

use super::MIB;
use super::asker::{Asker, Said};

const CLIENTS: usize = 1000;
const USERS: usize = 20;
/// Requests on one connection; then the next client gets its place.
const REQUESTS: i64 = 4;
/// Rows written until the crowd goes home.
const ENOUGH_ROWS: usize = 500;
/// What the server may take beyond what it took before the crowd came: the limits below, RocksDB's, and slack for
/// a debug build's connections.
const MOST_MORE_MEMORY: u64 = 400 * MIB;
/// Reads that need memory, and time.
const HEAVY: &str = "SELECT count(*) FROM (SELECT a.id, b.id, array_agg(repeat(a.v, 20)) AS vs
    FROM crowd.t AS a, crowd.t AS b GROUP BY a.id, b.id) AS q WHERE cardinality(vs) > 0";

/// What one client was told.
#[derive(Debug, Default)]
struct Told {
    user: String,
    written: Vec<i64>,
    codes: BTreeMap<String, usize>,
}

/// Comes again and again until the crowd goes home.
async fn client(base: Arc<str>, number: usize, go_home: Arc<AtomicBool>, written: Arc<AtomicUsize>) -> Told {
    let user = format!("user{}", number % USERS);
    let authorization = Asker::authorization(&user);
    let mut told = Told { user, ..Told::default() };
    let mut id = i64::try_from(number).expect("a small number") * 1_000_000;
    loop {
        let mut asker = Asker::open(&base, &authorization).await;
        for request in 0..REQUESTS {
            id += 1;
            let (sql, is_write) = match request % 4 {
                0 | 2 => (format!("INSERT INTO crowd.t VALUES ({id}, 'value of {id}')"), true),
                1 => ("SELECT count(*) FROM crowd.t".to_owned(), false),
                _ if number % 50 == 7 => (HEAVY.to_owned(), false),
                _ => (format!("SELECT v FROM crowd.t WHERE id = {id}"), false),
            };
            match asker.ask(&sql).await {
                Said::Success(_) if is_write => {
                    told.written.push(id);
                    written.fetch_add(1, Ordering::AcqRel);
                }
                Said::Success(_) => {}
                Said::Refused(code) => *told.codes.entry(code).or_default() += 1,
            }
        }
        if go_home.load(Ordering::Acquire) {
            return told;
        }
    }
}

fn depths(node: &Value) -> u64 {
    let children = node["children"].as_array().into_iter().flatten();
    node["mailbox_depth"].as_u64().expect("a depth") + children.map(depths).sum::<u64>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_gets_answers_of_the_contract_and_then_full_service() {
    let server = BinaryServer::start_with(&[
        ("query.max_concurrent_per_user", "2"),
        ("query.max_waiting", "50"),
        ("query.memory_limit", "64MiB"),
        ("storage.memory", "64MiB"),
        ("server.max_connections", "300"),
        ("server.request_timeout", "5s"),
        ("storage.durability", "buffered"),
        ("logging.level", "error"),
    ])
    .await;
    let admin = server.admin();
    admin.sql("CREATE NAMESPACE crowd; CREATE USER TABLE crowd.t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let before = server.peak_memory();

    let (base, go_home): (Arc<str>, _) = (server.url().into(), Arc::new(AtomicBool::new(false)));
    let count = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&base), number, Arc::clone(&go_home), Arc::clone(&count)));
    }
    // Each finishes what it is at before it goes home, so everybody has had a turn at the door.
    eventually("the crowd has been served for a while", Duration::from_secs(120), async || {
        (count.load(Ordering::Acquire) >= ENOUGH_ROWS).then_some(())
    })
    .await;
    go_home.store(true, Ordering::Release);

    let mut written: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for told in clients.join_all().await {
        written.entry(told.user).or_default().extend(told.written);
        for (code, count) in told.codes {
            *codes.entry(code).or_default() += count;
        }
    }
    assert!(codes.get("OVERLOADED").is_some_and(|count| *count > 0), "it was no overload: {codes:?}");

    let after = server.peak_memory();
    if let (Some(before), Some(after)) = (before, after) {
        let more = after.saturating_sub(before);
        assert!(more < MOST_MORE_MEMORY, "{} MiB more than before: {codes:?}", more / MIB);
    }
    assert!(admin.is_ready().await);
    for (user, mut written) in written {
        written.sort_unstable();
        let caller = admin.as_role(&user, Role::User);
        let found: Vec<i64> = caller
            .sql("SELECT id FROM crowd.t ORDER BY id")
            .await
            .success()
            .column("id")
            .iter()
            .map(|id| id.as_i64().expect("a number"))
            .collect();
        assert!(found == written, "{user}: {} rows for {} acknowledged", found.len(), written.len());
        caller.sql("INSERT INTO crowd.t VALUES (-1, 'after')").await.ok();
    }
    let tree = eventually("nothing waits", Duration::from_secs(20), async || {
        let tree = admin.get("/api/actors").await;
        (depths(&tree.body) <= 1).then_some(tree.body)
    })
    .await;
    for child in tree["children"].as_array().expect("children") {
        assert_eq!((&child["restarts"], &child["last_error"]), (&Value::from(0), &Value::Null), "{child}");
    }
}
