//! Live queries over `kill -9`: the six promises, checked on what clients of the real server were told.
//!
//! Each user has one writer, who looks at all of its rows after each statement: the truth at that `_seq`. Reference
//! clients of the same user keep two queries each; they stall, lose their connections between any two frames, and begin
//! anew or go on from their bookmarks, while rows are flushed and the server is killed in the middle of statements and started again.
//! Each client writes down what it was told and which rows it then had (`history`), which has to be what the
//! writers saw. `KALAMDB_LIVE_KILL_ROUNDS` says how often the server is killed, twice if unset, and `KALAMDB_LIVE_KILL_SEED`
//! what the dice of writers and followers begin with, 1 if unset: the same seed has the same statements, if not the same moments.

mod follower;
mod history;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

use kalamdb_tests::{BinaryServer, Role, eventually};

use follower::Follower;
use history::Count;
use writer::Writer;

const USERS: [&str; 3] = ["ann", "bob", "cid"];
const FOLLOWERS_OF_EACH: usize = 2;
const TABLE: &str =
    "CREATE NAMESPACE kills; CREATE USER TABLE kills.t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL, v TEXT NOT NULL)";
/// Few enough that clients become slow consumers, that statements are told in pieces, and that bookmarks are told often.
const SETTINGS: [(&str, &str); 6] = [
    ("logging.level", "warn"),
    ("live.buffer_size", "40"),
    ("live.max_frame_bytes", "2KiB"),
    ("live.heartbeat_interval", "300ms"),
    ("flush.default_rows", "60"),
    ("flush.default_interval", "2s"),
];
/// Longer than anything takes that is going to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn rounds() -> usize {
    let given = std::env::var("KALAMDB_LIVE_KILL_ROUNDS").ok();
    given.map_or(2, |text| text.parse().unwrap_or_else(|error| panic!("KALAMDB_LIVE_KILL_ROUNDS={text}: {error}")))
}

fn seed() -> u64 {
    let given = std::env::var("KALAMDB_LIVE_KILL_SEED").ok();
    given.map_or(1, |text| text.parse().unwrap_or_else(|error| panic!("KALAMDB_LIVE_KILL_SEED={text}: {error}")))
}

/// What writers and followers know of each other.
#[derive(Debug, Default)]
struct Progress {
    /// Statements that were answered.
    statements: AtomicU64,
    /// Nothing is written any more.
    over: AtomicBool,
}

impl Progress {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn statements(&self) -> u64 {
        self.statements.load(Ordering::Acquire)
    }

    fn note_statement(&self) {
        self.statements.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits while so many more statements are made, or until there are none, which the test bounds.
    async fn goes_on(&self, statements: u64) {
        let enough = self.statements() + statements;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while !self.is_over() && self.statements() < enough {
            ticks.tick().await;
        }
    }
}

/// Waits until so many more statements were answered.
async fn until_written(progress: &Progress, statements: u64) {
    let enough = progress.statements() + statements;
    while progress.statements() < enough {
        let before = progress.statements();
        eventually("writers go on", PATIENCE, async || (progress.statements() > before).then_some(())).await;
    }
}

/// Writes until `end` has come to its end and the writers to theirs.
async fn one_life(
    server: &mut BinaryServer,
    writers: Vec<Writer>,
    progress: &Arc<Progress>,
    statements: u64,
    end: impl FnOnce(&mut BinaryServer),
) -> Vec<Writer> {
    let admin = server.admin();
    let mut tasks = JoinSet::new();
    for writer in writers {
        let caller = admin.as_role(writer.user, Role::User);
        tasks.spawn(writer.write(caller, admin.clone(), Arc::clone(progress)));
    }
    until_written(progress, statements).await;
    end(server);
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_keep_their_rows_and_the_promises_are_kept() {
    let mut server = BinaryServer::start_with(&SETTINGS).await;
    server.admin().sql(TABLE).await.ok();
    let progress = Arc::new(Progress::default());
    let mut die = StdRng::seed_from_u64(seed());
    let mut writers: Vec<Writer> = USERS.iter().map(|user| Writer::new(user, die.random())).collect();
    let mut following = JoinSet::new();
    for (user, at) in USERS.iter().flat_map(|user| (0..FOLLOWERS_OF_EACH).map(move |at| (user, at))) {
        let follower = Follower::new(&server.url(), user, at == 0, die.random());
        following.spawn(follower.follow(Arc::clone(&progress)));
    }
    for _ in 0..rounds() {
        writers = one_life(&mut server, writers, &progress, die.random_range(15..45), BinaryServer::kill9).await;
        server.restart().await;
        for writer in &mut writers {
            let caller = server.admin().as_user(writer.user);
            assert!(writer.look(&caller).await.is_some(), "a fresh server answers");
        }
    }
    // What was lost with the last life is found again while rows go on changing.
    let end = |_: &mut BinaryServer| progress.over.store(true, Ordering::Release);
    writers = one_life(&mut server, writers, &progress, die.random_range(15..45), end).await;
    let mut count = Count::default();
    for mut follower in following.join_all().await {
        let writer = writers.iter().find(|writer| writer.user == follower.user).expect("everybody has a writer");
        follower.come_to(writer.truth.newest()).await;
        follower.agrees(&server.admin().as_user(writer.user)).await;
        count += follower.check(&writer.truth);
    }
    let subscriptions = (USERS.len() * FOLLOWERS_OF_EACH * follower::QUERIES.len()) as u64;
    assert!(count.stands > 5 * subscriptions, "hardly anything was told: {count:?}");
    assert!(count.resumed >= subscriptions, "hardly anybody resumed: {count:?}");
    assert!(count.bookmarks > 0 && count.statements > 0, "{count:?}");
}
