//! The bodies of the status endpoints.

use serde::{Deserialize, Serialize};

/// `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`: a server that answers is alive.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
}

/// `GET /ready`, when it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always `ready`.
    pub status: String,
}

/// `GET /api/actors/live`: connections, subscriptions, and what became of their frames since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveOverview {
    /// Open WebSocket connections.
    pub connections: u64,
    /// Subscriptions of all of them.
    pub subscriptions: u64,
    /// Change frames that were handed to connections.
    pub delivered: u64,
    /// Subscriptions that resumed from the change log.
    pub replays: u64,
    /// Connections that were ended because they did not read.
    pub slow_consumers: u64,
}

/// `GET /api/actors/plan-cache`: plans that are kept, and how often they were of use since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanCacheOverview {
    /// Texts whose plans are kept.
    pub entries: u64,
    /// About what they take.
    pub bytes: u64,
    /// Most entries.
    pub capacity: u64,
    /// Statements that found their plan.
    pub hits: u64,
    /// Statements whose plan had to be made first.
    pub misses: u64,
    /// Plans that were made.
    pub compilations: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Plans that were replaced since their tables had changed.
    pub invalidations: u64,
}

/// One of the answer of `GET /api/actors/sessions`: what a user's session keeps of tables, and how often that was of use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEntry {
    /// Whose.
    pub user_id: String,
    /// Tables that it knows.
    pub registrations: u64,
    /// Names that it knew.
    pub hits: u64,
    /// Names that had to be looked up in the catalog.
    pub misses: u64,
    /// Tables that made room for others, or were not used for too long.
    pub evictions: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339: when a statement began or ended last.
    pub last_active_at: String,
}

/// `GET /api/actors/flush`: what is flushed, what waits, and how each table stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushOverview {
    /// Flushes that wait for their turn.
    pub queue_depth: u64,
    /// Tables that are being flushed.
    pub running: u64,
    /// Tables that may be at the same time.
    pub workers: u64,
    /// All user and shared tables.
    pub tables: Vec<FlushedTable>,
}

/// One table's flushes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushedTable {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub table: String,
    /// `user` or `shared`.
    #[serde(rename = "type")]
    pub table_type: String,
    /// `idle`, `queued`, `running` or `retrying`.
    pub state: String,
    /// Rows that a flush would move.
    pub buffered_rows: u64,
    /// Seconds between flushes; null where only rows, commands and the shutdown count.
    pub interval_s: Option<u64>,
    /// RFC 3339; null before the first.
    pub last_flush_at: Option<String>,
    /// RFC 3339; null where there is no interval.
    pub next_flush_at: Option<String>,
    /// The last job of the table since the start; null before the first.
    pub last_job_id: Option<String>,
    /// Why its last flush failed; null if it did not.
    pub last_error: Option<String>,
}

/// `GET /api/actors`: one actor and those it supervises.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorNode {
    /// The actor's own name; a session's is `session/` and the user id.
    pub name: String,
    /// What kind of actor it is.
    pub kind: String,
    /// What it is doing: `running`, `stopped`, ….
    pub state: String,
    /// Messages that wait.
    pub mailbox_depth: u64,
    /// Messages handled since its start.
    pub messages_handled: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// Seconds since its (last) start.
    pub uptime_s: u64,
    /// Why it was lost last, in a sentence without any data; null if it never was.
    pub last_error: Option<String>,
    /// The actors it supervises, as many as were asked for.
    pub children: Vec<ActorNode>,
    /// How many it supervises in all; only groups say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children_total: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_says_nothing_about_a_group() {
        let json = serde_json::to_string(&ActorNode { name: "catalog".into(), ..ActorNode::default() }).expect("JSON");
        assert!(json.ends_with(r#""uptime_s":0,"last_error":null,"children":[]}"#), "{json}");
    }
}
