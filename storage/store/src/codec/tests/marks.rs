//! Delete marks against a plain set of row numbers.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::codec::keys::ROWS_PER_CONTAINER;
use crate::codec::marks::DeleteMarks;

fn marks(rows: impl IntoIterator<Item = u16>) -> DeleteMarks {
    let mut marks = DeleteMarks::new();
    for row in rows {
        marks.insert(row);
    }
    marks
}

/// Scattered rows, runs of rows, and dense sets: each of the three forms.
fn rows() -> impl Strategy<Value = BTreeSet<u16>> {
    let runs = vec((any::<u16>(), 0..3000_u16), 0..12).prop_map(|runs| {
        runs.into_iter().flat_map(|(first, length)| first..=first.saturating_add(length)).collect::<BTreeSet<_>>()
    });
    let dense = (1..7_u16, any::<u16>()).prop_map(|(step, skip)| {
        (0..=u16::MAX).filter(|row| row % step == 0 && row % 97 != skip % 97).collect::<BTreeSet<_>>()
    });
    prop_oneof![3 => btree_set(any::<u16>(), 0..200), 3 => runs, 1 => dense]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn marks_read_back_in_at_most_8_kib(rows in rows()) {
        let marks = marks(rows.iter().copied());
        prop_assert_eq!(marks.len(), rows.len() as u64);
        prop_assert_eq!(marks.is_empty(), rows.is_empty());
        prop_assert!(marks.iter().eq(rows.iter().copied()));
        let stored = marks.encode();
        prop_assert!(stored.len() <= 8192 + 6);
        let read = DeleteMarks::decode(&stored).unwrap();
        prop_assert_eq!(&read, &marks);
        prop_assert_eq!(read.encode(), stored);
    }

    #[test]
    fn ranges_cover_the_rows_and_never_touch(rows in rows()) {
        let ranges: Vec<_> = marks(rows.iter().copied()).ranges().collect();
        prop_assert!(ranges.iter().flat_map(|(first, last)| *first..=*last).eq(rows));
        for pair in ranges.windows(2) {
            prop_assert!(u32::from(pair[0].1) + 1 < u32::from(pair[1].0));
        }
    }
}

#[test]
fn the_smallest_form_is_taken() {
    let form = |rows: &DeleteMarks| (rows.encode()[1], rows.encode().len());
    assert_eq!(form(&marks([])), (1, 6));
    assert_eq!(form(&marks([3, 5])), (1, 10));
    assert_eq!(form(&marks([3, 4])), (1, 10));
    assert_eq!(form(&marks([3, 4, 5])), (3, 10));
    assert_eq!(form(&marks(0..=u16::MAX)), (3, 10));
    assert_eq!(form(&marks((0..8192).step_by(2))), (1, 8198));
    assert_eq!(form(&marks((0..8194).step_by(2))), (2, 8198));
}

#[test]
fn a_row_is_marked_once() {
    let mut marks = DeleteMarks::new();
    assert!(marks.insert(u16::MAX));
    assert!(!marks.insert(u16::MAX));
    assert!(marks.contains(u16::MAX) && !marks.contains(0));
    assert_eq!(marks.len(), 1);
}

#[test]
fn rows_of_a_segment_have_a_container_and_a_number_in_it() {
    assert_eq!(DeleteMarks::locate(0), Some((0, 0)));
    assert_eq!(DeleteMarks::locate(65_535), Some((0, 65_535)));
    assert_eq!(DeleteMarks::locate(65_536), Some((1, 0)));
    assert_eq!(DeleteMarks::locate(3 * ROWS_PER_CONTAINER + 7), Some((3, 7)));
    assert_eq!(DeleteMarks::locate((1 << 48) - 1), Some((u32::MAX, u16::MAX)));
    assert_eq!(DeleteMarks::locate(1 << 48), None);
}

#[test]
fn marks_that_no_encoder_wrote_are_refused() {
    let message = |bytes: &[u8]| DeleteMarks::decode(bytes).unwrap_err().to_string();
    assert_eq!(message(&[1, 9, 0, 0, 0, 0]), "stored delete marks is corrupted: unknown form 9");
    assert_eq!(message(&[1, 1, 2, 0, 0, 0, 5, 0, 5, 0]), "stored delete marks is corrupted: row 5 is out of order");
    assert_eq!(
        message(&[1, 3, 1, 0, 0, 0, 5, 0, 4, 0]),
        "stored delete marks is corrupted: run 5 to 4 is out of order"
    );
    let touching = [1, 3, 2, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0];
    assert_eq!(message(&touching), "stored delete marks is corrupted: run 3 to 4 is out of order");
    let mut bitmap = vec![1, 2, 1, 0, 0, 0];
    bitmap.resize(6 + 8192, 0);
    assert_eq!(message(&bitmap), "stored delete marks is corrupted: 0 rows marked where 1 expected");
}
