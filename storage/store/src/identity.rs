//! What a data directory says of itself, whatever engine keeps it: its format, and which database it is.

use bytes::Bytes;
use kalamdb_commons::{Family, Result};

use crate::backend::{Batch, Durability, StorageBackend};
use crate::codec::meta::{DataFormat, DatabaseId};
use crate::codec::system;

/// Checks that this version can read the data; at the first start writes format and identity.
///
/// # Errors
/// [`StoreError::NewerFormat`](crate::StoreError::NewerFormat) for the data of a newer server (nothing is
/// written then), or when the backend cannot be read or written.
pub async fn recognise(backend: &dyn StorageBackend) -> Result<DatabaseId> {
    let values = backend.get_many(Family::System, &[system::format_version(), system::database_id()]).await?;
    let stored = |at: usize| values.get(at).and_then(Option::as_ref);
    let mut batch = Batch::new();
    match stored(0) {
        Some(bytes) => DataFormat::decode(bytes)?.check()?,
        None => batch.put(Family::System, system::format_version(), DataFormat::CURRENT.encode()),
    }
    let id = match stored(1) {
        Some(bytes) => DatabaseId::decode(bytes)?,
        None => {
            let id = DatabaseId(ulid::Ulid::new().0);
            batch.put(Family::System, system::database_id(), Bytes::from(id.encode()));
            id
        }
    };
    if !batch.is_empty() {
        backend.write(batch, Durability::Synced).await?;
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryBackend;

    #[tokio::test]
    async fn the_identity_is_made_once_and_kept() {
        let backend = MemoryBackend::new();
        let first = recognise(&backend).await.expect("a first start");
        assert_eq!(recognise(&backend).await.expect("a second one"), first);
    }

    #[tokio::test]
    async fn data_of_a_newer_server_is_refused() {
        let backend = MemoryBackend::new();
        let mut batch = Batch::new();
        batch.put(Family::System, system::format_version(), DataFormat(DataFormat::CURRENT.0 + 1).encode());
        backend.write(batch, Durability::Synced).await.expect("written");
        let error = recognise(&backend).await.expect_err("newer");
        assert!(error.detail.unwrap_or(error.message).contains("newer"));
        let values = backend.get_many(Family::System, &[system::database_id()]).await.expect("read");
        assert_eq!(values, [None], "nothing was written");
    }
}
