//! Small files that are replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use ulid::Ulid;

use super::directories::sync_directory;
use super::{Shared, TEMPORARY_SUFFIX};
use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;
use crate::storage::{NOTE_LIMIT, too_long};

impl Shared {
    pub(super) fn read_note(&self, path: &SegmentPath) -> Result<Option<Bytes>> {
        let mut content = Vec::new();
        let read = |content: &mut Vec<u8>| File::open(self.absolute(path))?.take(NOTE_LIMIT + 1).read_to_end(content);
        match read(&mut content) {
            Ok(_) if content.len() as u64 > NOTE_LIMIT => Err(too_long(path)),
            Ok(_) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_root("read", path)?;
                Ok(None)
            }
            Err(error) => Err(SegmentError::io("read", path.as_str(), &error)),
        }
    }

    pub(super) fn write_note(&self, path: &SegmentPath, content: &[u8]) -> Result<()> {
        self.check_root("write", path)?;
        // A name of its own for each: two servers may write the same note.
        let temporary = self.root.join(format!("{path}.{}{TEMPORARY_SUFFIX}", Ulid::new()));
        let absolute = self.absolute(path);
        let written = write_durably(&temporary, &absolute, content);
        if written.is_err() {
            // As far as that is possible; the error says why it may not be.
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(|error| SegmentError::io("write", path.as_str(), &error))
    }
}

fn write_durably(temporary: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}
