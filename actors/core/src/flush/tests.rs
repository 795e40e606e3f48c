use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Identity, NamespaceId, QualifiedTableName, Role, TableName, UserId};
use kalamdb_segments::{SegmentError, SegmentGroup, SegmentSink};
use kalamdb_store::BackendRegistry;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::SqlRequest;
use crate::tree::{Tree, TreeArgs};

/// What a group of files went through.
type Journal = Arc<Mutex<Vec<&'static str>>>;

/// The first file that is begun is held in the middle; the second fails then.
#[derive(Debug)]
struct Files {
    journal: Journal,
    held: Mutex<Option<Receiver<()>>>,
}

#[derive(Debug)]
struct Held {
    journal: Journal,
    held: Receiver<()>,
    was_held: bool,
}

#[async_trait]
impl SegmentGroup for Files {
    fn create(&self, path: &SegmentPath) -> kalamdb_segments::Result<Box<dyn SegmentSink>> {
        if let Some(held) = self.held.lock().take() {
            self.journal.lock().push("one is begun");
            return Ok(Box::new(Held { journal: Arc::clone(&self.journal), held, was_held: false }));
        }
        self.journal.lock().push("another has failed");
        let message = "of the test".to_owned();
        Err(SegmentError::Unavailable { action: "create", path: path.to_string(), message })
    }

    async fn commit(self: Box<Self>) -> kalamdb_segments::Result<()> {
        self.journal.lock().push("committed");
        Ok(())
    }

    async fn abort(self: Box<Self>) {
        self.journal.lock().push("aborted");
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.was_held, true) {
            // A sender that is gone lets it go on, too.
            let _ = self.held.recv();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentSink for Held {
    fn finish(self: Box<Self>) -> kalamdb_segments::Result<()> {
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.journal.lock().push("its writer has ended");
    }
}

/// A server with rows of two users.
async fn server() -> (Arc<Runtime>, Tree, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let mut settings = Settings::default();
    settings.storage.backend = "memory".to_owned();
    settings.flush.default_rows = u64::MAX;
    settings.storage.default_location = dir.path().join("storage");
    let runtime = Runtime::open(Arc::new(settings), BackendRegistry::standard()).await.expect("it opens");
    let runtime = Arc::new(runtime);
    let tree = Tree::start(TreeArgs::new(Arc::clone(&runtime))).await.expect("it starts");
    for (user, sql) in [
        ("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)"),
        ("bob", "INSERT INTO t VALUES (1)"),
    ] {
        execute(&tree, user, sql).await;
    }
    (runtime, tree, dir)
}

/// The last statement's rows, as JSON.
async fn execute(tree: &Tree, user: &str, sql: &str) -> String {
    let request = SqlRequest {
        identity: Identity { user_id: UserId::new(user).expect("a user"), role: Role::Dba },
        header_user: Ok(None),
        sql: sql.to_owned(),
        params: Arc::default(),
        namespace: NamespaceId::default_namespace(),
        request_id: "test".to_owned(),
    };
    let outcome = tree.execute(request, None).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome.results.last().map(|result| result.rows.as_str().to_owned()).unwrap_or_default()
}

/// A flush that failed let its lease go while a file of its group was still being written: the sweep could delete that
/// file before its last bytes came.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_fails_ends_after_its_last_writer() {
    let (runtime, _tree, _dir) = server().await;
    let store = runtime.store();
    let name =
        QualifiedTableName { namespace: NamespaceId::default_namespace(), table: TableName::new("t").expect("a name") };
    let entry = Arc::clone(runtime.catalog().table(&name).expect("there"));
    let lease = store.committer.raise_lease(entry.id(), 1).await.expect("raised");
    let partitions =
        ["ann", "bob"].map(|user| PartitionId { table: entry.id(), user: Some(UserId::new(user).expect("a user")) });
    let readers = store.committer.begin_flush(&lease, partitions.to_vec()).await.expect("begun");
    let to = runtime.segments().destination(&entry).expect("there");
    let planned: Vec<Planned> = readers.into_iter().map(|rows| plan(&entry, &to, rows, 1).expect("planned")).collect();
    let stored = planned.iter().map(|file| StoredFile { storage: to.storage.clone(), path: file.path.to_string() });
    let pending = store.committer.record_pending(&lease, stored.collect()).await.expect("recorded");

    let journal = Journal::default();
    let (release, held): (Sender<()>, _) = channel();
    let group = Files { journal: Arc::clone(&journal), held: Mutex::new(Some(held)) };
    let files = OpenFiles::new(Box::new(group), &lease, None);
    drop(lease);
    let writer = runtime.store();
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move {
        write_files(&writer, &entry, files, usize::MAX, 2, planned.into_iter().zip(pending)).await.map(drop)
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while !journal.lock().contains(&"another has failed") {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "{:?}", journal.lock());
    }
    // Long enough for an answer that does not wait.
    for _ in 0..20 {
        ticks.tick().await;
        assert!(writing.try_join_next().is_none(), "it has ended before its last writer: {:?}", journal.lock());
        assert_eq!(store.committer.unowned_pending().await.expect("read"), [], "its files are its own");
    }
    drop(release);
    let error = writing.join_next().await.expect("a task").expect("no panic").expect_err("it failed");
    assert!(error.to_string().contains("of the test") || error.detail.is_some_and(|it| it.contains("of the test")));
    assert_eq!(*journal.lock(), ["one is begun", "another has failed", "its writer has ended", "aborted"]);
    assert_eq!(store.committer.unowned_pending().await.expect("read").len(), 2);
}

/// What a flush keeps in memory does not depend on how large a partition is.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_partition_goes_into_several_files() {
    let (runtime, tree, _dir) = server().await;
    let rows = 3 * i64::from(u16::MAX);
    execute(&tree, "ann", &format!("INSERT INTO t SELECT unnest(range(2, {}))", rows + 2)).await;
    execute(&tree, "ann", "DELETE FROM t WHERE id % 1000 = 1").await;
    let store = runtime.store();
    let name =
        QualifiedTableName { namespace: NamespaceId::default_namespace(), table: TableName::new("t").expect("a name") };
    let table = runtime.catalog().table(&name).expect("there").id();
    let lease = store.committer.raise_lease(table, 1).await.expect("raised");
    let of = |user: &str| PartitionId { table, user: Some(UserId::new(user).expect("a user")) };
    let mut group = vec![(of("ann"), rows.unsigned_abs()), (of("bob"), 1)];
    let (mut flushed, mut rounds) = (Flushed::default(), 0);
    while !group.is_empty() {
        group = flush_round(&runtime, &store, &lease, group, 1 << 20, &mut flushed).await.expect("flushed");
        rounds += 1;
        let left: Vec<_> = group.iter().map(|(partition, _)| partition).collect();
        assert!(left.is_empty() || left == [&of("ann")], "{left:?}");
    }
    assert!(rounds > 3 && rounds < 20, "{rounds} rounds");
    assert_eq!(flushed.segments, rounds + 1, "one more for bob");
    let totals = store.committer.totals(table);
    assert_eq!((totals.buffered_rows, totals.segments), (0, rounds + 1));
    let sum = "SELECT count(*) AS n, sum(id) AS total, count(DISTINCT id) AS keys FROM t";
    let kept = (1..rows + 2).filter(|id| id % 1000 != 1);
    let (count, total) = (kept.clone().count(), kept.sum::<i64>());
    let answer = execute(&tree, "ann", sum).await;
    assert_eq!(answer, format!("[{{\"n\":{count},\"total\":{total},\"keys\":{count}}}]"));
}
