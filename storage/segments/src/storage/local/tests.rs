use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use kalamdb_commons::ErrorCode;
use tempfile::TempDir;

use super::*;
use crate::storage::SegmentSink;

fn ranges(only: Range<u64>) -> Vec<Range<u64>> {
    Vec::from([only])
}

fn path(text: &str) -> SegmentPath {
    SegmentPath::parse(text).expect("a path")
}

fn storage() -> (TempDir, LocalStorage) {
    let directory = TempDir::new().expect("a directory");
    let storage = LocalStorage::new(directory.path());
    (directory, storage)
}

/// Opens a file of a group and writes some bytes.
fn begin(group: &dyn SegmentGroup, name: &str, bytes: &[u8]) -> Result<Box<dyn SegmentSink>> {
    let mut sink = group.create(&path(name))?;
    sink.write_all(bytes).map_err(|error| crate::error::sink_error(&error).expect("an error of ours"))?;
    Ok(sink)
}

async fn write(storage: &LocalStorage, files: &[(&str, &[u8])]) -> Result<()> {
    let group = storage.begin_group();
    for (name, bytes) in files {
        begin(group.as_ref(), name, bytes)?.finish()?;
    }
    group.commit().await
}

/// Every file below a directory, by its relative path.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("readable") {
            let entry = entry.expect("an entry").path();
            match entry.is_dir() {
                true => directories.push(entry),
                false => found.push(entry.strip_prefix(root).expect("below").display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn groups_are_written_read_and_deleted() {
    let (directory, storage) = storage();
    let names: Vec<String> = (0..100).map(|number| format!("chat/users/u{number}/messages/x.parquet")).collect();
    let group: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    write(&storage, &group).await.expect("durable");
    assert_eq!(files(directory.path()).len(), 100, "no temporary names");
    for (name, bytes) in &group {
        let path = path(name);
        let read = storage.read(&path, &[0..4, 5..6, 0..bytes.len() as u64]).await.expect("read");
        assert_eq!(read, [&bytes[..4], &bytes[5..6], bytes]);
        let tail = storage.read_tail(&path, 0, 7).await.expect("read");
        assert_eq!((tail.bytes.as_ref(), tail.size), (b"parquet".as_slice(), bytes.len() as u64));
        let tail = storage.read_tail(&path, 0, 1 << 40).await.expect("read");
        assert_eq!(tail.bytes, *bytes);
    }
    let paths: Vec<SegmentPath> = names.iter().map(|name| path(name)).collect();
    storage.delete(&paths).await.expect("deleted");
    assert!(files(directory.path()).is_empty());
    storage.delete(&paths).await.expect("deleting what is gone is a success");
    let error = storage.read(&paths[0], &ranges(0..1)).await.expect_err("gone");
    assert!(matches!(&error, SegmentError::Missing { path } if path == "chat/users/u0/messages/x.parquet"), "{error}");
}

#[tokio::test]
async fn a_crash_leaves_temporary_names_alone() {
    let (directory, storage) = storage();
    let group = storage.begin_group();
    begin(group.as_ref(), "a/x.parquet", b"whole").expect("begun").finish().expect("finished");
    let unfinished = begin(group.as_ref(), "b/y.parquet", b"half").expect("begun");
    drop(unfinished);
    drop(group);
    assert_eq!(files(directory.path()), ["a/x.parquet.tmp", "b/y.parquet.tmp"]);
    for name in ["a/x.parquet", "b/y.parquet"] {
        assert!(matches!(storage.read(&path(name), &ranges(0..1)).await, Err(SegmentError::Missing { .. })));
    }
    // The same names again, as after a restart that tries once more; then the pending list's way.
    write(&storage, &[("a/x.parquet", b"again")]).await.expect("durable");
    assert_eq!(storage.read(&path("a/x.parquet"), &ranges(0..5)).await.expect("read"), [b"again".as_slice()]);
    storage.delete(&[path("a/x.parquet"), path("b/y.parquet")]).await.expect("deleted");
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn an_unfinished_file_fails_its_group_and_leaves_nothing() {
    let (directory, storage) = storage();
    let group = storage.begin_group();
    begin(group.as_ref(), "a/x.parquet", b"whole").expect("begun").finish().expect("finished");
    let unfinished = begin(group.as_ref(), "b/y.parquet", b"half").expect("begun");
    let error = group.commit().await.expect_err("unfinished");
    assert_eq!(error.code(), ErrorCode::Internal);
    drop(unfinished);
    assert!(files(directory.path()).is_empty());
    let group = storage.begin_group();
    begin(group.as_ref(), "a/x.parquet", b"whole").expect("begun").finish().expect("finished");
    group.abort().await;
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn a_missing_location_is_no_missing_file() {
    let (directory, storage) = storage();
    write(&storage, &[("a/x.parquet", b"x")]).await.expect("durable");
    let away = directory.path().with_extension("away");
    fs::rename(directory.path(), &away).expect("moved");
    // Nothing of this storage is open: an open file would still be read.
    let storage = LocalStorage::new(directory.path());
    for error in [
        storage.read(&path("a/x.parquet"), &ranges(0..1)).await.map(drop),
        storage.read_tail(&path("a/x.parquet"), 1, 1).await.map(drop),
        storage.delete(&[path("a/x.parquet")]).await,
        write(&storage, &[("b/y.parquet", b"y")]).await,
    ] {
        let error = error.expect_err("the location is gone");
        assert!(matches!(error, SegmentError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(".parquet") && !error.to_string().contains("/tmp"), "{error}");
    }
    assert!(!fs::exists(directory.path()).expect("known"), "a location is not made anew");
    fs::rename(&away, directory.path()).expect("moved back");
    assert_eq!(storage.read(&path("a/x.parquet"), &ranges(0..1)).await.expect("read"), [b"x".as_slice()]);
    write(&storage, &[("b/y.parquet", b"y")]).await.expect("the fault is gone");
}

#[tokio::test]
async fn a_directory_removed_meanwhile_fails_the_group() {
    let (directory, storage) = storage();
    let group = storage.begin_group();
    begin(group.as_ref(), "a/b/x.parquet", b"x").expect("begun").finish().expect("finished");
    fs::remove_dir_all(directory.path().join("a")).expect("removed");
    let error = group.commit().await.expect_err("removed");
    assert!(matches!(&error, SegmentError::Unavailable { path, .. } if path == "a/b/x.parquet"), "{error}");
    write(&storage, &[("a/b/x.parquet", b"x")]).await.expect("the next one makes it anew");
}

#[tokio::test]
async fn what_stands_in_the_way_is_said() {
    let (directory, storage) = storage();
    fs::write(directory.path().join("a"), b"a file").expect("written");
    let error = write(&storage, &[("a/x.parquet", b"x")]).await.expect_err("a file in the way");
    assert!(matches!(error, SegmentError::Unavailable { .. }), "{error}");
    storage.delete(&[path("a/x.parquet")]).await.expect("nothing is there");
    fs::create_dir_all(directory.path().join("b/x.parquet")).expect("made");
    let error = write(&storage, &[("b/x.parquet", b"x")]).await.expect_err("a directory in the way");
    assert!(matches!(error, SegmentError::Unavailable { .. }), "{error}");
    assert_eq!(files(directory.path()), ["a"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_said() {
    let (directory, storage) = storage();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).expect("read-only");
    // Root writes anywhere, unless the file system itself is read-only: /proc is, in effect.
    let is_root = fs::write(directory.path().join("probe"), b"").is_ok();
    let (storage, held) = if is_root { (LocalStorage::new("/proc/self"), None) } else { (storage, Some(directory)) };
    let error = write(&storage, &[("kalamdb/x.parquet", b"x")]).await.expect_err("read-only");
    assert!(matches!(error, SegmentError::Unavailable { .. }), "{error}");
    assert!(storage.prepare().await.is_err());
    if let Some(directory) = held {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("writable");
        write(&storage, &[("kalamdb/x.parquet", b"x")]).await.expect("the fault is gone");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_forgotten_when_there_is_room() {
    let directory = TempDir::new().expect("a directory");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(directory.path())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        // No right to mount: /dev/full refuses every byte with the same error.
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let error = (&full).write(&[0; 100]).expect_err("full");
        assert!(matches!(SegmentError::io("write", "x", &error), SegmentError::Full { .. }));
        return;
    }
    let storage = LocalStorage::new(directory.path());
    let large = vec![7; 1 << 20];
    let group = storage.begin_group();
    let outcome = begin(group.as_ref(), "a/x.parquet", &large);
    let error = outcome.expect_err("full");
    assert!(matches!(&error, SegmentError::Full { path, .. } if path == "a/x.parquet"), "{error}");
    assert_eq!(error.code(), ErrorCode::StorageUnavailable);
    group.abort().await;
    assert!(files(directory.path()).is_empty(), "room is given back");
    let fitting = write(&storage, &[("a/x.parquet", &large[..100_000])]).await;
    let unmounted = std::process::Command::new("umount").arg(directory.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    fitting.expect("there is room again");
}

#[tokio::test]
async fn a_file_shorter_than_it_should_be_is_damage() {
    let (directory, storage) = storage();
    write(&storage, &[("a/x.parquet", &[1; 1000])]).await.expect("durable");
    for range in [999..1001, 1000..1001, 5000..6000] {
        let error = storage.read(&path("a/x.parquet"), &ranges(range)).await.expect_err("past the end");
        assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
    }
    // Cut while it is open.
    fs::OpenOptions::new()
        .write(true)
        .open(directory.path().join("a/x.parquet"))
        .expect("open")
        .set_len(10)
        .expect("cut");
    let error = storage.read(&path("a/x.parquet"), &ranges(0..11)).await.expect_err("cut");
    assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_location_is_prepared_with_all_its_parents() {
    let directory = TempDir::new().expect("a directory");
    let root = directory.path().join("deep/er/still");
    let storage = LocalStorage::new(&root);
    assert!(write(&storage, &[("x.parquet", b"x")]).await.is_err());
    storage.prepare().await.expect("made");
    storage.prepare().await.expect("there");
    assert!(files(&root).is_empty());
    write(&storage, &[("x.parquet", b"x")]).await.expect("durable");
    assert!(format!("{storage:?}").contains("still"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn groups_do_not_disturb_each_other() {
    let (directory, storage) = storage();
    let storage = Arc::new(storage);
    let mut tasks = tokio::task::JoinSet::new();
    for group in 0..16 {
        let storage = Arc::clone(&storage);
        tasks.spawn(async move {
            let names: Vec<String> = (0..20).map(|user| format!("ns/u{user}/t/{group}.parquet")).collect();
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
            write(&storage, &files).await
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.expect("no panic").expect("durable");
    }
    assert_eq!(files(directory.path()).len(), 320);
}
