//! Connections with a subscription each that are told nothing: what they take of the server's memory.

use serde::Serialize;

use super::follow_all;
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::counts::Counts;
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
    let (admin, _) = bench.stage.of_admin(&place, "idle");
    let counts = Counts::read(&admin).await?;
    let before_bytes = bench.meter.resident_bytes();
    let callers: Vec<_> = place.callers.iter().cycle().take(connections).cloned().collect();
    let sockets = follow_all(&bench.meter.address, &callers, &format!("SELECT id FROM {table}")).await?;
    let with_bytes = bench.meter.resident_bytes();
    drop(sockets);
    // The server notices in its own time; its allocator gives back later still.
    counts.settle(&admin).await?;
    Ok(IdleReport { connections, before_bytes, with_bytes, after_bytes: bench.meter.resident_bytes() })
}
