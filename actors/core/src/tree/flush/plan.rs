//! When each table is due, as a pure structure: no actor, no clock of its own.
//!
//! What always holds: a table's due times lie whole intervals apart, counted from the last due time and never from the
//! end of a flush, so they do not drift; times that were missed count as one.

#[cfg(test)]
mod day;

use std::collections::HashMap;
use std::time::Duration;

use kalamdb_commons::TableId;
use tokio::time::Instant;

/// What a table is flushed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// None: only by rows, command and shutdown.
    pub(super) interval: Option<Duration>,
    /// Buffered rows that are worth a flush.
    pub(super) rows: u64,
}

/// One table's times.
#[derive(Debug, Clone, Copy)]
struct Times {
    policy: Policy,
    due: Option<Instant>,
    /// After a flush that failed.
    retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    delay: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    tables: HashMap<TableId, Times>,
}

impl Plan {
    /// Takes a table up, or its options as they are now. `due` is when its next flush was due before a restart, if that
    /// is known; else the first is an interval from now.
    pub(super) fn set(&mut self, table: TableId, policy: Policy, due: Option<Instant>, now: Instant) {
        let an_interval_on = policy.interval.map(|interval| now + interval);
        // The interval may have become shorter since that was written down.
        let first = due.map_or(an_interval_on, |due| Some(an_interval_on.map_or(due, |latest| due.min(latest))));
        let times = self.tables.entry(table).or_insert(Times { policy, due: first, retry: None });
        if times.policy.interval != policy.interval {
            times.due = policy.interval.map(|interval| now + interval);
        }
        times.policy = policy;
    }

    /// Forgets tables that are gone.
    pub(super) fn retain(&mut self, mut is_there: impl FnMut(TableId) -> bool) {
        self.tables.retain(|table, _| is_there(*table));
    }

    pub(super) fn policy(&self, table: TableId) -> Option<Policy> {
        self.tables.get(&table).map(|times| times.policy)
    }

    /// When a table's next flush is due.
    pub(super) fn due(&self, table: TableId) -> Option<Instant> {
        self.tables.get(&table).and_then(|times| times.due)
    }

    /// Whether a flush that failed is waiting to be tried again.
    pub(super) fn is_retrying(&self, table: TableId) -> bool {
        self.tables.get(&table).is_some_and(|times| times.retry.is_some())
    }

    /// The tables that are due, longest due first, with whether it is a retry. Their next due time is set.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(TableId, bool)> {
        let mut found = Vec::new();
        for (table, times) in &mut self.tables {
            let by_time = times.due.filter(|due| *due <= now);
            let by_retry = times.retry.map(|retry| retry.at).filter(|at| *at <= now);
            if let (Some(due), Some(interval)) = (by_time, times.policy.interval) {
                times.due = Some(next_due(due, interval, now));
            }
            // One that has failed is tried by its retry alone, however short its interval is.
            let by_time = by_time.filter(|_| times.retry.is_none());
            let Some(since) = by_time.into_iter().chain(by_retry).min() else { continue };
            if let Some(retry) = times.retry.filter(|_| by_retry.is_some()) {
                // Not due again before its flush has ended, which says what comes next.
                times.retry = Some(Retry { at: now + retry.delay, ..retry });
            }
            found.push((since, *table, by_retry.is_some()));
        }
        found.sort_unstable_by_key(|(since, table, _)| (*since, table.0));
        found.into_iter().map(|(_, table, retry)| (table, retry)).collect()
    }

    /// A flush of the table has ended.
    pub(super) fn ended(&mut self, table: TableId, failed: bool, backoff: Backoff, now: Instant) {
        let Some(times) = self.tables.get_mut(&table) else { return };
        times.retry = failed.then(|| {
            let delay = times.retry.map_or(backoff.first, |retry| (retry.delay * 2).min(backoff.longest));
            Retry { at: now + delay, delay }
        });
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.tables.values().flat_map(|times| times.due.into_iter().chain(times.retry.map(|retry| retry.at))).min()
    }
}

