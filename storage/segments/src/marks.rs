//! Which rows of a segment are left to read.

use std::ops::Range;

use kalamdb_store::manifest::SegmentMarks;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use crate::error::{Result, SegmentError};

/// Rows to read: ascending ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowRanges(Vec<Range<u64>>);

impl RowRanges {
    /// Takes ranges in any order.
    pub(crate) fn new(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    pub(crate) fn as_slice(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The rows that are in both.
    pub(crate) fn within(&self, others: &Self) -> Self {
        let mut both = Vec::new();
        let mut rest = others.0.as_slice();
        for range in &self.0 {
            // Those that end before this range end before all later ones.
            rest = rest.get(rest.partition_point(|other| other.end <= range.start)..).unwrap_or_default();
            let meeting = rest.iter().take_while(|other| other.start < range.end);
            both.extend(meeting.map(|other| range.start.max(other.start)..range.end.min(other.end)));
        }
        Self(both)
    }

    /// The numbers of the stretches between ascending borders that hold some of the rows.
    pub(crate) fn windows_met(&self, borders: &[u64]) -> Vec<usize> {
        let is_met = |start: u64, end: u64| {
            let range = self.0.get(self.0.partition_point(|range| range.end <= start));
            start < end && range.is_some_and(|range| range.start < end)
        };
        let windows = borders.windows(2).enumerate();
        windows.filter(|(_, window)| matches!(window, &&[start, end] if is_met(start, end))).map(|(at, _)| at).collect()
    }

    /// The rows in steps, each twice as large as the one before.
    pub(crate) fn steps(&self, first: u64) -> Vec<Self> {
        let mut steps = Vec::new();
        let mut step = Vec::new();
        let (mut size, mut missing) = (first, first);
        for range in &self.0 {
            let mut start = range.start;
            while start < range.end {
                let until = range.end.min(start.saturating_add(missing));
                step.push(start..until);
                missing -= until - start;
                start = until;
                if missing == 0 {
                    steps.push(Self(std::mem::take(&mut step)));
                    size = size.saturating_mul(2);
                    missing = size;
                }
            }
        }
        if !step.is_empty() {
            steps.push(Self(step));
        }
        steps
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows without the marked ones.
    pub(crate) fn without(&self, marks: &SegmentMarks) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut marked = marks.ranges().map(|(first, last)| first..last + 1).peekable();
        for range in &self.0 {
            let mut start = range.start;
            while let Some(hole) = marked.peek() {
                if hole.start >= range.end {
                    break;
                }
                if start < hole.start {
                    left.push(start..hole.start);
                }
                start = start.max(hole.end);
                if hole.end > range.end {
                    break;
                }
                marked.next();
            }
            if start < range.end {
                left.push(start..range.end);
            }
        }
        Self(left)
    }
}

/// Rows to read as the Parquet reader wants them: the row groups that hold any, and among their rows the selected ones; no
/// selection where that is all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGroupSelection {
    /// Numbers of the row groups, ascending.
    pub row_groups: Vec<usize>,
    /// Among the rows of these row groups, one after the other.
    pub selection: Option<RowSelection>,
}

impl RowGroupSelection {
    /// `starts` are the first rows of the row groups, and the number of rows of the file.
    pub(crate) fn new(ranges: &RowRanges, starts: &[u64]) -> Result<Self> {
        let mut row_groups = Vec::new();
        let mut selectors = Vec::new();
        let mut rest = ranges.0.iter().cloned().peekable();
        for (number, borders) in starts.windows(2).enumerate() {
            let &[start, end] = borders else { continue };
            let mut at = start;
            let before = selectors.len();
            while let Some(range) = rest.peek_mut().filter(|range| range.start < end) {
                let until = range.end.min(end);
                push(&mut selectors, at, range.start, false)?;
                push(&mut selectors, range.start, until, true)?;
                at = until;
                if range.end > end {
                    range.start = end;
                    break;
                }
                rest.next();
            }
            if selectors.len() > before {
                row_groups.push(number);
                push(&mut selectors, at, end, false)?;
            }
        }
        let is_whole = selectors.iter().all(|selector: &RowSelector| !selector.skip);
        Ok(Self { row_groups, selection: (!is_whole).then(|| RowSelection::from(selectors)) })
    }
}

fn push(selectors: &mut Vec<RowSelector>, from: u64, to: u64, selected: bool) -> Result<()> {
    let rows = usize::try_from(to.saturating_sub(from))
        .map_err(|_| SegmentError::Misused("more rows than memory has bytes".to_owned()))?;
    if rows > 0 {
        selectors.push(if selected { RowSelector::select(rows) } else { RowSelector::skip(rows) });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
