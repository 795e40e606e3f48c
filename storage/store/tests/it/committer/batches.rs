//! CM-2: rows, log entry and record of a statement, in one batch.

use kalamdb_commons::{Family, SchemaVersion, Seq, TableId};
use kalamdb_faults::Machine;
use kalamdb_sql::Value;
use kalamdb_store::codec::changelog::ChangeKind;
use kalamdb_store::codec::keys;
use kalamdb_store::{Changes, Committed, Direction, Durability, PartitionId, RowChange, SyncMode, Write};
use proptest::prelude::*;

use super::fixture::{Fixture, NOW, insert, key, partition, values};
use crate::support::{Harness, Memory, RocksDb, scan};

/// The record's sums against what is stored.
async fn assert_totals(fixture: &Fixture, partition: &PartitionId) {
    let record = fixture.record(partition).await;
    let rows = fixture.rows(partition).await;
    assert_eq!(record.hot_rows, rows.iter().filter(|found| !found.header.deleted).count() as u64);
    assert_eq!(record.hot_tombstones, rows.iter().filter(|found| found.header.deleted).count() as u64);
    let snapshot = fixture.backend.snapshot().await.unwrap();
    let user = partition.user.as_ref();
    for (space, expected) in [
        (keys::rows_partition(partition.table, user), record.hot_bytes),
        (keys::log_partition(partition.table, user), record.log_bytes),
    ] {
        let entries = scan(&*snapshot, space.range(), Direction::Forward, 1000).await;
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert_eq!(bytes as u64, expected, "{:?}", space.family);
    }
}

async fn insert_update_delete(harness: &impl Harness) {
    let fixture = Fixture::new(harness.open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let inserted = fixture.commit(&ann, Some(Seq(0)), (1..=3).map(|id| insert(id, "new")).collect()).await.unwrap();
    assert_eq!(inserted.seqs.len(), 3);
    let (one, two) = (fixture.row(&ann, 1).await.unwrap(), fixture.row(&ann, 2).await.unwrap());
    assert_eq!(one.row, values(1, "new"));
    assert_eq!(one.header.seq, inserted.seqs[0]);
    assert_eq!((one.header.updated, one.header.schema_version), (NOW, SchemaVersion::FIRST));
    assert_eq!(fixture.record(&ann).await.last_seq, inserted.seqs[2]);

    let base = Some(inserted.seqs[2]);
    let changed = fixture.commit(&ann, base, vec![one.update(1, "changed"), two.delete()]).await.unwrap();
    let rows = fixture.rows(&ann).await;
    let shown: Vec<_> = rows.iter().map(|found| (found.row.clone(), found.header.seq, found.header.deleted)).collect();
    assert_eq!(
        shown,
        [
            (values(1, "changed"), changed.seqs[0], false),
            (values(2, "new"), changed.seqs[1], true),
            (values(3, "new"), inserted.seqs[2], false),
        ]
    );

    let log = fixture.log(&ann).await;
    assert_eq!(log.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [inserted.seqs[2], changed.seqs[1]]);
    assert_eq!(log[0].1.changes.len(), 3);
    assert!(log[0].1.changes.iter().all(|change| change.kind == ChangeKind::Insert && change.old.is_none()));
    let [update, delete] = &log[1].1.changes[..] else { panic!("two changes: {:?}", log[1]) };
    assert_eq!((update.seq, update.kind, &update.key), (changed.seqs[0], ChangeKind::Update, &key(1)));
    assert_eq!((update.old.as_ref(), update.new.as_ref()), (Some(&one.stored), Some(&rows[0].stored)));
    assert_eq!((delete.seq, delete.kind, &delete.key), (changed.seqs[1], ChangeKind::Delete, &key(2)));
    assert_eq!((delete.old.as_ref(), delete.new.as_ref()), (Some(&two.stored), None));
    assert_eq!((log[1].1.committed_at, log[1].1.schema_version), (NOW, SchemaVersion::FIRST));

    let record = fixture.record(&ann).await;
    assert_eq!((record.last_seq, record.log_begin), (changed.seqs[1], Seq(0)), "the log covers everything");
    assert_totals(&fixture, &ann).await;
    assert_eq!(fixture.rows(&partition("anna")).await, []);
}

#[tokio::test]
async fn insert_update_delete_in_memory() {
    insert_update_delete(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn insert_update_delete_on_rocksdb() {
    insert_update_delete(&RocksDb::new()).await;
}

#[tokio::test]
async fn a_statement_is_one_unsynced_batch() {
    let machine = Machine::new(1);
    let fixture = Fixture::new(machine.boot().await.unwrap(), SyncMode::Sync).await;
    let ann = partition("ann");
    fixture.insert(&ann, [0]).await;
    machine.taken_batches();
    fixture.insert(&ann, [1, 2]).await;
    let batches = machine.taken_batches();
    let [(batch, Durability::Deferred)] = &batches[..] else { panic!("one batch: {batches:?}") };
    let families: Vec<Family> = batch
        .writes()
        .iter()
        .map(|write| match write {
            Write::Put { family, .. } => *family,
            other => panic!("only puts: {other:?}"),
        })
        .collect();
    assert_eq!(families, [Family::Rows, Family::Rows, Family::Log, Family::Manifest]);
}

#[tokio::test]
async fn nothing_to_change_writes_nothing() {
    let machine = Machine::new(1);
    let fixture = Fixture::new(machine.boot().await.unwrap(), SyncMode::Sync).await;
    machine.taken_batches();
    let committed = fixture.commit(&partition("ann"), Some(Seq(0)), Vec::new()).await.unwrap();
    assert!(matches!(committed, Committed { acknowledgement: None, ref seqs } if seqs.is_empty()));
    assert_eq!(machine.taken_batches().len(), 0);
}

#[tokio::test]
async fn shared_tables_have_no_log() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let shared = PartitionId { table: TableId(9), user: None };
    let changes = Changes { log: false, ..fixture.changes(None, vec![insert(1, "x")]) };
    let committed = fixture.committer.begin(shared.clone()).await.commit(changes).await.unwrap();
    assert_eq!(fixture.rows(&shared).await.len(), 1);
    assert_eq!(fixture.log(&shared).await.len(), 0);
    let record = fixture.record(&shared).await;
    assert_eq!((record.last_seq, record.hot_rows, record.log_bytes), (committed.seqs[0], 1, 0));
}

#[tokio::test]
async fn rows_without_a_key_are_numbered() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let row = |name: &str| RowChange::Insert { key: None, row: values(1, name) };
    let committed = fixture.commit(&ann, None, vec![row("a"), row("a")]).await.unwrap();
    let rows = fixture.rows(&ann).await;
    let numbers: Vec<u64> = rows.iter().map(|found| keys::decode_row_number(&found.key).unwrap()).collect();
    assert_eq!(numbers, committed.seqs.iter().map(|seq| seq.0).collect::<Vec<_>>());
    let log = fixture.log(&ann).await;
    assert_eq!(log[0].1.changes[1].key, rows[1].key);
    assert_totals(&fixture, &ann).await;
}

#[tokio::test]
async fn a_row_under_another_key_leaves_a_tombstone() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    fixture.insert(&ann, [1]).await;
    let one = fixture.row(&ann, 1).await.unwrap();
    let moved = fixture.commit(&ann, None, vec![one.update(5, "moved")]).await.unwrap();
    let rows = fixture.rows(&ann).await;
    let shown: Vec<_> = rows.iter().map(|found| (found.row.clone(), found.header.seq, found.header.deleted)).collect();
    assert_eq!(shown, [(values(1, "new"), moved.seqs[0], true), (values(5, "moved"), moved.seqs[0], false)]);
    let log = fixture.log(&ann).await;
    let [change] = &log[1].1.changes[..] else { panic!("one change: {log:?}") };
    assert_eq!((change.kind, &change.key, change.old.as_ref()), (ChangeKind::Update, &key(5), Some(&one.stored)));
    assert_totals(&fixture, &ann).await;
    // The place is free again.
    fixture.insert(&ann, [1]).await;
    assert_totals(&fixture, &ann).await;
}

