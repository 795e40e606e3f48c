//! Clients that come and go in every way: what the server keeps of them is nothing.

use futures::future::join_all;
use serde_json::{Value, json};

use kalamdb_tests::{LiveSocket, Role, Said, TestServer, eventually, token};

use super::PATIENCE;

const ROUNDS: usize = 2000;
/// Clients at the same time, each of a user of its own.
const AT_ONCE: usize = 8;
/// Rounds between two rows of a user.
const ROUNDS_OF_A_ROW: usize = 20;

/// What a server knows of live queries and of everything else that has a name.
#[derive(Debug, Clone, PartialEq)]
struct Registries {
    connections: Value,
    subscriptions: Value,
    live_queries: i64,
    /// The actors, by their places in the tree.
    tree: Vec<String>,
    /// Files and sockets of this process; the server is part of it.
    descriptors: Option<usize>,
}

impl Registries {
    async fn of(server: &TestServer) -> Self {
        let service = server.service();
        // First: it makes a session, which is in the tree.
        let live_queries = service.sql("SELECT count(*) FROM system.live_queries").await.success().number();
        let overview = service.get("/api/actors/live").await.body;
        let mut tree = Vec::new();
        actors("", &service.get("/api/actors?limit=1000").await.body, &mut tree);
        Self {
            connections: overview["connections"].clone(),
            subscriptions: overview["subscriptions"].clone(),
            live_queries,
            tree,
            descriptors: std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
        }
    }

    /// Whether all is as it was; a few descriptors more are those of files that the store opens as it likes.
    fn are_as(&self, before: &Self) -> bool {
        let few_more = |now: usize| before.descriptors.is_none_or(|then| now <= then + 4 * AT_ONCE);
        self.descriptors.is_none_or(few_more) && Self { descriptors: before.descriptors, ..self.clone() } == *before
    }
}

fn actors(above: &str, node: &Value, found: &mut Vec<String>) {
    let place = format!("{above}/{}", node["name"].as_str().unwrap_or_default());
    for child in node["children"].as_array().into_iter().flatten() {
        actors(&place, child, found);
    }
    found.push(format!("{place} {} {}", node["state"], node["children_total"]));
    found.sort();
}

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// Before it has read a word.
    AtOnce,
    /// When it is subscribed.
    Subscribed,
    /// Having unsubscribed, with a goodbye.
    Politely,
    /// With a goodbye alone.
    Closing,
    /// By being thrown out.
    Refused,
}

const LEAVINGS: [Leaving; 5] =
    [Leaving::AtOnce, Leaving::Subscribed, Leaving::Politely, Leaving::Closing, Leaving::Refused];

async fn until_closed(socket: &mut LiveSocket) {
    while let Said::Frame(_) = socket.said().await {}
}

async fn come_and_go(server: &TestServer, user: &str, round: usize) {
    let mut socket = LiveSocket::open(server.base(), &token(user, Role::User, server.secret())).await;
    let (messages, events) = (format!("{}.messages", server.namespace()), format!("{}.events", server.namespace()));
    let all = [
        json!({"query_id": "a", "sql": format!("SELECT id FROM {messages} WHERE id > $1"), "params": [round % 3]}),
        json!({"query_id": "b", "sql": format!("SELECT * FROM {messages}"), "options": {"last_rows": 5}}),
        json!({"query_id": "c", "sql": format!("SELECT * FROM {events}"), "options": {"last_rows": 5}}),
        json!({"query_id": "d", "sql": format!("SELECT nope FROM {events}")}),
    ];
    let leaving = LEAVINGS[round % LEAVINGS.len()];
    socket.send(&json!({"type": "subscribe", "subscriptions": all[..1 + round % all.len()]})).await;
    if !matches!(leaving, Leaving::AtOnce) {
        while socket.frame().await["type"] != "subscribed" {}
    }
    match leaving {
        Leaving::AtOnce | Leaving::Subscribed => {}
        Leaving::Politely => {
            socket.send(&json!({"type": "unsubscribe", "query_id": "a"})).await;
            while socket.frame().await["type"] != "unsubscribed" {}
            socket.send_close().await;
            until_closed(&mut socket).await;
        }
        Leaving::Closing => {
            socket.send_close().await;
            until_closed(&mut socket).await;
        }
        Leaving::Refused => {
            socket.send_binary(b"x").await;
            until_closed(&mut socket).await;
        }
    }
}

async fn insert(server: &TestServer, user: &str, id: usize) {
    let client = server.user(user);
    client.sql(format!("INSERT INTO messages (id) VALUES ({id}); INSERT INTO events (id) VALUES ({id})")).await.ok();
}

#[tokio::test]
async fn two_thousand_who_come_and_go_leave_nothing_behind() {
    let server = TestServer::start_with(&[("storage.backend", "memory")]).await;
    let tables = "CREATE USER TABLE messages (id BIGINT PRIMARY KEY);
        CREATE STREAM TABLE events (id BIGINT PRIMARY KEY) WITH (ttl = '1h')";
    server.admin().sql(tables).await.ok();
    let users: Vec<String> = (0..AT_ONCE).map(|at| format!("user{at}")).collect();
    for user in &users {
        insert(&server, user, 1_000_000).await;
    }
    let before = Registries::of(&server).await;
    assert_eq!((&before.connections, &before.subscriptions, before.live_queries), (&json!(0), &json!(0), 0));

    let server = &server;
    let all = users.iter().enumerate().map(|(at, user)| async move {
        for round in 0..ROUNDS / AT_ONCE {
            come_and_go(server, user, at + round).await;
            if round % ROUNDS_OF_A_ROW == 0 {
                insert(server, user, round).await;
            }
        }
    });
    join_all(all).await;
    let mut last = None;
    let all_gone = async || {
        let now = Registries::of(server).await;
        let is_as_before = now.are_as(&before);
        last = Some(now);
        is_as_before.then_some(())
    };
    let in_time = tokio::time::timeout(PATIENCE, eventually("nothing is left", PATIENCE * 2, all_gone)).await;
    assert!(in_time.is_ok(), "before: {before:?}, and {PATIENCE:?} after: {last:?}");
    // And it still works.
    let mut socket = LiveSocket::open(server.base(), &token("user0", Role::User, server.secret())).await;
    socket.subscribe("m", &format!("SELECT id FROM {}.messages", server.namespace())).await;
    socket.expect("subscribed").await;
    insert(server, "user0", 2_000_000).await;
    assert_eq!(socket.expect("change").await["keys"], json!([2_000_000]));
}
