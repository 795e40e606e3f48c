//! Where hot bytes live: the [`StorageBackend`] border, its engines, the codecs, and the typed stores
//! on top of them.

pub mod backend;
pub mod catalog;
pub mod codec;
pub mod committer;
mod error;

pub use error::StoreError;
