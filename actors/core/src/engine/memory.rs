//! What `query.memory_limit` is shared out to.
//!
//! Operators that can write what they hold to disk do so once all of them together have a third of the limit, each its
//! equal share of that, and a little whatever its share is, since many hold nothing: what sorts and merges it takes as much again, where rows are sorted by most of what is in them. Operators never have more than seven eighths, so answers and rows to be
//! written, which ask for theirs last, find some however large a query runs beside them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use kalamdb_commons::Result;

use super::errors::from_datafusion;

/// Below the backend's directory: files of queries that hold more than memory takes.
const SPILL_DIR: &str = "query-spill";

/// A sort puts aside so much of the limit for merging what it has sorted: one part in so many, between these bounds.
/// `DataFusion`'s own 10 MB would refuse a hundred small sorts at a time on a small machine.
const MERGE_PART: usize = 1024;
const LEAST_MERGE: usize = 64 << 10;
const MOST_MERGE: usize = 10 << 20;

/// What an operator that can spill may have however many there are: one part in so many of the limit, and at most so much. A sort takes
/// a batch of a megabyte twice before it can write anything.
const FLOOR_PART: usize = 16;
const MOST_FLOOR: usize = 4 << 20;

/// Files of all queries together may be so many times as large as the limit: the disk is the database's, too.
const SPILL_TIMES: u64 = 4;

/// What is put aside by each sort.
pub(super) fn merge_bytes(limit: usize) -> usize {
    (limit / MERGE_PART).clamp(LEAST_MERGE, MOST_MERGE)
}

/// The memory of all statements.
#[derive(Debug)]
pub(crate) struct QueryMemory {
    all: Arc<dyn MemoryPool>,
    operators: Arc<dyn MemoryPool>,
    limit: usize,
}

impl QueryMemory {
    pub(super) fn new(limit: usize) -> Self {
        let all: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(limit));
        let operators = OperatorMemory {
            spilling: FairSpillPool::new(limit / 3),
            operators: GreedyMemoryPool::new(limit - limit / 8),
            all: Arc::clone(&all),
            floor: (limit / FLOOR_PART).min(MOST_FLOOR),
        };
        Self { all, operators: Arc::new(operators), limit }
    }

    /// Memory beside that of operators: answers, and rows to be written.
    pub(crate) fn reserve(&self, what: &'static str) -> MemoryReservation {
        MemoryConsumer::new(what).register(&self.all)
    }

    /// What is taken by anybody.
    #[cfg(test)]
    pub(crate) fn reserved(&self) -> usize {
        self.all.reserved()
    }

    /// Where operators run. They write to `directory`, whose files from an earlier start are of no use to anybody; without one
    /// they do not write.
    pub(super) fn environment(&self, directory: Option<&Path>) -> Result<Arc<RuntimeEnv>> {
        let mode = match directory.map(|directory| (directory, emptied(directory))) {
            Some((directory, Ok(()))) => DiskManagerMode::Directories(vec![directory.join(SPILL_DIR)]),
            Some((directory, Err(error))) => {
                tracing::warn!(%error, directory = %directory.display(), "queries cannot write what memory does not hold");
                DiskManagerMode::Disabled
            }
            None => DiskManagerMode::Disabled,
        };
        let most = SPILL_TIMES.saturating_mul(self.limit as u64);
        let disks = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(most);
        RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(&self.operators))
            .with_disk_manager_builder(disks)
            .build_arc()
            .map_err(from_datafusion)
    }
}

fn emptied(directory: &Path) -> std::io::Result<()> {
    let spilled = directory.join(SPILL_DIR);
    match std::fs::remove_dir_all(&spilled) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir_all(spilled)
}

/// That of operators.
#[derive(Debug)]
struct OperatorMemory {
    spilling: FairSpillPool,
    operators: GreedyMemoryPool,
    all: Arc<dyn MemoryPool>,
    /// See [`FLOOR_PART`].
    floor: usize,
}

impl OperatorMemory {
    /// The pools that a reservation counts in, the narrowest first.
    fn pools(&self, reservation: &MemoryReservation) -> impl Iterator<Item = &dyn MemoryPool> {
        let spilling: Option<&dyn MemoryPool> = reservation.consumer().can_spill().then_some(&self.spilling);
        spilling.into_iter().chain([&self.operators as &dyn MemoryPool, self.all.as_ref()])
    }
}

impl fmt::Display for OperatorMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.spilling, self.operators, self.all)
    }
}

