//! FL-1 to FL-5: the power goes at every place of a flush while users write, and again at every place of the collection
//! of files that the next start begins with.
//!
//! In the third life all that was acknowledged is there, each row once (`buffered`: a prefix of it); nothing is pending,
//! and the files on the disk are exactly those that the manifest names. What was not durable of the files is gone, cut
//! short or under its temporary name, as luck will have it. `KALAMDB_FLUSH_CUT_SEEDS` says how many machines are tried at
//! each place.

mod disk;
mod trap;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kalamdb_commons::ErrorCode;
use kalamdb_commons::settings::Durability;
use kalamdb_faults::Machine;
use kalamdb_store::manifest::{ManifestItem, ManifestWalk};
use kalamdb_store::{failpoint, files};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::task::JoinSet;

use super::journal::{Journal, TABLES, Table};
use super::{LONG, SCHEMA, Server, World, check, write};
use crate::server::machine_storage;
use disk::Disk;
use trap::{Guard, Trap};

/// Who writes on a machine; each has a file in every flush.
const USERS: usize = 3;
/// Machines at the same time.
const AT_ONCE: usize = 4;
/// How far the numbers of two seeds' machines lie apart. The first seed's are quick: every test run has them.
const CASES_OF_A_SEED: u64 = 100;
/// Rows after which a table is flushed by itself.
const FLUSH_ROWS: u64 = 50;

fn seeds() -> u64 {
    let given = std::env::var("KALAMDB_FLUSH_CUT_SEEDS").ok();
    given.map_or(1, |text| text.parse().unwrap_or_else(|error| panic!("KALAMDB_FLUSH_CUT_SEEDS={text}: {error}")))
}

/// Where the power goes, in the first life and in the second.
#[derive(Debug, Clone, Copy)]
struct Case {
    flush: &'static str,
    collection: &'static str,
    durability: Durability,
    seed: u64,
}

/// Asks for a flush of a table again and again, until the power is off.
async fn flush(server: Server, table: Table, world: Arc<World>) {
    let sql = format!("FLUSH TABLE {}", table.name());
    let mut ticks = tokio::time::interval(Duration::from_millis(3));
    while !world.dark.load(Ordering::Acquire) {
        if let Err(error) = server.run("admin", &sql, vec![]).await {
            assert!(matches!(error.code, ErrorCode::StorageUnavailable | ErrorCode::ShuttingDown), "{error:?}");
        }
        ticks.tick().await;
    }
}

/// Lets users write while their tables are flushed, until the trap springs, or there is nothing more to wait for.
async fn one_life(
    server: &Server,
    trap: &Trap,
    journals: Vec<Journal>,
    world: &Arc<World>,
    durability: Durability,
    is_over: impl Fn() -> bool,
) -> Vec<Journal> {
    trap.arm();
    let (mut writers, mut flushers) = (JoinSet::new(), JoinSet::new());
    for journal in journals {
        writers.spawn(write(server.clone(), journal, Arc::clone(world), durability));
    }
    for table in TABLES {
        flushers.spawn(flush(server.clone(), table, Arc::clone(world)));
    }
    let deadline = tokio::time::Instant::now() + LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while !world.dark.load(Ordering::Acquire) {
        ticks.tick().await;
        assert!(tokio::time::Instant::now() < deadline, "the place is never reached");
        if is_over() {
            trap.cut_power().await;
        }
    }
    let mut journals = writers.join_all().await;
    flushers.join_all().await;
    journals.sort_by(|one, other| one.user.cmp(&other.user));
    journals
}

async fn start(machine: &Machine, trap: &Arc<Trap>, durability: Durability, flush_rows: u64) -> Server {
    Server::start_with(machine, durability, |settings, registry| {
        settings.flush.default_rows = flush_rows;
        trap.set(registry);
    })
    .await
}

