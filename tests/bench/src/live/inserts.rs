//! Single-row inserts that are noted: when each was sent, and whether it was acknowledged, so that what subscribers were
//! told can be compared with what was written.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::failure::Failure;
use crate::run::answer::changed_one_row;
use crate::run::latency::Latencies;
use crate::run::rows;
use crate::run::scenario::{Ask, Operation, index, statement};

use super::readers::Told;

/// Bytes of [`rows::body`].
const BODY_BYTES: usize = 64;

/// Row after row, each of a random one of the callers. An id is always the same caller's.
#[derive(Debug)]
pub(super) struct Inserts {
    start: String,
    callers: usize,
    /// The text of a row is that of `run`, so many times.
    times: usize,
    notes: Mutex<Vec<Note>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Note {
    sent: Option<Instant>,
    is_acknowledged: bool,
}

impl Inserts {
    pub(super) fn new(table: &str, callers: usize) -> Self {
        Self::with_text_of(BODY_BYTES, table, callers)
    }

    /// Rows with a text of at least so many bytes.
    pub(super) fn with_text_of(bytes: usize, table: &str, callers: usize) -> Self {
        let times = bytes.div_ceil(BODY_BYTES).max(1);
        Self { start: statement(&rows::insert(table)), callers, times, notes: Mutex::default() }
    }

    /// Whose row it is.
    pub(super) fn owner(&self, id: u64) -> usize {
        index(rows::scatter(id), self.callers)
    }

    /// Checks that nobody was told of a row twice, of one that was not acknowledged, or of one that is not due to it. As
    /// many as are due, and none of these: so each was told of all that are due to it.
    ///
    /// # Errors
    /// Naming the first that is wrong.
    pub(super) fn check(&self, told: &[Told], is_due: impl Fn(usize, u64) -> bool) -> Result<(), Failure> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for one in told {
            let mut seen = HashSet::with_capacity(one.changes.len());
            for (id, _) in &one.changes {
                let wrong = if !note_of(&notes, *id).is_acknowledged {
                    "which was not acknowledged"
                } else if !is_due(one.subscriber, *id) {
                    "which is another's"
                } else if !seen.insert(*id) {
                    "twice"
                } else {
                    continue;
                };
                return Err(Failure::Socket(format!("of subscriber {} told of row {id}, {wrong}", one.subscriber)));
            }
        }
        Ok(())
    }

    /// From when these rows' requests were sent until each subscriber had read of them.
    pub(super) fn until_told(&self, told: &[Told], ids: &Range<u64>) -> Latencies {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latencies = Latencies::default();
        let changes = told.iter().flat_map(|one| &one.changes).filter(|(id, _)| ids.contains(id));
        for (id, read) in changes {
            if let Some(sent) = note_of(&notes, *id).sent {
                latencies.record(read.saturating_duration_since(sent));
            }
        }
        latencies
    }

    fn note(&self, id: u64, change: impl FnOnce(&mut Note)) {
        let Ok(place) = usize::try_from(id) else { return };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() <= place {
            notes.resize(place + 1, Note::default());
        }
        if let Some(note) = notes.get_mut(place) {
            change(note);
        }
    }
}

fn note_of(notes: &[Note], id: u64) -> Note {
    usize::try_from(id).ok().and_then(|place| notes.get(place)).copied().unwrap_or_default()
}

impl Operation for Inserts {
    fn ask(&self, number: u64) -> Ask {
        let mut body = String::with_capacity(self.start.len() + BODY_BYTES * self.times + 64);
        body.push_str(&self.start);
        // Writing to a String cannot fail.
        let _ = write!(body, "{number},\"");
        let text = rows::body(number);
        for _ in 0..self.times {
            body.push_str(&text);
        }
        let _ = write!(body, "\",{}]}}", rows::number(number));
        let ask = Ask { caller: self.owner(number), body: body.into() };
        // Last: what is measured begins when the request is sent.
        self.note(number, |note| note.sent = Some(Instant::now()));
        ask
    }

    fn is_right(&self, number: u64, answer: &[u8]) -> bool {
        let is_right = changed_one_row(answer);
        self.note(number, |note| note.is_acknowledged = is_right);
        is_right
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RIGHT: &[u8] = br#"{"results":[{"rows":[],"row_count":1}]}"#;

    fn told(subscriber: usize, ids: &[u64]) -> Told {
        let read = Instant::now();
        Told { subscriber, changes: ids.iter().map(|id| (*id, read)).collect() }
    }

    #[test]
    fn a_row_has_one_owner_and_as_much_text_as_asked_for() {
        let inserts = Inserts::with_text_of(100, "bench.t", 7);
        let ask = inserts.ask(130);
        let body: serde_json::Value = serde_json::from_slice(&ask.body).unwrap();
        assert_eq!(body["sql"], "INSERT INTO bench.t (id, body, n) VALUES ($1, $2, $3)");
        assert_eq!(body["params"], serde_json::json!([130, rows::body(130).repeat(2), rows::number(130)]));
        assert_eq!(inserts.ask(130), ask);
        let owners: HashSet<usize> = (0..100).map(|id| inserts.owner(id)).collect();
        assert_eq!(owners, (0..7).collect());
    }

    #[test]
    fn what_is_told_wrongly_is_found() {
        let inserts = Inserts::new("t", 1);
        for id in [0, 2] {
            inserts.ask(id);
            assert!(inserts.is_right(id, RIGHT));
        }
        inserts.ask(1);
        assert!(!inserts.is_right(1, b"{}"));
        let check = |ids: &[u64]| inserts.check(&[told(3, ids)], |_, id| id != 9).map_err(|e| e.to_string());
        assert_eq!(check(&[2, 0]), Ok(()));
        assert!(check(&[0, 2, 0]).unwrap_err().contains("row 0, twice"));
        assert!(check(&[1]).unwrap_err().contains("not acknowledged"));
        assert!(check(&[9]).unwrap_err().contains("subscriber 3"));
        let others = inserts.check(&[told(0, &[0]), told(1, &[0])], |_, _| true);
        assert!(others.is_ok(), "each is told for itself");
    }

    #[test]
    fn only_the_rows_that_are_meant_are_measured() {
        let inserts = Inserts::new("t", 1);
        for id in 0..4 {
            inserts.ask(id);
        }
        let latencies = inserts.until_told(&[told(0, &[0, 1, 2]), told(1, &[1, 3])], &(1..3));
        assert_eq!(latencies.count(), 3);
        assert_eq!(latencies.at_least(Duration::from_secs(60)), 0);
    }
}
