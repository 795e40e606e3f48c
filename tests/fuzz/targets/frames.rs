//! WebSocket frames: a head is read from no fewer bytes than it has, whatever follows it; what a server writes is short
//! and reads back.

#![no_main]

// The server's own file: its crate needs the query engine, which targets are built without.
#[expect(dead_code, reason = "a target uses what it checks")]
#[path = "../../../server/src/door/socket/frame.rs"]
mod frame;

use frame::{ClientHead, CloseCode, MAX_CONTROL_BYTES, Opcode, read_close, write_close, write_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = ClientHead::parse(bytes);
    for end in 0..bytes.len().min(16) {
        match ClientHead::parse(&bytes[..end]) {
            Ok(None) => {}
            early => assert_eq!(early, whole, "{end} bytes"),
        }
    }
    if let Ok(Some(head)) = whole {
        assert!((6..=14).contains(&head.bytes), "{head:?}");
        assert_eq!(ClientHead::parse(&bytes[..head.bytes - 1]), Ok(None), "{head:?}");
        assert!(!head.opcode.is_control() || head.is_final && head.length <= MAX_CONTROL_BYTES as u64, "{head:?}");
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        reads_back(head.opcode, length, head.mask);
    }
    closes(bytes);
});

/// A head to a client is that of a client, but for the mask.
fn reads_back(opcode: Opcode, length: usize, mask: [u8; 4]) {
    let mut bytes = Vec::new();
    write_head(&mut bytes, opcode, length);
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&mask);
    let head = ClientHead { is_final: true, opcode, mask, length: length as u64, bytes: bytes.len() };
    assert_eq!(ClientHead::parse(&bytes), Ok(Some(head)));
}

fn closes(payload: &[u8]) {
    let Ok(code) = read_close(payload) else { return };
    assert!(code == CloseCode::NONE || matches!(code.0, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code}");
    let reason = std::str::from_utf8(payload.get(2..).unwrap_or_default()).expect("checked");
    let mut bytes = Vec::new();
    write_close(&mut bytes, code, reason);
    let (head, written) = bytes.split_at(2);
    assert_eq!((head[0], usize::from(head[1])), (0x88, written.len()));
    assert!(written.len() <= MAX_CONTROL_BYTES, "{code}: {} bytes", written.len());
    assert_eq!(read_close(written), Ok(code));
}
