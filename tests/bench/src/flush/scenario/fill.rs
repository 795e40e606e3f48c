//! One flush of the rows of many users, and the memory it takes.

use serde::Serialize;

use crate::failure::Failure;
use crate::flush::Bench;
use crate::flush::table::{Moved, Table, same};
use crate::run::process::Process;
use crate::run::scenario::index;
use crate::run::target::Target;

/// What a flush of everything took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FillReport {
    pub(crate) users: usize,
    pub(crate) insert: Moved,
    pub(crate) flush: Moved,
    /// None without `--server-pid`, and where the system does not permit it.
    pub(crate) memory: Option<Memory>,
}

/// Resident memory of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Just before the flush, with all rows in.
    pub(crate) before_bytes: u64,
    /// The most during the flush.
    pub(crate) peak_bytes: u64,
    /// The one without the other.
    pub(crate) above_bytes: u64,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<FillReport, Failure> {
    let (users, rows) = (bench.args.users.get(), bench.args.rows.get() as u64);
    let table = Table::make(bench.stage, Target::Users, users, "flush_fill").await?;
    let insert = table.insert(0..rows).await?;
    let buffered = table.stats().await?.buffered_rows;
    same("rows to flush", rows, buffered)?;

    let before = bench.meter.server.as_ref().and_then(before);
    let flush = table.flush_all(rows, rows.min(users as u64)).await?;
    let memory = before.and_then(|before_bytes| {
        let peak_bytes = bench.meter.server.as_ref().and_then(Process::peak)?;
        Some(Memory { before_bytes, peak_bytes, above_bytes: peak_bytes.saturating_sub(before_bytes) })
    });

    let mut expected = vec![0; users];
    for id in 0..rows {
        expected[index(id, users)] += 1;
    }
    for (user, (expected, found)) in expected.into_iter().zip(table.counts().await?).enumerate() {
        same(&format!("flushed rows of user {user} by count(*)"), expected, found)?;
    }
    let stats = table.stats().await?;
    same("flushed rows", rows, stats.flushed_rows)?;
    same("rows that are not flushed", 0, stats.buffered_rows)?;
    Ok(FillReport { users, insert, flush, memory })
}

/// Resident memory now, from when on the peak is looked for.
fn before(server: &Process) -> Option<u64> {
    let permitted = server.forget_peak();
    server.usage().filter(|_| permitted).map(|usage| usage.rss_bytes)
}
