//! The six promises of live queries, checked on recorded histories.
//!
//! Each user's partition has one writer, who looks at all of it after each statement: the truth at that `_seq`. Followers
//! of the same partition subscribe, stall, go away between any two frames, and come back, while tables are flushed and altered, the
//! server is stopped and started, and in `sync` mode the power is cut. At every bookmark a follower's state has to be
//! the truth at that number (ordered, atomic, bookmarkable), between two bookmarks the truth must not have been anything
//! else that it should have been told (reliable), no row may come twice (unique), and no bookmark of the past
//! may be refused (resumable). `KALAMDB_LIVE_SEEDS` says how many histories are made in each mode.

mod follower;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kalamdb_commons::settings::Durability;
use kalamdb_faults::Machine;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::super::server::{LONG, Server};
use follower::Follower;
use writer::Writer;

const USERS: [&str; 3] = ["ann", "bob", "cid"];
const FOLLOWERS_OF_EACH: usize = 3;
const LIVES: usize = 4;

fn seeds() -> u64 {
    let given = std::env::var("KALAMDB_LIVE_SEEDS").ok();
    given.map_or(2, |text| text.parse().unwrap_or_else(|error| panic!("KALAMDB_LIVE_SEEDS={text}: {error}")))
}

/// What everybody in one life of a server knows.
#[derive(Debug, Default)]
struct Life {
    /// It is over: nothing that fails now matters.
    over: AtomicBool,
    /// Statements so far.
    statements: AtomicU64,
}

impl Life {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits while so many statements are made, or until it is over, which the test bounds.
    async fn goes_on(&self, statements: u64) {
        let enough = self.statements.load(Ordering::Acquire) + statements;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while !self.is_over() && self.statements.load(Ordering::Acquire) < enough {
            ticks.tick().await;
        }
    }
}

async fn one_life(
    server: &Server,
    writers: Vec<Writer>,
    followers: Vec<Follower>,
    die: &mut StdRng,
    end: impl AsyncFnOnce(),
) -> (Vec<Writer>, Vec<Follower>) {
    let life = Arc::new(Life::default());
    let (mut writing, mut following) = (JoinSet::new(), JoinSet::new());
    for writer in writers {
        writing.spawn(writer.write(server.clone(), Arc::clone(&life)));
    }
    for follower in followers {
        following.spawn(follower.follow(server.clone(), Arc::clone(&life)));
    }
    let enough = die.random_range(40..120);
    let mut added = 0;
    let deadline = tokio::time::Instant::now() + LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    loop {
        ticks.tick().await;
        let statements = life.statements.load(Ordering::Acquire);
        if statements >= enough {
            break;
        }
        if added == 0 && statements > enough / 2 {
            added = die.random_range(1..u64::MAX);
            let sql = format!("ALTER TABLE t ADD COLUMN c{added} TEXT DEFAULT 'x'");
            server.run("admin", &sql, vec![]).await.expect("a column is added");
        }
        assert!(tokio::time::Instant::now() < deadline, "the writers stand still at {statements}");
    }
    end().await;
    life.over.store(true, Ordering::Release);
    (writing.join_all().await, following.join_all().await)
}

async fn one_history(seed: u64, durability: Durability) {
    let mut die = StdRng::seed_from_u64(seed);
    let machine = Machine::new(seed);
    let mut writers: Vec<Writer> = USERS.iter().map(|user| Writer::new(user, seed)).collect();
    let mut followers: Vec<Follower> = Vec::new();
    for (at, user) in USERS.iter().flat_map(|user| (0..FOLLOWERS_OF_EACH).map(move |at| (at, user))) {
        followers.push(Follower::new(user, seed * 100 + followers.len() as u64, at as i64));
    }
    for life in 0..LIVES {
        machine.faults().delay_syncs(Duration::from_micros(die.random_range(0..2000)));
        let (buffer, frame) = (die.random_range(3..60), die.random_range(20..300));
        let server = Server::start_with(&machine, durability, |settings, _| {
            settings.live.buffer_size = buffer;
            settings.live.max_frame_bytes = frame;
            settings.flush.default_rows = 40;
        })
        .await;
        let table = "CREATE USER TABLE IF NOT EXISTS t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";
        server.run("admin", table, vec![]).await.expect("the table is there");
        for writer in &mut writers {
            writer.look(&server).await.expect("a fresh server answers");
        }
        let cut = durability == Durability::Sync && (life + usize::try_from(seed).unwrap_or(0)) % 2 == 0;
        (writers, followers) = one_life(&server, writers, followers, &mut die, async || {
            if cut {
                machine.cut_power().await.expect("the power is cut");
            }
        })
        .await;
        server.stop().await;
    }
    let server = Server::start(&machine, durability).await;
    for writer in &mut writers {
        writer.look(&server).await.expect("a fresh server answers");
    }
    let mut told = 0;
    for follower in &mut followers {
        let writer = writers.iter().find(|writer| writer.user == follower.user).expect("everybody has a writer");
        follower.come_to_the_end(&server, writer.newest()).await;
        told += follower.check(writer);
    }
    assert!(told > 50, "seed {seed}: hardly anything was told");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_keep_the_promises_over_power_cuts() {
    for seed in 0..seeds() {
        one_history(seed, Durability::Sync).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_keep_the_promises_in_buffered_mode() {
    for seed in 0..seeds() {
        one_history(1000 + seed, Durability::Buffered).await;
    }
}
