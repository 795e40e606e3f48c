//! Batches and syncs.

use bytes::Bytes;
use kalamdb_commons::Family;
use rocksdb::{ErrorKind, FlushOptions, WriteBatch, WriteOptions};

use super::database::Database;
use super::read;
use crate::StoreError;
use crate::backend::{Batch, Durability, KeyRange, Write};

/// Whether a write that may not wait was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It was.
    Done,
    /// It would have had to wait, and changed nothing.
    WouldWait,
}

/// Writes what is not to be synced, unless RocksDB is behind with its flushes and compactions and would slow the
/// writer down.
pub(super) fn try_write(database: &Database, batch: &Batch, durability: Durability) -> Result<Attempt, StoreError> {
    database.check_writable()?;
    if has_open_end(batch) {
        return Ok(Attempt::WouldWait);
    }
    let Some(_appending) = database.appending.try_read() else {
        return Ok(Attempt::WouldWait);
    };
    let mut options = WriteOptions::default();
    options.set_no_slowdown(true);
    match database.db.write_opt(encode(database, batch)?, &options) {
        Err(error) if error.kind() == ErrorKind::Incomplete => return Ok(Attempt::WouldWait),
        result => database.note("write", result)?,
    }
    write_log(database, durability)?;
    Ok(Attempt::Done)
}

/// Writes, however long it takes.
pub(super) fn write(database: &Database, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
    database.check_writable()?;
    let options = WriteOptions::default();
    if has_open_end(batch) {
        // No key may appear between looking for the last one and deleting up to it.
        let _alone = database.appending.write();
        database.note("write", database.db.write_opt(encode(database, batch)?, &options))?;
    } else {
        let _appending = database.appending.read();
        database.note("write", database.db.write_opt(encode(database, batch)?, &options))?;
    }
    write_log(database, durability)
}

/// Does with the log what the write promises. Not by RocksDB's own option for synced writes: other writers would
/// queue up behind such a one.
fn write_log(database: &Database, durability: Durability) -> Result<(), StoreError> {
    match durability {
        Durability::Deferred => Ok(()),
        Durability::Logged => database.note("write its log", database.db.flush_wal(false)),
        Durability::Synced => sync(database),
    }
}

/// Makes the log survive a power cut up to here.
pub(super) fn sync(database: &Database) -> Result<(), StoreError> {
    database.check_writable()?;
    database.note("sync its log", database.db.flush_wal(true))
}

/// Writes what is buffered into files. A key that a range delete covers is stepped over, and not counted, for as long
/// as both are in the same buffer; in files there is nothing left of it, or it is jumped over. All families together:
/// no file may hold half of a batch.
pub(super) fn tidy(database: &Database) -> Result<(), StoreError> {
    database.check_writable()?;
    let families = Family::ALL.iter().map(|family| database.family(*family)).collect::<Result<Vec<_>, _>>()?;
    let handles: Vec<_> = families.iter().collect();
    database.note("write its buffers", database.db.flush_cfs_opt(&handles, &FlushOptions::default()))
}

fn has_open_end(batch: &Batch) -> bool {
    batch.writes().iter().any(|write| matches!(write, Write::DeleteRange(KeyRange { end: None, .. })))
}

fn encode(database: &Database, batch: &Batch) -> Result<WriteBatch, StoreError> {
    let mut encoded = WriteBatch::default();
    for (position, write) in batch.writes().iter().enumerate() {
        match write {
            Write::Put { family, key, value } => encoded.put_cf(database.family(*family)?, key, value),
            Write::Delete { family, key } => encoded.delete_cf(database.family(*family)?, key),
            Write::DeleteRange(range) => {
                let end = match &range.end {
                    Some(end) => Some(end.clone()),
                    None => {
                        let earlier = batch.writes().get(..position).unwrap_or_default();
                        beyond_every_key(database, range.family, earlier)?
                    }
                };
                // RocksDB refuses a range that ends before it starts.
                if let Some(end) = end.filter(|end| *end > range.start) {
                    encoded.delete_range_cf(database.family(range.family)?, &range.start, &end);
                }
            }
        }
    }
    Ok(encoded)
}

/// RocksDB deletes no range without an end: one just past the last key that is there, or that this
/// batch has put before. None if there is no key at all.
fn beyond_every_key(database: &Database, family: Family, earlier: &[Write]) -> Result<Option<Bytes>, StoreError> {
    let put = earlier.iter().filter_map(|write| match write {
        Write::Put { family: put_into, key, .. } if *put_into == family => Some(key.clone()),
        Write::Put { .. } | Write::Delete { .. } | Write::DeleteRange(_) => None,
    });
    let last = put.chain(read::last_key(database, family)?).max();
    Ok(last.map(|last| Bytes::from([last.as_ref(), &[0]].concat())))
}
