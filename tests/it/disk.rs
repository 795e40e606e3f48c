//! WR-5 on real disks: full, read-only, and well again. The server refuses, says so, and goes on by itself.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kalamdb_tests::{BinaryServer, Client, Role, eventually};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;
/// What one row holds; does not compress.
const ROW_BYTES: usize = 48 << 10;
/// More of them than fit into what is left of the smallest disk.
const ROWS: i64 = 120;
/// More than fits on any disk of these tests.
const MOST_ROWS: i64 = 5000;

/// A file system of a few megabytes.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// None where this machine lets nobody mount one.
    fn mount(parent: &Path, bytes: usize) -> Option<Self> {
        let path = parent.join("disk");
        std::fs::create_dir(&path).expect("a directory to mount on");
        let options = format!("size={bytes},mode=777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) { Some(Self { path }) } else { None }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that still runs keeps its files until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn noise() -> String {
    (0..ROW_BYTES / 16).map(|_| format!("{:016x}", rand::random::<u64>())).collect()
}

/// Rows of one user, and what the server said of each.
struct Writer {
    caller: Client,
    next: i64,
    acknowledged: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
}

impl Writer {
    fn new(server: &BinaryServer, user: &str) -> Self {
        let caller = server.admin().as_role(user, Role::User);
        Self { caller, next: 1, acknowledged: BTreeSet::new(), unknown: BTreeSet::new() }
    }

    /// Inserts one row; answers whether it was acknowledged.
    async fn insert(&mut self) -> bool {
        let id = self.next;
        self.next += 1;
        let answer = self.caller.sql_params("INSERT INTO disk.t VALUES ($1, $2)", json!([id, noise()])).await;
        if answer.status == 200 {
            self.acknowledged.insert(id);
            return true;
        }
        answer.fails(507, "STORAGE_UNAVAILABLE");
        if answer.body["error"]["outcome"] == json!("unknown") {
            self.unknown.insert(id);
        }
        false
    }

    /// Every acknowledged row once, and nothing that was refused; no `_seq` twice.
    async fn check(&mut self) {
        let rows = self.caller.sql("SELECT id, _seq FROM disk.t ORDER BY id").await.success().values();
        let numbers = |at: usize| rows.iter().map(move |row: &Vec<Value>| row[at].as_i64().expect("a number"));
        let found: BTreeSet<i64> = numbers(0).collect();
        assert_eq!(found.len(), rows.len(), "a row twice");
        assert_eq!(numbers(1).collect::<BTreeSet<i64>>().len(), rows.len(), "a _seq twice");
        let lost: Vec<&i64> = self.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let refused: Vec<&i64> =
            found.iter().filter(|id| !self.acknowledged.contains(id) && !self.unknown.contains(id)).collect();
        assert!(refused.is_empty(), "refused and there: {refused:?}");
        // Known from now on.
        self.acknowledged = found;
        self.unknown.clear();
    }

    /// Writes until the server has no room, and sees that it says so and still reads.
    async fn until_refused(&mut self, server: &BinaryServer, other: &Writer) {
        while self.insert().await {
            assert!(self.next < MOST_ROWS, "the disk never fails");
        }
        let ready = server.admin().get("/ready").await;
        assert_eq!(ready.status, 503, "{}", ready.text);
        assert!(ready.text.contains("the storage backend has failed"), "it says what is down: {}", ready.text);
        assert!(!self.insert().await, "refused from here on");
        let rows = other.caller.sql("SELECT id FROM disk.t").await.success().rows().len();
        assert_eq!(rows, other.acknowledged.len(), "what was synced can be read");
    }

    async fn goes_on(&mut self, server: &BinaryServer) {
        let admin = server.admin();
        eventually("ready by itself", LIMIT, async || admin.is_ready().await.then_some(())).await;
        self.check().await;
        for _ in 0..3 {
            assert!(self.insert().await, "writes go on");
        }
        self.check().await;
    }
}

async fn writers(server: &BinaryServer) -> (Writer, Writer) {
    server.admin().sql("CREATE NAMESPACE disk; CREATE USER TABLE disk.t (id BIGINT PRIMARY KEY, v TEXT)").await.ok();
    let (ann, mut bob) = (Writer::new(server, "ann"), Writer::new(server, "bob"));
    for _ in 0..3 {
        assert!(bob.insert().await);
    }
    (ann, bob)
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for durability in ["sync", "buffered"] {
        let mut server = BinaryServer::prepare();
        let Some(disk) = SmallDisk::mount(server.dir(), 128 * MIB) else {
            println!("skipped: this machine mounts no tmpfs for tests");
            return;
        };
        // To be removed when room is wanted.
        let ballast = disk.path.join("ballast");
        std::fs::write(&ballast, vec![1; 96 * MIB]).expect("the disk takes it");
        server.change_setting("storage.rocksdb_dir", &disk.path.join("rocksdb").display().to_string());
        server.change_setting("storage.memory", "16MiB");
        server.change_setting("storage.durability", durability);
        server.restart().await;
        let (mut ann, mut bob) = writers(&server).await;
        ann.until_refused(&server, &bob).await;
        std::fs::remove_file(&ballast).expect("room is made");
        ann.goes_on(&server).await;
        bob.goes_on(&server).await;

        server.kill9();
        server.restart().await;
        ann.goes_on(&server).await;
        bob.check().await;
        drop(server);
        drop(disk);
    }
}

/// The disk of the segments alone is full: nothing but flushes fail, they say why, and go on by themselves.
#[tokio::test]
async fn a_storage_without_room_keeps_rows_hot_until_there_is_room() {
    let mut server = BinaryServer::prepare();
    let Some(disk) = SmallDisk::mount(server.dir(), 8 * MIB) else {
        println!("skipped: this machine mounts no tmpfs for tests");
        return;
    };
    let ballast = disk.path.join("ballast");
    let storage = disk.path.join("storage");
    server.change_setting("storage.default_location", &storage.display().to_string());
    server.change_setting("flush.default_interval", "1h");
    server.restart().await;
    let (mut ann, mut bob) = writers(&server).await;
    let admin = server.admin();
    let stats = async || admin.sql("SHOW TABLE STATS disk.t").await.success().rows()[0].clone();
    assert_eq!(admin.sql("FLUSH TABLE disk.t").await.success().rows()[0]["status"], json!("flushed"));
    let before = stats().await;

    // What ann writes from here on takes more than is left; bob's fits.
    std::fs::write(&ballast, vec![1; 6 * MIB]).expect("the disk takes it");
    for _ in 0..ROWS {
        assert!(ann.insert().await, "the rows are elsewhere");
    }
    assert!(bob.insert().await);
    let mut refused = admin.sql("FLUSH TABLE disk.t").await;
    for round in 0..3 {
        let message = refused.fails(507, "STORAGE_UNAVAILABLE");
        let jobs = "SELECT status, error, attempts FROM system.jobs WHERE status = 'failed' AND trigger = 'manual' ORDER BY created_at DESC";
        let job = admin.sql(jobs).await.success().rows()[0].clone();
        assert_eq!(job["error"], json!(message), "{job}");
        assert!(message.contains("room") || message.contains("full") || message.contains("space"), "{message}");
        assert!(admin.is_ready().await, "round {round}: it is no failure of the store");
        ann.check().await;
        bob.check().await;
        assert!(ann.insert().await, "writes go on");
        refused = admin.sql("FLUSH TABLE disk.t").await;
    }
    let full = stats().await;
    let number = |stats: &Value, name: &str| stats[name].as_i64().expect("a number");
    assert!(number(&full, "buffered_rows") >= ROWS, "ann's are hot still: {full}");
    assert!(number(&full, "segments") - number(&before, "segments") <= 1, "bob's at the most: {full}");

    std::fs::remove_file(&ballast).expect("room is made");
    // By itself: it is tried again.
    eventually("it is flushed", LIMIT, async || (stats().await["buffered_rows"] == json!(0)).then_some(())).await;
    ann.check().await;
    bob.check().await;
    eventually("what failed has left no file", LIMIT, async || {
        let named = admin.sql("SELECT count(*) FROM system.segments").await.success().number();
        (usize::try_from(named).ok() == Some(count_files(&storage))).then_some(())
    })
    .await;

    server.kill9();
    server.restart().await;
    ann.check().await;
    bob.check().await;
    drop(server);
    drop(disk);
}

fn count_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    paths.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

/// Of a directory and all below it.
fn permit(directory: &Path, mode: u32) {
    let permissions = || std::fs::Permissions::from_mode(mode);
    // First its own, so that it can be read where it is to be writable again.
    std::fs::set_permissions(directory, permissions()).expect("a new mode");
    for entry in std::fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            permit(&path, mode);
        }
    }
}

