//! JSON values one behind the other, each as it goes into a frame.

use std::fmt;
use std::ops::Range;

/// See the module. Whoever writes a value vouches for it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JsonRows {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl JsonRows {
    /// Appends the value that `write` appends to the text.
    ///
    /// # Errors
    /// That of `write`; the value is not there then.
    pub fn push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.text.len();
        match write(&mut self.text) {
            Ok(()) => {
                self.ends.push(self.text.len());
                Ok(())
            }
            Err(error) => {
                self.text.truncate(start);
                Err(error)
            }
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The text of one; empty beyond the last.
    #[must_use]
    pub fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    /// Appends some of them as a JSON array.
    pub(super) fn write_array(&self, range: Range<usize>, out: &mut Vec<u8>) {
        out.push(b'[');
        for (count, at) in range.enumerate() {
            if count > 0 {
                out.push(b',');
            }
            out.extend_from_slice(self.get(at));
        }
        out.push(b']');
    }
}

impl fmt::Debug for JsonRows {
    /// Shows the size only: rows do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonRows({} of {} bytes)", self.len(), self.bytes())
    }
}
