//! The one way rows change.
//!
//! A statement reads at a snapshot without any lock, then takes its partition ([`Committer::begin`]:
//! the table's gate shared, the partition's lock), and hands over its changes
//! ([`PartitionGuard::commit`]). There its premises are checked again, its `_seq`s are taken, and one
//! atomic batch is written: rows, tombstones, the change-log entry, the partition's record. The guard is
//! dropped before the sync is waited for ([`Acknowledgement::wait`]), so one sync serves every statement
//! that waits for it. After the sync the committer itself publishes and acknowledges, whoever still listens.
//!
//! Invariants:
//! * CM-1: within a partition `_seq` grows with commit order; server-wide it never repeats, not after a crash.
//! * CM-2: a batch holds all of a statement's rows, its log entry and its partition record, or nothing of them.
//! * CM-3: in `sync` mode no answer shows a row that a power cut could take back ([`Committer::wait_visible`]).
//! * CM-4: after a failed write or sync nothing more is written until the backend is opened again, with a
//!   new committer.
//! * CM-5: statements are published and acknowledged in `_seq` order; in `sync` mode after the sync that
//!   covers them, in `buffered` mode after the write.

mod acknowledge;
mod batch;
mod changes;
mod compaction;
mod departure;
mod dropping;
mod flush;
mod flushed;
mod garbage;
mod guard;
mod hot_rows;
mod lease;
mod log;
mod pending;
mod pins;
mod premises;
mod recent;
mod segment_rows;
mod segments;
mod sequence;
mod streams;
mod syncer;
mod table;
mod watched;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use kalamdb_commons::{Error, ErrorCode, Outcome, Result, Seq, TableId, UserId};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedRwLockWriteGuard, watch};

pub use acknowledge::{Acknowledgement, PublishWatch};
pub use changes::{Changes, CommitError, Committed, FlushedRow, RowChange, RowState, SegmentsRead};
pub use compaction::{CompactedRows, CompactionSource};
pub use flush::{FlushError, NewSegment, SegmentCommit};
pub use guard::{PartitionGuard, last_seq, read_record};
pub use hot_rows::{FlushLimits, HotRow, HotRows};
pub use lease::Lease;
pub use log::LogBounds;
pub use pending::PendingFile;
pub use pins::Pin;
pub use segment_rows::SegmentRows;
pub use streams::StreamBounds;
pub use table::TableTotals;

use crate::StoreError;
use crate::backend::{Batch, Durability, StorageBackend};
use acknowledge::{Queue, Written};
use lease::{HeldLeases, Issuer};
use log::Overfull;
use pins::Pins;
use sequence::{NoNumbers, Sequence};
use streams::Ages;
use syncer::WrittenSignal;
use table::{Notice, Table};
use watched::Stripe;

/// Locks are striped: two partitions that share one only wait for each other now and then.
const LOCK_STRIPES: usize = 1024;

/// The rows of one user in one table; all rows of a shared table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionId {
    /// The table.
    pub table: TableId,
    /// The user; none for a shared table.
    pub user: Option<UserId>,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// After the sync that covers it.
    Sync,
    /// After it is in the log; synced every 100 ms.
    Buffered,
}

/// Where a write stands in the order of all writes since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Where `_seq`s come from.
#[derive(Debug)]
enum Numbers {
    Own(Sequence),
    /// Of the committer whose counter is the server's.
    Of(Arc<Committer>),
}

/// See the module.
#[derive(Debug)]
pub struct Committer {
    backend: Arc<dyn StorageBackend>,
    mode: SyncMode,
    /// Each lock with what it guards beside its partitions.
    stripes: Vec<AsyncMutex<Stripe>>,
    hasher: RandomState,
    tables: DashMap<TableId, Arc<Table>>,
    notice: Notice,
    numbers: Numbers,
    /// Of stream tables.
    ages: Ages,
    pins: Arc<Pins>,
    leases: Arc<HeldLeases>,
    issuer: Issuer,
    #[cfg(feature = "failpoints")]
    failpoints: crate::failpoint::Failpoints,
    /// Serialises "take `_seq`s, write": the order of both is one order.
    writer: AsyncMutex<()>,
    /// The newest write that was begun. Changed with `writer` held.
    begun: AtomicU64,
    written: Arc<WrittenSignal>,
    synced: watch::Sender<Ticket>,
    /// Partitions with writes not yet synced, with the newest of them.
    unsynced: Mutex<HashMap<PartitionId, Ticket>>,
    /// Statements that are written and wait for their sync.
    queue: Queue,
    poisoned: AtomicBool,
    overfull: Overfull,
    /// Whether a write to the catalog failed: what a snapshot shows of any table may be what it would have changed.
    catalog_unknown: AtomicBool,
}

