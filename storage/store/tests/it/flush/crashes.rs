//! The power goes at every place of a flush, with statements in between; what is there afterwards is what was
//! acknowledged, once, and every file is in a manifest or on a list.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kalamdb_faults::Machine;
use kalamdb_store::{FlushLimits, SyncMode, failpoint, files};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Notify;

use super::fixture::{Disk, Wanted, World};
use crate::committer::fixture::partition;

const USERS: [&str; 3] = ["ann", "anna", "bob"];
const IDS: i64 = 10;

type State = BTreeMap<(&'static str, i64), String>;

/// Every state that was acknowledged, in order.
#[derive(Debug)]
struct Journal {
    states: Vec<State>,
    /// The first of them that a power cut may leave.
    durable: usize,
    rng: StdRng,
}

impl Journal {
    fn new(seed: u64) -> Arc<Mutex<Self>> {
        let rng = StdRng::seed_from_u64(seed);
        Arc::new(Mutex::new(Self { states: vec![State::new()], durable: 0, rng }))
    }

    /// Something that can be done to the last state.
    fn next(&mut self) -> (&'static str, Wanted, State) {
        let mut state = self.states.last().unwrap().clone();
        let user = USERS[self.rng.random_range(0..USERS.len())];
        let id = self.rng.random_range(0..IDS);
        let name = self.rng.random_range(0..1000).to_string();
        let wanted = match state.get(&(user, id)) {
            None => Wanted::Insert(id, name.clone()),
            Some(_) if self.rng.random_range(0..2) == 0 => Wanted::Delete(id),
            Some(_) => Wanted::Update(id, id, name.clone()),
        };
        match wanted {
            Wanted::Delete(_) => state.remove(&(user, id)),
            Wanted::Insert(..) | Wanted::Update(..) => state.insert((user, id), name),
        };
        (user, wanted, state)
    }
}

async fn statements(world: &World, journal: &Mutex<Journal>, mode: SyncMode, count: usize) {
    for _ in 0..count {
        let (user, wanted, state) = journal.lock().next();
        let committed = world.run(&partition(user), &[wanted]).await.unwrap();
        committed.acknowledgement.unwrap().wait().await.unwrap();
        let mut journal = journal.lock();
        journal.states.push(state);
        if mode == SyncMode::Sync {
            journal.durable = journal.states.len() - 1;
        }
    }
}

async fn state(world: &World) -> State {
    let snapshot = world.snapshot().await;
    let mut state = State::new();
    for user in USERS {
        let live = world.live(&*snapshot, &partition(user)).await;
        state.extend(live.into_iter().map(|(id, name)| ((user, id), name)));
    }
    state
}

async fn sound(world: &World) {
    world.assert_counted(&USERS.map(partition)).await;
    world.assert_files_are_named().await;
}

/// A place, and which time it is reached.
#[derive(Debug, Clone, Copy)]
struct Cut {
    place: &'static str,
    time: usize,
}

async fn cut_power_at(cut: Cut, mode: SyncMode, seed: u64) -> bool {
    let (machine, disk, journal) = (Machine::new(seed), Disk::default(), Journal::new(seed));
    let world = Arc::new(World::new(machine.boot().await.unwrap(), mode, &disk).await);
    statements(&world, &journal, mode, 30).await;
    // Something is in segments already.
    if seed.is_multiple_of(2) {
        for commit in world.flush(USERS.map(partition).into()).await {
            commit.acknowledgement.wait().await.unwrap();
        }
        statements(&world, &journal, mode, 20).await;
    }
    if seed.is_multiple_of(3) {
        world.backend.sync().await.unwrap();
        let mut journal = journal.lock();
        journal.durable = journal.states.len() - 1;
    }

    let (dark, reached) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (hook_world, hook_journal, hook_dark, power) =
        (Arc::downgrade(&world), Arc::clone(&journal), Arc::clone(&dark), machine.clone());
    world.committer.set_failpoints(move |place| {
        let (world, journal, dark, power) =
            (hook_world.clone(), Arc::clone(&hook_journal), Arc::clone(&hook_dark), power.clone());
        let hit = place == cut.place && reached.fetch_add(1, Ordering::AcqRel) == cut.time;
        Box::pin(async move {
            // Rows move on while their file is being written.
            if place == failpoint::AFTER_PENDING
                && let Some(world) = world.upgrade()
            {
                statements(&world, &journal, mode, 4).await;
            }
            if hit {
                power.cut_power().await.unwrap();
                dark.notify_one();
                pending::<()>().await;
            }
        })
    });
    let flush = async {
        let lease = world.lease().await;
        let written = world.write_files(&lease, USERS.map(partition).into(), usize::MAX, FlushLimits::default()).await;
        for file in written.unwrap() {
            world.commit_file(file).await.unwrap();
        }
        pending::<()>().await;
    };
    tokio::select! {
        () = flush => {}
        () = dark.notified() => {}
    }
    drop(world);

    let world = World::new(machine.boot().await.unwrap(), mode, &disk).await;
    sound(&world).await;
    let after = state(&world).await;
    {
        let journal = journal.lock();
        let possible = &journal.states[journal.durable..];
        assert!(possible.contains(&after), "{cut:?} {mode:?} {seed}: {after:?} is none of {possible:?}");
    }
    let snapshot = world.snapshot().await;
    let left = files::pending(&*snapshot).await.unwrap();
    if cut.place == failpoint::AFTER_PENDING {
        assert!(!left.is_empty(), "{cut:?} {mode:?} {seed}: FL-2: it was recorded on the disk");
    }
    assert_eq!(world.committer.unowned_pending().await.unwrap(), left, "nobody owns any");
    world.collect().await;
    sound(&world).await;
    let snapshot = world.snapshot().await;
    assert_eq!(files::pending(&*snapshot).await.unwrap(), []);
    // And on it goes.
    world.flush(USERS.map(partition).into()).await;
    sound(&world).await;
    assert_eq!(state(&world).await, after);
    !left.is_empty()
}

async fn cut_power_everywhere(mode: SyncMode) {
    let places =
        [failpoint::BEFORE_PENDING, failpoint::AFTER_PENDING, failpoint::BEFORE_COMMIT, failpoint::AFTER_COMMIT];
    for place in places {
        let (mut left, mut clean) = (0, 0);
        for time in 0..3 {
            for seed in 0..12 {
                if cut_power_at(Cut { place, time }, mode, seed).await { left += 1 } else { clean += 1 }
            }
        }
        match place {
            failpoint::BEFORE_PENDING => assert!(clean > 0, "nothing was recorded before the first"),
            failpoint::AFTER_COMMIT => assert!(clean > 0 && left > 0, "{mode:?}: {left} of {clean}: luck decides"),
            _ => assert_eq!(clean, 0, "{place}"),
        }
    }
}

#[tokio::test]
async fn the_power_goes_at_every_place_of_a_synced_flush() {
    cut_power_everywhere(SyncMode::Sync).await;
}

#[tokio::test]
async fn the_power_goes_at_every_place_of_a_buffered_flush() {
    cut_power_everywhere(SyncMode::Buffered).await;
}
