//! The deleted rows of one segment, all containers of it.

use std::collections::BTreeMap;

use crate::codec::keys::ROWS_PER_CONTAINER;
use crate::codec::marks::DeleteMarks;

/// Which rows of a segment are deleted, by their position in the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SegmentMarks {
    /// None of them empty.
    containers: BTreeMap<u32, DeleteMarks>,
}

impl SegmentMarks {
    /// Whether a row is marked.
    #[must_use]
    pub fn contains(&self, row: u64) -> bool {
        DeleteMarks::locate(row)
            .is_some_and(|(container, row)| self.containers.get(&container).is_some_and(|marks| marks.contains(row)))
    }

    /// How many rows are marked.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.containers.values().map(DeleteMarks::len).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// The marked rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.containers.iter().flat_map(|(container, marks)| {
            let first = u64::from(*container) * ROWS_PER_CONTAINER;
            marks.iter().map(move |row| first + u64::from(row))
        })
    }

    /// The marked rows as ranges (first, last), ascending: for a row selection. Two that touch are two where a
    /// container ends between them.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.containers.iter().flat_map(|(container, marks)| {
            let base = u64::from(*container) * ROWS_PER_CONTAINER;
            marks.ranges().map(move |(first, last)| (base + u64::from(first), base + u64::from(last)))
        })
    }

    /// The containers that have marks, by their number.
    pub fn containers(&self) -> impl Iterator<Item = (u32, &DeleteMarks)> + '_ {
        self.containers.iter().map(|(number, marks)| (*number, marks))
    }

    /// Marks a row; whether it was not marked before. A row no segment can have is none.
    pub fn insert(&mut self, row: u64) -> bool {
        DeleteMarks::locate(row)
            .is_some_and(|(container, row)| self.containers.entry(container).or_default().insert(row))
    }

    /// The rows that are marked here and not there.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (container, marks) in &self.containers {
            match other.containers.get(container) {
                Some(others) => rest.put(*container, marks.without(others)),
                None => rest.put(*container, marks.clone()),
            }
        }
        rest
    }

    pub(crate) fn put(&mut self, container: u32, marks: DeleteMarks) {
        if !marks.is_empty() {
            self.containers.insert(container, marks);
        }
    }
}

impl FromIterator<u64> for SegmentMarks {
    fn from_iter<I: IntoIterator<Item = u64>>(rows: I) -> Self {
        let mut marks = Self::default();
        for row in rows {
            marks.insert(row);
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_containers_come_in_order() {
        let rows = [3, 4, 5, 65_535, 65_536, 200_000];
        let marks: SegmentMarks = rows.into_iter().rev().collect();
        assert_eq!(marks.iter().collect::<Vec<_>>(), rows);
        assert_eq!(marks.len(), 6);
        assert_eq!(
            marks.ranges().collect::<Vec<_>>(),
            [(3, 5), (65_535, 65_535), (65_536, 65_536), (200_000, 200_000)]
        );
        assert!(rows.iter().all(|row| marks.contains(*row)) && !marks.contains(6));
        assert_eq!(marks.containers().map(|(number, _)| number).collect::<Vec<_>>(), [0, 1, 3]);
    }

    #[test]
    fn marks_are_compared_container_by_container() {
        let marks = |rows: &[u64]| rows.iter().copied().collect::<SegmentMarks>();
        let (now, then) = (marks(&[1, 2, 70_000, 200_000]), marks(&[2, 3, 70_000]));
        assert_eq!(now.without(&then), marks(&[1, 200_000]));
        assert!(then.without(&marks(&[2, 3, 70_000])).is_empty());
    }

    #[test]
    fn a_row_is_marked_once() {
        let mut marks = SegmentMarks::default();
        assert!(marks.is_empty());
        assert!(marks.insert(70_000) && !marks.insert(70_000));
        assert!(!marks.insert(u64::MAX), "no segment has such a row");
        assert_eq!(marks.len(), 1);
    }
}
