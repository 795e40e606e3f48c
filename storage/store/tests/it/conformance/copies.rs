//! Files: size, checkpoint, opening again. A backend without files says so.

use kalamdb_commons::Family;
use kalamdb_store::{Batch, Durability, StoreError};
use tempfile::TempDir;

use crate::support::{Harness, bytes, contents, fill, number_key, open_rocksdb, put, tree};

pub(super) async fn size_is_what_the_files_take<H: Harness>(harness: &H) {
    let backend = harness.open().await;
    let before = backend.size_on_disk().await.unwrap();
    let mut batch = Batch::new();
    batch.put(Family::Rows, "large", bytes(vec![1; 1_000_000]));
    backend.write(batch, Durability::Synced).await.unwrap();
    let after = backend.size_on_disk().await.unwrap();
    if H::KEEPS_DATA {
        assert!(before > 0);
        assert!(after >= before + 1_000_000, "{before} {after}");
    } else {
        assert_eq!((before, after), (0, 0));
    }
}

pub(super) async fn a_checkpoint_opens_as_a_database<H: Harness>(harness: &H) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 1000).await;
    put(&*backend, Family::System, b"meta", b"1").await;
    let parent = TempDir::new().unwrap();
    let copy = parent.path().join("copy");
    let result = backend.checkpoint(&copy).await;
    if !H::KEEPS_DATA {
        assert!(matches!(result, Err(StoreError::Unsupported { .. })));
        assert_eq!(tree(parent.path()).len(), 0);
        return;
    }
    result.unwrap();
    // Later changes of the original are not in it, nor the other way round.
    fill(&*backend, Family::Rows, 2000).await;
    let opened = open_rocksdb(&copy).await.unwrap();
    assert_eq!(contents(&*opened, Family::Rows).await.len(), 1000);
    assert_eq!(contents(&*opened, Family::System).await, [(bytes("meta"), bytes("1"))]);
    put(&*opened, Family::System, b"meta", b"2").await;
    opened.close().await.unwrap();
    assert_eq!(contents(&*backend, Family::System).await, [(bytes("meta"), bytes("1"))]);
    assert_eq!(contents(&*backend, Family::Rows).await.len(), 2000);
}

pub(super) async fn a_checkpoint_replaces_nothing<H: Harness>(harness: &H) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 10).await;
    let taken = TempDir::new().unwrap();
    std::fs::write(taken.path().join("mine"), "precious").unwrap();
    let before = tree(taken.path());
    let error = backend.checkpoint(taken.path()).await.unwrap_err();
    if H::KEEPS_DATA {
        assert!(error.to_string().contains("exists already"), "{error}");
    }
    assert_eq!(tree(taken.path()), before);
    assert_eq!(contents(&*backend, Family::Rows).await.len(), 10);
}

pub(super) async fn closed_data_is_there_again<H: Harness>(harness: &H) {
    for round in 0..3_u32 {
        let backend = harness.open().await;
        let found: Vec<_> = contents(&*backend, Family::Rows).await.into_iter().map(|(key, _)| key).collect();
        let expected = if H::KEEPS_DATA { round } else { 0 };
        assert_eq!(found, (0..expected).map(number_key).collect::<Vec<_>>());
        put(&*backend, Family::Rows, &round.to_be_bytes(), b"").await;
        backend.close().await.unwrap();
    }
}
