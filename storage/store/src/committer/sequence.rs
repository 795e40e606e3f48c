//! The server-wide `_seq` counter, reserved durably in blocks ahead of use (CM-1).

use kalamdb_commons::{Error, ErrorCode, Family, Result, Seq};

use crate::backend::{Batch, Durability, StorageBackend};
use crate::codec::meta::SeqBlock;
use crate::codec::system;

/// Numbers reserved at a time: a crash wastes at most this many of 2^53.
const BLOCK: u64 = 1 << 16;

/// The counter.
#[derive(Debug)]
pub(super) struct Sequence {
    next: u64,
    reserved_until: u64,
}

impl Sequence {
    /// Goes on above everything that was ever reserved.
    pub(super) async fn open(backend: &dyn StorageBackend) -> Result<Self> {
        let values = backend.get_many(Family::System, &[system::seq_reserved()]).await?;
        let reserved_until = match values.first().and_then(Option::as_ref) {
            Some(bytes) => SeqBlock::decode(bytes)?.reserved_until.0,
            None => 1,
        };
        Ok(Self { next: reserved_until, reserved_until })
    }

    /// Takes `count` numbers in a row; a new block is on disk before its first number is used.
    pub(super) async fn take(&mut self, backend: &dyn StorageBackend, count: usize) -> Result<Vec<Seq>> {
        let end = self.next + count as u64;
        if end > self.reserved_until {
            let reserved_until = end + BLOCK;
            if reserved_until >= Seq::LIMIT {
                return Err(Error::new(ErrorCode::ResourcesExhausted, "the sequence numbers of this server are used up"));
            }
            let mut batch = Batch::new();
            batch.put(Family::System, system::seq_reserved(), SeqBlock { reserved_until: Seq(reserved_until) }.encode());
            backend.write(batch, Durability::Synced).await?;
            self.reserved_until = reserved_until;
        }
        let seqs = (self.next..end).map(Seq).collect();
        self.next = end;
        Ok(seqs)
    }
}
