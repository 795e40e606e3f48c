//! The frames of RFC 6455 as bytes: heads, close codes, and nothing that waits or reads.

use std::fmt;

/// Longest payload of a control frame.
pub(super) const MAX_CONTROL_BYTES: usize = 125;
/// Longest head that a client's frame has.
const MAX_HEAD_BYTES: usize = 14;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a connection is closed, as its last frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CloseCode(pub(super) u16);

impl CloseCode {
    pub(super) const GOING_AWAY: Self = Self(1001);
    pub(super) const PROTOCOL: Self = Self(1002);
    pub(super) const UNSUPPORTED: Self = Self(1003);
    /// Never on the wire: the peer gave no code, and is given none.
    pub(super) const NONE: Self = Self(1005);
    pub(super) const NOT_UTF8: Self = Self(1007);
    pub(super) const POLICY: Self = Self(1008);
    pub(super) const TOO_LARGE: Self = Self(1009);
    pub(super) const TRY_AGAIN: Self = Self(1013);
    pub(super) const SLOW_CONSUMER: Self = Self(4408);

    /// Whether a peer may send it.
    fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

impl Violation {
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL, reason }
    }
}

/// The head of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientHead {
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    pub(super) length: u64,
    /// Bytes of the head itself.
    pub(super) bytes: usize,
}

impl ClientHead {
    /// Reads a head from the beginning of `bytes`; none if they end before it does.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::protocol("a frame has reserved bits set: no extension was agreed on"));
        }
        let Some(opcode) = Opcode::of(first & 0x0F) else {
            return Err(Violation::protocol("a frame has an unknown opcode"));
        };
        if second & 0x80 == 0 {
            return Err(Violation::protocol("a frame of a client is not masked"));
        }
        let is_final = first & 0x80 != 0;
        let short = second & 0x7F;
        if opcode.is_control() && (!is_final || usize::from(short) > MAX_CONTROL_BYTES) {
            return Err(Violation::protocol("a control frame is fragmented or longer than 125 bytes"));
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            _ => (u64::from(short), rest),
        };
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let head = bytes.len() - rest.len();
        debug_assert!(head <= MAX_HEAD_BYTES, "{head}");
        Ok(Some(Self { is_final, opcode, mask: *mask, length, bytes: head }))
    }
}

/// Appends the head of an unfragmented frame to a client.
pub(super) fn write_head(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    out.push(0x80 | opcode.bits());
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a close frame; the reason is cut where it does not fit.
pub(super) fn write_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    if code == CloseCode::NONE {
        write_head(out, Opcode::Close, 0);
        return;
    }
    let reason = reason.get(..reason.floor_char_boundary(MAX_CONTROL_BYTES - 2)).unwrap_or_default();
    write_head(out, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The code of a client's close frame.
pub(super) fn read_close(payload: &[u8]) -> Result<CloseCode, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(CloseCode::NONE)
        } else {
            Err(Violation::protocol("a close frame has half a code"))
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        return Err(Violation::protocol("a close frame has a code that may not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation { code: CloseCode::NOT_UTF8, reason: "the reason of a close frame is not UTF-8" });
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_at_every_length_and_never_too_early() {
        let mask = [1, 2, 3, 4];
        for (bytes, length) in [
            (vec![0x81, 0x80], 0),
            (vec![0x81, 0x80 | 125], 125),
            (vec![0x81, 0x80 | 126, 0, 126], 126),
            (vec![0x81, 0x80 | 126, 0xFF, 0xFF], 65_535),
            (vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
            (vec![0x81, 0x80 | 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], u64::MAX),
        ] {
            let whole: Vec<u8> = bytes.iter().chain(&mask).copied().collect();
            for cut in 0..whole.len() {
                assert_eq!(ClientHead::parse(&whole[..cut]), Ok(None), "{length} cut at {cut}");
            }
            let head = ClientHead { is_final: true, opcode: Opcode::Text, mask, length, bytes: whole.len() };
            let longer: Vec<u8> = whole.iter().copied().chain([7, 7]).collect();
            assert_eq!(ClientHead::parse(&longer), Ok(Some(head)));
        }
    }

    #[test]
    fn what_the_protocol_forbids_is_a_violation() {
        for (bytes, says) in [
            ([0xC1, 0x80], "reserved"),
            ([0x83, 0x80], "opcode"),
            ([0x8B, 0x80], "opcode"),
            ([0x81, 0x05], "masked"),
            ([0x09, 0x80], "control"),
            ([0x88, 0x80 | 126], "control"),
        ] {
            let violation = ClientHead::parse(&bytes).expect_err(says);
            assert_eq!(violation.code, CloseCode::PROTOCOL);
            assert!(violation.reason.contains(says), "{violation:?}");
        }
    }

    #[test]
    fn heads_to_clients_take_the_fewest_bytes() {
        for (length, expected) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (255, vec![0x81, 126, 0, 255]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            write_head(&mut out, Opcode::Text, length);
            assert_eq!(out, expected, "{length}");
        }
    }

    #[test]
    fn close_frames_say_why_in_at_most_125_bytes() {
        let mut out = Vec::new();
        write_close(&mut out, CloseCode::SLOW_CONSUMER, &"ü".repeat(100));
        assert_eq!((out[0], usize::from(out[1])), (0x88, out.len() - 2));
        assert!(out.len() <= 2 + MAX_CONTROL_BYTES && std::str::from_utf8(&out[4..]).is_ok());
        assert_eq!(read_close(&out[2..]), Ok(CloseCode::SLOW_CONSUMER));
        let mut empty = Vec::new();
        write_close(&mut empty, CloseCode::NONE, "ignored");
        assert_eq!(empty, [0x88, 0]);
        assert_eq!(read_close(&[]), Ok(CloseCode::NONE));
        for bad in [&[3][..], &[0, 0], &[3, 237], &[3, 238], &[0x13, 0x88]] {
            assert_eq!(read_close(bad).expect_err("no good").code, CloseCode::PROTOCOL, "{bad:?}");
        }
        assert_eq!(read_close(&[3, 232, 0xFF]).expect_err("no good").code, CloseCode::NOT_UTF8);
    }
}
