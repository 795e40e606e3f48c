//! CM-1: numbers grow and never repeat, whatever happens in between.

use std::sync::Arc;

use kalamdb_commons::{ErrorCode, Family, Seq};
use kalamdb_faults::Machine;
use kalamdb_store::codec::meta::SeqBlock;
use kalamdb_store::codec::system;
use kalamdb_store::{Batch, Committer, Durability, SyncMode, Write};
use tempfile::TempDir;

use super::fixture::{Fixture, insert, partition, refused};
use crate::support::{Harness, Memory, RocksDb, copy_directory, get, open_rocksdb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_grow_over_closes_drops_and_crashes() {
    let copies = TempDir::new().unwrap();
    let harness = RocksDb::new();
    let mut backend = harness.open().await;
    let mut given: Vec<Seq> = Vec::new();
    for round in 0..6_i64 {
        let fixture = Fixture::new(Arc::clone(&backend), SyncMode::Sync).await;
        given.extend(fixture.insert(&partition("ann"), round * 100..round * 100 + 30).await);
        given.extend(fixture.insert(&partition("bob"), [round]).await);
        given.extend(fixture.insert(&partition("ann"), [round * 100 + 50]).await);
        drop(fixture);
        match round % 3 {
            0 => {
                // What a killed server leaves goes on in another place. There are too few files by then to be compacted while
                // they are copied.
                let copy = copies.path().join(round.to_string());
                copy_directory(&harness.directory(), &copy);
                drop(backend);
                std::fs::remove_dir_all(harness.directory()).unwrap();
                std::fs::rename(&copy, harness.directory()).unwrap();
                backend = open_rocksdb(&harness.directory()).await.unwrap();
            }
            1 => {
                backend.close().await.unwrap();
                drop(backend);
                backend = harness.open().await;
            }
            _ => {
                drop(backend);
                backend = harness.open().await;
            }
        }
    }
    assert_eq!(given.len(), 6 * 32);
    assert!(given.is_sorted_by(|earlier, later| earlier < later), "{given:?}");
    assert!(given[0] > Seq(0), "0 is the last number of an empty partition");
}

/// No number is used before a power cut could no longer take back its reservation.
#[tokio::test]
async fn blocks_are_synced_before_their_first_number_is_used() {
    let machine = Machine::new(1);
    machine.taken_batches();
    let fixture = Fixture::new(machine.boot().await.unwrap(), SyncMode::Buffered).await;
    let mut reserved = 0;
    let mut blocks = 0;
    for round in 0..8 {
        let rows = (0..30_000).map(|id| insert(round * 100_000 + id, "x")).collect();
        let committed = fixture.commit(&partition("ann"), None, rows).await.unwrap();
        assert!(committed.seqs.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
        for (batch, durability) in machine.taken_batches() {
            match batch.writes() {
                [Write::Put { family: Family::System, key, value }] if *key == system::seq_reserved() => {
                    assert_eq!(durability, Durability::Synced);
                    reserved = SeqBlock::decode(value).unwrap().reserved_until.0;
                    blocks += 1;
                }
                _ => assert!(committed.seqs.last().unwrap().0 < reserved),
            }
        }
    }
    assert!((2..8).contains(&blocks), "{blocks} blocks for 240 000 numbers");
}

#[tokio::test]
async fn a_statement_larger_than_a_block_has_its_numbers_in_a_row() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let seqs = fixture.insert(&partition("ann"), 0..150_000).await;
    assert_eq!(seqs.last().unwrap().0 - seqs[0].0, 149_999);
    let next = fixture.insert(&partition("ann"), [200_000]).await;
    assert!(next[0] > *seqs.last().unwrap());
    let stored = get(&*fixture.backend, Family::System, &system::seq_reserved()).await.unwrap();
    assert!(SeqBlock::decode(&stored).unwrap().reserved_until > next[0]);
}

#[tokio::test]
async fn the_last_number_is_below_two_to_the_53() {
    let backend = Memory::new().open().await;
    let mut batch = Batch::new();
    batch.put(Family::System, system::seq_reserved(), SeqBlock { reserved_until: Seq(Seq::LIMIT - 3) }.encode());
    backend.write(batch, Durability::Synced).await.unwrap();
    let fixture = Fixture::new(Arc::clone(&backend), SyncMode::Buffered).await;
    let ann = partition("ann");
    let too_many = fixture.commit(&ann, None, (0..4).map(|id| insert(id, "x")).collect()).await;
    assert_eq!(refused(too_many), ErrorCode::ResourcesExhausted);
    let last = fixture.insert(&ann, 0..3).await;
    assert_eq!(last, [Seq(Seq::LIMIT - 3), Seq(Seq::LIMIT - 2), Seq(Seq::LIMIT - 1)]);
    assert_eq!(refused(fixture.commit(&ann, None, vec![insert(9, "x")]).await), ErrorCode::ResourcesExhausted);
    assert!(!fixture.committer.is_poisoned());
    // The next start reads the full block.
    Committer::open(backend, SyncMode::Sync).await.unwrap();
}
