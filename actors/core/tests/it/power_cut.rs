//! WR-1 to WR-5, SQ-1: the power goes while users write and read, again and again.
//!
//! `sync`: everything acknowledged is there, nothing that a reader saw is gone, also where single syncs fail and
//! the store is opened again under the running server. `buffered`: what is there is a prefix in commit
//! order. Both: a statement is there whole or not at all, and no `_seq` is given twice, not even one that
//! was lost. `KALAMDB_POWER_CUT_SEEDS` says how many machines are tried in each mode.

mod flushes;
mod journal;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kalamdb_commons::settings::Durability;
use kalamdb_commons::{ErrorCode, Outcome};
use kalamdb_faults::Machine;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::server::{LONG, Server, values};
use journal::{Journal, TABLES, Table};

const WRITERS: usize = 6;
const LIVES: usize = 3;
const SCHEMA: [&str; 2] = [
    "CREATE USER TABLE IF NOT EXISTS own (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)",
    "CREATE SHARED TABLE IF NOT EXISTS common (owner TEXT, id BIGINT, n BIGINT NOT NULL, PRIMARY KEY (owner, id))",
];

fn seeds() -> u64 {
    let given = std::env::var("KALAMDB_POWER_CUT_SEEDS").ok();
    given.map_or(6, |text| text.parse().unwrap_or_else(|error| panic!("KALAMDB_POWER_CUT_SEEDS={text}: {error}")))
}

fn number(value: &Json) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What all tasks of a machine know.
#[derive(Debug, Default)]
struct World {
    acknowledged: AtomicU64,
    /// The power is off: who still has no answer gets none.
    dark: AtomicBool,
    /// The highest `_seq` that anybody was ever told.
    highest: AtomicI64,
    /// The highest `_seq` in the current life's beginning: every new one is above.
    floor: AtomicI64,
    /// Every `_seq` that a statement was told.
    given: Mutex<HashSet<i64>>,
    /// What readers saw of each writer's own partition.
    seen: [AtomicI64; WRITERS],
    /// What they saw of the shared table.
    seen_common: AtomicI64,
}

impl World {
    fn seen_in(&self, table: Table, writer: usize) -> i64 {
        match table {
            Table::Own => self.seen[writer].load(Ordering::Acquire),
            Table::Common => self.seen_common.load(Ordering::Acquire),
        }
    }

    fn saw(&self, table: Table, writer: usize, seq: i64) {
        match table {
            Table::Own => self.seen[writer].fetch_max(seq, Ordering::AcqRel),
            Table::Common => self.seen_common.fetch_max(seq, Ordering::AcqRel),
        };
    }

    fn told(&self, seq: i64) {
        self.highest.fetch_max(seq, Ordering::AcqRel);
    }
}

/// Statement after statement until the power is gone.
async fn write(server: Server, mut journal: Journal, world: Arc<World>, durability: Durability) -> Journal {
    loop {
        let (table, sql, params) = journal.next();
        match server.run(&journal.user, &sql, params).await {
            Ok(result) => {
                let seqs: Vec<i64> = values(&result).iter().map(|row| number(&row[0])).collect();
                for seq in &seqs {
                    assert!(world.given.lock().expect("no panic").insert(*seq), "{seq} was given twice");
                    assert!(*seq > world.floor.load(Ordering::Acquire), "{seq} was given before the last life ended");
                    world.told(*seq);
                }
                journal.acknowledged(&seqs);
                world.acknowledged.fetch_add(1, Ordering::AcqRel);
            }
            Err(error) => {
                assert!(
                    matches!(error.code, ErrorCode::StorageUnavailable | ErrorCode::ShuttingDown),
                    "{sql}: {error:?} {:?}",
                    error.detail
                );
                if error.outcome == Outcome::NothingChanged {
                    journal.refused();
                }
                // What it looks like now: the store may have been opened again under the running server.
                if !look(&server, &mut journal, table, &world, durability).await {
                    return journal;
                }
            }
        }
    }
}

