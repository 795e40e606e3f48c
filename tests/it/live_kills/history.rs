//! What a subscription was told over all its connections, against what was true.
//!
//! One function for each promise, none of which believes the client: a client that hides a broken promise is
//! found out by the rows it has.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// A row: its `n`, and how long its text is.
pub(super) type Row = (i64, usize);
/// Rows by their ids.
pub(super) type Rows = BTreeMap<i64, Row>;

/// All rows of a user, by the `_seq` from which on they were those.
#[derive(Debug)]
pub(super) struct Truth(Vec<(u64, Rows)>);

impl Truth {
    /// Nothing has happened.
    pub(super) fn new() -> Self {
        Self(vec![(0, Rows::new())])
    }

    fn last(&self) -> &(u64, Rows) {
        self.0.last().expect("there is a first")
    }

    /// The number of the last statement that changed something.
    pub(super) fn newest(&self) -> u64 {
        self.last().0
    }

    /// Takes in what was seen; rows do not change without a number.
    pub(super) fn saw(&mut self, seq: u64, rows: Rows) -> Result<(), String> {
        if seq > self.newest() {
            self.0.push((seq, rows));
            return Ok(());
        }
        let (newest, known) = self.last();
        if (seq, &rows) == (*newest, known) {
            Ok(())
        } else {
            Err(format!("{known:?} at {newest}, and then {rows:?} at {seq}"))
        }
    }

    /// The rows at a number.
    fn at(&self, seq: u64) -> &Rows {
        let after = self.0.partition_point(|(from, _)| *from <= seq);
        &self.0[after - 1].1
    }

    /// Whether a statement's last number is this.
    fn ends_statement(&self, seq: u64) -> bool {
        self.0.binary_search_by_key(&seq, |(from, _)| *from).is_ok()
    }

    /// What was true for a while between two numbers, both left out.
    fn between(&self, one: u64, other: u64) -> impl Iterator<Item = &(u64, Rows)> {
        self.0.iter().filter(move |(seq, _)| one < *seq && *seq < other)
    }
}

/// How a client came to stand where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Snapshot,
    Statement,
    Progress,
}

/// What happened to a subscription.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// It was accepted, having asked to go on from a bookmark or having none.
    Begun { asked: Option<u64>, seq: u64, resumed: bool },
    /// A frame of a statement's changes.
    Change { seq: u64, more: bool },
    /// It has a bookmark, and these rows.
    Stands { seq: u64, how: How, rows: Rows },
    /// It was ended; where it was told to go on, and where it thinks that it stands, if it had begun on this connection.
    Closed { resume_seq: Option<u64>, bookmark: Option<u64> },
}

/// How much was checked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    pub(super) stands: u64,
    pub(super) resumed: u64,
    pub(super) statements: u64,
    pub(super) bookmarks: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.stands += other.stands;
        self.resumed += other.resumed;
        self.statements += other.statements;
        self.bookmarks += other.bookmarks;
    }
}

/// See the module. The query is for rows whose `n` is not less.
#[derive(Debug)]
pub(super) struct History {
    least: i64,
    events: Vec<Event>,
}

impl History {
    pub(super) fn new(least: i64) -> Self {
        Self { least, events: Vec::new() }
    }

