//! What a connection and a user may have: changes that wait, and subscriptions.

use std::time::{Duration, Instant};

use kalamdb_commons::settings::Durability;
use kalamdb_core::LiveEnd;
use kalamdb_faults::Machine;
use kalamdb_wire::LiveOverview;
use serde_json::json;
use tokio::task::JoinSet;

use super::super::server::{LONG, Server};
use super::client::Client;

const SQL: &str = "SELECT id, text FROM t";
const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, text TEXT)";

async fn insert(server: &Server, id: i64, text: &str) {
    server.run("ann", "INSERT INTO t VALUES ($1, $2)", vec![json!(id), json!(text)]).await.expect("a row");
}

/// Waits until so many changes were put where they wait to be read.
async fn until_delivered(server: &Server, changes: u64) {
    until(server, |live| live.delivered >= changes).await;
}

async fn until(server: &Server, is_so: impl Fn(&LiveOverview) -> bool) {
    let deadline = Instant::now() + LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !is_so(&server.engine.live_overview()) {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "{:?}", server.engine.live_overview());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_many_subscriptions_are_told_of_is_one_statement() {
    const SUBSCRIPTIONS: u64 = 5;
    let server = Server::start_with(&Machine::new(11), Durability::Sync, |settings, _| {
        settings.live.buffer_bytes = 1 << 20;
        settings.live.buffer_size = 3;
    })
    .await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    for at in 0..SUBSCRIPTIONS {
        // Two groups of equal ones.
        let sql = if at % 2 == 0 { SQL } else { "SELECT text, id FROM t" };
        client.subscribed(json!({"query_id": format!("m{at}"), "sql": sql})).await;
    }
    let row = "x".repeat(1 << 20);
    for round in 1..=3 {
        insert(&server, i64::try_from(round).expect("few"), &row).await;
        // All of it waits at once before the client reads a byte.
        until_delivered(&server, round * SUBSCRIPTIONS).await;
        for _ in 0..SUBSCRIPTIONS {
            assert_eq!(client.expect("change").await["keys"], json!([round]));
        }
    }
    assert_eq!(server.engine.live_overview().slow_consumers, 0);
    // With changes of the statement before still there it is too much.
    insert(&server, 4, &row).await;
    until_delivered(&server, 4 * SUBSCRIPTIONS).await;
    insert(&server, 5, "y").await;
    // Nothing is read before that.
    until(&server, |live| live.slow_consumers == 1).await;
    let (frames, end) = client.end().await;
    assert_eq!(end, LiveEnd::SlowConsumer);
    assert!(frames.iter().all(|frame| frame["reason"] == "slow_consumer"), "nothing else is told any more");
    assert_eq!(frames.len() as u64, SUBSCRIPTIONS);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_subscribe_together_get_no_more_places_than_there_are() {
    const MOST: usize = 3;
    let server = Server::start_with(&Machine::new(12), Durability::Sync, |settings, _| {
        settings.live.max_subscriptions_per_user = MOST;
    })
    .await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let mut asking = JoinSet::new();
    for at in 0..20 {
        let mut client = Client::new(&server, "ann");
        asking.spawn(async move {
            // Each is compiled by itself, which takes a while.
            let sql = format!("SELECT id FROM t WHERE id > {at}");
            client.subscribe(json!({"query_id": "m", "sql": sql})).await;
            let frame = client.next().await;
            (client, frame)
        });
    }
    let mut begun = Vec::new();
    for (client, frame) in asking.join_all().await {
        if frame["type"] == "subscribed" {
            begun.push(client);
        } else {
            assert_eq!(frame["code"], "SUBSCRIPTION_LIMIT", "{frame}");
        }
    }
    assert_eq!(begun.len(), MOST);
    // What does not begin gives its place back, whatever is wrong with it.
    let mut client = begun.pop().expect("there are some");
    client.connection.unsubscribe("m").await;
    client.expect("unsubscribed").await;
    for _ in 0..MOST {
        let (code, _) = client.refused(json!({"query_id": "m", "sql": "SELECT nothing FROM t"})).await;
        assert_eq!(code, "COLUMN_NOT_FOUND");
        let old = json!({"query_id": "m", "sql": SQL, "options": {"from_seq": 0}});
        assert_eq!(client.refused(old).await.0, "RESUME_TOO_OLD");
    }
    client.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    assert_eq!(client.refused(json!({"query_id": "n", "sql": SQL})).await.0, "SUBSCRIPTION_LIMIT");
    server.stop().await;
}
