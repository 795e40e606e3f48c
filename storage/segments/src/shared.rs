//! What a server started from a copy of another's data directory leaves in the storages that both read: from which
//! segment on their files are one server's alone (FL-8).
//!
//! One small object directly below the storage's location, [`NOTE`]. Nobody there deletes a file of an older segment;
//! of several boundaries the greatest holds, and none is ever taken back. Read before files are deleted, and nothing is
//! listed for it.

use bytes::Bytes;
use ulid::Ulid;

use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;
use crate::storage::SegmentStorage;

/// Where it is. No user's directory can have this name: in one, 16 hexadecimal digits follow a `~`.
pub const NOTE: &str = ".kalamdb~shared";

const BEFORE: &str = "format = 1\nbelow = \"";
const BEHIND: &str = "\"\n";

/// The boundary that a storage has: files of segments with a smaller id are to be kept. 0 where there is none.
///
/// # Errors
/// When that cannot be told: then every file is to be kept.
///
/// # Cancel safety
/// Safe.
pub async fn keep_below(storage: &dyn SegmentStorage) -> Result<u128> {
    let content = storage.read_note(&SegmentPath::parse(NOTE)?).await?;
    content.map_or(Ok(0), |content| decode(&content))
}

/// Sees to it that a storage has this boundary, or a greater one; durably. Answers with the one it has then. Of two servers that do so at the same instant
/// the one with the smaller boundary may come last: whoever depends on its own looks at it again now and then.
///
/// # Errors
/// When it cannot be read or written, or holds something else.
///
/// # Cancel safety
/// It may have been done.
pub async fn raise(storage: &dyn SegmentStorage, below: u128) -> Result<u128> {
    let there = keep_below(storage).await?;
    if there >= below {
        return Ok(there);
    }
    storage.write_note(&SegmentPath::parse(NOTE)?, encode(below)).await?;
    Ok(below)
}

fn encode(below: u128) -> Bytes {
    format!("{BEFORE}{}{BEHIND}", Ulid(below)).into()
}

fn decode(content: &[u8]) -> Result<u128> {
    let text = std::str::from_utf8(content).unwrap_or_default();
    let id = text.strip_prefix(BEFORE).and_then(|text| text.strip_suffix(BEHIND));
    let below = id.and_then(|id| Ulid::from_string(id).ok()).filter(|below| encode(below.0) == content);
    below.map(|below| below.0).ok_or_else(|| SegmentError::Damaged {
        path: NOTE.to_owned(),
        message: "it must hold `format = 1` and `below` with a ULID in a line each, and nothing else".to_owned(),
    })
}

#[cfg(test)]
mod tests;