/// How long after a failed flush it is tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// The first of the times `due`, `due + interval`, … that is still to come.
fn next_due(due: Instant, interval: Duration, now: Instant) -> Instant {
    let missed = now.saturating_duration_since(due).as_nanos() / interval.as_nanos().max(1);
    let steps = u32::try_from(missed + 1).unwrap_or(u32::MAX);
    due + interval * steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

    fn every(seconds: u64) -> Policy {
        Policy { interval: Some(Duration::from_secs(seconds)), rows: 100 }
    }

    #[test]
    fn a_day_of_a_schedule_does_not_drift() {
        let begun = Instant::now();
        let mut plan = Plan::default();
        plan.set(TableId(1), every(30), None, begun);
        let (mut now, mut flushes) = (begun, 0);
        // Ticks come late by up to a second, flushes take some, and the machine sleeps through a minute now and then.
        for step in 0..200_000_u64 {
            now += Duration::from_millis(400 + step * 7 % 300 + if step % 5000 == 4999 { 61_000 } else { 0 });
            if now > begun + Duration::from_secs(24 * 3600) {
                break;
            }
            for (table, retry) in plan.take_due(now) {
                assert!(!retry);
                flushes += 1;
                let late = plan.due(table).expect("due again") - now;
                assert!(late <= Duration::from_secs(30), "never more than an interval ahead");
                let phase = (plan.due(table).expect("due again") - begun).as_millis() % 30_000;
                assert_eq!(phase, 0, "on the times that were set in the beginning");
                plan.ended(table, false, BACKOFF, now);
            }
        }
        let possible = 24 * 3600 / 30;
        assert!(flushes <= possible && flushes >= possible * 95 / 100, "{flushes} of {possible}");
    }

    #[test]
    fn missed_times_count_as_one() {
        let begun = Instant::now();
        let mut plan = Plan::default();
        plan.set(TableId(1), every(10), Some(begun), begun);
        assert_eq!(plan.take_due(begun + Duration::from_secs(95)), [(TableId(1), false)]);
        assert_eq!(plan.due(TableId(1)), Some(begun + Duration::from_secs(100)));
        assert!(plan.take_due(begun + Duration::from_secs(99)).is_empty());
    }

    #[test]
    fn who_is_due_longest_comes_first() {
        let begun = Instant::now();
        let mut plan = Plan::default();
        plan.set(TableId(1), every(20), None, begun);
        plan.set(TableId(2), every(10), None, begun);
        plan.set(TableId(3), Policy { interval: None, rows: 1 }, None, begun);
        let due: Vec<TableId> =
            plan.take_due(begun + Duration::from_secs(25)).into_iter().map(|(table, _)| table).collect();
        assert_eq!(due, [TableId(2), TableId(1)]);
        assert_eq!(plan.next(), Some(begun + Duration::from_secs(30)));
        plan.retain(|table| table == TableId(3));
        assert_eq!(plan.next(), None);
    }

    #[test]
    fn a_failed_flush_is_tried_again_with_growing_delays() {
        let mut now = Instant::now();
        let mut plan = Plan::default();
        plan.set(TableId(1), Policy { interval: None, rows: 1 }, None, now);
        let mut delays = Vec::new();
        for _ in 0..8 {
            plan.ended(TableId(1), true, BACKOFF, now);
            let at = plan.next().expect("a retry");
            delays.push((at - now).as_secs());
            assert!(plan.take_due(at - Duration::from_millis(1)).is_empty() && plan.is_retrying(TableId(1)));
            assert_eq!(plan.take_due(at), [(TableId(1), true)]);
            now = at;
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        plan.ended(TableId(1), false, BACKOFF, now);
        assert!(!plan.is_retrying(TableId(1)) && plan.next().is_none());
        plan.ended(TableId(1), true, BACKOFF, now);
        assert_eq!(plan.next(), Some(now + Duration::from_secs(1)), "a success forgets");
    }

    #[test]
    fn a_short_interval_does_not_undo_the_delays() {
        let begun = Instant::now();
        let mut plan = Plan::default();
        plan.set(TableId(1), every(1), None, begun);
        let (mut now, mut tries) = (begun, 0);
        while now < begun + Duration::from_secs(300) {
            now += Duration::from_millis(100);
            for _ in plan.take_due(now) {
                tries += 1;
                plan.ended(TableId(1), true, BACKOFF, now);
            }
        }
        assert!((8..14).contains(&tries), "{tries} tries within five minutes");
    }

    #[test]
    fn changed_options_begin_anew_and_others_stay() {
        let begun = Instant::now();
        let mut plan = Plan::default();
        plan.set(TableId(1), every(10), None, begun);
        let later = begun + Duration::from_secs(5);
        plan.set(TableId(1), every(10), None, later);
        assert_eq!(plan.due(TableId(1)), Some(begun + Duration::from_secs(10)), "nothing has changed");
        plan.set(TableId(1), every(60), None, later);
        assert_eq!(plan.due(TableId(1)), Some(later + Duration::from_secs(60)));
        plan.set(TableId(1), Policy { interval: None, rows: 1 }, None, later);
        assert_eq!(plan.due(TableId(1)), None);
    }
}
