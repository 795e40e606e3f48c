//! What can be measured; a file each.

pub(crate) mod aggregate;
pub(crate) mod fill;
pub(crate) mod point_read;
pub(crate) mod small_flushes;
pub(crate) mod writers;

use clap::ValueEnum;

use crate::failure::Failure;

use super::table::{Table, same};

/// The scenarios, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// One flush of the rows of many users: rows a second, and the server's memory.
    Fill,
    /// Single-row inserts at a steady rate, without a flush and during one.
    Writers,
    /// Reads of one row by primary key, of hot rows and of flushed ones in many segments.
    PointRead,
    /// An aggregate over flushed rows in many segments.
    Aggregate,
    /// The first ten rows by key after many flushes of ten rows each.
    SmallFlushes,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Fill, Self::Writers, Self::PointRead, Self::Aggregate, Self::SmallFlushes];

    /// Its name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Writers => "writers",
            Self::PointRead => "point-read",
            Self::Aggregate => "aggregate",
            Self::SmallFlushes => "small-flushes",
        }
    }
}

/// One user's rows with ids below `rows` in so many segments, each of which spans all the keys: the ids of one lie
/// between those of the others, so that bounds tell no segment from another.
pub(crate) async fn interleave(table: &Table, rows: u64, segments: usize) -> Result<(), Failure> {
    for ids in interleaved(rows, segments) {
        let count = table.insert(ids).await?.rows;
        table.flush_all(count, 1).await?;
    }
    let stats = table.stats().await?;
    same("rows that are not flushed", 0, stats.buffered_rows)?;
    table.expect(rows).await
}

/// The ids of each segment; no more segments than rows.
fn interleaved(rows: u64, segments: usize) -> impl Iterator<Item = impl Iterator<Item = u64>> {
    let segments = segments.min(usize::try_from(rows).unwrap_or(usize::MAX));
    (0..segments as u64).map(move |segment| (segment..rows).step_by(segments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        assert_eq!(Scenario::value_variants(), Scenario::ALL);
        for scenario in Scenario::ALL {
            assert_eq!(scenario.to_possible_value().unwrap().get_name(), scenario.name());
        }
    }

    #[test]
    fn every_segment_spans_the_keys() {
        let ids: Vec<Vec<u64>> = interleaved(7, 3).map(Iterator::collect).collect();
        assert_eq!(ids, [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert_eq!(interleaved(2, 20).count(), 2, "a segment has a row");
    }
}
