//! Random batches and scans against a sorted map.

use std::collections::BTreeMap;

use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{Batch, Direction, Durability, KeyRange, Snapshot, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use crate::support::{Harness, all, scan};

type Model = BTreeMap<Bytes, Bytes>;

/// Short keys of few letters, so that they meet; the letters are where orders go wrong.
fn key() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![Just(0x00), Just(0x01), Just(b'a'), Just(0x80), Just(0xfe), Just(0xff)], 0..4).prop_map(Bytes::from)
}

fn range() -> impl Strategy<Value = KeyRange> {
    (key(), proptest::option::of(key())).prop_map(|(start, end)| KeyRange { family: Family::Rows, start, end })
}

fn write() -> impl Strategy<Value = Write> {
    let family = Family::Rows;
    prop_oneof![
        6 => (key(), vec(any::<u8>(), 0..4))
            .prop_map(move |(key, value)| Write::Put { family, key, value: value.into() }),
        2 => key().prop_map(move |key| Write::Delete { family, key }),
        1 => range().prop_map(Write::DeleteRange),
    ]
}

fn contains(range: &KeyRange, key: &Bytes) -> bool {
    *key >= range.start && range.end.as_ref().is_none_or(|end| key < end)
}

fn apply(model: &mut Model, batch: &mut Batch, write: Write) {
    match write {
        Write::Put { family, key, value } => {
            model.insert(key.clone(), value.clone());
            batch.put(family, key, value);
        }
        Write::Delete { family, key } => {
            model.remove(&key);
            batch.delete(family, key);
        }
        Write::DeleteRange(range) => {
            model.retain(|key, _| !contains(&range, key));
            batch.delete_range(range);
        }
    }
}

async fn check(snapshot: &dyn Snapshot, model: &Model, range: &KeyRange, limit: usize) {
    let mut expected: Vec<(Bytes, Bytes)> =
        model.iter().filter(|(key, _)| contains(range, key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(scan(snapshot, range.clone(), Direction::Forward, limit).await, expected);
    expected.reverse();
    assert_eq!(scan(snapshot, range.clone(), Direction::Backward, limit).await, expected);
}

pub(super) async fn scans_agree_with_a_sorted_map(harness: &impl Harness) {
    let backend = harness.open().await;
    let cases = (vec(vec(write(), 0..20), 1..4), vec((range(), 1..10_usize), 1..6));
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let run = |(batches, scans): (Vec<Vec<Write>>, Vec<(KeyRange, usize)>)| {
        Handle::current().block_on(async {
            let mut clear = Batch::new();
            clear.delete_range(all(Family::Rows));
            backend.write(clear, Durability::Logged).await.unwrap();
            let mut model = Model::new();
            let mut earlier = Vec::new();
            for writes in batches {
                let mut batch = Batch::new();
                writes.into_iter().for_each(|write| apply(&mut model, &mut batch, write));
                backend.write(batch, Durability::Logged).await.unwrap();
                earlier.push((backend.snapshot().await.unwrap(), model.clone()));
            }
            // Every instant is still what it was, after all that came later.
            for (snapshot, model) in &earlier {
                check(&**snapshot, model, &all(Family::Rows), 5).await;
                for (range, limit) in &scans {
                    check(&**snapshot, model, range, *limit).await;
                }
            }
        });
        Ok(())
    };
    tokio::task::block_in_place(|| TestRunner::new(config).run(&cases, run)).unwrap();
}