/// Compares a table with the journal as soon as the server can say; false if it never will.
async fn look(server: &Server, journal: &mut Journal, table: Table, world: &World, durability: Durability) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while !world.dark.load(Ordering::Acquire) {
        ticks.tick().await;
        // Before the look: what was seen by now has to be there.
        let seen = world.seen_in(table, journal.writer);
        let Some(newest) = newest_in(server, &journal.user, table).await else { continue };
        if let Some((rows, last)) = state_of(server, &journal.user, table).await {
            world.told(last);
            if durability == Durability::Sync {
                assert!(newest >= seen, "{}: a reader saw {seen}, {newest} is there", journal.user);
            }
            journal.settle(table, &rows, last, durability == Durability::Sync);
            return true;
        }
    }
    false
}

/// A writer's rows in a table, and the highest `_seq` of its rows there, deleted ones too.
async fn state_of(server: &Server, user: &str, table: Table) -> Option<(Vec<(i64, i64)>, i64)> {
    let sql = format!("SELECT id, n, _seq, _deleted FROM {} WHERE {} ORDER BY id", table.name(), table.condition("$1"));
    let rows = server.rows(user, &sql, vec![json!(user)]).await.ok()?;
    let last = rows.iter().map(|row| number(&row[2])).max().unwrap_or(0);
    let live = rows.iter().filter(|row| row[3] == json!(false)).map(|row| (number(&row[0]), number(&row[1])));
    Some((live.collect(), last))
}

/// The highest `_seq` of a whole partition, deleted rows too; none if the server cannot say.
async fn newest_in(server: &Server, user: &str, table: Table) -> Option<i64> {
    let sql = format!("SELECT max(_seq) FROM {} WHERE _deleted OR NOT _deleted", table.name());
    match server.rows(user, &sql, vec![]).await {
        Ok(rows) => Some(rows[0][0].as_i64().unwrap_or(0)),
        Err(error) => {
            assert!(matches!(error.code, ErrorCode::StorageUnavailable | ErrorCode::ShuttingDown), "{error:?}");
            None
        }
    }
}

/// Sees the newest row of one writer's partition, or of the shared table, again and again.
async fn read(server: Server, writer: usize, table: Table, world: Arc<World>, durability: Durability) {
    let user = Journal::name_of(writer);
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut before = 0;
    while !world.dark.load(Ordering::Acquire) {
        match newest_in(&server, &user, table).await {
            Some(seq) => {
                if durability == Durability::Sync {
                    assert!(seq >= before, "{user} saw {before}, and then {seq}");
                }
                before = seq;
                world.saw(table, writer, seq);
                world.told(seq);
            }
            None => drop(ticks.tick().await),
        }
    }
}

/// Runs until enough is acknowledged and the power is cut; gives the journals back.
async fn one_life(
    machine: &Machine,
    server: &Server,
    journals: Vec<Journal>,
    world: &Arc<World>,
    durability: Durability,
    die: &mut StdRng,
) -> Vec<Journal> {
    let mut writers = JoinSet::new();
    let mut readers = JoinSet::new();
    for journal in journals {
        writers.spawn(write(server.clone(), journal, Arc::clone(world), durability));
    }
    for writer in 0..WRITERS / 2 {
        readers.spawn(read(server.clone(), writer, Table::Own, Arc::clone(world), durability));
    }
    readers.spawn(read(server.clone(), 0, Table::Common, Arc::clone(world), durability));
    let enough = world.acknowledged.load(Ordering::Acquire) + die.random_range(10..120);
    let deadline = tokio::time::Instant::now() + LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while world.acknowledged.load(Ordering::Acquire) < enough {
        ticks.tick().await;
        assert!(tokio::time::Instant::now() < deadline, "the writers stand still");
    }
    machine.cut_power().await.expect("the power is cut");
    world.dark.store(true, Ordering::Release);
    let mut journals = writers.join_all().await;
    readers.join_all().await;
    journals.sort_by(|one, other| one.user.cmp(&other.user));
    journals
}

