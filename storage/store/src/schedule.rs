//! When each table's next flush is due, over restarts.

use kalamdb_commons::{Family, Result, TableId};

use crate::backend::{Batch, Snapshot};
use crate::codec::meta::FlushSchedule;
use crate::codec::system;
use crate::read::{Chunks, get};

/// Every table's schedule, by table id.
///
/// # Errors
/// When the backend cannot be read, or a record does not decode.
pub async fn all(snapshot: &dyn Snapshot) -> Result<Vec<(TableId, FlushSchedule)>> {
    let mut schedules = Vec::new();
    let mut chunks = Chunks::new(snapshot, system::flushes_due().range());
    while let Some(chunk) = chunks.next().await? {
        for (key, value) in chunk.iter() {
            schedules.push((system::split_due_key(key)?, FlushSchedule::decode(value)?));
        }
    }
    Ok(schedules)
}

/// A table's schedule; none before its first.
///
/// # Errors
/// When the backend cannot be read, or the record does not decode.
pub async fn of_table(snapshot: &dyn Snapshot, table: TableId) -> Result<Option<FlushSchedule>> {
    let value = get(snapshot, Family::System, system::flush_due(table)).await?;
    Ok(value.map(|bytes| FlushSchedule::decode(&bytes)).transpose()?)
}

/// Sets a table's schedule.
pub fn put(batch: &mut Batch, table: TableId, schedule: &FlushSchedule) {
    batch.put(Family::System, system::flush_due(table), schedule.encode());
}

/// Forgets a table's schedule: flushes of it are off. Dropping a table does so by itself.
pub fn delete(batch: &mut Batch, table: TableId) {
    batch.delete(Family::System, system::flush_due(table));
}
