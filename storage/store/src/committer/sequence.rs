//! The server-wide `_seq` counter, reserved durably in blocks ahead of use (CM-1).
//!
//! The next block is reserved in the background before the present one ends, so no statement waits for it with
//! its locks held, but for one that needs more numbers at once than are left.

use kalamdb_commons::{Error, ErrorCode, Family, Result, Seq};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::StoreError;
use crate::backend::{Batch, Durability, StorageBackend};
use crate::codec::meta::SeqBlock;
use crate::codec::system;

/// Numbers reserved at a time: a crash wastes at most about twice as many of 2^53.
const BLOCK: u64 = 1 << 16;

/// With fewer left the next block is reserved.
const LOW: u64 = BLOCK / 2;

/// Why there are no numbers.
#[derive(Debug)]
pub(super) enum NoNumbers {
    /// There will never be any.
    UsedUp(Error),
    /// They could not be reserved.
    Failed(StoreError),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sequence {
    numbers: Mutex<Numbers>,
    /// One reservation at a time: what is stored never goes back.
    reserving: AsyncMutex<()>,
}

/// Numbers from `next` up to `reserved_until`, which is not one of them, may be given out.
#[derive(Debug)]
struct Numbers {
    next: u64,
    reserved_until: u64,
}

impl Numbers {
    fn left(&self) -> u64 {
        self.reserved_until - self.next
    }

    fn take(&mut self, count: u64) -> Option<Vec<Seq>> {
        if self.left() < count {
            return None;
        }
        let end = self.next + count;
        let seqs = (self.next..end).map(Seq).collect();
        self.next = end;
        Some(seqs)
    }

    /// Where a block ends that holds `count` numbers and more.
    fn block_for(&self, count: u64) -> Result<u64> {
        let needed = self.next + count;
        if needed > Seq::LIMIT {
            return Err(Error::new(ErrorCode::ResourcesExhausted, "the sequence numbers of this server are used up"));
        }
        Ok((needed + BLOCK).min(Seq::LIMIT))
    }
}

impl Sequence {
    /// Goes on above everything that was ever reserved, with a block to begin with.
    pub(super) async fn open(backend: &dyn StorageBackend) -> Result<Self, StoreError> {
        let values = backend.get_many(Family::System, &[system::seq_reserved()]).await?;
        let reserved_until = match values.first().and_then(Option::as_ref) {
            Some(bytes) => SeqBlock::decode(bytes)?.reserved_until.0,
            // 0 is the last `_seq` of a partition that was never written to.
            None => 1,
        };
        let numbers = Numbers { next: reserved_until, reserved_until };
        let sequence = Self { numbers: Mutex::new(numbers), reserving: AsyncMutex::default() };
        match sequence.reserve(backend, 0).await {
            Err(NoNumbers::Failed(error)) => Err(error),
            // Reading goes on without numbers.
            Err(NoNumbers::UsedUp(_)) | Ok(()) => Ok(sequence),
        }
    }

    /// The number that is given next.
    pub(super) fn first(&self) -> Seq {
        Seq(self.numbers.lock().next)
    }

    /// Takes `count` numbers in a row. With the writer held: their order is that of the writes.
    pub(super) async fn take(&self, backend: &dyn StorageBackend, count: usize) -> Result<Vec<Seq>, NoNumbers> {
        let count = count as u64;
        loop {
            if let Some(seqs) = self.numbers.lock().take(count) {
                return Ok(seqs);
            }
            self.reserve(backend, count).await?;
        }
    }

    /// Whether the next block should be reserved.
    pub(super) fn is_low(&self) -> bool {
        self.numbers.lock().left() < LOW
    }

    /// Sees to it that `count` numbers are left, and not few; they are on disk on return.
    pub(super) async fn reserve(&self, backend: &dyn StorageBackend, count: u64) -> Result<(), NoNumbers> {
        let _alone = self.reserving.lock().await;
        let until = {
            let numbers = self.numbers.lock();
            let until = numbers.block_for(count).map_err(NoNumbers::UsedUp)?;
            // Somebody else has seen to it, or there are no more to be had.
            if numbers.left() >= count.max(LOW) || until <= numbers.reserved_until {
                return Ok(());
            }
            until
        };
        let mut batch = Batch::new();
        batch.put(Family::System, system::seq_reserved(), SeqBlock { reserved_until: Seq(until) }.encode());
        backend.write(batch, Durability::Synced).await.map_err(NoNumbers::Failed)?;
        self.numbers.lock().reserved_until = until;
        Ok(())
    }
}
