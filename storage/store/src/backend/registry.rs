//! Which backends `storage.backend` can name, and how each is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use kalamdb_commons::settings::StorageSettings;

use super::{MemoryBackend, StorageBackend, directory};
#[cfg(feature = "rocksdb")]
use super::{RocksDbBackend, RocksDbOptions};
use crate::StoreError;

/// What every backend is told; one takes of it what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendOptions {
    /// Where its files go.
    pub directory: PathBuf,
    /// Memory for caches and write buffers together.
    pub memory_bytes: u64,
    /// What to do where there is no database.
    pub missing: IfMissing,
}

/// What an open does where there is no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Makes one.
    Create,
    /// Refuses, and touches nothing: there was one a moment ago.
    Refuse,
}

/// An opened backend, or why not.
pub type OpenedBackend = Result<Arc<dyn StorageBackend>, StoreError>;

type Opening = Pin<Box<dyn Future<Output = OpenedBackend> + Send>>;
type Factory = Arc<dyn Fn(BackendOptions) -> Opening + Send + Sync>;

/// Backends by name.
#[derive(Clone)]
pub struct BackendRegistry {
    factories: BTreeMap<String, Factory>,
    #[cfg(feature = "failpoints")]
    pub(crate) failpoints: Option<crate::failpoint::Hook>,
}

impl BackendRegistry {
    /// A registry that knows no backend.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            factories: BTreeMap::new(),
            #[cfg(feature = "failpoints")]
            failpoints: None,
        }
    }

    /// A registry that knows `rocksdb`, where the crate is built with it, and `memory`.
    #[must_use]
    pub fn standard() -> Self {
        let mut registry = Self::empty();
        #[cfg(feature = "rocksdb")]
        registry.register(RocksDbBackend::NAME, |options: BackendOptions| async move {
            let BackendOptions { directory, memory_bytes, missing } = options;
            let options = RocksDbOptions { directory, memory_bytes, missing };
            Ok(Arc::new(RocksDbBackend::open(options).await?) as Arc<dyn StorageBackend>)
        });
        registry.register(MemoryBackend::NAME, |options: BackendOptions| async move {
            directory::refuse_other_backends(&options.directory, MemoryBackend::NAME)?;
            Ok(Arc::new(MemoryBackend::new()) as Arc<dyn StorageBackend>)
        });
        registry
    }

    /// Adds a backend, in place of an earlier one of that name.
    pub fn register<F, Fut>(&mut self, name: impl Into<String>, factory: F)
    where
        F: Fn(BackendOptions) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = OpenedBackend> + Send + 'static,
    {
        self.factories.insert(name.into(), Arc::new(move |options| Box::pin(factory(options))));
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// Whether `name` can be opened.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.factories.contains_key(name)
    }

    /// Opens the backend that the settings name.
    ///
    /// # Errors
    /// As [`open_named`](Self::open_named).
    pub async fn open(&self, settings: &StorageSettings, missing: IfMissing) -> OpenedBackend {
        let options =
            BackendOptions { directory: settings.rocksdb_dir.clone(), memory_bytes: settings.memory, missing };
        self.open_named(&settings.backend, options).await
    }

    /// Opens a backend.
    ///
    /// # Errors
    /// [`StoreError::Directory`] for a name that is not registered; else the backend's own.
    pub async fn open_named(&self, name: &str, options: BackendOptions) -> OpenedBackend {
        let Some(factory) = self.factories.get(name) else {
            let known = self.names().collect::<Vec<_>>().join(", ");
            return Err(StoreError::Directory(format!("storage backend {name:?} is not one of: {known}")));
        };
        factory(options).await
    }
}

impl Default for BackendRegistry {
    fn default() -> Self {
        Self::standard()
    }
}

impl fmt::Debug for BackendRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: &[&str] = if cfg!(feature = "rocksdb") { &["memory", "rocksdb"] } else { &["memory"] };

    fn options() -> BackendOptions {
        BackendOptions { directory: PathBuf::from("unused"), memory_bytes: 1 << 20, missing: IfMissing::Create }
    }

    #[tokio::test]
    async fn a_third_backend_is_opened_by_its_name() {
        let mut registry = BackendRegistry::standard();
        registry.register("other", |_| async { Ok(Arc::new(MemoryBackend::new()) as Arc<dyn StorageBackend>) });
        let mut expected = [STANDARD, &["other"]].concat();
        expected.sort_unstable();
        assert_eq!(registry.names().collect::<Vec<_>>(), expected);
        assert_eq!(registry.open_named("other", options()).await.unwrap().name(), "memory");
    }

    #[tokio::test]
    async fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = BackendRegistry::standard().open_named("sled", options()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("storage backend \"sled\" is not one of: {}", STANDARD.join(", ")));
    }
}
