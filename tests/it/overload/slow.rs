//! Clients that send half a request, or do not read their answer: they cost little, and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use kalamdb_tests::{BinaryServer, RawConnection, eventually};

use super::MIB;
use super::asker::{Asker, Said};

const HALF_SENDERS: usize = 200;
const NON_READERS: usize = 12;
/// Longer than what the system takes for a client that does not read. The memory that the server may use holds three.
const LONG_ANSWER: &str = "SELECT repeat('x', 8000000) AS v";
const MEMORY_LIMIT: &str = "56MiB";
/// The limit, RocksDB's, and a debug build's own, for a few hundred connections.
const MOST_MORE_MEMORY: u64 = 300 * MIB;

/// Writes and reads for as long as the others dawdle; everything succeeds.
async fn healthy(base: String, number: usize, done: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    let authorization = Asker::authorization(&format!("healthy{number}"));
    let mut asker = Asker::open(&base, &authorization).await;
    for id in 0.. {
        let said = asker.ask(&format!("INSERT INTO slow.t VALUES ({id})")).await;
        assert!(matches!(said, Said::Success(_)), "{said:?}");
        let Said::Success(rows) = asker.ask("SELECT count(*) AS n FROM slow.t").await else { panic!("no answer") };
        assert_eq!(rows[0]["n"], id + 1);
        served.fetch_add(1, Ordering::AcqRel);
        if done.load(Ordering::Acquire) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_ended_and_healthy_ones_notice_nothing() {
    let server = BinaryServer::start_with(&[
        ("server.header_timeout", "5s"),
        ("server.request_timeout", "60s"),
        ("query.memory_limit", MEMORY_LIMIT),
        ("storage.memory", "64MiB"),
        ("storage.durability", "buffered"),
        ("logging.level", "error"),
    ])
    .await;
    server.admin().sql("CREATE NAMESPACE slow; CREATE USER TABLE slow.t (id BIGINT PRIMARY KEY)").await.ok();
    let memory_before = server.peak_memory();
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut healthy_ones = JoinSet::new();
    for number in 0..4 {
        healthy_ones.spawn(healthy(server.url(), number, Arc::clone(&done), Arc::clone(&served)));
    }

    let whole = Asker::request(&Asker::authorization("slow"), "SELECT 1");
    let head = whole.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let mut half_senders = Vec::new();
    for number in 0..HALF_SENDERS {
        let mut connection = RawConnection::open(&server.url()).await;
        // Some in the middle of the head, some of the body.
        let cut = if number % 2 == 0 { head / 2 } else { head + 3 };
        connection.send(&whole[..cut]).await;
        half_senders.push(connection);
    }
    for mut connection in half_senders {
        let answer = connection.answer(Duration::from_secs(60)).await.expect("it is told why");
        assert_eq!(answer.status, 408, "{answer:?}");
        assert!(answer.body.contains("REQUEST_TIMEOUT"), "{answer:?}");
        assert_eq!(connection.read_to_end(Duration::from_secs(20)).await.as_deref(), Ok(""), "it is closed");
    }
    let before = served.load(Ordering::Acquire);
    eventually("healthy clients go on", Duration::from_secs(60), async || {
        (served.load(Ordering::Acquire) > before + 20).then_some(())
    })
    .await;

    let mut non_readers = Vec::new();
    for number in 0..NON_READERS {
        let mut connection = RawConnection::open_narrow(&server.url()).await;
        connection.send(Asker::request(&Asker::authorization(&format!("deaf{}", number % 4)), LONG_ANSWER)).await;
        non_readers.push(connection);
    }
    // What they were answered counts until they have read it: there is no room for more, except for short answers.
    let mut asker = Asker::open(&server.url(), &Asker::authorization("reader")).await;
    eventually("the answers that nobody reads fill the room", Duration::from_secs(90), async || {
        (asker.ask(LONG_ANSWER).await == Said::Refused("RESOURCES_EXHAUSTED".to_owned())).then_some(())
    })
    .await;
    let before = served.load(Ordering::Acquire);
    eventually("healthy clients go on beside them", Duration::from_secs(60), async || {
        (served.load(Ordering::Acquire) > before + 20).then_some(())
    })
    .await;
    if let (Some(before), Some(peak)) = (memory_before, server.peak_memory()) {
        let more = peak.saturating_sub(before);
        assert!(more < MOST_MORE_MEMORY, "{} MiB more than before", more / MIB);
    }
    // Who never read goes away; what was kept for it is there for others.
    drop(non_readers);
    eventually("there is room for a long answer", Duration::from_secs(60), async || {
        matches!(asker.ask(LONG_ANSWER).await, Said::Success(_)).then_some(())
    })
    .await;
    done.store(true, Ordering::Release);
    healthy_ones.join_all().await;
}
