//! How subscriptions and connections end.

use kalamdb_commons::Role;
use kalamdb_commons::settings::Durability;
use kalamdb_core::LiveEnd;
use kalamdb_faults::Machine;
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::super::server::{LONG, Server};
use super::client::Client;

const SQL: &str = "SELECT id, text FROM t";
const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, text TEXT)";

async fn server() -> Server {
    let server = Server::start(&Machine::new(5), Durability::Sync).await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    server
}

async fn insert(server: &Server, id: i64, text: &str) {
    server.run("ann", "INSERT INTO t VALUES ($1, $2)", vec![json!(id), json!(text)]).await.expect("a row");
}

/// Waits until no subscription is left, nor an actor for one.
async fn until_forgotten(server: &Server) {
    let work = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let root = server.engine.actors(None, 10);
            let live = root.children.iter().find(|node| node.name == "live").expect("a supervisor").children_total;
            if server.engine.live_overview().subscriptions == 0 && live == Some(0) {
                return;
            }
        }
    };
    timeout(LONG, work).await.expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribed_is_the_last_word() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    insert(&server, 1, "x").await;
    client.expect("change").await;
    client.connection.unsubscribe("m").await;
    assert_eq!(client.next().await, json!({"type": "unsubscribed", "query_id": "m"}));
    insert(&server, 2, "x").await;
    client.expect_silence().await;
    client.connection.unsubscribe("m").await;
    assert_eq!(client.expect("error").await["code"], "SUBSCRIPTION_NOT_FOUND");
    until_forgotten(&server).await;
    // The name is free again.
    client.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    drop(client);
    until_forgotten(&server).await;
    assert_eq!(server.engine.live_overview().connections, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_table_and_namespace_end_it() {
    let server = server().await;
    server.run("ann", "CREATE NAMESPACE n", vec![]).await.expect("a namespace");
    server.run("ann", "CREATE USER TABLE n.t (id BIGINT PRIMARY KEY)", vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "a", "sql": SQL})).await;
    client.subscribed(json!({"query_id": "b", "sql": "SELECT id FROM n.t"})).await;
    server.run("ann", "DROP TABLE t", vec![]).await.expect("dropped");
    let closed = client.expect("closed").await;
    assert_eq!((&closed["query_id"], &closed["reason"]), (&json!("a"), &json!("table_dropped")));
    server.run("ann", "DROP NAMESPACE n CASCADE", vec![]).await.expect("dropped");
    let closed = client.expect("closed").await;
    assert_eq!((&closed["query_id"], &closed["reason"]), (&json!("b"), &json!("table_dropped")));
    until_forgotten(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_fails_ends_its_own_subscription_alone() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "bad", "sql": "SELECT id FROM t WHERE 10 / id > 1"})).await;
    client.subscribed(json!({"query_id": "good", "sql": "SELECT id FROM t"})).await;
    insert(&server, 1, "x").await;
    client.next().await;
    client.next().await;
    insert(&server, 0, "x").await;
    let mut frames = [client.next().await, client.next().await, client.next().await];
    frames.sort_by_key(|frame| frame["query_id"] == "good");
    assert_eq!((&frames[0]["type"], &frames[0]["code"]), (&json!("error"), &json!("EVALUATION_ERROR")));
    assert_eq!((&frames[1]["type"], &frames[1]["reason"]), (&json!("closed"), &json!("error")));
    assert_eq!(frames[2]["rows"], json!([{"id": 0}]));
    // In its snapshot, too.
    let snapshot = json!({"query_id": "bad", "sql": "SELECT id FROM t WHERE 10 / id > 1", "options": {"last_rows": 5}});
    client.subscribed(snapshot).await;
    assert_eq!(client.expect("error").await["code"], "EVALUATION_ERROR");
    assert_eq!(client.expect("closed").await["reason"], "error");
    insert(&server, 2, "x").await;
    assert_eq!(client.next().await["query_id"], "good");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_ends_one_and_only_who_may() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    let subscribed = client.subscribed(json!({"query_id": "m", "sql": SQL, "params": []})).await;
    let live_id = subscribed["subscription_id"].as_str().expect("an id").to_owned();
    let shown = server
        .rows("op", "SELECT live_id, query_id, user_id, table_name, query, changes FROM system.live_queries", vec![])
        .await
        .expect("rows");
    assert_eq!(shown, [vec![json!(live_id), json!("m"), json!("ann"), json!("t"), json!(SQL), json!(0)]]);
    let kill = format!("KILL LIVE QUERY '{live_id}'");
    let error = run_as(&server, "bob", Role::User, &kill).await.expect_err("not bob's");
    assert_eq!(error, "FORBIDDEN");
    run_as(&server, "ann", Role::User, &kill).await.expect("ann's own");
    let closed = client.expect("closed").await;
    assert_eq!((&closed["reason"], &closed["resume_seq"]), (&json!("killed"), &subscribed["seq"]));
    assert_eq!(run_as(&server, "op", Role::Dba, &kill).await.expect_err("gone"), "LIVE_QUERY_NOT_FOUND");
    until_forgotten(&server).await;
    server.stop().await;
}

