use proptest::prelude::*;

use super::*;

fn marks(rows: &[u64]) -> SegmentMarks {
    rows.iter().copied().collect()
}

fn rows_of(ranges: &RowRanges) -> Vec<u64> {
    ranges.as_slice().iter().cloned().flatten().collect()
}

/// The rows that a reader gives for a selection.
fn selected(selection: &RowGroupSelection, starts: &[u64]) -> Vec<u64> {
    let available: Vec<u64> =
        selection.row_groups.iter().flat_map(|number| starts[*number]..starts[*number + 1]).collect();
    let Some(rows) = &selection.selection else { return available };
    let mut at = 0;
    let mut out = Vec::new();
    for selector in rows.iter() {
        if !selector.skip {
            out.extend_from_slice(&available[at..at + selector.row_count]);
        }
        at += selector.row_count;
    }
    assert_eq!(at, available.len(), "a selection covers its row groups");
    out
}

proptest! {
    #[test]
    fn what_is_left_is_what_was_not_marked(
        ranges in prop::collection::vec((0_u64..300, 0_u64..60), 0..6),
        marked in prop::collection::btree_set(0_u64..360, 0..200),
        sizes in prop::collection::vec(1_u64..80, 1..8),
    ) {
        let mut starts = vec![0];
        for size in sizes {
            starts.push(starts.last().expect("one") + size);
        }
        let rows = *starts.last().expect("one");
        let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| start.min(rows)..(start + length).min(rows)).collect();
        let wanted = RowRanges::new(ranges.clone());
        let model: Vec<u64> = (0..rows).filter(|row| ranges.iter().any(|range| range.contains(row))).collect();
        prop_assert_eq!(rows_of(&wanted), model.clone());
        prop_assert_eq!(wanted.rows(), model.len() as u64);

        let marked: Vec<u64> = marked.into_iter().collect();
        let left = wanted.without(&marks(&marked));
        let model: Vec<u64> = model.into_iter().filter(|row| !marked.contains(row)).collect();
        prop_assert_eq!(rows_of(&left), model.clone());

        let selection = RowGroupSelection::new(&left, &starts).expect("small");
        prop_assert_eq!(selected(&selection, &starts), model.clone());
        for number in &selection.row_groups {
            prop_assert!(model.iter().any(|row| (starts[*number]..starts[number + 1]).contains(row)), "nothing in {}", number);
        }
    }
}

#[test]
fn marks_are_counted_across_containers() {
    let marks = marks(&[0, 65_535, 65_536, 200_000]);
    assert_eq!((marks.len(), marks.is_empty()), (4, false));
    for (row, marked) in [(0, true), (1, false), (65_536, true), (200_000, true), (u64::MAX, false)] {
        assert_eq!(marks.contains(row), marked, "{row}");
    }
    assert_eq!(marks.ranges().collect::<Vec<_>>(), [(0, 0), (65_535, 65_535), (65_536, 65_536), (200_000, 200_000)]);
    let left = RowRanges::new(Vec::from([0..200_002, 5..7])).without(&marks);
    assert_eq!(left.as_slice(), [1..65_535, 65_537..200_000, 200_001..200_002]);
    assert!(SegmentMarks::default().is_empty());
}

#[test]
fn ranges_meet_and_go_in_steps() {
    let ranges = RowRanges::new(vec![0..10, 20..30, 40..50]);
    let others = RowRanges::new(vec![5..22, 25..26, 29..41, 60..70]);
    let both = [5..10, 20..22, 25..26, 29..30, 40..41];
    assert_eq!(ranges.within(&others).as_slice(), both);
    assert_eq!(others.within(&ranges).as_slice(), both);
    assert!(ranges.within(&RowRanges::default()).is_empty());

    assert_eq!(ranges.windows_met(&[0, 10, 20, 21, 35, 45, 60, 90]), [0, 2, 3, 4, 5]);

    let steps: Vec<_> = ranges.steps(4).into_iter().map(|step| (step.rows(), step)).collect();
    assert_eq!(steps.iter().map(|(rows, _)| *rows).collect::<Vec<_>>(), [4, 8, 16, 2]);
    assert_eq!(steps[1].1.as_slice(), [4..10, 20..22]);
    assert_eq!(RowRanges::new(steps.into_iter().flat_map(|(_, step)| step.0).collect()), ranges);
}
