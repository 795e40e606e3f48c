//! What can go wrong below the engine.

use kalamdb_commons::{Error, ErrorCode};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine could not do what was asked (disk full, I/O error, damaged files).
    #[error("storage backend failed to {action}: {message}")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// The engine's own words.
        message: String,
    },
    /// The backend was closed.
    #[error("storage backend is closed")]
    Closed,
    /// A sync failed earlier: nothing is written until the backend is opened again.
    #[error("storage backend is poisoned by an earlier failed sync")]
    Poisoned,
    /// The backend cannot do this at all.
    #[error("storage backend {backend} cannot {action}")]
    Unsupported {
        /// Which one.
        backend: &'static str,
        /// What was asked.
        action: &'static str,
    },
    /// Stored bytes do not decode.
    #[error("stored {what} is corrupted: {message}")]
    Corrupted {
        /// Which kind of key or value.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// Stored bytes are of a format that a newer version of the server wrote.
    #[error("stored {what} has format {found}, written by a newer version: this one reads up to {known}")]
    NewerFormat {
        /// Which kind of value.
        what: &'static str,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The data directory cannot be used, for the reason given; nothing was touched.
    #[error("{0}")]
    Directory(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Backend { .. } | StoreError::Poisoned => ErrorCode::StorageUnavailable,
            StoreError::Closed => ErrorCode::ShuttingDown,
            StoreError::Unsupported { .. } => ErrorCode::Unsupported,
            StoreError::Corrupted { .. } => ErrorCode::DataCorrupted,
            StoreError::NewerFormat { .. } | StoreError::Directory(_) => ErrorCode::Internal,
        };
        // The engine's own words name files and settings: they are for the log.
        let message = match &error {
            StoreError::Backend { .. } | StoreError::Poisoned => "the storage backend is unavailable".to_owned(),
            StoreError::Corrupted { what, .. } => {
                format!("stored {what} is corrupted; the server's log has the details")
            }
            StoreError::Closed
            | StoreError::Unsupported { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Directory(_) => error.to_string(),
        };
        Self { detail: Some(error.to_string()), ..Self::new(code, message) }
    }
}