async fn run_as(server: &Server, user: &str, role: Role, sql: &str) -> Result<(), String> {
    let request = kalamdb_core::SqlRequest {
        identity: kalamdb_commons::Identity { user_id: kalamdb_commons::UserId::new(user).expect("a user id"), role },
        header_user: Ok(None),
        sql: sql.to_owned(),
        params: Default::default(),
        namespace: kalamdb_commons::NamespaceId::default_namespace(),
        request_id: "test".to_owned(),
    };
    match server.engine.execute(request).await.error {
        Some(failed) => Err(failed.error.code.as_str().to_owned()),
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_told_where_to_go_on_and_slows_nobody() {
    let server = Server::start_with(&Machine::new(6), Durability::Sync, |settings, _| {
        settings.live.buffer_size = 20;
    })
    .await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let (mut slow, mut fast) = (Client::new(&server, "ann"), Client::new(&server, "ann"));
    let start = slow.subscribed(json!({"query_id": "m", "sql": SQL})).await["seq"].clone();
    fast.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    let mut seqs = Vec::new();
    for id in 0..50 {
        insert(&server, id, "x").await;
        seqs.push(fast.expect("change").await["seq"].clone());
        if id == 0 {
            assert_eq!(slow.expect("change").await["seq"], seqs[0]);
        }
    }
    let (frames, end) = slow.end().await;
    assert_eq!(end, LiveEnd::SlowConsumer);
    let expected = json!({"type": "closed", "query_id": "m", "reason": "slow_consumer", "resume_seq": seqs[0]});
    assert_eq!(frames, [expected]);
    assert_eq!(server.engine.live_overview().slow_consumers, 1);
    // It comes back, and misses nothing; a replay is as long as it is.
    let mut again = Client::new(&server, "ann");
    again.subscribed(json!({"query_id": "m", "sql": SQL, "options": {"from_seq": seqs[0]}})).await;
    for seq in &seqs[1..] {
        assert_eq!(&again.next().await["seq"], seq);
    }
    again.subscribed(json!({"query_id": "all", "sql": SQL, "options": {"from_seq": start}})).await;
    for seq in &seqs {
        assert_eq!(&again.next().await["seq"], seq);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_a_bookmark_where_nothing_matched() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    let sql = "SELECT id FROM t WHERE text = 'match'";
    client.subscribed(json!({"query_id": "m", "sql": sql})).await;
    client.connection.heartbeat();
    client.expect_silence().await;
    insert(&server, 1, "x").await;
    let last = server.rows("ann", "SELECT max(_seq) FROM t", vec![]).await.expect("a row")[0][0].clone();
    // The actor may still be at it.
    let progress = loop {
        client.connection.heartbeat();
        client.connection.send(kalamdb_wire::ServerFrame::Pong).await;
        let frame = client.next().await;
        if frame["type"] == "progress" {
            client.expect("pong").await;
            break frame;
        }
    };
    assert_eq!((&progress["query_id"], &progress["seq"]), (&json!("m"), &last));
    client.connection.heartbeat();
    client.expect_silence().await;
    let mut again = Client::new(&server, "ann");
    insert(&server, 2, "match").await;
    again.subscribed(json!({"query_id": "m", "sql": sql, "options": {"from_seq": progress["seq"]}})).await;
    assert_eq!(again.next().await["rows"], json!([{"id": 2}]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_a_limit_and_others_have_theirs() {
    let server = Server::start_with(&Machine::new(7), Durability::Sync, |settings, _| {
        settings.live.max_subscriptions_per_user = 2;
    })
    .await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let (mut one, mut two) = (Client::new(&server, "ann"), Client::new(&server, "ann"));
    one.subscribed(json!({"query_id": "a", "sql": SQL})).await;
    two.subscribed(json!({"query_id": "a", "sql": SQL})).await;
    assert_eq!(two.refused(json!({"query_id": "b", "sql": SQL})).await.0, "SUBSCRIPTION_LIMIT");
    Client::new(&server, "bob").subscribed(json!({"query_id": "a", "sql": SQL})).await;
    drop(one);
    let mut refused = true;
    let deadline = std::time::Instant::now() + LONG;
    while refused {
        assert!(std::time::Instant::now() < deadline, "the place is never free");
        two.subscribe(json!({"query_id": "b", "sql": SQL})).await;
        refused = two.next().await["type"] == "error";
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_server_is_told_and_resumed_from_after_a_start() {
    let machine = Machine::new(8);
    let server = Server::start(&machine, Durability::Sync).await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    insert(&server, 1, "x").await;
    let bookmark = client.expect("change").await["seq"].clone();
    let ((frames, end), ()) = tokio::join!(client.end(), server.stop());
    let expected = json!({"type": "closed", "query_id": "m", "reason": "shutdown", "resume_seq": bookmark});
    assert_eq!((frames, end), (vec![expected], LiveEnd::Shutdown));
    let server = Server::start(&machine, Durability::Sync).await;
    insert(&server, 2, "y").await;
    insert(&server, 3, "z").await;
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": SQL, "options": {"from_seq": bookmark}})).await;
    let told: Vec<Json> = vec![client.next().await["rows"].clone(), client.next().await["rows"].clone()];
    assert_eq!(told, [json!([{"id": 2, "text": "y"}]), json!([{"id": 3, "text": "z"}])]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_ends_subscriptions_and_they_go_on_when_it_is_back() {
    let machine = Machine::new(13);
    let server = Server::start(&machine, Durability::Sync).await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    let mut client = Client::new(&server, "ann");
    client.subscribed(json!({"query_id": "m", "sql": SQL})).await;
    insert(&server, 1, "x").await;
    let bookmark = client.expect("change").await["seq"].clone();
    let mut other = Client::new(&server, "bob");
    let begun = other.subscribed(json!({"query_id": "n", "sql": SQL})).await["seq"].clone();

    machine.faults().fill_disk(true);
    let written = server.run("ann", "INSERT INTO t VALUES (2, 'y')", vec![]).await;
    written.expect_err("there is no room");
    for (client, name, seq) in [(&mut client, "m", &bookmark), (&mut other, "n", &begun)] {
        let expected = json!({"type": "closed", "query_id": name, "reason": "internal", "resume_seq": seq});
        assert_eq!(client.next().await, expected);
        // The connection stays, and says what is the matter.
        let again = json!({"query_id": name, "sql": SQL, "options": {"from_seq": seq}});
        assert_eq!(client.refused(again).await.0, "STORAGE_UNAVAILABLE");
    }
    assert_eq!(server.engine.live_overview().slow_consumers, 0);

    machine.faults().fill_disk(false);
    server.until_ready(true).await;
    let again = json!({"query_id": "m", "sql": SQL, "options": {"from_seq": bookmark}});
    assert_eq!(client.subscribed(again).await["resumed"], true);
    insert(&server, 3, "z").await;
    // What became of the second row is for the store to say, and for the client to be told.
    let rows = server.rows("ann", "SELECT id FROM t WHERE id > 1 ORDER BY id", vec![]).await.expect("rows");
    for row in rows {
        assert_eq!(client.expect("change").await["keys"], json!(row));
    }
    client.expect_silence().await;
    server.stop().await;
}
