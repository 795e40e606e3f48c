//! CREATE, ALTER and DROP of storages.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::StorageOptions;
use kalamdb_store::codec::catalog::StorageRecord;
use kalamdb_store::{Batch, catalog as records};

use super::CatalogState;
use crate::catalog::{CatalogSnapshot, altered_storage, missing_storage};
use crate::segments::{Contents, LOCAL_STORAGE, in_use, open};

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

    pub(super) async fn alter_storage(&self, name: &str, changes: &StorageOptions, now: i64) -> Result<String> {
        let mut snapshot = self.copy();
        let before = known(&snapshot, name)?;
        let storage = altered_storage(&before, changes, now)?;
        let files = open(&storage)?;
        // What is being written is written to where it was.
        let moved = storage.location != before.location;
        let _closed = if moved { Some(self.runtime.segments().close(name)?) } else { None };
        if moved {
            let rows = self.runtime.store().backend.snapshot().await?;
            Contents::read(rows.as_ref(), name).await?.check_place(name, files.as_ref()).await?;
        }
        let mut batch = Batch::new();
        records::put_storage(&mut batch, &storage);
        snapshot.storages.insert(name.to_owned(), Arc::new(storage));
        self.publish_new(batch, snapshot).await?;
        Ok(format!("storage '{name}' altered"))
    }

    pub(super) async fn drop_storage(&self, name: &str, if_exists: bool) -> Result<String> {
        let mut snapshot = self.copy();
        match known(&snapshot, name) {
            Err(error) if error.code == ErrorCode::StorageNotFound && if_exists => {
                return Ok(format!("storage '{name}' does not exist"));
            }
            known => known?,
        };
        let user = snapshot.tables.values().find(|entry| entry.definition.options.storage.as_deref() == Some(name));
        if let Some(entry) = user {
            return Err(in_use(name, &format!("table '{}' is flushed to it", entry.definition.name)));
        }
        let _closed = self.runtime.segments().close(name)?;
        let rows = self.runtime.store().backend.snapshot().await?;
        let contents = Contents::read(rows.as_ref(), name).await?;
        if let Some(segment) = contents.segments.first() {
            return Err(in_use(name, &format!("segments lie in it, such as '{}'", segment.path)));
        }
        if contents.other_files > 0 {
            let why = format!("{} files in it are still to be deleted: try again later", contents.other_files);
            return Err(in_use(name, &why));
        }
        let mut batch = Batch::new();
        records::delete_storage(&mut batch, name);
        snapshot.storages.remove(name);
        self.publish_new(batch, snapshot).await?;
        Ok(format!("storage '{name}' dropped"))
    }
}

fn known(snapshot: &CatalogSnapshot, name: &str) -> Result<Arc<StorageRecord>> {
    if name == LOCAL_STORAGE {
        let message = "storage 'local' is that of the settings: see storage.default_location and the path templates";
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    snapshot.storages.get(name).cloned().ok_or_else(|| missing_storage(name))
}
