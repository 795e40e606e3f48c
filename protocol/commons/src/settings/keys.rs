//! Every key: its name, what it may be, how it is set and shown.

use std::fmt;

use crate::settings::value::{self, Shown};
use crate::settings::{SettingValue, Settings};

/// One key of `settings.toml`.
#[derive(Clone, Copy)]
pub struct SettingKey {
    /// `section.key`.
    pub name: &'static str,
    /// What is allowed, to follow "expected".
    pub allowed: &'static str,
    /// Whether its value is never shown.
    pub is_secret: bool,
    set: fn(&mut Settings, &SettingValue) -> bool,
    show: fn(&Settings) -> Option<String>,
}

impl SettingKey {
    /// Every key there is.
    pub const ALL: &'static [SettingKey] = KEYS;

    /// The key of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static SettingKey> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Sets the key; `false`, and nothing changed, if the value is not [allowed](Self::allowed).
    #[must_use]
    pub fn set(&self, settings: &mut Settings, value: &SettingValue) -> bool {
        (self.set)(settings, value)
    }

    /// The value in force, as it would be written; a secret is `***`, `None` means unset.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> Option<String> {
        (self.show)(settings)
    }
}

impl fmt::Debug for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingKey").field("name", &self.name).finish_non_exhaustive()
    }
}

const DURATION: &str = "a duration above zero such as \"500ms\", \"10s\", \"5m\", \"2h\" or \"7d\"";
const BOOLEAN: &str = "true or false";
const COUNT: &str = "a whole number from 1 to 1000000000";
const SIZE: &str = "bytes as a whole number, or a size such as \"64MiB\", from 1 KiB to 1 TiB";
const MANY: std::ops::RangeInclusive<u64> = 1..=1_000_000_000;
const BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 40;

macro_rules! keys {
    ($($section:ident.$field:ident: $read:expr, $allowed:expr $(, show $show:path)? $(, secret $secret:literal)?;)*) => {
        const KEYS: &[SettingKey] = &[$(SettingKey {
            name: concat!(stringify!($section), ".", stringify!($field)),
            allowed: $allowed,
            is_secret: false $(|| $secret)?,
            set: |settings, given| match $read(given) {
                Some(read) => {
                    settings.$section.$field = read;
                    true
                }
                None => false,
            },
            show: |settings| keys!(@show settings.$section.$field $(, $show)?),
        },)*];
    };
    (@show $field:expr) => { $field.shown() };
    (@show $field:expr, $show:path) => { $show(&$field) };
}

keys! {
    server.host: value::host, "an IP address or a host name";
    server.port: |given| value::count(given, 0..=65_535), "a whole number from 0 to 65535";
    server.workers: |given| value::count(given, 0..=1_024), "a whole number from 0 (one per core) to 1024";
    server.shutdown_timeout: value::duration, DURATION;
    server.request_timeout: value::duration, DURATION;
    server.header_timeout: value::duration, DURATION;
    server.max_connections: |given| value::count(given, 1..=1_000_000), "a whole number from 1 to 1000000";
    server.max_body_bytes: |given| value::size(given, 1..=1 << 30),
        "bytes as a whole number, or a size such as \"16MiB\", from 1 KiB to 1 GiB", show value::shown_size;
    server.cors_origins: value::origins, "a list of origins such as \"https://app.example.com\", without path or wildcard";
    auth.jwt_secret: value::secret, "a text of at least 32 bytes", secret true;
    auth.jwt_public_key_file: value::optional_path, "the path of a PEM file";
    auth.issuer: value::optional_text, "a text";
    auth.audience: value::optional_text, "a text";
    auth.localhost_bypass: value::boolean, BOOLEAN;
    auth.localhost_user: value::user_id, "a user id: 1 to 128 characters without control characters";
    storage.backend: value::backend, "\"rocksdb\" or \"memory\"";
    storage.rocksdb_dir: value::path, "the path of a directory";
    storage.durability: value::durability, "\"sync\" or \"buffered\"";
    storage.default_location: value::path, "the path of a directory";
    storage.user_path_template: value::user_template,
        "a path that begins with {storageLocation}/ and holds {userId}; besides these only {namespace}, {tableName} and {shard}";
    storage.shared_path_template: value::shared_template,
        "a path that begins with {storageLocation}/; besides it only {namespace}, {tableName} and {shard}";
    storage.memory: |given| value::size(given, 1 << 20..=1 << 40),
        "bytes as a whole number, or a size such as \"256MiB\", from 1 MiB to 1 TiB", show value::shown_size;
    storage.deleted_retention: value::duration, DURATION;
    storage.size_log_interval: value::duration, DURATION;
    backup.dir: value::optional_path, "the path of a directory";
    compaction.enabled: value::boolean, BOOLEAN;
    flush.default_interval: value::duration, DURATION;
    flush.default_rows: |given| value::count(given, MANY), COUNT, show value::shown_count;
    flush.workers: |given| value::count(given, 1..=256), "a whole number from 1 to 256";
    flush.retry_backoff: value::duration, DURATION;
    query.report_timing: value::boolean, BOOLEAN;
    query.plan_cache_entries: |given| value::count(given, MANY), COUNT;
    query.plan_cache_bytes: |given| value::size(given, BYTES), SIZE, show value::shown_size;
    query.memory_limit: |given| value::size(given, 1 << 20..=1 << 44),
        "bytes as a whole number, or a size such as \"2GiB\", from 1 MiB to 16 TiB", show value::shown_size;
    query.max_concurrent_per_user: |given| value::count(given, 1..=100_000), "a whole number from 1 to 100000";
    query.max_waiting: |given| value::count(given, 0..=1_000_000), "a whole number from 0 to 1000000";
    query.max_write_bytes: |given| value::size(given, BYTES), SIZE, show value::shown_size;
    session.registration_ttl: value::duration, DURATION;
    session.max_registrations: |given| value::count(given, MANY), COUNT;
    session.max_registrations_total: |given| value::count(given, MANY), COUNT;
    session.idle_timeout: value::duration, DURATION;
    live.max_subscriptions_per_user: |given| value::count(given, MANY), COUNT;
    live.buffer_size: |given| value::count(given, MANY), COUNT;
    live.buffer_bytes: |given| value::size(given, BYTES), SIZE, show value::shown_size;
    live.max_frame_bytes: |given| value::size(given, BYTES), SIZE, show value::shown_size;
    live.resume_retention: value::duration, DURATION;
    live.resume_bytes: |given| value::size(given, BYTES), SIZE, show value::shown_size;
    live.heartbeat_interval: value::duration, DURATION;
    live.auth_timeout: value::duration, DURATION;
    stream.default_ttl: value::duration, DURATION;
    stream.max_rows_per_user: |given| value::count(given, MANY), COUNT, show value::shown_count;
    jobs.retention: value::duration, DURATION;
    jobs.max_rows: |given| value::count(given, MANY), COUNT, show value::shown_count;
    logging.level: value::level, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
    logging.format: value::format, "\"text\" or \"json\"";
}
