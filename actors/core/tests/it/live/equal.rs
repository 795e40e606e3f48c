//! Equal queries of a user share what a statement costs.

use kalamdb_commons::settings::Durability;
use kalamdb_core::LiveWork;
use kalamdb_faults::Machine;
use serde_json::{Value as Json, json};

use super::super::server::Server;
use super::client::Client;

const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, conv TEXT, text TEXT)";
const SQL: &str = "SELECT id, text FROM t WHERE conv = $1";
const CONNECTIONS: usize = 20;
const SUBSCRIPTIONS_OF_EACH: usize = 50;
const ALL: u64 = (CONNECTIONS * SUBSCRIPTIONS_OF_EACH) as u64;

/// What was done meanwhile, and how many frames were told.
struct Meter<'a> {
    server: &'a Server,
    work: LiveWork,
    delivered: u64,
}

impl<'a> Meter<'a> {
    fn start(server: &'a Server) -> Self {
        Self { server, work: server.engine.live_work(), delivered: server.engine.live_overview().delivered }
    }

    /// Evaluations, frames encoded, frames told.
    fn so_far(&self) -> (u64, u64, u64) {
        let work = self.server.engine.live_work();
        let delivered = self.server.engine.live_overview().delivered - self.delivered;
        (work.evaluations - self.work.evaluations, work.encoded - self.work.encoded, delivered)
    }
}

/// What a client is told next by all of its subscriptions, without what is each one's own.
async fn told(client: &mut Client) -> Json {
    let mut queries = std::collections::BTreeSet::new();
    let mut same: Option<Json> = None;
    for _ in 0..SUBSCRIPTIONS_OF_EACH {
        let mut frame = client.expect("change").await;
        let members = frame.as_object_mut().expect("an object");
        let query = members.remove("query_id").expect("whose it is");
        assert!(queries.insert(query.to_string()), "{query} twice");
        members.remove("subscription_id").expect("whose it is");
        assert_eq!(same.get_or_insert_with(|| frame.clone()), &frame);
    }
    same.expect("there are some")
}

async fn all_told(clients: &mut [Client], kind: &str, keys: Json) {
    let mut same: Option<Json> = None;
    for client in clients {
        let frame = told(client).await;
        assert_eq!((&frame["change_type"], &frame["keys"]), (&json!(kind), &keys), "{frame}");
        assert_eq!(same.get_or_insert_with(|| frame.clone()), &frame);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_subscriptions_cost_what_one_does() {
    let server = Server::start_with(&Machine::new(7), Durability::Buffered, |settings, _| {
        settings.live.max_subscriptions_per_user = 2 * ALL as usize;
    })
    .await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let subscription = |at: usize, conv: &str| json!({"query_id": format!("m{at}"), "sql": SQL, "params": [conv]});
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::new(&server, "ann");
        for at in 0..SUBSCRIPTIONS_OF_EACH {
            client.subscribed(subscription(at, "a")).await;
        }
        clients.push(client);
    }
    assert_eq!(server.engine.live_overview().subscriptions, ALL);
    // Each with its actor: this one is told to all of them.
    server.run("ann", "INSERT INTO t VALUES (0, 'a', 'first')", vec![]).await.expect("a row");
    all_told(&mut clients, "INSERT", json!([0])).await;

    let meter = Meter::start(&server);
    server
        .run("ann", "INSERT INTO t VALUES (1, 'a', 'one'), (2, 'a', 'two'), (3, 'b', 'no')", vec![])
        .await
        .expect("rows");
    all_told(&mut clients, "INSERT", json!([1, 2])).await;
    assert_eq!(meter.so_far(), (1, 1, ALL), "an insertion");
    server.run("ann", "UPDATE t SET text = 'x' WHERE id > 0", vec![]).await.expect("rows");
    all_told(&mut clients, "UPDATE", json!([1, 2])).await;
    assert_eq!(meter.so_far(), (2, 2, 2 * ALL), "an update");
    // What matches nobody is encoded for nobody; others' rows are not even looked at.
    server.run("ann", "UPDATE t SET text = 'y' WHERE id = 3", vec![]).await.expect("a row");
    server.run("bob", "INSERT INTO t VALUES (1, 'a', 'bob')", vec![]).await.expect("a row");
    server.run("ann", "DELETE FROM t WHERE id = 2", vec![]).await.expect("a row");
    all_told(&mut clients, "DELETE", json!([2])).await;
    assert_eq!(meter.so_far(), (4, 3, 3 * ALL), "two statements, one of which matches");

    // One that is not equal is evaluated by itself, and so is an equal one of somebody else.
    let mut other = Client::new(&server, "ann");
    other.subscribed(subscription(0, "b")).await;
    let mut bob = Client::new(&server, "bob");
    bob.subscribed(subscription(0, "a")).await;
    server.run("ann", "DELETE FROM t WHERE id IN (1, 3)", vec![]).await.expect("rows");
    all_told(&mut clients, "DELETE", json!([1])).await;
    assert_eq!(other.expect("change").await["keys"], json!([3]));
    let meter = Meter::start(&server);
    server.run("ann", "INSERT INTO t VALUES (4, 'a', 'x'), (5, 'b', 'y')", vec![]).await.expect("rows");
    all_told(&mut clients, "INSERT", json!([4])).await;
    assert_eq!(other.expect("change").await["keys"], json!([5]));
    assert_eq!(meter.so_far(), (2, 2, ALL + 1), "two queries");
    server.run("bob", "DELETE FROM t", vec![]).await.expect("a row");
    assert_eq!(bob.expect("change").await["keys"], json!([1]));
    assert_eq!(meter.so_far(), (3, 3, ALL + 2), "another user");
    server.stop().await;
}
