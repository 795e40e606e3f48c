//! Connections that are lost, servers that stop or die: the reference client has the right rows in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use kalamdb_tests::{
    BinaryServer, Client, Credentials, LiveClient, LiveSocket, Replay, Role, SECRET, Said, Subscription, token,
};

use super::PATIENCE;

const TABLE: &str =
    "CREATE NAMESPACE chat; CREATE USER TABLE chat.messages (id BIGINT PRIMARY KEY, conv TEXT, body TEXT)";
const SQL: &str = "SELECT id, body FROM chat.messages WHERE conv = 'a'";

fn ann() -> Credentials {
    Credentials::token(token("ann", Role::User, SECRET))
}

/// The rows as a SELECT has them now.
async fn truth(client: &Client) -> BTreeMap<String, Value> {
    let answer = client.sql(SQL).await.success();
    answer.rows().iter().map(|row| (row["id"].to_string(), row.clone())).collect()
}

async fn agrees(live: &mut LiveClient, client: &Client) {
    let rows = truth(client).await;
    live.until("m", PATIENCE, |replay: &Replay| *replay.rows() == rows).await;
}

async fn write(client: &Client, round: u64) {
    let base = round * 10;
    for sql in [
        format!(
            "INSERT INTO chat.messages VALUES ({base}, 'a', 'x'), ({}, 'b', 'y'), ({}, 'a', 'z')",
            base + 1,
            base + 2
        ),
        format!("UPDATE chat.messages SET conv = 'a', body = 'moved' WHERE id = {}", base + 1),
        format!("UPDATE chat.messages SET body = 'changed' WHERE id <= {base}"),
        format!("DELETE FROM chat.messages WHERE id = {}", base + 2),
        "UPDATE chat.messages SET id = id + 100000 WHERE id = 0".to_owned(),
    ] {
        client.sql(sql).await.ok();
    }
}

#[tokio::test]
async fn a_client_goes_on_over_stops_and_kills_of_the_server() {
    let mut server = BinaryServer::start().await;
    server.admin().sql(TABLE).await.ok();
    let client = server.admin().as_user("ann");
    let mut live = LiveClient::new(&server.url(), ann());
    live.subscribe(Subscription::whole("m", SQL)).await;
    write(&client, 0).await;
    agrees(&mut live, &client).await;
    for round in 1..=4 {
        match round % 2 {
            0 => server.kill9(),
            _ => {
                let status = server.terminate().await;
                assert_eq!(status.code(), Some(0), "{}", server.logs());
            }
        }
        server.restart().await;
        // Before it is there again.
        write(&client, round).await;
        agrees(&mut live, &client).await;
        assert!(live.replay("m").resumed(), "round {round}: it began anew");
        assert_eq!(live.reconnects(), round);
    }
}

#[tokio::test]
async fn a_client_that_comes_and_goes_misses_nothing() {
    let server = BinaryServer::start_with(&[("storage.backend", "memory")]).await;
    server.admin().sql(TABLE).await.ok();
    let client = server.admin().as_user("ann");
    let mut live = LiveClient::new(&server.url(), ann());
    live.subscribe(Subscription::whole("m", SQL)).await;
    for round in 0..10 {
        write(&client, round).await;
        if round % 3 == 0 {
            // Somewhere in the middle.
            live.step_within(Duration::from_millis(5)).await;
            live.disconnect();
            client.sql(format!("DELETE FROM chat.messages WHERE id = {}", round * 10 + 1)).await.ok();
        }
        agrees(&mut live, &client).await;
    }
    assert_eq!(live.reconnects(), 4);
}

#[tokio::test]
async fn a_stop_says_goodbye_to_everybody_in_time() {
    let settings = [("live.auth_timeout", "60s"), ("server.shutdown_timeout", "20s")];
    let mut server = BinaryServer::start_with(&settings).await;
    server.admin().sql(TABLE).await.ok();
    let client = server.admin().as_user("ann");
    let mut subscribed = LiveSocket::connect(&server.url(), &ann()).await.expect("let in");
    for name in ["m", "n"] {
        subscribed.subscribe(name, SQL).await;
        subscribed.expect("subscribed").await;
    }
    let mut idle = LiveSocket::connect(&server.url(), &ann()).await.expect("let in");
    idle.round().await;
    let mut stranger = LiveSocket::connect(&server.url(), &Credentials::default()).await.expect("let in");
    // One that never reads holds nobody up.
    let mut stalled = LiveSocket::connect_narrow(&server.url(), &ann()).await.expect("let in");
    stalled.subscribe("m", SQL).await;
    stalled.expect("subscribed").await;
    client.sql("INSERT INTO chat.messages VALUES (1, 'a', 'x')").await.ok();
    let mut last = Value::Null;
    for _ in 0..2 {
        last = subscribed.expect("change").await["seq"].clone();
    }
    let told = async {
        let mut ended = Vec::new();
        loop {
            match subscribed.said().await {
                Said::Frame(frame) => {
                    assert_eq!((&frame["type"], &frame["reason"]), (&json!("closed"), &json!("shutdown")), "{frame}");
                    assert_eq!(frame["resume_seq"], last, "{frame}");
                    ended.push(frame["query_id"].clone());
                }
                Said::Closed(code, _) => break assert_eq!((code, ended), (1001, vec![json!("m"), json!("n")])),
                Said::Gone => panic!("without a word: {ended:?}"),
            }
        }
        idle.closes(1001).await;
        stranger.closes(1001).await;
    };
    let (status, ()) = tokio::join!(server.terminate(), told);
    assert_eq!(status.code(), Some(0), "{}", server.logs());
    assert!(!server.logs().contains("connections were cut"), "{}", server.logs());
    drop(stalled);
}

#[tokio::test]
async fn a_token_in_an_address_is_not_in_the_log() {
    let server = BinaryServer::start_with(&[("logging.level", "trace")]).await;
    let secret = token("ann", Role::User, SECRET);
    let in_query = Credentials { query: Some(secret.clone()), ..Credentials::default() };
    let mut socket = LiveSocket::connect(&server.url(), &in_query).await.expect("let in");
    socket.send(&json!({"type": "authenticate", "token": secret})).await;
    socket.expect("authenticated").await;
    let bad = Credentials { query: Some(format!("{secret}x")), ..Credentials::default() };
    assert_eq!(LiveSocket::connect(&server.url(), &bad).await.expect_err("no good").status, 401);
    let logs = server.logs();
    assert!(logs.contains("/ws"), "the log tells of requests");
    let (_, signature) = secret.rsplit_once('.').expect("a token");
    assert!(!logs.contains(signature), "a token in the log");
}