    pub(super) fn note(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Every promise that was broken, and how.
    pub(super) fn broken(&self, truth: &Truth) -> Vec<(&'static str, String)> {
        [
            ("ordered", self.ordered()),
            ("unique", self.unique()),
            ("atomic", self.atomic(truth)),
            ("reliable", self.reliable(truth)),
            ("resumable", self.resumable()),
            ("bookmarkable", self.bookmarkable(truth)),
        ]
        .into_iter()
        .filter_map(|(promise, kept)| kept.err().map(|how| (promise, how)))
        .collect()
    }

    pub(super) fn count(&self) -> Count {
        let mut count = Count::default();
        for event in &self.events {
            match event {
                Event::Begun { resumed, .. } => count.resumed += u64::from(*resumed),
                Event::Stands { how, .. } => {
                    count.stands += 1;
                    count.statements += u64::from(*how == How::Statement);
                    count.bookmarks += u64::from(*how == How::Progress);
                }
                Event::Change { .. } | Event::Closed { .. } => {}
            }
        }
        count
    }

    /// On one connection numbers grow from where it began: the order of commits.
    fn ordered(&self) -> Result<(), String> {
        let mut last = None;
        for event in &self.events {
            let seq = match event {
                Event::Begun { seq, .. } => {
                    last = Some(*seq);
                    continue;
                }
                Event::Change { seq, .. } | Event::Stands { seq, how: How::Progress, .. } => *seq,
                Event::Stands { .. } | Event::Closed { .. } => continue,
            };
            if last.is_none_or(|last| seq <= last) {
                return Err(format!("{seq} after {last:?}"));
            }
            last = Some(seq);
        }
        Ok(())
    }

    /// From one snapshot to the next, over all connections, no statement is told to its end twice.
    fn unique(&self) -> Result<(), String> {
        let mut told = 0;
        for event in &self.events {
            match event {
                Event::Begun { seq, resumed: false, .. } => told = *seq,
                Event::Change { seq, more: false } => {
                    if *seq <= told {
                        return Err(format!("{seq} again, after {told}"));
                    }
                    told = *seq;
                }
                Event::Begun { .. } | Event::Change { .. } | Event::Stands { .. } | Event::Closed { .. } => {}
            }
        }
        Ok(())
    }

    /// The frames of a statement end with the statement, and its rows are then there, all of them.
    fn atomic(&self, truth: &Truth) -> Result<(), String> {
        for (seq, how, rows) in self.stands().filter(|(_, how, _)| *how == How::Statement) {
            if !truth.ends_statement(seq) {
                return Err(format!("{seq} is the end of no statement"));
            }
            self.is_true(truth, seq, how, rows)?;
        }
        Ok(())
    }

    /// From where it stands to where it stands next nothing happened that it was not told.
    fn reliable(&self, truth: &Truth) -> Result<(), String> {
        let mut before: Option<(u64, &Rows)> = None;
        for (seq, how, rows) in self.stands() {
            if let Some((from, had)) = before.filter(|_| how != How::Snapshot) {
                for (missed, rows) in truth.between(from, seq) {
                    if self.wanted(rows) != *had {
                        return Err(format!("{missed} was not told between {from} and {seq}"));
                    }
                }
            }
            before = Some((seq, rows));
        }
        Ok(())
    }

    /// Who has a bookmark goes on from there, and from nowhere else.
    fn resumable(&self) -> Result<(), String> {
        let mut bookmark = None;
        for event in &self.events {
            match event {
                Event::Begun { asked, seq, resumed } => {
                    if *asked != bookmark || asked.is_some() != *resumed || asked.is_some_and(|asked| asked != *seq) {
                        return Err(format!("had {bookmark:?}, asked for {asked:?}, began at {seq} ({resumed})"));
                    }
                }
                Event::Stands { seq, .. } => bookmark = Some(*seq),
                Event::Change { .. } | Event::Closed { .. } => {}
            }
        }
        Ok(())
    }

    /// Where it stands it has the rows of that number, and an end names the last such place.
    fn bookmarkable(&self, truth: &Truth) -> Result<(), String> {
        for (seq, how, rows) in self.stands() {
            self.is_true(truth, seq, how, rows)?;
        }
        for event in &self.events {
            if let Event::Closed { resume_seq, bookmark: Some(bookmark) } = event
                && *resume_seq != Some(*bookmark)
            {
                return Err(format!("ended at {bookmark}, and was told to go on from {resume_seq:?}"));
            }
        }
        Ok(())
    }

    fn stands(&self) -> impl Iterator<Item = (u64, How, &Rows)> {
        self.events.iter().filter_map(|event| match event {
            Event::Stands { seq, how, rows } => Some((*seq, *how, rows)),
            Event::Begun { .. } | Event::Change { .. } | Event::Closed { .. } => None,
        })
    }

    fn wanted(&self, rows: &Rows) -> Rows {
        rows.iter().filter(|(_, (n, _))| *n >= self.least).map(|(id, row)| (*id, *row)).collect()
    }

    fn is_true(&self, truth: &Truth, seq: u64, how: How, rows: &Rows) -> Result<(), String> {
        let wanted = self.wanted(truth.at(seq));
        if *rows == wanted { Ok(()) } else { Err(format!("at {seq} ({how:?}): {rows:?} instead of {wanted:?}")) }
    }
}

#[cfg(test)]
mod tests;
