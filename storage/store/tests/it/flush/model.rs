//! Random statements, flushes, compactions, restarts and slow readers against maps in memory. After every step each
//! live key is there exactly once, with the model's value, and every sum is what a recount finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode};
use kalamdb_faults::Machine;
use kalamdb_store::{
    Changes, CommitError, Committed, FlushError, FlushLimits, Lease, PartitionId, Pin, RowChange, Snapshot, SyncMode,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::fixture::{Disk, Merged, Wanted, World, Written, id_and_name};
use crate::committer::fixture::partition;
use crate::support::{Backend, Harness, Memory, RocksDb};

const USERS: [&str; 3] = ["ann", "anna", "bob"];
const IDS: i64 = 14;

/// Where the database lives when its server is gone.
enum Home {
    Memory(Backend),
    RocksDb(RocksDb),
    Machine(Machine),
}

impl Home {
    async fn boot(&self, disk: &Disk) -> World {
        match self {
            Self::Memory(backend) => World::new(Arc::clone(backend), SyncMode::Buffered, disk).await,
            Self::RocksDb(harness) => World::new(harness.open().await, SyncMode::Buffered, disk).await,
            Self::Machine(machine) => World::new(machine.boot().await.unwrap(), SyncMode::Sync, disk).await,
        }
    }

    /// Whatever the server was about to write is lost with it.
    async fn stop(&self, world: World) {
        match self {
            Self::Memory(_) => {}
            Self::RocksDb(_) => world.backend.close().await.unwrap(),
            Self::Machine(machine) => machine.cut_power().await.unwrap(),
        }
    }
}

type Model = BTreeMap<&'static str, BTreeMap<i64, String>>;

/// A statement that has read, and not committed.
struct Prepared {
    user: &'static str,
    changes: Changes,
}

struct Reader {
    _pin: Pin,
    snapshot: Arc<dyn Snapshot>,
    expected: Model,
}

/// What a run has come across: a test that meets none of a kind shows nothing about it.
#[derive(Debug, Default)]
struct Seen {
    committed: usize,
    stale: usize,
    duplicates: usize,
    flushed: usize,
    vanished: usize,
    marked_at_commit: usize,
    compacted: usize,
    marks_carried: usize,
    leases_lost: usize,
    collected: usize,
    restarts: usize,
    late_readers: usize,
}

struct Run {
    rng: StdRng,
    home: Home,
    disk: Disk,
    model: Model,
    prepared: Vec<Prepared>,
    written: Vec<Written>,
    merged: Option<Merged>,
    readers: Vec<Reader>,
    lease: Option<Lease>,
    seen: Seen,
}

impl Run {
    fn new(seed: u64, home: Home) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            home,
            disk: Disk::default(),
            model: USERS.into_iter().map(|user| (user, BTreeMap::new())).collect(),
            prepared: Vec::new(),
            written: Vec::new(),
            merged: None,
            readers: Vec::new(),
            lease: None,
            seen: Seen::default(),
        }
    }

    fn below(&mut self, sides: usize) -> usize {
        self.rng.random_range(0..sides)
    }

    fn user(&mut self) -> &'static str {
        USERS[self.below(USERS.len())]
    }

    fn wanted(&mut self) -> Vec<Wanted> {
        let count = 1 + self.below(4);
        // Each id by one change, as a statement has it.
        let mut ids: Vec<i64> = (0..IDS).collect();
        (0..count)
            .map(|_| {
                let id = ids.remove(self.rng.random_range(0..ids.len()));
                let name = format!("{}", self.rng.random_range(0..1000));
                match self.rng.random_range(0..8) {
                    0..=3 => Wanted::Insert(id, name),
                    4 => Wanted::Update(id, id, name),
                    5 => Wanted::Update(id, self.rng.random_range(0..IDS), name),
                    _ => Wanted::Delete(id),
                }
            })
            .collect()
    }

    async fn steps(mut self, steps: usize) -> Seen {
        let mut world = self.home.boot(&self.disk).await;
        for _ in 0..steps {
            match self.below(40) {
                0..=13 => {
                    let prepared = self.prepare(&world).await;
                    self.commit(&world, prepared).await;
                }
                14..=18 => {
                    let prepared = self.prepare(&world).await;
                    self.prepared.push(prepared);
                }
                19..=23 if !self.prepared.is_empty() => {
                    let at = self.below(self.prepared.len());
                    let prepared = self.prepared.swap_remove(at);
                    self.commit(&world, prepared).await;
                }
                24..=27 => self.read_and_write_files(&world).await,
                28..=31 if !self.written.is_empty() => self.commit_file(&world).await,
                32 => self.read_and_merge(&world).await,
                33 => self.commit_merged(&world).await,
                34 => self.seen.collected += world.collect().await,
                35 => {
                    let pin = world.committer.pin();
                    let snapshot = world.snapshot().await;
                    self.readers.push(Reader { _pin: pin, snapshot, expected: self.model.clone() });
                }
                36 if !self.readers.is_empty() => {
                    let at = self.below(self.readers.len());
                    let reader = self.readers.swap_remove(at);
                    self.check(&world, &*reader.snapshot, &reader.expected).await;
                    self.seen.late_readers += 1;
                }
                37 if self.below(4) == 0 => self.written.clear(),
                38 if self.below(4) == 0 => {
                    self.forget_process();
                    self.home.stop(world).await;
                    world = self.home.boot(&self.disk).await;
                    self.seen.restarts += 1;
                }
                _ => {}
            }
            let snapshot = world.snapshot().await;
            self.check(&world, &*snapshot, &self.model).await;
            world.assert_counted(&USERS.map(partition)).await;
            world.assert_files_are_named().await;
        }
        self.forget_process();
        self.seen.collected += world.collect().await;
        world.assert_files_are_named().await;
        let snapshot = world.snapshot().await;
        assert_eq!(kalamdb_store::files::pending(&*snapshot).await.unwrap(), [], "nobody is left to own one");
        self.seen
    }

    async fn check(&self, world: &World, snapshot: &dyn Snapshot, expected: &Model) {
        for user in USERS {
            let live = world.live(snapshot, &partition(user)).await;
            assert_eq!(&live, &expected[user], "{user}");
        }
    }

    fn forget_process(&mut self) {
        self.prepared.clear();
        self.written.clear();
        self.merged = None;
        self.readers.clear();
        self.lease = None;
    }

    async fn prepare(&mut self, world: &World) -> Prepared {
        let (user, wanted) = (self.user(), self.wanted());
        let snapshot = world.snapshot().await;
        Prepared { user, changes: world.change(&*snapshot, &partition(user), &wanted).await }
    }

    async fn commit(&mut self, world: &World, prepared: Prepared) {
        let Prepared { user, changes } = prepared;
        let rows = changes.rows.clone();
        let model = &self.model[user];
        let (mut left, mut taken) = (Vec::new(), Vec::new());
        for row in &rows {
            let (old, new) = match row {
                RowChange::Insert { row, .. } => (None, Some(row)),
                RowChange::Update { old_row, row, .. } => (Some(old_row), Some(row)),
                RowChange::Delete { old_row, .. } => (Some(old_row), None),
            };
            left.extend(old.map(|row| id_and_name(row)));
            taken.extend(new.map(|row| id_and_name(row)));
        }
        let leaves = |id: &i64| left.iter().any(|(left, _)| left == id);
        let twice = taken.iter().enumerate().any(|(at, (id, _))| taken[..at].iter().any(|(other, _)| other == id));
        let duplicate = twice || taken.iter().any(|(id, _)| model.contains_key(id) && !leaves(id));
        let committed = world.committer.begin(partition(user)).await.commit(changes).await;
        match committed {
            Ok(Committed { acknowledgement, .. }) => {
                if let Some(acknowledgement) = acknowledgement {
                    acknowledgement.wait().await.unwrap();
                }
                assert!(!duplicate, "a key twice: {rows:?}");
                let model = self.model.get_mut(user).unwrap();
                for (id, name) in left {
                    assert_eq!(model.remove(&id), Some(name), "what it read is what was there");
                }
                model.extend(taken);
                self.seen.committed += 1;
            }
            Err(CommitError::Stale) => self.seen.stale += 1,
            Err(CommitError::Refused(Error { code: ErrorCode::DuplicateKey, .. })) => {
                assert!(duplicate, "no duplicate: {rows:?} in {model:?}");
                self.seen.duplicates += 1;
            }
            Err(CommitError::Refused(error)) => panic!("{error:?}"),
        }
    }

    async fn read_and_write_files(&mut self, world: &World) {
        let lease = match self.lease.clone() {
            Some(lease) if self.below(3) > 0 => lease,
            Some(_) | None => world.lease().await,
        };
        self.lease = Some(lease.clone());
        let users: Vec<PartitionId> =
            USERS.into_iter().filter(|_| self.rng.random_range(0..3) > 0).map(partition).collect();
        let limits = FlushLimits {
            watch_bytes: if self.below(4) == 0 { 100 } else { 1 << 20 },
            deleted_keys: [0, 3, 1000][self.below(3)],
            put_back_bytes: if self.below(4) == 0 { 60 } else { 1 << 20 },
        };
        let rows = if self.below(3) == 0 { 1 + self.below(6) } else { usize::MAX };
        match world.write_files(&lease, users, rows, limits).await {
            Ok(files) => self.written.extend(files),
            Err(FlushError::LeaseLost) => self.seen.leases_lost += 1,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn is_current(&self, lease: &Lease) -> bool {
        self.lease.as_ref().is_some_and(|current| current.generation() == lease.generation())
    }

    async fn commit_file(&mut self, world: &World) {
        let at = self.below(self.written.len());
        let written = self.written.swap_remove(at);
        let rows = written.rows.len() as u64;
        let current = self.is_current(&written.lease);
        match world.commit_file(written).await {
            Ok(commit) => {
                assert!(current, "FL-3");
                commit.acknowledgement.wait().await.unwrap();
                match commit.entry {
                    Some(entry) => {
                        assert_eq!(commit.rows + entry.deleted_rows, rows);
                        self.seen.flushed += 1;
                        self.seen.marked_at_commit += usize::from(entry.deleted_rows > 0);
                    }
                    None => self.seen.vanished += 1,
                }
            }
            Err(FlushError::LeaseLost) => {
                assert!(!current);
                self.seen.leases_lost += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn read_and_merge(&mut self, world: &World) {
        let lease = world.lease().await;
        self.lease = Some(lease.clone());
        let keep_tombstones = self.below(2) == 0;
        let user = self.user();
        self.merged = world.merge(&lease, &partition(user), keep_tombstones).await.unwrap();
    }

    async fn commit_merged(&mut self, world: &World) {
        let Some(merged) = self.merged.take() else { return };
        let current = self.is_current(&merged.lease);
        match world.commit_merged(merged).await {
            Ok(commit) => {
                assert!(current, "FL-3");
                commit.acknowledgement.wait().await.unwrap();
                self.seen.compacted += 1;
                self.seen.marks_carried += usize::from(commit.entry.is_some_and(|entry| entry.deleted_rows > 0));
            }
            Err(FlushError::LeaseLost) => {
                assert!(!current);
                self.seen.leases_lost += 1;
            }
            // A flush under its own lease leaves its sources alone.
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn add(sum: &mut Seen, seen: &Seen) {
    sum.committed += seen.committed;
    sum.stale += seen.stale;
    sum.duplicates += seen.duplicates;
    sum.flushed += seen.flushed;
    sum.vanished += seen.vanished;
    sum.marked_at_commit += seen.marked_at_commit;
    sum.compacted += seen.compacted;
    sum.marks_carried += seen.marks_carried;
    sum.leases_lost += seen.leases_lost;
    sum.collected += seen.collected;
    sum.restarts += seen.restarts;
    sum.late_readers += seen.late_readers;
}

async fn many(seeds: std::ops::Range<u64>, steps: usize, home: impl AsyncFn(u64) -> Home) {
    let mut sum = Seen::default();
    for seed in seeds {
        let seen = Run::new(seed, home(seed).await).steps(steps).await;
        add(&mut sum, &seen);
    }
    let Seen { committed, stale, duplicates, flushed, vanished, marked_at_commit, compacted, marks_carried, .. } = sum;
    let met = [committed, stale, duplicates, flushed, vanished, marked_at_commit, compacted, marks_carried];
    let met_too = [sum.leases_lost, sum.collected, sum.restarts, sum.late_readers];
    assert!(met.iter().chain(&met_too).all(|count| *count > 0), "{sum:?}");
}

#[tokio::test]
async fn the_model_and_the_store_agree_in_memory() {
    many(0..10, 300, async |_| Home::Memory(Memory::new().open().await)).await;
}

#[tokio::test]
async fn the_model_and_the_store_agree_over_power_cuts() {
    many(100..108, 300, async |seed| Home::Machine(Machine::new(seed))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_and_the_store_agree_on_rocksdb() {
    many(200..202, 250, async |_| Home::RocksDb(RocksDb::new())).await;
}
