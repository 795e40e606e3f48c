//! A server ends in order: what was asked is answered, what comes later is refused.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::harness::{Connection, Request, serve, settings};

#[tokio::test]
async fn a_stopped_server_is_gone_and_has_closed_its_connections() {
    let server = serve(settings()).await;
    let address = server.address();
    let mut resting = Connection::open(address).await;
    resting.send(Request::sql("SELECT 1").bytes()).await;
    resting.reply(true).await.expect("an answer").succeeds();
    let mut half_sent = Connection::open(address).await;
    half_sent.send("GET /hea").await;
    let begun = Instant::now();
    let mut hasty = settings();
    hasty.server.shutdown_timeout = Duration::from_secs(30);
    let report = server.stop().await;
    assert!(begun.elapsed() < hasty.server.shutdown_timeout, "{report:?}");
    assert!(resting.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_dropped_server_closes_its_door() {
    let server = serve(settings()).await;
    let address = server.address();
    let mut resting = Connection::open(address).await;
    resting.send(Request::sql("SELECT 1").bytes()).await;
    resting.reply(true).await.expect("an answer").succeeds();
    drop(server);
    assert!(resting.is_closed().await);
}
