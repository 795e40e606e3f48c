//! Ordered reading.

use bytes::Bytes;
use kalamdb_commons::Family;
use kalamdb_store::{Batch, Direction, Durability, KeyRange, Partition, ScanRequest, prefix_end};

use crate::support::{Harness, all, between, bytes, fill, number_key, put, scan};

pub(super) async fn both_ways_in_order(harness: &impl Harness) {
    let backend = harness.open().await;
    // Bytes are compared as numbers without sign, and a key comes before its continuations.
    let keys: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"\x7f", b"\xff\xff"];
    for key in keys.iter().rev() {
        put(&*backend, Family::Rows, key, key).await;
    }
    let snapshot = backend.snapshot().await.unwrap();
    let expected: Vec<(Bytes, Bytes)> = keys.iter().map(|key| (bytes(key), bytes(key))).collect();
    assert_eq!(scan(&*snapshot, all(Family::Rows), Direction::Forward, 100).await, expected);
    let reversed: Vec<(Bytes, Bytes)> = expected.into_iter().rev().collect();
    assert_eq!(scan(&*snapshot, all(Family::Rows), Direction::Backward, 100).await, reversed);
}

pub(super) async fn limits_split_a_scan_and_rests_resume_it(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 50).await;
    let snapshot = backend.snapshot().await.unwrap();
    let range = between(Family::Rows, 10_u32.to_be_bytes(), 40_u32.to_be_bytes());
    for limit in [1, 7, 15, 29, 30, 31] {
        for direction in [Direction::Forward, Direction::Backward] {
            let found = scan(&*snapshot, range.clone(), direction, limit).await;
            let mut expected: Vec<Bytes> = (10..40).map(number_key).collect();
            if direction == Direction::Backward {
                expected.reverse();
            }
            assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected, "{limit} {direction:?}");
        }
    }
    // Exactly as many as there are: there is no rest to be asked for.
    let request = ScanRequest { range, direction: Direction::Forward, limit: 30, max_bytes: usize::MAX };
    assert_eq!(snapshot.scan(request).await.unwrap().rest, None);
}

pub(super) async fn bytes_bound_a_chunk(harness: &impl Harness) {
    let backend = harness.open().await;
    let mut batch = Batch::new();
    for number in 0..10 {
        batch.put(Family::Rows, number_key(number), bytes(vec![0; 1000]));
    }
    backend.write(batch, Durability::Logged).await.unwrap();
    let snapshot = backend.snapshot().await.unwrap();
    for (max_bytes, entries) in [(0, 1), (1, 1), (1004, 1), (1005, 2), (5000, 5), (usize::MAX, 10)] {
        for direction in [Direction::Forward, Direction::Backward] {
            let request = ScanRequest { range: all(Family::Rows), direction, limit: 100, max_bytes };
            let chunk = snapshot.scan(request).await.unwrap();
            assert_eq!(chunk.entries.len(), entries, "{max_bytes} {direction:?}");
            assert_eq!(chunk.rest.is_none(), entries == 10);
        }
    }
}

pub(super) async fn partitions_end_at_their_prefix(harness: &impl Harness) {
    assert_eq!(prefix_end(b"a\xff\xff"), Some(bytes("b")));
    assert_eq!(prefix_end(b"\xff\xff"), None);
    assert_eq!(prefix_end(b""), None);
    let backend = harness.open().await;
    let prefixes: [&[u8]; 6] = [b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"];
    for prefix in prefixes {
        for suffix in [b"".as_slice(), b"\0", b"m", b"\xff\xff\xff"] {
            put(&*backend, Family::Rows, &[prefix, suffix].concat(), b"").await;
        }
    }
    let snapshot = backend.snapshot().await.unwrap();
    let everything = scan(&*snapshot, all(Family::Rows), Direction::Forward, 100).await;
    for prefix in prefixes {
        let partition = Partition { family: Family::Rows, prefix: bytes(prefix) };
        let mut expected: Vec<_> = everything.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect();
        assert!(expected.len() >= 4);
        assert_eq!(scan(&*snapshot, partition.range(), Direction::Forward, 3).await, expected);
        expected.reverse();
        assert_eq!(scan(&*snapshot, partition.range(), Direction::Backward, 3).await, expected);
    }
    let mut batch = Batch::new();
    batch.delete_range(KeyRange::prefix(Family::Rows, b"a\xff"));
    backend.write(batch, Durability::Logged).await.unwrap();
    let snapshot = backend.snapshot().await.unwrap();
    let expected: Vec<_> = everything.into_iter().filter(|(key, _)| !key.starts_with(b"a\xff")).collect();
    assert_eq!(scan(&*snapshot, all(Family::Rows), Direction::Forward, 100).await, expected);
}

pub(super) async fn ranges_without_keys_are_empty(harness: &impl Harness) {
    let backend = harness.open().await;
    let on_nothing = backend.snapshot().await.unwrap();
    fill(&*backend, Family::Rows, 10).await;
    let snapshot = backend.snapshot().await.unwrap();
    let five = 5_u32.to_be_bytes();
    let ranges = [
        between(Family::Rows, five, five),
        between(Family::Rows, five, 2_u32.to_be_bytes()),
        between(Family::Rows, [five.as_slice(), &[0]].concat(), 6_u32.to_be_bytes()),
        between(Family::Rows, 10_u32.to_be_bytes(), 20_u32.to_be_bytes()),
        KeyRange { family: Family::Rows, start: bytes([1]), end: None },
        between(Family::Rows, "", ""),
        all(Family::Log),
    ];
    for range in ranges {
        for direction in [Direction::Forward, Direction::Backward] {
            assert_eq!(scan(&*snapshot, range.clone(), direction, 5).await, [], "{range:?} {direction:?}");
        }
    }
    assert_eq!(scan(&*on_nothing, all(Family::Rows), Direction::Backward, 5).await, []);
}

/// More than 256 entries are read on another thread.
pub(super) async fn long_scans_read_the_same(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 3000).await;
    let snapshot = backend.snapshot().await.unwrap();
    let short = scan(&*snapshot, all(Family::Rows), Direction::Forward, 256).await;
    assert_eq!(short.len(), 3000);
    for limit in [257, 2999, 10_000] {
        assert_eq!(scan(&*snapshot, all(Family::Rows), Direction::Forward, limit).await, short);
        let mut backward = scan(&*snapshot, all(Family::Rows), Direction::Backward, limit).await;
        backward.reverse();
        assert_eq!(backward, short);
    }
}

/// A user with 10 rows among 100 000 pays for 10.
pub(super) async fn a_scan_pays_for_its_own_keys(harness: &impl Harness) {
    let backend = harness.open().await;
    fill(&*backend, Family::Rows, 100_000).await;
    let range = between(Family::Rows, 50_000_u32.to_be_bytes(), 50_010_u32.to_be_bytes());
    for direction in [Direction::Forward, Direction::Backward] {
        for limit in [4, 10, 1000] {
            let snapshot = backend.snapshot().await.unwrap();
            assert_eq!(scan(&*snapshot, range.clone(), direction, limit).await.len(), 10);
            // One entry more per chunk that has a rest: that is how it knows.
            let chunks_with_rest = (10_usize.div_ceil(limit) - 1) as u64;
            assert_eq!(snapshot.keys_read(), 10 + chunks_with_rest, "{direction:?} {limit}");
        }
    }
}
