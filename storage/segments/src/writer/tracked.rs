//! The sink under the encoder: counts and checks bytes, and keeps the first error as it was, for the encoder passes on no more than
//! the text of some.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checksum::{ChecksumWriter, seal_tail};
use crate::error::{SegmentError, sink_error};

/// See the module.
#[derive(Debug)]
pub(super) struct Tracked<W> {
    pub(super) sink: W,
    pub(super) checksums: ChecksumWriter,
    failure: Failure,
    /// What came since it was held back: the tail, whose checksum is not known before it is complete.
    held: Option<Vec<u8>>,
}

/// The first error of a sink.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<SegmentError>>>);

impl Failure {
    pub(super) fn get(&self) -> Option<SegmentError> {
        self.0.lock().clone()
    }
}

impl<W: Write> Tracked<W> {
    pub(super) fn new(sink: W, failure: Failure) -> Self {
        Self { sink, checksums: ChecksumWriter::default(), failure, held: None }
    }

    /// From here on nothing reaches the sink before [`Self::release`].
    pub(super) fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    /// Hands over what was held back, sealed.
    pub(super) fn release(&mut self) -> Result<(), SegmentError> {
        let mut tail = self.held.take().unwrap_or_default();
        if !seal_tail(&mut tail) {
            return Err(SegmentError::Misused("a footer without a place for its checksum".to_owned()));
        }
        self.write_all(&tail)
            .map_err(|error| self.failure.get().unwrap_or_else(|| SegmentError::io("write", "a segment", &error)))
    }
}

impl<W: Write> Write for Tracked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        match self.sink.write(bytes) {
            Ok(written) => {
                self.checksums.update(bytes.get(..written).unwrap_or(bytes));
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let ours = sink_error(&error).unwrap_or_else(|| SegmentError::io("write", "a segment", &error));
                self.failure.0.lock().get_or_insert(ours);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
