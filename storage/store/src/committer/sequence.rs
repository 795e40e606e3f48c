//! The server-wide `_seq` counter, reserved durably in blocks ahead of use (CM-1).

use kalamdb_commons::{Error, ErrorCode, Family, Result, Seq};

use crate::StoreError;
use crate::backend::{Batch, Durability, StorageBackend};
use crate::codec::meta::SeqBlock;
use crate::codec::system;

/// Numbers reserved at a time: a crash wastes at most this many of 2^53.
const BLOCK: u64 = 1 << 16;

/// The counter: numbers from `next` up to `reserved_until`, which is not one of them, may be given out.
#[derive(Debug)]
pub(super) struct Sequence {
    next: u64,
    reserved_until: u64,
}

impl Sequence {
    /// Goes on above everything that was ever reserved.
    pub(super) async fn open(backend: &dyn StorageBackend) -> Result<Self, StoreError> {
        let values = backend.get_many(Family::System, &[system::seq_reserved()]).await?;
        let reserved_until = match values.first().and_then(Option::as_ref) {
            Some(bytes) => SeqBlock::decode(bytes)?.reserved_until.0,
            // 0 is the last `_seq` of a partition that was never written to.
            None => 1,
        };
        Ok(Self { next: reserved_until, reserved_until })
    }

    /// Whether so many can be taken without a new block.
    pub(super) fn has(&self, count: usize) -> bool {
        self.next + count as u64 <= self.reserved_until
    }

    /// Where a new block ends that holds `count` numbers and more.
    ///
    /// # Errors
    /// [`ErrorCode::ResourcesExhausted`] near 2^53.
    pub(super) fn next_block(&self, count: usize) -> Result<Seq> {
        let needed = self.next + count as u64;
        if needed > Seq::LIMIT {
            return Err(Error::new(ErrorCode::ResourcesExhausted, "the sequence numbers of this server are used up"));
        }
        Ok(Seq((needed + BLOCK).min(Seq::LIMIT)))
    }

    /// Reserves up to `until`; it is on disk on return.
    pub(super) async fn reserve(&mut self, backend: &dyn StorageBackend, until: Seq) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(Family::System, system::seq_reserved(), SeqBlock { reserved_until: until }.encode());
        backend.write(batch, Durability::Synced).await?;
        self.reserved_until = until.0;
        Ok(())
    }

    /// Takes `count` numbers in a row.
    pub(super) fn take(&mut self, count: usize) -> Vec<Seq> {
        debug_assert!(self.has(count), "CM-1: numbers are reserved before they are used");
        let end = self.next + count as u64;
        let seqs = (self.next..end).map(Seq).collect();
        self.next = end;
        seqs
    }
}
