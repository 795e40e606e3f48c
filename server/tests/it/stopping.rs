//! A server ends in order: what was asked is answered, what comes later is refused.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::harness::{Connection, Request, serve, settings};

#[tokio::test]
async fn a_stopped_server_is_gone_and_waits_for_no_dawdler() {
    let mut patient = settings();
    let long = Duration::from_mins(10);
    (patient.server.header_timeout, patient.server.request_timeout) = (long, long);
    patient.server.shutdown_timeout = long;
    let server = serve(patient).await;
    let address = server.address();
    let mut resting = Connection::open(address).await;
    resting.send(Request::sql("SELECT 1").bytes()).await;
    resting.reply(true).await.expect("an answer").succeeds();
    let mut silent = Connection::open(address).await;
    let mut half_head = Connection::open(address).await;
    half_head.send("GET /hea").await;
    let mut half_body = Connection::open(address).await;
    let bytes = Request::sql("SELECT 1").bytes();
    half_body.send(&bytes[..bytes.len() - 2]).await;
    // What was sent is there once the server answers something sent later.
    Request::sql("SELECT 1").ask(address).await.succeeds();

    let begun = Instant::now();
    let report = server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?} {report:?}", begun.elapsed());
    assert_eq!(report.warnings, Vec::<String>::new());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    half_head.reply(true).await.expect("an answer").fails(503, "SHUTTING_DOWN");
    let reply = half_body.reply(true).await.expect("an answer");
    reply.fails(503, "SHUTTING_DOWN");
    assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
    for connection in [&mut resting, &mut silent, &mut half_head, &mut half_body] {
        assert!(connection.is_closed().await);
    }
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