/// After a boot: everything against the journals.
async fn check(server: &Server, journals: &mut [Journal], world: &World, durability: Durability, seed: u64) {
    let mut states = Vec::new();
    for journal in journals.iter() {
        for table in TABLES {
            states.push(state_of(server, &journal.user, table).await.expect("a fresh server answers"));
        }
    }
    // Where the log ended: whatever was committed before is there.
    let end = states.iter().map(|(_, last)| *last).max().unwrap_or(0);
    for (writer, journal) in journals.iter_mut().enumerate() {
        for (at, table) in TABLES.into_iter().enumerate() {
            let (rows, last) = &states[writer * TABLES.len() + at];
            let gap = journal.acknowledged_after(table, *last).find(|seq| *seq <= end);
            assert_eq!(gap, None, "seed {seed}: {} lacks what was committed before _seq {end}", journal.user);
            journal.settle(table, rows, *last, durability == Durability::Sync);
        }
        let (seen, last) = (world.seen[writer].load(Ordering::Acquire), states[writer * TABLES.len()].1);
        match durability {
            Durability::Sync => assert!(last >= seen, "seed {seed}: a reader saw {seen}, {last} is there"),
            Durability::Buffered => world.seen[writer].store(0, Ordering::Release),
        }
    }
    let newest = newest_in(server, "admin", Table::Common).await.expect("a fresh server answers");
    let seen = world.seen_common.swap(0, Ordering::AcqRel);
    if durability == Durability::Sync {
        assert!(newest >= seen, "seed {seed}: a reader of the shared table saw {seen}, {newest} is there");
    }
    world.floor.store(world.highest.load(Ordering::Acquire), Ordering::Release);
}

/// Answers how often the store was opened again under a running server.
async fn one_machine(seed: u64, durability: Durability) -> u64 {
    let mut die = StdRng::seed_from_u64(seed);
    let machine = Machine::new(seed);
    let world = Arc::new(World::default());
    let mut journals: Vec<Journal> = (0..WRITERS).map(|writer| Journal::new(writer, seed)).collect();
    for life in 0..LIVES {
        machine.faults().fail_one_sync_in(0);
        machine.faults().delay_syncs(Duration::from_micros(die.random_range(0..4000)));
        world.dark.store(false, Ordering::Release);
        let server = Server::start(&machine, durability).await;
        for sql in SCHEMA {
            server.run("admin", sql, vec![]).await.expect("the schema is there");
        }
        check(&server, &mut journals, &world, durability, seed).await;
        let made = format!("CREATE USER TABLE made{life} (id BIGINT PRIMARY KEY)");
        server.run("admin", &made, vec![]).await.expect("a table is made");
        if durability == Durability::Sync && seed.is_multiple_of(2) {
            machine.faults().fail_one_sync_in(60);
        }
        journals = one_life(&machine, &server, journals, &world, durability, &mut die).await;
        server.stop().await;
    }
    machine.faults().fail_one_sync_in(0);
    let server = Server::start(&machine, durability).await;
    check(&server, &mut journals, &world, durability, seed).await;
    let tables = server.rows("admin", "SHOW TABLES", vec![]).await.expect("an answer");
    assert_eq!(tables.len(), SCHEMA.len() + LIVES, "seed {seed}: tables that were acknowledged");
    assert!(journals.iter().any(|journal| journal.rows() > 0), "seed {seed}: something was written");
    server.stop().await;
    machine.boots() - (LIVES as u64 + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_seen_is_taken_back() {
    let mut reopened = 0;
    let mut seed = 0;
    // In which sync of a machine the fault is depends on what else it writes: some more, where it was in none.
    while seed < seeds() || (reopened == 0 && seed < seeds() + 20) {
        reopened += one_machine(seed, Durability::Sync).await;
        seed += 1;
    }
    assert!(reopened > 0, "syncs fail in every other machine, and the server goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffered_keeps_a_prefix_in_commit_order() {
    for seed in 0..seeds() {
        one_machine(seed, Durability::Buffered).await;
    }
}