impl MemoryPool for OperatorMemory {
    fn name(&self) -> &str {
        "operators"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.spilling.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.spilling.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pools(reservation).for_each(|pool| pool.grow(reservation, additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pools(reservation).for_each(|pool| pool.shrink(reservation, shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        for (at, pool) in self.pools(reservation).enumerate() {
            if let Err(error) = pool.try_grow(reservation, additional) {
                let is_share = at == 0 && reservation.consumer().can_spill();
                if is_share && reservation.size() + additional <= self.floor {
                    // Counted all the same; the wider pools say whether there is room.
                    pool.grow(reservation, additional);
                    continue;
                }
                self.pools(reservation).take(at).for_each(|pool| pool.shrink(reservation, additional));
                return Err(error);
            }
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.operators.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.operators.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(memory: &QueryMemory, can_spill: bool) -> MemoryReservation {
        MemoryConsumer::new("operator").with_can_spill(can_spill).register(&memory.operators)
    }

    #[test]
    fn answers_find_room_beside_the_largest_operators() {
        let memory = QueryMemory::new(9000);
        let (spilling, other, answer) = (consumer(&memory, true), consumer(&memory, false), memory.reserve("answer"));
        assert!(spilling.try_grow(3001).is_err());
        spilling.try_grow(3000).expect("a third of it");
        assert!(other.try_grow(4876).is_err(), "seven eighths with the others");
        other.try_grow(4875).expect("seven eighths");
        answer.try_grow(1125).expect("the rest");
        assert!(answer.try_grow(1).is_err());
        assert_eq!(memory.reserved(), 9000);
        // What was refused was counted nowhere.
        drop(spilling);
        other.try_grow(3000).expect("what the other has given back");
        assert!(other.try_grow(1).is_err());
        drop((other, answer));
        assert_eq!((memory.reserved(), memory.operators.reserved()), (0, 0));
    }

    #[test]
    fn who_can_spill_has_an_equal_share() {
        let memory = QueryMemory::new(9000);
        let one = consumer(&memory, true);
        one.try_grow(2000).expect("alone");
        let other = consumer(&memory, true);
        assert!(other.try_grow(1501).is_err());
        other.try_grow(500).expect("less than its share");
        assert!(one.try_grow(1).is_err(), "it has more than its share by now");
    }

    #[test]
    fn operators_that_hold_nothing_leave_each_a_little() {
        let memory = QueryMemory::new(16_000);
        let idle: Vec<MemoryReservation> = (0..100).map(|_| consumer(&memory, true)).collect();
        let one = consumer(&memory, true);
        one.try_grow(1000).expect("a sixteenth, though a share is fifty-two");
        assert!(one.try_grow(1).is_err());
        // No more of that than there is for operators.
        for (at, other) in idle.iter().enumerate() {
            assert_eq!(other.try_grow(1000).is_ok(), at < 13, "{at}");
        }
        drop((idle, one));
        assert_eq!((memory.reserved(), memory.operators.reserved()), (0, 0));
    }

    #[test]
    fn a_refusal_by_all_is_taken_back_from_the_narrower_ones() {
        let memory = QueryMemory::new(9000);
        let answer = memory.reserve("answer");
        answer.try_grow(8000).expect("nobody else is there");
        let spilling = consumer(&memory, true);
        assert!(spilling.try_grow(1001).is_err());
        drop(answer);
        spilling.try_grow(3000).expect("nothing was left counted");
        assert_eq!((memory.reserved(), memory.operators.reserved()), (3000, 3000));
    }

    #[test]
    fn files_of_an_earlier_start_are_gone() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let spilled = directory.path().join(SPILL_DIR);
        std::fs::create_dir_all(spilled.join("datafusion-x")).expect("a directory");
        std::fs::write(spilled.join("datafusion-x/file"), "rows").expect("a file");
        let environment = QueryMemory::new(9000).environment(Some(directory.path())).expect("an environment");
        assert!(!spilled.join("datafusion-x").try_exists().expect("it can be asked"));
        assert!(environment.disk_manager.tmp_files_enabled());
        drop(environment);
        let file = directory.path().join("file");
        std::fs::write(&file, "no directory").expect("a file");
        let environment = QueryMemory::new(9000).environment(Some(&file)).expect("it goes without");
        assert!(!environment.disk_manager.tmp_files_enabled());
        assert!(!QueryMemory::new(9000).environment(None).expect("it does").disk_manager.tmp_files_enabled());
    }
}