/// Files that nobody names, for the next collection.
async fn make_garbage(server: &Server) {
    for (user, sql) in [
        ("admin", "CREATE USER TABLE gone (id BIGINT PRIMARY KEY)"),
        ("ann", "INSERT INTO gone VALUES (1)"),
        ("bob", "INSERT INTO gone VALUES (1)"),
        ("admin", "FLUSH TABLE gone"),
        ("admin", "DROP TABLE gone"),
    ] {
        server.run(user, sql, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

/// Answers whether the second life came to its place.
async fn one_machine(case: Case) -> bool {
    let Case { flush, collection, durability, seed } = case;
    let mut die = StdRng::seed_from_u64(seed);
    let machine = Machine::new(seed);
    let disk = Arc::new(Disk::new(machine_storage(&machine)));
    let world = Arc::new(World::default());
    let mut journals: Vec<Journal> = (0..USERS).map(|writer| Journal::new(writer, seed)).collect();
    machine.faults().delay_syncs(Duration::from_micros(die.random_range(0..3000)));

    // So that there is garbage when the second life comes to its place.
    let keeps_files = [failpoint::BEFORE_GARBAGE_DELETED, failpoint::GARBAGE_DELETED].contains(&collection);
    let passes = die.random_range(0..if seed < CASES_OF_A_SEED { 3 } else { 8 });
    let trap = Trap::new(&machine, &disk, &world, (Some(flush), passes), Guard::Absent, keeps_files);
    let server = start(&machine, &trap, durability, FLUSH_ROWS).await;
    for sql in SCHEMA {
        server.run("admin", sql, vec![]).await.expect("the schema is there");
    }
    make_garbage(&server).await;
    journals = one_life(&server, &trap, journals, &world, durability, || false).await;
    assert!(trap.has_sprung(), "{case:?}");
    server.stop().await;
    disk.thaw(&mut die);

    // Its first collection stops at the place until users write.
    world.dark.store(false, Ordering::Release);
    let trap = Trap::new(&machine, &disk, &world, (Some(collection), 0), Guard::Holds, false);
    let server = start(&machine, &trap, durability, FLUSH_ROWS).await;
    check(&server, &mut journals, &world, durability, seed).await;
    let enough = world.acknowledged.load(Ordering::Acquire) + die.random_range(20..60);
    let collections = trap.collections();
    let is_over =
        || *collections.borrow() > 1 && world.acknowledged.load(Ordering::Acquire) >= enough && !trap.has_sprung();
    journals = one_life(&server, &trap, journals, &world, durability, is_over).await;
    let came_there = trap.has_sprung();
    server.stop().await;
    disk.thaw(&mut die);

    world.dark.store(false, Ordering::Release);
    let trap = Trap::new(&machine, &disk, &world, (None, 0), Guard::Absent, false);
    let server = start(&machine, &trap, durability, u64::MAX).await;
    let mut collections = trap.collections();
    let collected = tokio::time::timeout(LONG, collections.wait_for(|collections| *collections > 0)).await;
    assert!(collected.is_ok_and(|collected| collected.is_ok()), "{case:?}: a start collects files");
    check(&server, &mut journals, &world, durability, seed).await;
    let unfinished = "SELECT count(*) FROM system.jobs WHERE status IN ('queued', 'running')";
    let unfinished = server.rows("admin", unfinished, vec![]).await.expect("an answer");
    assert_eq!(unfinished, [[json!(0)]], "{case:?}: jobs of lives that are over");
    for table in TABLES {
        server.run("admin", &format!("FLUSH TABLE {}", table.name()), vec![]).await.expect("it is flushed");
    }
    check(&server, &mut journals, &world, durability, seed).await;
    assert!(journals.iter().any(|journal| journal.rows() > 0), "{case:?}: something was written");
    server.stop().await;
    assert_files_are_those_named(&machine, &disk, case).await;
    came_there
}

/// FL-2, FL-4: nothing is pending or garbage, and there is no file but those of segments, and each of these.
async fn assert_files_are_those_named(machine: &Machine, disk: &Disk, case: Case) {
    let backend = machine.boot().await.expect("it was stopped");
    let snapshot = backend.snapshot().await.expect("a snapshot");
    assert_eq!(files::pending(&*snapshot).await.expect("a list"), [], "{case:?}");
    assert_eq!(files::garbage(&*snapshot, None, 1000).await.expect("a list"), [], "{case:?}");
    let mut named = BTreeMap::new();
    let mut walk = ManifestWalk::of_everything(&*snapshot);
    while let Some(items) = walk.next_chunk().await.expect("the manifest is read") {
        named.extend(items.into_iter().filter_map(|item| match item {
            ManifestItem::Entry(_, entry) => Some((PathBuf::from(entry.path), entry.bytes)),
            ManifestItem::Record(..) => None,
        }));
    }
    assert!(!named.is_empty(), "{case:?}: something was flushed");
    let there: BTreeMap<PathBuf, u64> = disk
        .files()
        .into_iter()
        .map(|path| {
            let length = disk.length(&path);
            (path, length)
        })
        .collect();
    assert_eq!(there, named, "{case:?}");
}

async fn cut_power_everywhere(durability: Durability) {
    let cases = (0..seeds()).flat_map(|seed| {
        failpoint::OF_A_FLUSH.into_iter().enumerate().map(move |(at, flush)| {
            // In the first round each place of a collection comes after one of a flush that leaves something for it.
            let places = failpoint::OF_A_COLLECTION;
            let turn = at + places.len() - 1 + usize::try_from(seed).expect("few");
            Case {
                flush,
                collection: places[turn % places.len()],
                durability,
                seed: seed * CASES_OF_A_SEED + at as u64,
            }
        })
    });
    let mut reached: BTreeMap<&str, usize> = failpoint::OF_A_COLLECTION.map(|place| (place, 0)).into();
    let machines = stream::iter(cases).map(|case| async move { (case.collection, one_machine(case).await) });
    let mut machines = std::pin::pin!(machines.buffer_unordered(AT_ONCE));
    while let Some((place, came_there)) = machines.next().await {
        *reached.get_mut(place).expect("one of them") += usize::from(came_there);
    }
    assert!(reached.values().all(|times| *times > 0), "{durability:?}: {reached:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_goes_at_every_place_of_flushes_and_recoveries() {
    cut_power_everywhere(Durability::Sync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_goes_at_every_place_of_buffered_flushes_and_recoveries() {
    cut_power_everywhere(Durability::Buffered).await;
}
