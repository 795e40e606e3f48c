//! INSERTs into partitions with segments: what they read, and that no key is ever taken twice.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::{Error, Family};
use kalamdb_store::{Batch, Durability, MemoryBackend, Snapshot, StorageBackend, StoreError, failpoint};
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};

use super::*;

/// Memory that gives no snapshots while it is told so.
#[derive(Debug)]
struct Reluctant {
    memory: MemoryBackend,
    refuses: AtomicBool,
}

#[async_trait]
impl StorageBackend for Reluctant {
    fn name(&self) -> &'static str {
        self.memory.name()
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        if self.refuses.load(Ordering::Acquire) {
            return Err(StoreError::Backend { action: "snapshot", message: "not now".to_owned() });
        }
        self.memory.snapshot().await
    }

    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.memory.get_many(family, keys).await
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.memory.write(batch, durability).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.memory.sync().await
    }

    async fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.memory.size_on_disk().await
    }

    async fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.memory.checkpoint(directory).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.memory.close().await
    }
}

/// A server that can be kept from reading anything but single hot rows.
struct Fixture {
    server: Server,
    backend: Arc<Reluctant>,
    segments: PathBuf,
    hidden: PathBuf,
    _directory: TempDir,
}

impl Fixture {
    /// With a table `t`, keys and nothing else.
    async fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let (segments, hidden) = (directory.path().join("storage"), directory.path().join("hidden"));
        let backend = Arc::new(Reluctant { memory: MemoryBackend::new(), refuses: AtomicBool::new(false) });
        let mut registry = BackendRegistry::empty();
        let opened = Arc::clone(&backend);
        registry.register(MemoryBackend::NAME, move |_| {
            let backend = Arc::clone(&opened) as Arc<dyn StorageBackend>;
            async move { Ok(backend) }
        });
        let location = segments.clone();
        let server = Server::start_on(registry, |settings| settings.storage.default_location = location).await;
        server.run("u", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)", vec![]).await;
        Self { server, backend, segments, hidden, _directory: directory }
    }

    /// Runs this with all segments gone and no snapshot to be had.
    async fn unseeing<T>(&self, work: impl Future<Output = T>) -> T {
        std::fs::rename(&self.segments, &self.hidden).expect("segments are hidden");
        self.backend.refuses.store(true, Ordering::Release);
        let result = work.await;
        self.backend.refuses.store(false, Ordering::Release);
        std::fs::rename(&self.hidden, &self.segments).expect("they are back");
        result
    }

    async fn insert(&self, user: &str, id: i64) -> Result<(), Error> {
        let sql = "INSERT INTO t VALUES ($1)";
        let outcome = self.server.outcome(user, Role::User, sql, vec![json!(id)]).await;
        outcome.error.map_or(Ok(()), |failed| Err(failed.error))
    }

    async fn inserted(&self, id: i64) {
        self.insert("u", id).await.unwrap_or_else(|error| panic!("{id}: {error:?}"));
    }

    async fn is_taken(&self, id: i64) {
        let error = self.insert("u", id).await.expect_err("there is such a row");
        assert_eq!(error.code, ErrorCode::DuplicateKey, "{id}: {error:?}");
    }

    async fn insert_even(&self, ids: std::ops::Range<i64>) {
        let rows: Vec<String> = ids.filter(|id| id % 2 == 0).map(|id| format!("({id})")).collect();
        self.run(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    }

    async fn run(&self, sql: &str) {
        self.server.run("u", sql, vec![]).await;
    }

    async fn count(&self) -> Json {
        self.server.scalar("u", "SELECT count(*) FROM t").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_of_a_key_that_no_segment_can_hold_reads_neither_manifest_nor_file() {
    let fixture = Fixture::start().await;
    fixture.insert_even(0..4000).await;
    fixture.run("FLUSH TABLE t").await;
    let error = fixture.unseeing(fixture.insert("u", 5000)).await.expect_err("nothing is known of the segment yet");
    assert_eq!(error.code, ErrorCode::StorageUnavailable, "{error:?}");
    fixture.inserted(5000).await;
    fixture
        .unseeing(async {
            for id in (5001..5020).chain(-20..0) {
                fixture.inserted(id).await;
            }
            fixture.is_taken(5001).await;
            // Between the first key and the last, and no filter is in memory.
            assert!(fixture.insert("u", 1).await.is_err());
            // Another user's partition has no segment.
            fixture.insert("other", 2).await.expect("a partition of its own");
        })
        .await;
    assert_eq!(fixture.count().await, json!(2000 + 1 + 19 + 20));

    // Whoever had to look has brought the filter into memory; it is wrong about few keys.
    fixture.inserted(1).await;
    let absent: Vec<i64> = (3..403).step_by(2).collect();
    let asked = absent.len();
    let let_in = fixture
        .unseeing(async {
            let mut let_in = 0;
            for id in absent {
                let_in += usize::from(fixture.insert("u", id).await.is_ok());
            }
            for id in [0, 2, 400, 3998] {
                let error = fixture.insert("u", id).await.expect_err("it is there");
                assert_eq!(error.code, ErrorCode::StorageUnavailable, "it has to be looked up: {error:?}");
            }
            let_in
        })
        .await;
    assert!(let_in * 10 > asked * 9, "{let_in} of {asked}");
    for id in [0, 1, 2, 400, 3998, 5000, -1] {
        fixture.is_taken(id).await;
    }
    assert_eq!(fixture.count().await, json!(2040 + 1 + let_in));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_before_a_flush_is_not_believed_after_it() {
    let fixture = Fixture::start().await;
    for id in [10, 20, 30] {
        fixture.inserted(id).await;
        fixture.run("FLUSH TABLE t").await;
        // By what is known this key is in no segment.
        fixture.is_taken(id).await;
    }
    fixture.run("DELETE FROM t WHERE id = 20").await;
    fixture.inserted(20).await;
    fixture.is_taken(20).await;
    fixture.run("DELETE FROM t WHERE id = 20; FLUSH TABLE t").await;
    fixture.inserted(20).await;
    fixture.run("FLUSH TABLE t").await;
    fixture.is_taken(20).await;
    fixture.run("UPDATE t SET id = 40 WHERE id = 20").await;
    fixture.is_taken(40).await;
    fixture.inserted(20).await;
    assert_eq!(fixture.count().await, json!(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_between_the_look_and_the_commit_is_noticed() {
    let fixture = Fixture::start().await;
    fixture.inserted(1).await;
    fixture.run("FLUSH TABLE t").await;
    // It learns of the segment.
    fixture.inserted(10).await;

    let (arrive, mut arrived) = watch::channel(false);
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::clone(&gate);
    fixture.server.runtime.store().committer.set_failpoints(move |place| {
        let (arrive, entered) = (arrive.clone(), Arc::clone(&entered));
        Box::pin(async move {
            if place == failpoint::BEFORE_COMMIT {
                arrive.send_replace(true);
                drop(entered.acquire().await);
            }
        })
    });
    let parsed = |id: i64| {
        let sql = format!("INSERT INTO t VALUES ({id})");
        kalamdb_sql::statements(&sql).next().expect("one").expect("it parses")
    };
    let (taken, free) = (parsed(10), parsed(11));
    let cancel = CancellationToken::new();
    let scope = fixture.server.scope("u", &taken, &cancel);
    let (Statement::Insert(taken), Statement::Insert(free)) = (taken.statement, free.statement) else {
        panic!("INSERTs")
    };
    let params = Params::none();
    let inserts = async {
        arrived.wait_for(|arrived| *arrived).await.expect("the flush has the partition");
        let mut of_taken = Box::pin(dml::run(&scope, Dml::Insert(&taken), None, &params));
        let mut of_free = Box::pin(dml::run(&scope, Dml::Insert(&free), None, &params));
        fixture.backend.refuses.store(true, Ordering::Release);
        let early = (futures::poll!(of_taken.as_mut()), futures::poll!(of_free.as_mut()));
        fixture.backend.refuses.store(false, Ordering::Release);
        // Both have found, without a snapshot, that no segment has their key, and wait for the partition.
        assert!(early.0.is_pending() && early.1.is_pending(), "{early:?}");
        gate.add_permits(100);
        // Together: whoever begins anew needs the partition that is handed to the other.
        tokio::join!(of_taken, of_free)
    };
    let ((of_taken, of_free), ()) = tokio::join!(inserts, fixture.run("FLUSH TABLE t"));
    let error = of_taken.expect_err("the row lies in the new segment");
    assert_eq!(error.code, ErrorCode::DuplicateKey, "{error:?}");
    of_free.expect("nobody has that key");
    assert_eq!(fixture.count().await, json!(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_anew_has_nothing_of_the_one_before() {
    let fixture = Fixture::start().await;
    fixture.insert_even(0..100).await;
    fixture.run("FLUSH TABLE t").await;
    fixture.inserted(200).await;
    fixture.run("DROP TABLE t; CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    // The old table's files went with it.
    std::fs::create_dir_all(&fixture.segments).expect("a directory");
    fixture
        .unseeing(async {
            fixture.inserted(0).await;
            fixture.inserted(200).await;
            fixture.is_taken(0).await;
        })
        .await;
    assert_eq!(fixture.count().await, json!(2));
    fixture.run("FLUSH TABLE t").await;
    fixture.is_taken(200).await;
    fixture.inserted(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_and_flushes_take_no_key_twice() {
    const KEYS: i64 = 120;
    let fixture = Fixture::start().await;
    let writer = async |step: i64| {
        let mut taken = 0;
        for number in 0..KEYS {
            match fixture.insert("u", number * step % KEYS).await {
                Ok(()) => taken += 1,
                Err(error) => assert_eq!(error.code, ErrorCode::DuplicateKey, "{error:?}"),
            }
        }
        taken
    };
    let flushes = async {
        for _ in 0..12 {
            fixture.run("FLUSH TABLE t").await;
        }
    };
    // Each step goes through all keys, in an order of its own.
    let (one, two, three, ()) = tokio::join!(writer(1), writer(7), writer(11), flushes);
    assert_eq!(one + two + three, KEYS, "each key went to one of them");
    assert_eq!(fixture.count().await, json!(KEYS));
    let keys = fixture.server.scalar("u", "SELECT count(DISTINCT id) FROM t").await;
    assert_eq!(keys, json!(KEYS));
}