/// Duplicates are looked for after the whole statement.
#[tokio::test]
async fn keys_may_be_exchanged_and_passed_on() {
    let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
    let ann = partition("ann");
    let names = [insert(1, "one"), insert(2, "two"), insert(3, "three"), insert(4, "four")];
    fixture.commit(&ann, None, names.to_vec()).await.unwrap();
    let rows = fixture.rows(&ann).await;
    let exchange =
        vec![rows[0].update(2, "one"), rows[1].update(1, "two"), rows[2].update(4, "three"), rows[3].update(5, "four")];
    fixture.commit(&ann, None, exchange).await.unwrap();
    let live: Vec<Vec<Value>> =
        fixture.rows(&ann).await.into_iter().filter(|found| !found.header.deleted).map(|found| found.row).collect();
    assert_eq!(live, [values(1, "two"), values(2, "one"), values(4, "three"), values(5, "four")]);
    assert_totals(&fixture, &ann).await;
}

/// A key that a deleted row leaves may be taken in the same statement; the row is there, not the tombstone.
#[tokio::test]
async fn a_deleted_rows_key_can_be_taken_at_once() {
    for order in [false, true] {
        let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
        let ann = partition("ann");
        fixture.insert(&ann, [1]).await;
        let mut rows = vec![fixture.row(&ann, 1).await.unwrap().delete(), insert(1, "again")];
        if order {
            rows.reverse();
        }
        fixture.commit(&ann, None, rows).await.unwrap();
        assert_eq!(fixture.row(&ann, 1).await.unwrap().row, values(1, "again"));
        assert_eq!(fixture.log(&ann).await[1].1.changes.len(), 2);
        assert_totals(&fixture, &ann).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any order of inserts, updates, moves and deletes keeps the sums right.
    #[test]
    fn totals_are_those_of_what_is_stored(steps in proptest::collection::vec((0..4_u8, 0..6_i64, 0..6_i64), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(Memory::new().open().await, SyncMode::Buffered).await;
            let ann = partition("ann");
            for (step, id, to) in steps {
                let found = fixture.row(&ann, id).await;
                let name = "n".repeat(usize::try_from(to).unwrap());
                let change = match (step, found) {
                    (0, Some(found)) => found.delete(),
                    (1, Some(found)) => found.update(id, &name),
                    (_, Some(found)) => found.update(to, &name),
                    (_, None) => insert(id, &name),
                };
                // A move to a key that is taken is refused, and changes nothing.
                let _ = fixture.commit(&ann, None, vec![change]).await;
                assert_totals(&fixture, &ann).await;
            }
            let last = fixture.record(&ann).await.last_seq;
            assert_eq!(fixture.log(&ann).await.last().map(|(seq, _)| *seq), Some(last));
        });
    }
}
