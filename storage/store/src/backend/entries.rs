//! What a scan found, in one buffer.

use bytes::Bytes;

/// A key with its value.
pub type Entry = (Bytes, Bytes);

/// Bytes that room is made for at most before they come.
const MOST_EXPECTED: usize = 64 << 10;

/// Keys with their values, one behind the other in one buffer: a scan of many small rows allocates a few times, not
/// twice for each of them.
///
/// They are read as slices. What is to be kept beyond them is [copied](Self::owned): a slice that shared the buffer
/// would keep all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    bytes: Vec<u8>,
    ends: Vec<Ends>,
}

/// Where a key and the value behind it end in the buffer; the key begins where the value before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    key: usize,
    value: usize,
}

impl Entries {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for so many more, of about so many bytes each.
    pub fn expect(&mut self, more: usize, bytes_of_each: usize) {
        self.bytes.reserve((more * bytes_of_each).min(MOST_EXPECTED));
        self.ends.reserve(more);
    }

    /// Adds one behind the others.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push(Ends { key, value: self.bytes.len() });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The key and value at a place, counted from 0.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let start = match at.checked_sub(1) {
            Some(before) => self.ends.get(before)?.value,
            None => 0,
        };
        let ends = self.ends.get(at)?;
        Some((self.bytes.get(start..ends.key)?, self.bytes.get(ends.key..ends.value)?))
    }

    /// The last one's key and value.
    #[must_use]
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |ends| {
            let key = self.bytes.get(start..ends.key).unwrap_or_default();
            start = ends.value;
            (key, self.bytes.get(ends.key..ends.value).unwrap_or_default())
        })
    }

    /// Copies of all, in order, each on its own.
    pub fn owned(&self) -> impl ExactSizeIterator<Item = Entry> {
        self.iter().map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::Entries;

    #[test]
    fn entries_are_told_apart_whatever_their_lengths() {
        let pairs: [(&[u8], &[u8]); 5] = [(b"", b""), (b"key", b""), (b"", b"value"), (b"k", b"v"), (b"last", b"one")];
        let mut entries = Entries::new();
        assert!(entries.is_empty() && entries.last().is_none() && entries.get(0).is_none());
        for (count, (key, value)) in pairs.iter().enumerate() {
            assert_eq!(entries.len(), count);
            entries.push(key, value);
            assert_eq!(entries.last(), Some((*key, *value)));
        }
        assert_eq!(entries.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(entries.owned().map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>(), {
            pairs.map(|(key, value)| (key.to_vec(), value.to_vec()))
        });
        assert_eq!(
            (0..6).map(|at| entries.get(at)).collect::<Vec<_>>(),
            [pairs.map(Some).as_slice(), &[None]].concat()
        );
        assert_eq!(entries.bytes(), 17);
    }
}
