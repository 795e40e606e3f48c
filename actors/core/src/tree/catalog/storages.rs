//! CREATE, ALTER and DROP of storages.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_store::codec::catalog::StorageRecord;
use kalamdb_store::{Batch, catalog as records};

use super::CatalogState;
use crate::catalog::missing_storage;
use crate::engine::storages::AlteredStorage;
use crate::segments::{LOCAL_STORAGE, in_use};

impl CatalogState {
    pub(super) async fn create_storage(&self, storage: StorageRecord, if_not_exists: bool) -> Result<String> {
        let mut snapshot = self.copy();
        let name = storage.name.clone();
        if name == LOCAL_STORAGE || snapshot.storages.contains_key(&name) {
            if if_not_exists {
                return Ok(format!("storage '{name}' exists already"));
            }
            return Err(Error::new(ErrorCode::StorageExists, format!("Storage '{name}' exists already.")));
        }
        let mut batch = Batch::new();
        records::put_storage(&mut batch, &storage);
        snapshot.storages.insert(name.clone(), Arc::new(storage));
        self.publish_new(batch, snapshot).await?;
        Ok(format!("storage '{name}' created"))
    }

    /// Of one that was tried, and is still as it was then.
    pub(super) async fn alter_storage(&self, altered: AlteredStorage) -> Result<String> {
        let mut snapshot = self.copy();
        let AlteredStorage { before, after, _closed } = altered;
        let name = before.name.clone();
        match snapshot.storages.get(&name) {
            None => return Err(missing_storage(&name)),
            Some(now) if *now != before => return Err(changed_meanwhile(&name)),
            Some(_) => {}
        }
        let mut batch = Batch::new();
        records::put_storage(&mut batch, &after);
        snapshot.storages.insert(name.clone(), Arc::new(after));
        self.publish_new(batch, snapshot).await?;
        Ok(format!("storage '{name}' altered"))
    }

    /// With writers kept out of it, and nothing in it.
    pub(super) async fn drop_storage(&self, name: &str, if_exists: bool, is_closed: bool) -> Result<String> {
        let mut snapshot = self.copy();
        if !snapshot.storages.contains_key(name) {
            if if_exists {
                return Ok(format!("storage '{name}' does not exist"));
            }
            return Err(missing_storage(name));
        }
        if !is_closed {
            return Err(changed_meanwhile(name));
        }
        let user = snapshot.tables.values().find(|entry| entry.definition.options.storage.as_deref() == Some(name));
        if let Some(entry) = user {
            return Err(in_use(name, &format!("table '{}' is flushed to it", entry.definition.name)));
        }
        let mut batch = Batch::new();
        records::delete_storage(&mut batch, name);
        snapshot.storages.remove(name);
        self.publish_new(batch, snapshot).await?;
        Ok(format!("storage '{name}' dropped"))
    }
}

fn changed_meanwhile(name: &str) -> Error {
    Error::new(ErrorCode::Conflict, format!("Storage '{name}' was changed by another statement: try again."))
}
