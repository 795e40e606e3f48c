use std::fs;
use std::path::Path;

use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Family, TableId};
use kalamdb_segments::shared;
use kalamdb_store::codec::files::{GarbageEntry, PendingFiles};
use kalamdb_store::codec::meta::SharedBelow;
use kalamdb_store::codec::system;
use kalamdb_store::{BackendRegistry, Durability, MemoryBackend, StorageBackend, files};
use tempfile::TempDir;
use ulid::Ulid;

use super::*;
use crate::segments::LOCAL_STORAGE;

/// A server over a memory backend and a directory.
struct World {
    runtime: Arc<Runtime>,
    _directory: TempDir,
}

/// A segment's file by the number of its id.
fn name(number: u128) -> String {
    format!("{}.parquet", Ulid(number))
}

impl World {
    async fn new() -> Self {
        Self::over(MemoryBackend::new()).await
    }

    async fn over(backend: MemoryBackend) -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut settings = Settings::default();
        settings.storage.backend = "memory".to_owned();
        settings.storage.default_location = directory.path().join("storage");
        let backend = Arc::new(backend);
        let mut backends = BackendRegistry::empty();
        backends.register("memory", move |_| {
            let backend = Arc::clone(&backend) as Arc<dyn StorageBackend>;
            async move { Ok(backend) }
        });
        let runtime = Runtime::open(Arc::new(settings), backends).await.expect("it opens");
        fs::create_dir(directory.path().join("storage")).expect("made");
        Self { runtime: Arc::new(runtime), _directory: directory }
    }

    fn root(&self) -> &Path {
        self.runtime.segments().local_root()
    }

    fn stored(number: u128) -> StoredFile {
        StoredFile { storage: LOCAL_STORAGE.to_owned(), path: name(number) }
    }

    /// Files with these numbers, as garbage and as pending ones of a flush that is gone.
    async fn list(&self, garbage: impl IntoIterator<Item = u128>, pending: impl IntoIterator<Item = u128>) {
        let mut batch = Batch::new();
        for number in garbage {
            let entry = GarbageEntry { file: Self::stored(number), bytes: 1, retired_at: 0 };
            batch.put(Family::System, system::garbage(1, number), entry.encode());
        }
        for number in pending {
            let record = PendingFiles { lease_generation: 1, files: vec![Self::stored(number)] };
            let key = system::pending_files(TableId(7), 1, u32::try_from(number).expect("a small number"));
            batch.put(Family::System, key, record.encode());
        }
        self.runtime.store().backend.write(batch, Durability::Synced).await.expect("written");
    }

    fn make(&self, numbers: impl IntoIterator<Item = u128>) {
        for number in numbers {
            fs::write(self.root().join(name(number)), b"x").expect("written");
        }
    }

    /// What no deletion of a file gets rid of, also as root.
    fn obstruct(&self, numbers: impl IntoIterator<Item = u128>) {
        for number in numbers {
            fs::create_dir(self.root().join(name(number))).expect("made");
        }
    }

    fn is_there(&self, number: u128) -> bool {
        fs::exists(self.root().join(name(number))).expect("known")
    }

    async fn listed(&self) -> (usize, usize) {
        let snapshot = self.runtime.store().backend.snapshot().await.expect("a snapshot");
        let pending = files::pending(snapshot.as_ref()).await.expect("read").len();
        (files::garbage(snapshot.as_ref(), None, usize::MAX).await.expect("read").len(), pending)
    }
}

/// As many as are looked at in one go stood at the front for ever.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_deleted_keep_no_later_ones() {
    let world = World::new().await;
    world.list(1..=10, 21..=30).await;
    world.obstruct((1..=6).chain(21..=26));
    world.make((7..=10).chain(27..=30));
    let mut sweeper = Sweeper::new(3);
    for _ in 0..4 {
        sweeper.sweep(&world.runtime).await.expect("swept");
    }
    assert!((7..=10).chain(27..=30).all(|number| !world.is_there(number)));
    assert_eq!(world.listed().await, (6, 6));
    // They are taken up again when the rest has been seen.
    for number in (1..=6).chain(21..=26) {
        fs::remove_dir(world.root().join(name(number))).expect("removed");
    }
    for _ in 0..4 {
        sweeper.sweep(&world.runtime).await.expect("swept");
    }
    assert_eq!(world.listed().await, (0, 0));
}

