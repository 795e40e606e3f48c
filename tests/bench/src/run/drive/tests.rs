//! Against a small HTTP server of this file that can stall, lie and go away.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::run::scenario::Ask;

/// What the server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// The answer is held back for this long, and the server with it: nobody else is served meanwhile.
    Stalls(Duration),
    Lies,
    Refuses,
    /// Closes the connection without an answer.
    Breaks,
    /// Answers, then closes the connection.
    Last,
}

/// A server that treats its n-th request as the n-th manner says, and all later ones well.
#[derive(Debug)]
struct FakeServer {
    address: Address,
    asked: Arc<Mutex<Vec<u64>>>,
    _serving: JoinSet<()>,
}

impl FakeServer {
    async fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(tokio::sync::Mutex::new(VecDeque::from(manners.to_vec())));
        let mut serving = JoinSet::new();
        let seen = Arc::clone(&asked);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&state), Arc::clone(&seen)));
            }
        });
        Self { address, asked, _serving: serving }
    }

    async fn run(&self, lanes: usize, count: u64, cap: Option<Duration>, pace: Pace) -> Tally {
        let head = Head::post(&self.address, "/", hyper::HeaderMap::new()).unwrap();
        let part = Part { operation: Arc::new(Echo), heads: [head].into(), first: 1000, count, cap, pace };
        let mut lanes = Lanes::open(&self.address, lanes).await.unwrap();
        lanes.run(&part).await.unwrap().tally
    }
}

