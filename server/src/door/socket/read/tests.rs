//! Messages in every cut, and what ends a connection.

use kalamdb_commons::settings::ServerSettings;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;
use crate::door::socket::pulse::Due;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const FIN: u8 = 0x80;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::door::socket::frame::write_head(&mut bytes, Opcode::Text, payload.len());
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

struct Setup {
    client: DuplexStream,
    reader: Reader<DuplexStream>,
    pulse: Pulse,
    bodies: BodyReader,
}

impl Setup {
    fn new() -> Self {
        let (client, server) = tokio::io::duplex(1 << 20);
        let limits = Limits { max_bytes: 1000, timeout: Duration::from_secs(30) };
        let bodies = BodyReader::new(&ServerSettings::default());
        Self { client, reader: Reader::new(server, Vec::new(), limits), pulse: Pulse::default(), bodies }
    }

    async fn next(&mut self) -> Incoming {
        self.reader.next(&self.pulse, &self.bodies).await
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("room");
    }
}

#[track_caller]
fn text(incoming: Incoming) -> String {
    match incoming {
        Incoming::Text(text) => text.text,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn violates(incoming: Incoming, code: CloseCode) {
    match incoming {
        Incoming::Violation(violation) => assert_eq!(violation.code, code, "{violation:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_come_whole_however_they_are_cut() {
    let long = "ж".repeat(200);
    let mut bytes = frame(FIN | 1, b"first");
    bytes.extend(frame(FIN | 9, b"now?"));
    bytes.extend(frame(1, &long.as_bytes()[..101]));
    bytes.extend(frame(FIN | 10, b"unasked"));
    bytes.extend(frame(0, b""));
    bytes.extend(frame(FIN, &long.as_bytes()[101..]));
    bytes.extend(frame(FIN | 1, b""));
    bytes.extend(frame(FIN | 8, &[3, 232, b'x']));
    for step in [1, 2, 3, 7, 64, bytes.len()] {
        let mut setup = Setup::new();
        let mut came = Vec::new();
        let mut pieces = bytes.chunks(step);
        let closed = loop {
            if let Some(piece) = pieces.next() {
                setup.send(piece).await;
            }
            // A call that is given up loses nothing.
            let Setup { reader, pulse, bodies, .. } = &mut setup;
            tokio::select! {
                biased;
                incoming = reader.next(pulse, bodies) => match incoming {
                    Incoming::Close(code) => break code,
                    incoming => came.push(text(incoming)),
                },
                () = tokio::task::yield_now() => {}
            }
        };
        assert_eq!(closed, CloseCode(1000), "in steps of {step}");
        assert_eq!(came, ["first", long.as_str(), ""], "in steps of {step}");
        assert_eq!(setup.pulse.take_due(), Due { pong: Some(b"now?".to_vec()), ping: false });
        assert_eq!(setup.reader.ahead.capacity() + setup.reader.message.capacity(), 0, "nothing is kept");
    }
}

#[tokio::test]
async fn what_came_with_the_handshake_is_read_first() {
    let mut setup = Setup::new();
    let early = frame(FIN | 1, b"early");
    setup.reader.ahead = early[..4].to_vec();
    setup.send(&early[4..]).await;
    assert_eq!(text(setup.next().await), "early");
    drop(setup.client);
    assert!(matches!(setup.reader.next(&setup.pulse, &setup.bodies).await, Incoming::Gone));
}

#[tokio::test]
async fn a_message_is_bounded_by_what_it_announces_and_by_what_it_becomes() {
    let mut setup = Setup::new();
    setup.send(&frame(FIN | 1, &[b'x'; 1000])).await;
    assert_eq!(text(setup.next().await).len(), 1000);
    // The head alone decides.
    setup.send(&frame(FIN | 1, &[b'x'; 1001])[..8]).await;
    violates(setup.next().await, CloseCode::TOO_LARGE);
    let mut setup = Setup::new();
    for first in [1, 0, FIN] {
        setup.send(&frame(first, &[b'x'; 400])).await;
    }
    violates(setup.next().await, CloseCode::TOO_LARGE);
    let mut absurd = vec![FIN | 1, 0xFF];
    absurd.extend_from_slice(&[0xFF; 8]);
    absurd.extend_from_slice(&MASK);
    let mut setup = Setup::new();
    setup.send(&absurd).await;
    violates(setup.next().await, CloseCode::TOO_LARGE);
}

#[tokio::test]
async fn what_the_protocol_forbids_ends_the_connection() {
    for (bytes, code) in [
        (frame(FIN, b"x"), CloseCode::PROTOCOL),
        ([frame(1, b"x"), frame(FIN | 1, b"y")].concat(), CloseCode::PROTOCOL),
        (frame(9, b""), CloseCode::PROTOCOL),
        (frame(FIN | 9, &[0; 126]), CloseCode::PROTOCOL),
        (frame(FIN | 0x41, b"x"), CloseCode::PROTOCOL),
        (vec![FIN | 1, 1, b'x'], CloseCode::PROTOCOL),
        (frame(FIN | 8, &[3]), CloseCode::PROTOCOL),
        (frame(FIN | 1, &[0xC3, 0x28]), CloseCode::NOT_UTF8),
    ] {
        let mut setup = Setup::new();
        setup.send(&bytes).await;
        violates(setup.next().await, code);
    }
    for binary in [frame(FIN | 2, b"x"), frame(2, b""), frame(FIN | 2, &[0; 5000])] {
        let mut setup = Setup::new();
        setup.send(&binary).await;
        assert!(matches!(setup.next().await, Incoming::Binary));
    }
}

#[tokio::test]
async fn a_message_has_to_be_finished_in_time_and_silence_has_not() {
    let mut setup = Setup::new();
    setup.reader.limits.timeout = Duration::from_millis(100);
    let silent = tokio::time::timeout(Duration::from_millis(300), setup.next()).await;
    assert!(silent.is_err(), "nothing was begun");
    setup.send(&frame(1, b"half")).await;
    let Setup { client, reader, pulse, bodies } = &mut setup;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let pings = async {
        loop {
            ticks.tick().await;
            client.write_all(&frame(FIN | 9, b"")).await.expect("room");
        }
    };
    // Pings do not prolong it.
    tokio::select! {
        incoming = reader.next(pulse, bodies) => violates(incoming, CloseCode::POLICY),
        () = pings => {}
    }
}

#[tokio::test]
async fn messages_count_against_the_sum_of_all_bodies() {
    let mut setup = Setup::new();
    setup.reader.limits.max_bytes = 1 << 20;
    let mut all = None;
    // Everything but one KiB.
    let total = (256 << 20) - 1024;
    setup.bodies.grow(&mut all, total).expect("room");
    setup.send(&frame(FIN | 1, &[b'x'; 1024])).await;
    let held = setup.next().await;
    setup.send(&frame(FIN | 1, b"y")).await;
    violates(setup.next().await, CloseCode::TRY_AGAIN);
    drop(held);
    drop(all);
    let mut again = None;
    setup.bodies.grow(&mut again, total + 1024).expect("all of it is free again");
}
