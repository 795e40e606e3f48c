//! CREATE, ALTER and DROP STORAGE up to the catalog: storages are tried, and what lies in them is looked at, in the
//! statement's own task. Nothing of it may keep the `CatalogActor` from other statements.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::StorageOptions;
use kalamdb_store::codec::catalog::StorageRecord;
use kalamdb_store::files;
use tokio::sync::oneshot;

use super::ddl::Ddl;
use super::scope::Scope;
use super::{Runtime, now_micros};
use crate::catalog::{altered_storage, missing_storage, new_storage, same_place};
use crate::flush::sweep_storage;
use crate::segments::{Closed, LOCAL_STORAGE, check_segments, in_use, not_moved, open, segment_in};
use crate::task::spawn_on;

/// What ALTER STORAGE makes of a storage.
#[derive(Debug, Clone)]
pub(crate) struct AlteredStorage {
    /// As it was when it was tried.
    pub(crate) before: Arc<StorageRecord>,
    pub(crate) after: StorageRecord,
    /// Held where its files are to be elsewhere.
    pub(crate) _closed: Option<Arc<Closed>>,
}

/// Without a deadline of its own: how long a storage is waited for its `timeout` says.
async fn until_called_off<T>(scope: &Scope, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        error = scope.limits().called_off() => Err(error),
    }
}

/// CREATE STORAGE, of one that can be used; where there is one of the name it is not tried.
pub(crate) async fn create(scope: &Scope, name: &str, options: &StorageOptions, if_not_exists: bool) -> Result<Ddl> {
    let storage = new_storage(name.to_owned(), options, now_micros())?;
    let files = open(&storage)?;
    if name != LOCAL_STORAGE && !scope.runtime.catalog().storages.contains_key(name) {
        until_called_off(scope, async { Ok(files.prepare().await?) }).await?;
    }
    Ok(Ddl::CreateStorage { storage: Box::new(storage), if_not_exists })
}

/// ALTER STORAGE, to one that can be used, and has what it had.
pub(crate) async fn alter(scope: &Scope, name: &str, changes: &StorageOptions) -> Result<Ddl> {
    if name == LOCAL_STORAGE {
        let message = "storage 'local' is that of the settings: see storage.default_location and the path templates";
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    let runtime = &scope.runtime;
    let before = runtime.catalog().storages.get(name).cloned().ok_or_else(|| missing_storage(name))?;
    let after = altered_storage(&before, changes, now_micros())?;
    let files = open(&after)?;
    let closed = until_called_off(scope, async {
        if same_place(&before, &after) {
            files.probe().await?;
            return Ok(None);
        }
        let closed = runtime.segments().close(name).await?;
        clear(runtime, name).await?;
        let rows = runtime.store().backend.snapshot().await?;
        if segment_in(rows.as_ref(), name).await?.is_some() {
            let first = |error| not_moved(name, &error);
            files.probe().await.map_err(first)?;
            check_segments(rows.as_ref(), name, files.as_ref()).await?;
        } else {
            files.prepare().await?;
        }
        runtime.segments().take_boundary_along(name, files.as_ref()).await?;
        Ok(Some(Arc::new(closed)))
    });
    let closed = closed.await?;
    Ok(Ddl::AlterStorage(Box::new(AlteredStorage { before, after, _closed: closed })))
}

/// DROP STORAGE, of one that nothing lies in.
pub(crate) async fn drop_storage(scope: &Scope, name: &str, if_exists: bool) -> Result<Ddl> {
    if name == LOCAL_STORAGE {
        return Err(in_use(name, "it is that of the settings, which every server has"));
    }
    let runtime = &scope.runtime;
    let catalog = runtime.catalog();
    if !catalog.storages.contains_key(name) {
        return Ok(Ddl::DropStorage { name: name.to_owned(), if_exists, closed: None });
    }
    let user = catalog.tables.values().find(|entry| entry.definition.options.storage.as_deref() == Some(name));
    if let Some(entry) = user {
        return Err(in_use(name, &format!("table '{}' is flushed to it", entry.definition.name)));
    }
    let closed = until_called_off(scope, async {
        let closed = runtime.segments().close(name).await?;
        clear(runtime, name).await?;
        let rows = runtime.store().backend.snapshot().await?;
        match segment_in(rows.as_ref(), name).await? {
            Some(segment) => Err(in_use(name, &format!("segments lie in it, such as '{}'", segment.path))),
            None => Ok(closed),
        }
    });
    let closed = Some(Arc::new(closed.await?));
    Ok(Ddl::DropStorage { name: name.to_owned(), if_exists, closed })
}

/// Deletes files of the storage that nobody needs: those of tables that were dropped just now must not be waited for.
///
/// # Errors
/// [`ErrorCode::StorageInUse`] where some are left.
async fn clear(runtime: &Arc<Runtime>, name: &str) -> Result<()> {
    let (sweeping, storage) = (Arc::clone(runtime), name.to_owned());
    let (done, ended) = oneshot::channel();
    drop(spawn_on(runtime.statements(), "sweep", async move {
        // Whoever asked may be gone.
        let _ = done.send(sweep_storage(&sweeping, &storage).await);
    }));
    ended.await.map_err(Error::internal)??;
    match files::unneeded_in(runtime.store().backend.snapshot().await?.as_ref(), name).await? {
        0 => Ok(()),
        left => Err(in_use(name, &format!("{left} files in it are still to be deleted: try again later"))),
    }
}
