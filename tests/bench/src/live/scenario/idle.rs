//! Connections with a subscription each that are told nothing: what they take of the server's memory.

use serde::Serialize;
use serde_json::json;

use super::open_all;
use crate::failure::Failure;
use crate::live::Bench;
use crate::run::target::Target;

/// Users of these connections: as many as a middling server has at once.
const USERS: usize = 1000;

/// What idle connections take.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IdleReport {
    pub(crate) connections: usize,
    /// Resident memory without them.
    pub(crate) before_bytes: Option<u64>,
    /// With all of them.
    pub(crate) with_bytes: Option<u64>,
    /// After they were closed.
    pub(crate) after_bytes: Option<u64>,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<IdleReport, Failure> {
    let connections = bench.args.connections.get();
    let place = bench.stage.place(Target::Users, connections.min(USERS))?;
    let table = bench.stage.make(&place, "idle").await?;
    let resident = || bench.meter.server.as_ref().and_then(|server| server.usage()).map(|usage| usage.rss_bytes);
    let before_bytes = resident();
    let callers: Vec<_> = place.callers.iter().cycle().take(connections).cloned().collect();
    let mut sockets = open_all(&bench.meter.address, &callers).await?;
    for socket in &mut sockets {
        socket.follow(&format!("SELECT id FROM {table}"), json!({})).await?;
    }
    let with_bytes = resident();
    drop(sockets);
    // The server notices in its own time; its allocator gives back later still.
    let (admin, _) = bench.stage.of_admin(&place, "idle");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let left = admin.rows("SELECT count(*) AS n FROM system.live_queries").await?;
        let none_left = left.first().and_then(|row| row.first()).is_some_and(|count| *count == json!(0));
        if none_left {
            break;
        }
        if std::time::Instant::now() > deadline {
            return Err(Failure::Socket("is closed, and its subscription is there still".to_owned()));
        }
    }
    Ok(IdleReport { connections, before_bytes, with_bytes, after_bytes: resident() })
}