/// FL-8: the other server started from a copy of this one's data directory.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_may_read_is_forgotten_and_stays() {
    let world = World::new().await;
    world.list(1..=6, 21..=23).await;
    world.make((1..=6).chain(21..=23));
    let storage = world.runtime.segments().storage(LOCAL_STORAGE).expect("there");
    shared::raise(storage.as_ref(), 4).await.expect("left");
    Sweeper::default().sweep(&world.runtime).await.expect("swept");
    assert!((1..4).all(|number| world.is_there(number)), "older ones stay");
    assert!((4..=6).chain(21..=23).all(|number| !world.is_there(number)), "others go");
    assert_eq!(world.listed().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_while_nobody_knows_who_shares_it() {
    let world = World::new().await;
    world.list(1..=3, 21..=23).await;
    world.make((1..=3).chain(21..=23));
    let note = world.root().join(shared::NOTE);
    fs::write(&note, "format = 2\n").expect("written");
    let mut sweeper = Sweeper::default();
    sweeper.sweep(&world.runtime).await.expect("swept");
    assert!((1..=3).chain(21..=23).all(|number| world.is_there(number)));
    assert_eq!(world.listed().await, (3, 3));
    fs::remove_file(&note).expect("removed");
    sweeper.sweep(&world.runtime).await.expect("swept");
    assert!((1..=3).chain(21..=23).all(|number| !world.is_there(number)));
    assert_eq!(world.listed().await, (0, 0));
}

/// A backend whose data was copied: its boundary, and a segment from before.
async fn copied(below: u128) -> MemoryBackend {
    let backend = MemoryBackend::new();
    let mut batch = Batch::new();
    batch.put(Family::System, system::shared_below(), SharedBelow(below).encode());
    let entry = kalamdb_store::codec::manifest::ManifestEntry {
        segment_id: 1,
        storage: LOCAL_STORAGE.to_owned(),
        path: name(1),
        shard: String::new(),
        rows: 1,
        bytes: 1,
        schema_version: kalamdb_commons::SchemaVersion::FIRST,
        min_seq: kalamdb_commons::Seq(1),
        max_seq: kalamdb_commons::Seq(1),
        min_key: vec![1],
        max_key: vec![1],
        deleted_rows: 0,
        created_at: 0,
        level: 0,
    };
    let key = kalamdb_store::codec::keys::manifest_entry_key(TableId(7), None, 1);
    batch.put(Family::Manifest, key, entry.encode());
    backend.write(batch, Durability::Synced).await.expect("written");
    backend
}

/// The storage was not there when the copy started: it says so later, and deletes nothing before.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_leaves_its_boundary_before_it_deletes_anything() {
    let world = World::over(copied(25).await).await;
    let note = world.root().join(shared::NOTE);
    assert!(!fs::exists(&note).expect("known"), "the start goes on without it");
    world.list([2], [21, 26]).await;
    world.make([2, 21, 26]);
    // Something is in the way still.
    fs::create_dir(&note).expect("made");
    let mut sweeper = Sweeper::default();
    sweeper.sweep(&world.runtime).await.expect("swept");
    assert!([2, 21, 26].iter().all(|number| world.is_there(*number)));
    assert_eq!(world.listed().await, (1, 2));
    fs::remove_dir(&note).expect("removed");
    sweeper.sweep(&world.runtime).await.expect("swept");
    let storage = world.runtime.segments().storage(LOCAL_STORAGE).expect("there");
    assert_eq!(shared::keep_below(storage.as_ref()).await.expect("read"), 25);
    assert!(world.is_there(2) && world.is_there(21) && !world.is_there(26), "only what is its own goes");
    assert_eq!(world.listed().await, (0, 0));
    // Somebody took it away: it is left anew before the next deletion.
    fs::remove_file(&note).expect("removed");
    world.list([27], []).await;
    sweeper.sweep(&world.runtime).await.expect("swept");
    assert_eq!(shared::keep_below(storage.as_ref()).await.expect("read"), 25);
}

/// Also where there is nothing to be deleted: others are to know.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_leaves_its_boundary_as_soon_as_it_can() {
    let world = World::over(copied(25).await).await;
    Sweeper::default().sweep(&world.runtime).await.expect("swept");
    assert!(fs::exists(world.root().join(shared::NOTE)).expect("known"));
}
