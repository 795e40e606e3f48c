//! Tests of all codecs: what is the same for every kind of key and value. Those of keys and rows alone
//! are beside them.

mod catalog;
mod damage;
mod golden;
mod marks;
mod records;
pub(in crate::codec) mod samples;
pub(in crate::codec) mod strategies;

/// Bytes that are fixed for ever: the encoding of a sample, and what it must be.
#[derive(Clone)]
pub(in crate::codec) struct Golden {
    pub(in crate::codec) name: &'static str,
    pub(in crate::codec) bytes: Vec<u8>,
    pub(in crate::codec) hex: &'static str,
}

pub(in crate::codec) fn golden(name: &'static str, bytes: impl AsRef<[u8]>, hex: &'static str) -> Golden {
    Golden { name, bytes: bytes.as_ref().to_vec(), hex }
}

impl Golden {
    fn check(&self) {
        let expected: String = self.hex.split_whitespace().collect();
        assert_eq!(hex(&self.bytes), expected, "the bytes of {} have changed: that takes a new format", self.name);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
