//! Whatever is sent in whatever pieces: the same messages come out, and nothing is kept that was not sent.

use std::collections::VecDeque;
use std::sync::LazyLock;

use kalamdb_commons::settings::ServerSettings;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::runtime::Runtime;

use super::*;
use crate::door::socket::frame::MAX_CONTROL_BYTES;

/// The largest message that is taken.
const MAX_BYTES: usize = 3000;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime of one thread")
});

/// How a frame says how long it is: the shortest form that fits, or a longer one.
#[derive(Debug, Clone, Copy)]
enum Form {
    Short,
    Medium,
    Long,
}

/// A frame as a client writes it, well-formed or not.
#[derive(Debug, Clone)]
struct Sent {
    /// The final bit, reserved bits and the opcode.
    first: u8,
    mask: [u8; 4],
    form: Form,
    payload: Vec<u8>,
}

impl Sent {
    fn write(&self, out: &mut Vec<u8>) {
        let length = self.payload.len();
        out.push(self.first);
        match self.form {
            Form::Short if length <= 125 => out.push(0x80 | length as u8),
            Form::Short | Form::Medium if length <= usize::from(u16::MAX) => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            Form::Short | Form::Medium | Form::Long => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&self.mask);
        out.extend(self.payload.iter().zip(self.mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

/// What comes out, message by message; the last is an end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Text(String),
    Binary,
    Close(u16),
    Violation(u16),
    Gone,
}

/// A socket that gives what is sent piece by piece, and nothing before each of them.
#[derive(Debug)]
struct Pieces {
    left: VecDeque<Vec<u8>>,
    is_next_ready: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_next_ready = !self.is_next_ready;
        if self.is_next_ready {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.left.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.left.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Cuts bytes at these places.
fn cut(bytes: &[u8], places: &[Index]) -> VecDeque<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.dedup();
    places.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect()
}

/// What comes out of these pieces, the first of which came with the handshake; every wait is given up and begun anew.
/// The payload of the ping that is to be answered is there too.
fn read(mut pieces: VecDeque<Vec<u8>>) -> (Vec<Came>, Option<Vec<u8>>) {
    let (pulse, bodies) = (Pulse::default(), BodyReader::new(&ServerSettings::default()));
    let limits = Limits { max_bytes: MAX_BYTES as u64, timeout: Duration::from_secs(3600) };
    // It is never more than is read at once.
    let ahead = if pieces.front().is_some_and(|first| first.len() <= CHUNK_BYTES) { pieces.pop_front() } else { None };
    let io = Pieces { left: pieces, is_next_ready: false };
    let mut reader = Reader::new(io, ahead.unwrap_or_default(), limits);
    let mut came = Vec::new();
    let messages = async {
        loop {
            let incoming = tokio::select! {
                biased;
                incoming = reader.next(&pulse, &bodies) => incoming,
                () = std::future::ready(()) => {
                    assert_bounded(&reader);
                    continue;
                }
            };
            assert_bounded(&reader);
            came.push(match incoming {
                Incoming::Text(text) => Came::Text(text.text),
                Incoming::Binary => Came::Binary,
                Incoming::Close(code) => Came::Close(code.0),
                Incoming::Violation(violation) => Came::Violation(violation.code.0),
                Incoming::Gone => Came::Gone,
            });
            if !matches!(came.last(), Some(Came::Text(_))) {
                return came;
            }
        }
    };
    let came = RUNTIME.block_on(messages);
    (came, pulse.take_due().pong)
}

/// No more than twice what may be there, as vectors grow; what was announced is not there.
fn assert_bounded(reader: &Reader<Pieces>) {
    assert!(reader.ahead.len() <= CHUNK_BYTES + 14, "{} bytes ahead", reader.ahead.len());
    assert!(reader.ahead.capacity() <= 2 * (CHUNK_BYTES + 14), "room for {} bytes ahead", reader.ahead.capacity());
    assert!(reader.message.len() <= MAX_BYTES, "a message of {} bytes", reader.message.len());
    assert!(reader.message.capacity() <= 2 * MAX_BYTES, "room for a message of {} bytes", reader.message.capacity());
    assert!(reader.control.capacity() <= 2 * MAX_CONTROL_BYTES, "room for {} bytes", reader.control.capacity());
    let is_waiting = reader.begun.is_none() && reader.current.is_none() && reader.ahead.is_empty();
    let kept = reader.ahead.capacity() + reader.message.capacity();
    assert!(!is_waiting || (kept == 0 && reader.share.is_none()), "{kept} bytes of nothing");
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![8 => Just(Form::Short), 1 => Just(Form::Medium), 1 => Just(Form::Long)]
}

fn frame(first: impl Strategy<Value = u8>, payload: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Sent> {
    let sent = |(first, mask, form, payload)| Sent { first, mask, form, payload };
    (first, any::<[u8; 4]>(), form(), payload).prop_map(sent)
}

/// A ping or a pong; its length has the one form that is allowed.
fn control() -> impl Strategy<Value = Sent> {
    let payload = prop::collection::vec(any::<u8>(), 0..=MAX_CONTROL_BYTES);
    frame(prop_oneof![Just(0x89), Just(0x8A)], payload).prop_map(|sent| Sent { form: Form::Short, ..sent })
}

/// A text message in fragments, cut anywhere, with control frames before each of them.
fn message() -> impl Strategy<Value = (String, Vec<Sent>)> {
    let text = prop_oneof![
        4 => "\\PC{0,40}",
        1 => "[a-zж🦀]{0,700}",
        1 => prop::collection::vec(any::<char>(), 0..700).prop_map(String::from_iter),
    ];
    let cuts = prop::collection::vec(any::<Index>(), 0..4);
    (text, cuts).prop_flat_map(|(text, cuts)| {
        let mut fragments: Vec<Vec<u8>> = cut(text.as_bytes(), &cuts).into();
        // A message of nothing is one empty frame.
        fragments.resize(fragments.len().max(1), Vec::new());
        let count = fragments.len();
        let frames: Vec<_> = fragments
            .into_iter()
            .enumerate()
            .map(|(at, payload)| {
                let opcode = u8::from(at == 0);
                let is_final = if at + 1 == count { 0x80 } else { 0 };
                (prop::collection::vec(control(), 0..3), frame(Just(is_final | opcode), Just(payload)))
            })
            .collect();
        (Just(text), frames).prop_map(|(text, frames)| {
            let frames = frames.into_iter().flat_map(|(mut before, frame)| {
                before.push(frame);
                before
            });
            (text, frames.collect())
        })
    })
}

/// Frames that may be anything, mostly what a client would send.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81_u8, 0x01, 0x00, 0x80, 0x89, 0x8A]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,20}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (0..2 * MAX_BYTES).prop_map(|length| vec![b'x'; length]),
        1 => (any::<u16>(), "\\PC{0,20}").prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ];
    let frames = prop::collection::vec(frame(first, payload), 1..8).prop_map(|frames| {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        bytes
    });
    let damaged = (frames, prop::collection::vec((any::<Index>(), any::<u8>()), 0..3), any::<Index>()).prop_map(
        |(mut bytes, changes, end)| {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(bytes.len() - end.index(bytes.len()) / 8);
            bytes
        },
    );
    prop_oneof![4 => damaged, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// What comes out by the RFC, told from all the bytes at once.
fn told(mut bytes: &[u8]) -> Vec<Came> {
    let (mut came, mut message): (Vec<Came>, Option<Vec<u8>>) = (Vec::new(), None);
    let end = loop {
        let Some((&[first, second], mut rest)) = bytes.split_first_chunk::<2>() else { break Came::Gone };
        let (is_final, opcode, is_control) = (first & 0x80 != 0, first & 0x0F, first & 0x08 != 0);
        let forbidden = first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) || second & 0x80 == 0;
        if forbidden || (is_control && (!is_final || second & 0x7F > 125)) {
            break Came::Violation(1002);
        }
        let bytes_of_length = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < bytes_of_length + 4 {
            break Came::Gone;
        }
        let length = match bytes_of_length {
            0 => u128::from(second & 0x7F),
            _ => rest[..bytes_of_length].iter().fold(0_u128, |length, byte| length << 8 | u128::from(*byte)),
        };
        let mask: Vec<u8> = rest[bytes_of_length..bytes_of_length + 4].to_vec();
        rest = &rest[bytes_of_length + 4..];
        match opcode {
            2 => break Came::Binary,
            0 if message.is_none() => break Came::Violation(1002),
            1 if message.is_some() => break Came::Violation(1002),
            _ => {}
        }
        let before = message.as_ref().map_or(0, Vec::len) as u128;
        if !is_control && before + length > MAX_BYTES as u128 {
            break Came::Violation(1009);
        }
        if opcode == 1 {
            message = Some(Vec::new());
        }
        if (rest.len() as u128) < length {
            break Came::Gone;
        }
        let (payload, behind) = rest.split_at(length as usize);
        let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        bytes = behind;
        match opcode {
            8 => break told_close(&payload),
            9 | 10 => {}
            _ => {
                let mut whole = message.take().unwrap_or_default();
                whole.extend(payload);
                if !is_final {
                    message = Some(whole);
                } else if let Ok(text) = String::from_utf8(whole) {
                    came.push(Came::Text(text));
                } else {
                    break Came::Violation(1007);
                }
            }
        }
    };
    came.push(end);
    came
}

fn told_close(payload: &[u8]) -> Came {
    match payload {
        [] => Came::Close(1005),
        [_] => Came::Violation(1002),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            code if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) => Came::Violation(1002),
            _ if std::str::from_utf8(reason).is_err() => Came::Violation(1007),
            code => Came::Close(code),
        },
    }
}

proptest! {
    #[test]
    fn good_messages_come_as_they_were_sent(
        messages in prop::collection::vec(message(), 0..5),
        code in 3000_u16..5000,
        places in prop::collection::vec(any::<Index>(), 0..60),
    ) {
        let mut bytes = Vec::new();
        let frames = || messages.iter().flat_map(|(_, frames)| frames);
        frames().for_each(|frame| frame.write(&mut bytes));
        let close = Sent { first: 0x88, mask: [7; 4], form: Form::Short, payload: code.to_be_bytes().to_vec() };
        close.write(&mut bytes);
        let mut expected: Vec<Came> = messages.iter().map(|(text, _)| Came::Text(text.clone())).collect();
        expected.push(Came::Close(code));
        let last_ping = frames().rfind(|frame| frame.first == 0x89).map(|frame| frame.payload.clone());
        prop_assert_eq!(read(cut(&bytes, &places)), (expected.clone(), last_ping.clone()));
        // One byte at a time, and all at once.
        prop_assert_eq!(read(bytes.iter().map(|byte| vec![*byte]).collect()), (expected.clone(), last_ping.clone()));
        prop_assert_eq!(read([bytes].into()), (expected, last_ping));
    }

    #[test]
    fn whatever_is_sent_means_the_same_in_all_pieces(
        bytes in anything(),
        places in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let expected = told(&bytes);
        let (came, ping) = read(cut(&bytes, &places));
        prop_assert_eq!(&came, &expected);
        prop_assert_eq!(read([bytes].into()), (expected, ping));
    }
}
