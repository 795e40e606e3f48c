//! Paths of segments below a storage's location: made and checked here and nowhere else.
//!
//! What always holds: a [`SegmentPath`] has components with `/` between them, none of them empty, `.` or `..`, so
//! joined to a location it stays below it.

use std::fmt;

use kalamdb_commons::{PathTemplate, PathValues};
use ulid::Ulid;

use crate::error::{Result, SegmentError};

/// What a segment's file name ends in.
const EXTENSION: &str = ".parquet";

/// A file's path relative to its storage's location.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentPath(String);

impl SegmentPath {
    /// The path of a new segment: the template's directory, then `<ulid>.parquet`.
    ///
    /// # Errors
    /// [`SegmentError::Misused`] when the template needs a user and `values` has none.
    pub fn new(template: &PathTemplate, values: &PathValues<'_>, segment_id: u128) -> Result<Self> {
        let directory =
            template.render(values).map_err(|error| SegmentError::Misused(error.detail.unwrap_or(error.message)))?;
        let name = format!("{}{EXTENSION}", Ulid(segment_id));
        Self::parse(&if directory.is_empty() { name } else { format!("{directory}/{name}") })
    }

    /// Takes a path from the manifest or a file list.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] when it is none that was written there.
    pub fn parse(text: &str) -> Result<Self> {
        let well_formed = text.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !text.contains(|character: char| character.is_control() || character == '\\');
        if well_formed {
            return Ok(Self(text.to_owned()));
        }
        Err(SegmentError::Damaged { path: text.to_owned(), message: "its path leads out of the storage".to_owned() })
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segment that the file is; none where its name is not that of one.
    #[must_use]
    pub fn segment_id(&self) -> Option<u128> {
        let name = self.0.rsplit('/').next()?.strip_suffix(EXTENSION)?;
        let id = Ulid::from_string(name).ok()?;
        // Other spellings are not ours.
        (id.to_string() == name).then_some(id.0)
    }

    /// Its directories, outermost first: of `a/b/c.parquet` they are `a` and `a/b`.
    pub(crate) fn directories(&self) -> impl DoubleEndedIterator<Item = &str> {
        let ends: Vec<usize> = self.0.match_indices('/').map(|(at, _)| at).collect();
        ends.into_iter().map(|end| self.0.get(..end).unwrap_or_default())
    }
}

impl fmt::Display for SegmentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