impl Numbers {
    /// The number that is given next.
    fn first(&self) -> Seq {
        match self {
            Self::Own(sequence) => sequence.first(),
            Self::Of(main) => main.numbers.first(),
        }
    }
}

impl Committer {
    /// Takes up the sequence where the backend left it, and counts what the tables hold.
    ///
    /// # Errors
    /// When the backend cannot be read.
    pub async fn open(backend: Arc<dyn StorageBackend>, mode: SyncMode) -> Result<Arc<Self>> {
        Self::open_after(backend, mode, None).await
    }

    /// As [`open`](Self::open), in place of one whose store failed: who holds leases and pins of that one keeps the files
    /// that they stand for, and can commit nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_after(
        backend: Arc<dyn StorageBackend>,
        mode: SyncMode,
        failed: Option<&Self>,
    ) -> Result<Arc<Self>> {
        Self::open_with(backend, mode, failed, None).await
    }

    async fn open_with(
        backend: Arc<dyn StorageBackend>,
        mode: SyncMode,
        failed: Option<&Self>,
        numbers_of: Option<Arc<Self>>,
    ) -> Result<Arc<Self>> {
        let tables = table::recount(backend.as_ref()).await?;
        let numbers = match numbers_of {
            Some(main) => Numbers::Of(main),
            None => Numbers::Own(Sequence::open(backend.as_ref()).await?),
        };
        let first = numbers.first();
        // Manifest generations are numbers of the sequence: whatever is stored is older than the next.
        let newest = first.0.saturating_sub(1);
        let pins = failed.map_or_else(|| Pins::new(newest), |failed| Arc::clone(&failed.pins));
        pins.begin_anew(newest);
        Ok(Arc::new(Self {
            backend,
            mode,
            stripes: (0..LOCK_STRIPES).map(|_| AsyncMutex::default()).collect(),
            hasher: RandomState::new(),
            tables,
            notice: Notice::default(),
            pins,
            leases: failed.map(|failed| Arc::clone(&failed.leases)).unwrap_or_default(),
            issuer: Issuer::default(),
            #[cfg(feature = "failpoints")]
            failpoints: crate::failpoint::Failpoints::default(),
            writer: AsyncMutex::default(),
            begun: AtomicU64::new(0),
            written: Arc::default(),
            synced: watch::Sender::new(Ticket(0)),
            unsynced: Mutex::new(HashMap::new()),
            queue: Queue::new(first),
            numbers,
            ages: Ages::default(),
            poisoned: AtomicBool::new(false),
            overfull: Overfull::default(),
            catalog_unknown: AtomicBool::new(false),
        }))
    }

    /// Syncs what is written, until every other owner is gone. To be run in one task of its own.
    pub async fn run_syncer(self: Arc<Self>) {
        syncer::run(self).await;
    }

    #[cfg(feature = "failpoints")]
    pub(crate) fn failpoints(&self) -> &crate::failpoint::Failpoints {
        &self.failpoints
    }

    fn table(&self, table: TableId) -> Arc<Table> {
        if let Some(known) = self.tables.get(&table) {
            return Arc::clone(known.value());
        }
        Arc::clone(self.tables.entry(table).or_default().value())
    }

    /// Waits until no statement is committing on the table and keeps new ones out while the guard lives:
    /// for DDL.
    pub async fn close_gate(&self, table: TableId) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.table(table).gate).write_owned().await
    }

    /// Forgets a dropped table's gate and its sums.
    pub fn forget_table(&self, table: TableId) {
        self.tables.remove(&table);
    }

    /// Takes the table's gate shared and the partition's lock. DDL may have run while this waited: the
    /// caller looks at the catalog again before it commits. A task holds one guard at a time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn begin(&self, partition: PartitionId) -> PartitionGuard<'_> {
        let table = self.table(partition.table);
        let gate = Arc::clone(&table.gate).read_owned().await;
        let hash = self.hasher.hash_one(&partition);
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits pick a stripe")]
        let stripe = &self.stripes[hash as usize % LOCK_STRIPES];
        PartitionGuard { committer: self, partition, table, _gate: gate, stripe: stripe.lock().await }
    }

    /// Writes a batch that is not about rows, in order with all others; it is synced on return, in either mode. Nothing
    /// is held while it waits for that.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`]; the error says whether its outcome is known.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn write_synced(&self, batch: Batch) -> Result<()> {
        let acknowledgement = {
            let _writer = self.writer.lock().await;
            self.check_writable()?;
            self.write_next(batch).await?
        };
        self.wait_durable(acknowledgement).await
    }

    /// To be called when a flush has moved many rows: later scans of the hot side step over nothing of them.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`].
    pub async fn tidy(&self) -> Result<()> {
        Ok(self.backend.tidy().await?)
    }

    /// Writes a batch that may be lost to a power cut, and nobody waits for.
    async fn write_unwaited(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let _writer = self.writer.lock().await;
        self.check_writable()?;
        self.write_next(batch).await.map(drop)
    }

    /// Waits until a write is on the disk, in either mode.
    async fn wait_durable(&self, acknowledgement: Acknowledgement) -> Result<()> {
        match self.mode {
            SyncMode::Sync => acknowledgement.wait().await,
            SyncMode::Buffered => self.backend.sync().await.map_err(|error| self.poison(error).outcome_unknown()),
        }
    }

    /// Waits until everything that can be read now is on the disk, in either mode.
    async fn sync_written(&self) -> Result<()> {
        match self.mode {
            SyncMode::Sync => {
                // With the writer held: what can be read may not have got its ticket's place yet.
                let newest = {
                    let _writer = self.writer.lock().await;
                    self.written.newest()
                };
                self.wait_synced(newest).await
            }
            SyncMode::Buffered => self.backend.sync().await.map_err(|error| self.poison(error)),
        }
    }

    /// With the writer held, as is what follows.
    fn next_ticket(&self) -> Ticket {
        Ticket(self.begun.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// A batch without `_seq`s.
    async fn write_next(&self, batch: Batch) -> Result<Acknowledgement> {
        let ticket = self.next_ticket();
        self.write(batch, Written { ticket, last_seq: None, logged: None }).await
    }

    async fn write(&self, batch: Batch, written: Written) -> Result<Acknowledgement> {
        let durability = match self.mode {
            // Nobody hears of it before the sync: that writes the log of all that wait for it at once.
            SyncMode::Sync => Durability::Deferred,
            SyncMode::Buffered => Durability::Logged,
        };
        self.backend.write(batch, durability).await.map_err(|error| self.poison(error))?;
        let ticket = written.ticket;
        // With the writer held still: the order of the queue is that of the writes (CM-5).
        let acknowledgement = match self.mode {
            SyncMode::Sync => self.queue.push(written),
            SyncMode::Buffered => self.queue.publish(written),
        };
        self.written.raise(ticket);
        Ok(acknowledgement)
    }

    /// Up to where a snapshot taken before this call may show writes: what [`wait_visible`](Self::wait_visible)
    /// is asked with. Later ones are not waited for, so a busy partition's readers wait for one sync at most.
    #[must_use]
    pub fn newest(&self) -> Ticket {
        Ticket(self.begun.load(Ordering::Acquire))
    }

    /// Waits until everything that a snapshot shows of the partition is safe to be seen; `up_to` is
    /// [`newest`](Self::newest), asked for after the snapshot was taken.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`] when the sync failed, or that of a DDL statement, whatever its table.
    pub async fn wait_visible(&self, partition: &PartitionId, up_to: Ticket) -> Result<()> {
        if self.catalog_unknown.load(Ordering::Acquire) {
            return Err(unavailable());
        }
        match self.mode {
            // What is written may be seen: that a power cut may take it back is what this mode is about.
            SyncMode::Buffered => return Ok(()),
            SyncMode::Sync => {}
        }
        let newest = self.unsynced.lock().get(partition).copied();
        match newest {
            Some(newest) => self.wait_synced(newest.min(up_to)).await,
            None => Ok(()),
        }
    }

    /// Has `watch` told of every statement that is published from now on and has an entry in a change log.
    pub fn watch_published(&self, watch: Arc<dyn PublishWatch>) {
        self.queue.watch(watch);
    }

    /// A number of the sequence that belongs to no row: greater than every number that was published before.
    ///
    /// # Errors
    /// [`ErrorCode::ResourcesExhausted`] when there are no more; [`ErrorCode::StorageUnavailable`].
    pub async fn take_number(&self) -> Result<Seq> {
        let _writer = self.writer.lock().await;
        self.check_writable()?;
        self.take_generation().await.map(Seq)
    }

    /// The highest `_seq` whose statement is published: what others may be told of.
    #[must_use]
    pub fn published(&self) -> Seq {
        self.queue.published()
    }

    async fn wait_synced(&self, ticket: Ticket) -> Result<()> {
        let mut synced = self.synced.subscribe();
        loop {
            if *synced.borrow_and_update() >= ticket {
                return Ok(());
            }
            self.check_writable()?;
            if synced.changed().await.is_err() {
                return Err(unavailable());
            }
        }
    }

    /// Numbers that could not be reserved poison like any other failed write; the statement itself wrote nothing.
    async fn take_seqs(&self, count: usize) -> Result<Vec<Seq>> {
        match &self.numbers {
            Numbers::Own(sequence) => {
                sequence.take(self.backend.as_ref(), count).await.map_err(|why| self.without_numbers(why))
            }
            // If they cannot be had it is that one that fails.
            Numbers::Of(main) => Box::pin(main.take_seqs(count)).await,
        }
    }

    /// The next manifest generation: a number of the sequence, so that none is ever given twice, and they grow with
    /// the writes. With the writer held until what it is for is written.
    async fn take_generation(&self) -> Result<u64> {
        let taken = self.take_seqs(1).await?;
        taken.first().map(|seq| seq.0).ok_or_else(|| Error::internal("a number that was not given"))
    }

    /// Reserves the next numbers in good time.
    async fn reserve_ahead(&self) {
        let Numbers::Own(sequence) = &self.numbers else { return };
        if !sequence.is_low() {
            return;
        }
        if let Err(why) = sequence.reserve(self.backend.as_ref(), 0).await {
            let error = self.without_numbers(why);
            tracing::error!(error = error.detail.as_deref().unwrap_or(&error.message), "no numbers for rows");
        }
    }

    fn without_numbers(&self, why: NoNumbers) -> Error {
        match why {
            NoNumbers::UsedUp(error) => error,
            NoNumbers::Failed(error) => Error { outcome: Outcome::NothingChanged, ..self.poison(error) },
        }
    }

    /// Whether writes are refused since a write or sync failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        // What it is numbered by has to be well, too.
        self.poisoned.load(Ordering::Acquire) || matches!(&self.numbers, Numbers::Of(main) if main.is_poisoned())
    }

    /// That nothing has failed.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`].
    pub fn check_writable(&self) -> Result<()> {
        if self.is_poisoned() { Err(unavailable()) } else { Ok(()) }
    }

    /// CM-4. The engine's words go to the log with the error that is answered.
    fn poison(&self, error: StoreError) -> Error {
        self.poisoned.store(true, Ordering::Release);
        // Whoever waits for a sync learns that none will come: writers first, then readers.
        self.queue.fail(&unavailable().outcome_unknown());
        self.synced.send_modify(|_| ());
        match error {
            // The backend refused before it touched anything.
            StoreError::Closed | StoreError::Poisoned | StoreError::Unsupported { .. } => error.into(),
            _ => Error::from(error).outcome_unknown(),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.written.close();
    }
}

fn unavailable() -> Error {
    Error::new(ErrorCode::StorageUnavailable, "the storage backend is unavailable after a failed write or sync")
}