/// Rows stay hot and readable, the job says why, and it is tried again by itself.
#[tokio::test]
async fn a_storage_that_becomes_read_only_keeps_rows_hot_until_it_is_not() {
    let mut server = BinaryServer::prepare();
    server.change_setting("flush.default_interval", "1h");
    server.drop_privileges();
    server.restart().await;
    let (mut ann, mut bob) = writers(&server).await;
    let admin = server.admin();
    let stats = async || admin.sql("SHOW TABLE STATS disk.t").await.success().rows()[0].clone();
    assert_eq!(admin.sql("FLUSH TABLE disk.t").await.success().rows()[0]["status"], json!("flushed"));

    let storage = server.dir().join("storage");
    permit(&storage, 0o555);
    // One has no directory there yet, the other has.
    assert!(ann.insert().await && bob.insert().await, "the rows are elsewhere");
    let message = admin.sql("FLUSH TABLE disk.t").await.fails(507, "STORAGE_UNAVAILABLE");
    let jobs = "SELECT status, error FROM system.jobs WHERE status = 'failed' ORDER BY created_at";
    let failed = admin.sql(jobs).await.success().rows()[0].clone();
    assert_eq!(failed, json!({"status": "failed", "error": message}));
    let of_read_only = stats().await;
    assert_eq!((&of_read_only["buffered_rows"], &of_read_only["segments"]), (&json!(2), &json!(1)), "{of_read_only}");
    assert!(admin.is_ready().await, "it is no failure of the store");
    ann.check().await;
    bob.check().await;
    assert!(ann.insert().await, "writes go on");

    permit(&storage, 0o755);
    eventually("it is flushed", LIMIT, async || (stats().await["buffered_rows"] == json!(0)).then_some(())).await;
    ann.check().await;
    bob.check().await;
    server.kill9();
    server.restart().await;
    ann.check().await;
    bob.check().await;
}

#[tokio::test]
async fn a_directory_that_becomes_read_only_refuses_and_goes_on_when_it_is_not() {
    let mut server = BinaryServer::prepare();
    server.change_setting("storage.memory", "16MiB");
    server.drop_privileges();
    server.restart().await;
    let (mut ann, bob) = writers(&server).await;
    let data = server.dir().join("rocksdb");
    // The files that are open can still be written; the next new one cannot be made.
    permit(&data, 0o555);
    ann.until_refused(&server, &bob).await;
    permit(&data, 0o755);
    ann.goes_on(&server).await;
}

#[tokio::test]
async fn a_read_only_directory_is_refused_at_the_start() {
    let mut server = BinaryServer::prepare();
    let data = server.dir().join("rocksdb");
    std::fs::create_dir(&data).expect("a directory");
    server.drop_privileges();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o555)).expect("a new mode");
    let output = server.command().arg("serve").output().expect("the server runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(&data.display().to_string()), "it names the directory: {said}");
    assert_eq!(std::fs::read_dir(&data).expect("it can be read").count(), 0, "nothing was touched");
}
