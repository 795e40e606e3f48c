use std::fs;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::storage::{LocalStorage, ObjectStorage, ObjectStorageArgs};

const BOUNDARY: u128 = 0x0199_c82c_c000_0123_4567_89ab_cdef_0123;

fn in_bucket(store: Arc<dyn ObjectStore>) -> ObjectStorage {
    let args = ObjectStorageArgs {
        store,
        prefix: "kalam/db".to_owned(),
        timeout: Duration::from_secs(10),
        secrets: Vec::new(),
    };
    ObjectStorage::new(args).expect("a storage")
}

#[test]
fn the_bytes_are_these() {
    assert_eq!(encode(BOUNDARY), "format = 1\nbelow = \"01K742SG0004HMASW9NF6YY093\"\n");
    assert_eq!(decode(&encode(BOUNDARY)).expect("read"), BOUNDARY);
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture/formats.md"));
    let shown = std::str::from_utf8(&encode(BOUNDARY)).expect("text").to_owned();
    assert!(page.contains(&format!("```toml\n{shown}```")), "the page of formats shows another note");
    assert!(page.contains(NOTE));
}

#[test]
fn anything_else_is_an_error() {
    for other in [
        "",
        "format = 2\nbelow = \"01K742SG0004HMASW9NF6YY093\"\n",
        "format = 1\nbelow = \"01k742sg0004hmasw9nf6yy093\"\n",
        "format = 1\nbelow = \"01K742SG0004HMASW9NF6YY09\"\n",
        "format = 1\nbelow = \"01K742SG0004HMASW9NF6YY093\"",
        "format = 1\nbelow = \"01K742SG0004HMASW9NF6YY093\"\nmore = 1\n",
        "\0\0",
    ] {
        let error = decode(other.as_bytes()).expect_err(other);
        assert!(error.to_string().contains(NOTE), "{error}");
    }
    assert!(decode(&[0xff; 8]).is_err());
}

proptest! {
    #[test]
    fn every_boundary_is_read_as_it_was_written(below: u128) {
        prop_assert_eq!(decode(&encode(below)).expect("read"), below);
    }

    #[test]
    fn nothing_but_a_note_is_taken_for_one(content in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(decode(&content).is_err());
    }
}

#[tokio::test]
async fn the_greatest_boundary_holds_in_every_kind_of_storage() {
    let directory = TempDir::new().expect("a directory");
    let storages: [Box<dyn SegmentStorage>; 2] =
        [Box::new(LocalStorage::new(directory.path())), Box::new(in_bucket(Arc::new(InMemory::new())))];
    for storage in storages {
        assert_eq!(keep_below(&*storage).await.expect("none"), 0);
        assert_eq!(raise(&*storage, 5).await.expect("written"), 5);
        assert_eq!(keep_below(&*storage).await.expect("read"), 5);
        assert_eq!(raise(&*storage, 3).await.expect("it has a greater one"), 5);
        assert_eq!(keep_below(&*storage).await.expect("read"), 5);
        raise(&*storage, BOUNDARY).await.expect("written");
        assert_eq!(keep_below(&*storage).await.expect("read"), BOUNDARY);
    }
    let names: Vec<_> =
        fs::read_dir(directory.path()).expect("readable").map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [NOTE], "no temporary name is left");
}

#[tokio::test]
async fn what_cannot_be_read_is_no_absence() {
    let directory = TempDir::new().expect("a directory");
    let root = directory.path().join("storage");
    let storage = LocalStorage::new(&root);
    // A location that is gone, or not mounted.
    assert!(matches!(keep_below(&storage).await, Err(SegmentError::Unavailable { .. })));
    assert!(matches!(raise(&storage, 5).await, Err(SegmentError::Unavailable { .. })));
    assert!(!fs::exists(&root).expect("known"), "it is not made");
    fs::create_dir_all(root.join(NOTE)).expect("a directory in the way");
    assert!(matches!(keep_below(&storage).await, Err(SegmentError::Unavailable { .. })));
    assert!(raise(&storage, 5).await.is_err());
    fs::remove_dir(root.join(NOTE)).expect("removed");
    fs::write(root.join(NOTE), vec![b'x'; 1 << 20]).expect("written");
    assert!(matches!(keep_below(&storage).await, Err(SegmentError::Damaged { .. })));
    assert!(raise(&storage, 5).await.is_err(), "what is not understood is not replaced");

    let store = Arc::new(InMemory::new());
    let storage = in_bucket(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let object = object_store::path::Path::parse(format!("kalam/db/{NOTE}")).expect("a path");
    store.put(&object, vec![b'x'; 1 << 20].into()).await.expect("written");
    assert!(matches!(keep_below(&storage).await, Err(SegmentError::Damaged { .. })));
    store.put(&object, encode(BOUNDARY).into()).await.expect("written");
    assert_eq!(keep_below(&storage).await.expect("read"), BOUNDARY);
}