async fn serve(mut stream: TcpStream, manners: Arc<tokio::sync::Mutex<VecDeque<Manner>>>, asked: Arc<Mutex<Vec<u64>>>) {
    let mut received = Vec::new();
    loop {
        // A request is a head and four digits.
        let end = loop {
            let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
            if let Some(end) = head.filter(|end| received.len() >= end + 4) {
                break end;
            }
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let number = String::from_utf8_lossy(&received[end..end + 4]).into_owned();
        received.drain(..end + 4);
        asked.lock().unwrap().push(number.parse().unwrap());
        let mut queue = manners.lock().await;
        let manner = queue.pop_front().unwrap_or(Manner::Good);
        let (status, body) = match manner {
            Manner::Good | Manner::Last => ("200 OK", number),
            Manner::Stalls(time) => {
                tokio::time::sleep(time).await;
                ("200 OK", number)
            }
            Manner::Lies => ("200 OK", "0000".to_owned()),
            Manner::Refuses => ("503 Service Unavailable", r#"{"error":{"code":"OVERLOADED"}}"#.to_owned()),
            Manner::Breaks => return,
        };
        drop(queue);
        let close = if manner == Manner::Last { "connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 {status}\r\n{close}content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() || manner == Manner::Last {
            return;
        }
    }
}

/// Sends its number and wants it back.
#[derive(Debug)]
struct Echo;

impl Operation for Echo {
    fn ask(&self, number: u64) -> Ask {
        Ask { caller: 0, body: Bytes::from(number.to_string()) }
    }

    fn is_right(&self, number: u64, answer: &[u8]) -> bool {
        answer == number.to_string().as_bytes()
    }
}

#[tokio::test]
async fn a_closed_loop_sends_each_operation_once() {
    let server = FakeServer::start(&[]).await;
    let tally = server.run(5, 300, None, Pace::Closed).await;
    assert_eq!((tally.succeeded(), tally.failed(), tally.not_begun), (300, 0, 0));
    let mut asked = server.asked.lock().unwrap().clone();
    asked.sort_unstable();
    assert_eq!(asked, (1000..1300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stall_is_charged_to_all_that_were_due_in_it() {
    let stall = [Manner::Stalls(Duration::from_millis(400))];
    // 200 a second: 80 are due while the server stands still, 40 of them in its first half.
    let open = FakeServer::start(&stall).await;
    let tally = open.run(4, 200, None, Pace::Open { rate: 200.0 }).await;
    assert_eq!(tally.succeeded(), 200);
    let late = tally.latency.at_least(Duration::from_millis(199));
    assert!(late >= 40, "only {late} of those that were due felt the stall");
    // The answers themselves were quick for all but those that were under way.
    assert!(tally.response.summary().unwrap().p50 <= tally.latency.summary().unwrap().p50);
}

#[tokio::test]
async fn wrong_answers_and_errors_are_failures() {
    let server = FakeServer::start(&[Manner::Good, Manner::Lies, Manner::Refuses, Manner::Refuses]).await;
    let tally = server.run(1, 10, None, Pace::Closed).await;
    assert_eq!((tally.succeeded(), tally.failed()), (7, 3));
    let errors: Vec<_> = tally.errors.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    assert_eq!(errors, [("OVERLOADED", 2), ("WRONG_ANSWER", 1)]);
    assert_eq!(tally.example.as_deref(), Some("status 200: 0000"));
}

#[tokio::test]
async fn a_broken_connection_is_opened_again() {
    let server = FakeServer::start(&[Manner::Good, Manner::Breaks, Manner::Last, Manner::Good]).await;
    let tally = server.run(1, 8, None, Pace::Closed).await;
    assert_eq!((tally.succeeded(), tally.failed()), (7, 1), "{tally:?}");
    assert!(tally.errors.contains_key("NO_ANSWER"), "{tally:?}");
}

#[tokio::test]
async fn lanes_give_up_on_a_server_that_is_gone() {
    let server = FakeServer::start(&[]).await;
    let mut lanes = Lanes::open(&server.address, 2).await.unwrap();
    let head = Head::post(&server.address, "/", hyper::HeaderMap::new()).unwrap();
    drop(server);
    let part = Part {
        operation: Arc::new(Echo),
        heads: [head].into(),
        first: 1000,
        count: 5000,
        cap: None,
        pace: Pace::Open { rate: 1e5 },
    };
    let tally = lanes.run(&part).await.unwrap().tally;
    assert_eq!((tally.succeeded(), tally.failed()), (0, u64::from(2 * PATIENCE)));
    assert_eq!(tally.not_begun, 5000 - u64::from(2 * PATIENCE));
}

#[tokio::test]
async fn a_cap_ends_a_part() {
    let server = FakeServer::start(&[]).await;
    let cap = Some(Duration::from_millis(50));
    let tally = server.run(2, 8999, cap, Pace::Open { rate: 100.0 }).await;
    assert_eq!((tally.succeeded(), tally.not_begun), (5, 0), "what is due within the cap");
    let tally = server.run(2, u64::MAX, Some(Duration::ZERO), Pace::Closed).await;
    assert_eq!(tally.operations(), 0);
}

#[tokio::test]
async fn a_stop_ends_an_open_loop_with_what_was_due() {
    // Nobody is served for the first 300 ms; the stop comes in the middle of that.
    let server = FakeServer::start(&[Manner::Stalls(Duration::from_millis(300))]).await;
    let mut lanes = Lanes::open(&server.address, 2).await.unwrap();
    let head = Head::post(&server.address, "/", hyper::HeaderMap::new()).unwrap();
    let pace = Pace::Open { rate: 100.0 };
    let part = Part { operation: Arc::new(Echo), heads: [head].into(), first: 1000, count: 5000, cap: None, pace };
    // Counted from when it is first waited for, which is after the start.
    let stop = async { tokio::time::sleep(Duration::from_millis(150)).await };
    let measured = lanes.run_until(&part, stop).await.unwrap();
    let Tally { latency, not_begun, .. } = &measured.tally;
    assert!((16..5000).contains(&latency.count()), "{} were due", latency.count());
    assert_eq!((measured.tally.failed(), *not_begun), (0, 0));
    assert_eq!(measured.next, 1000 + latency.count(), "the next part goes on behind it");
    assert!(latency.at_least(Duration::from_millis(149)) >= 15, "those that were due in the stall felt it");
    assert_eq!(lanes.run(&Part { first: measured.next, count: 3, ..part }).await.unwrap().tally.succeeded(), 3);
}

/// Three requests each, of which only the second is timed.
#[derive(Debug)]
struct ThreeEchoes;

impl Operation for ThreeEchoes {
    fn ask(&self, number: u64) -> Ask {
        Echo.ask(number)
    }

    fn is_right(&self, number: u64, answer: &[u8]) -> bool {
        Echo.is_right(number, answer)
    }

    fn steps(&self) -> u64 {
        3
    }

    fn is_timed(&self, number: u64) -> bool {
        number % 3 == 1
    }
}

#[tokio::test]
async fn what_is_not_timed_is_in_neither_latency_nor_rate() {
    let stall = Duration::from_millis(250);
    // The third request of the first operation; the second one's first is wrong, which ends it.
    let manners = [Manner::Good, Manner::Good, Manner::Stalls(stall), Manner::Lies];
    let server = FakeServer::start(&manners).await;
    let head = Head::post(&server.address, "/", hyper::HeaderMap::new()).unwrap();
    let operation = Arc::new(ThreeEchoes);
    let part = Part { operation, heads: [head].into(), first: 1000, count: 4, cap: None, pace: Pace::Closed };
    let mut lanes = Lanes::open(&server.address, 1).await.unwrap();
    let measured = lanes.run(&part).await.unwrap();
    assert_eq!((measured.tally.succeeded(), measured.tally.failed(), measured.next), (3, 1, 1004));
    let asked: Vec<u64> = [3000..3003, 3003..3004, 3006..3012].into_iter().flatten().collect();
    assert_eq!(*server.asked.lock().unwrap(), asked);
    // The stall is in what the part took, and in none of the times that count.
    assert!(measured.tally.aside >= stall && measured.took >= stall, "{measured:?}");
    assert_eq!(measured.timed, measured.took.checked_sub(measured.tally.aside).unwrap());
    let slowest = Duration::from_secs_f64(measured.tally.latency.summary().unwrap().max / 1000.0);
    // Latencies are kept with three digits.
    assert!(slowest <= measured.timed.mul_f64(1.002) + Duration::from_millis(1), "{measured:?}");
}
