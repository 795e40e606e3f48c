//! The settings model: plain, validated data.
//!
//! [`Settings`] is what the server runs by, [`SettingKey`] the table of every key with what it may be, and
//! [`Settings::check`] the rules between keys. Nothing here reads a file or the environment: whoever
//! does turns what it finds into [`SettingValue`]s and hands them to [`SettingKey::set`]. No secret
//! is ever shown by `Debug` or by [`SettingKey::show`].

mod engine;
mod keys;
mod rules;
mod server;
mod storage;
mod value;

pub use engine::{JobsSettings, LiveSettings, QuerySettings, SessionSettings, StreamSettings};
pub use keys::SettingKey;
pub use rules::{Violation, is_loopback_host};
pub use server::{AuthSettings, LogFormat, LogLevel, LoggingSettings, Secret, ServerSettings};
pub use storage::{BackupSettings, CompactionSettings, Durability, FlushSettings, StorageSettings};
pub use value::SettingValue;

/// Everything an operator can set, grouped as in `settings.toml`.
///
/// The default is the documented one, except for what depends on the machine: whoever loads settings
/// places `storage.rocksdb_dir` beside the program and sizes `query.memory_limit` by its memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The door.
    pub server: ServerSettings,
    /// Who may come in.
    pub auth: AuthSettings,
    /// Where bytes live.
    pub storage: StorageSettings,
    /// Where backups may go.
    pub backup: BackupSettings,
    /// Merging of segments.
    pub compaction: CompactionSettings,
    /// When hot rows become segments.
    pub flush: FlushSettings,
    /// Bounds of statements.
    pub query: QuerySettings,
    /// What is kept per user.
    pub session: SessionSettings,
    /// Live queries.
    pub live: LiveSettings,
    /// Stream tables.
    pub stream: StreamSettings,
    /// The record of finished jobs.
    pub jobs: JobsSettings,
    /// The server's own log.
    pub logging: LoggingSettings,
}

#[cfg(test)]
mod tests;
