//! What can go wrong with segments.

use std::io;
use std::sync::Arc;

use arrow::error::ArrowError;
use kalamdb_commons::{Error, ErrorCode};
use parquet::errors::ParquetError;

/// Shorthand for results with [`SegmentError`].
pub type Result<T, E = SegmentError> = std::result::Result<T, E>;

/// An error of this crate.
///
/// Messages name a file by its path relative to the storage's location, never by where that is, and hold no
/// credential.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The storage could not be reached, or refused. Trying again makes sense once the fault is gone.
    #[error("segment storage failed to {action} '{path}': {message}")]
    Unavailable {
        /// What was tried.
        action: &'static str,
        /// With which file or directory, relative to the storage's location.
        path: String,
        /// What the system said.
        message: String,
    },
    /// The storage has no room.
    #[error("segment storage is full: could not {action} '{path}': {message}")]
    Full {
        /// What was tried.
        action: &'static str,
        /// With which file or directory, relative to the storage's location.
        path: String,
        /// What the system said.
        message: String,
    },
    /// A segment's file is not there, although its storage is.
    #[error("segment '{path}' is missing")]
    Missing {
        /// Its path, relative to the storage's location.
        path: String,
    },
    /// A segment's file is not what was written.
    #[error("segment '{path}' is damaged: {message}")]
    Damaged {
        /// Its path, relative to the storage's location.
        path: String,
        /// How that showed.
        message: String,
    },
    /// An option of a table or storage has an impossible value.
    #[error("{0}")]
    InvalidOption(String),
    /// Rows, columns or keys that the caller should not have passed; a defect of ours.
    #[error("segments were used wrongly: {0}")]
    Misused(String),
}

impl SegmentError {
    /// The error of a file operation.
    pub(crate) fn io(action: &'static str, path: &str, error: &io::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { action, path, message },
            _ => Self::Unavailable { action, path, message },
        }
    }

    /// The error of a segment that does not decode. One that came up from the storage stays what it was.
    pub(crate) fn decode(path: &str, error: &ParquetError) -> Self {
        match Self::carried_by(error) {
            Some(cause) => cause.clone(),
            None => Self::Damaged { path: path.to_owned(), message: error.to_string() },
        }
    }

    /// One of ours inside an error of the Parquet crate.
    fn carried_by(error: &ParquetError) -> Option<&Self> {
        match error {
            ParquetError::External(source) => match source.downcast_ref() {
                Some(ArrowError::ExternalError(inner)) => inner.downcast_ref(),
                _ => source.downcast_ref(),
            },
            _ => None,
        }
    }

    /// Whether the same may succeed later, with nothing changed here.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => true,
            Self::Missing { .. } | Self::Damaged { .. } | Self::InvalidOption(_) | Self::Misused(_) => false,
        }
    }

    /// Its code in the external contract.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => ErrorCode::StorageUnavailable,
            Self::Missing { .. } | Self::Damaged { .. } => ErrorCode::DataCorrupted,
            Self::InvalidOption(_) => ErrorCode::InvalidOption,
            Self::Misused(_) => ErrorCode::Internal,
        }
    }
}

impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Self {
        let detail = error.to_string();
        let code = error.code();
        let message = match error {
            SegmentError::Misused(_) => return Self::internal(detail),
            // How a file is damaged is for the log; that it is, and which, is for the caller.
            SegmentError::Damaged { path, .. } => {
                format!("segment '{path}' is damaged; the server's log has the details")
            }
            SegmentError::Unavailable { .. }
            | SegmentError::Full { .. }
            | SegmentError::Missing { .. }
            | SegmentError::InvalidOption(_) => detail.clone(),
        };
        Self { detail: Some(detail), ..Self::new(code, message) }
    }
}

impl From<SegmentError> for ParquetError {
    fn from(error: SegmentError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<ArrowError> for SegmentError {
    fn from(error: ArrowError) -> Self {
        Self::Misused(error.to_string())
    }
}

/// The error of ours that an [`io::Error`] of a sink carries.
pub(crate) fn sink_error(error: &io::Error) -> Option<SegmentError> {
    error.get_ref()?.downcast_ref::<SinkError>().map(|carried| SegmentError::clone(&carried.0))
}

/// Carries an error of ours through [`io::Write`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SinkError(pub(crate) Arc<SegmentError>);

impl From<SegmentError> for SinkError {
    fn from(error: SegmentError) -> Self {
        Self(Arc::new(error))
    }
}

#[cfg(test)]
mod tests;
