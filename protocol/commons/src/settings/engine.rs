//! Bounds of statements, sessions, live queries, stream tables and jobs.

use std::time::Duration;

/// `[query]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySettings {
    /// Whether answers say how long a statement took.
    pub report_timing: bool,
    /// Most entries of the plan cache.
    pub plan_cache_entries: usize,
    /// Most bytes of the plan cache.
    pub plan_cache_bytes: u64,
    /// Memory of all running queries together, in bytes.
    pub memory_limit: u64,
    /// Statements of one user running at the same time; more wait.
    pub max_concurrent_per_user: usize,
    /// Statements waiting in all; more are refused.
    pub max_waiting: usize,
    /// Bytes of rows that one statement may write.
    pub max_write_bytes: u64,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            report_timing: true,
            plan_cache_entries: 1_000,
            plan_cache_bytes: 64 << 20,
            memory_limit: 1 << 30,
            max_concurrent_per_user: 32,
            max_waiting: 10_000,
            max_write_bytes: 256 << 20,
        }
    }
}

/// `[session]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// How long an unused table registration is kept.
    pub registration_ttl: Duration,
    /// Most registrations of one session.
    pub max_registrations: usize,
    /// Most registrations of all sessions.
    pub max_registrations_total: usize,
    /// An idle session without live queries stops after it.
    pub idle_timeout: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            registration_ttl: Duration::from_secs(600),
            max_registrations: 1_000,
            max_registrations_total: 100_000,
            idle_timeout: Duration::from_secs(1_800),
        }
    }
}

/// `[live]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// Most subscriptions of one user.
    pub max_subscriptions_per_user: usize,
    /// Undelivered change messages a connection may have.
    pub buffer_size: usize,
    /// Undelivered bytes a connection may have.
    pub buffer_bytes: u64,
    /// Larger frames are split, or refused.
    pub max_frame_bytes: u64,
    /// How long changes are kept for resuming.
    pub resume_retention: Duration,
    /// How many bytes of changes a partition keeps for resuming.
    pub resume_bytes: u64,
    /// Between two pings.
    pub heartbeat_interval: Duration,
    /// How long a connection may take to say who it is.
    pub auth_timeout: Duration,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            max_subscriptions_per_user: 100,
            buffer_size: 1_000,
            buffer_bytes: 4 << 20,
            max_frame_bytes: 1 << 20,
            resume_retention: Duration::from_secs(86_400),
            resume_bytes: 16 << 20,
            heartbeat_interval: Duration::from_secs(15),
            auth_timeout: Duration::from_secs(5),
        }
    }
}

/// `[stream]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// For stream tables that set no TTL.
    pub default_ttl: Duration,
    /// For stream tables that set no bound.
    pub max_rows_per_user: u64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { default_ttl: Duration::from_secs(10), max_rows_per_user: 10_000 }
    }
}

/// `[jobs]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsSettings {
    /// How long finished jobs are kept.
    pub retention: Duration,
    /// How many finished jobs are kept.
    pub max_rows: u64,
}

impl Default for JobsSettings {
    fn default() -> Self {
        Self { retention: Duration::from_secs(30 * 86_400), max_rows: 100_000 }
    }
}
