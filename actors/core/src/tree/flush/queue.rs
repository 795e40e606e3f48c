//! The line in which flushes wait, as a pure structure.
//!
//! What always holds: flushes that somebody asked for and those that are due by themselves take turns where both wait, so
//! that neither keeps the other waiting for ever, however many there are. Within each kind the first comes first.

use std::collections::VecDeque;

use kalamdb_commons::TableId;
use kalamdb_store::codec::catalog::JobTrigger;
use ractor::RpcReplyPort;

use super::job::Report;

/// A flush that waits for its turn.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) table: TableId,
    pub(super) trigger: JobTrigger,
    /// None where nobody waits for it.
    pub(super) reply: Option<RpcReplyPort<Report>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    asked: VecDeque<Queued>,
    by_themselves: VecDeque<Queued>,
    /// Whose turn it was last.
    asked_last: bool,
}

impl Queue {
    /// Puts a flush at the end, unless its table stands in the line already and nobody would wait for it.
    pub(super) fn push(&mut self, queued: Queued) {
        if queued.reply.is_some() {
            self.asked.push_back(queued);
        } else if !self.holds(queued.table) {
            self.by_themselves.push_back(queued);
        }
    }

    /// Whether a table stands in the line.
    pub(super) fn holds(&self, table: TableId) -> bool {
        self.asked.iter().chain(&self.by_themselves).any(|queued| queued.table == table)
    }

    /// The next one whose table may be flushed now.
    pub(super) fn take(&mut self, may: impl Fn(TableId) -> bool) -> Option<Queued> {
        let kinds = if self.asked_last { [false, true] } else { [true, false] };
        for asked in kinds {
            let line = if asked { &mut self.asked } else { &mut self.by_themselves };
            let place = line.iter().position(|queued| may(queued.table));
            if let Some(queued) = place.and_then(|place| line.remove(place)) {
                self.asked_last = asked;
                return Some(queued);
            }
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.asked.len() + self.by_themselves.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(table: u64) -> Queued {
        let (reply, _) = tokio::sync::oneshot::channel();
        Queued { table: TableId(table), trigger: JobTrigger::Manual, reply: Some(reply.into()) }
    }

    fn due(table: u64) -> Queued {
        Queued { table: TableId(table), trigger: JobTrigger::Schedule, reply: None }
    }

    fn next(queue: &mut Queue) -> Option<u64> {
        queue.take(|_| true).map(|queued| queued.table.0)
    }

    /// Commands that never end kept every table from its time.
    #[test]
    fn what_is_due_gets_its_turn_among_commands() {
        let mut queue = Queue::default();
        (1..=3).for_each(|table| queue.push(due(table)));
        let mut taken = Vec::new();
        for command in 100..120 {
            queue.push(asked(command));
            queue.push(asked(command));
            taken.extend(next(&mut queue));
        }
        assert_eq!(taken[..7], [100, 1, 100, 2, 101, 3, 101]);
        assert_eq!(queue.len(), 43 - 20);
    }

    #[test]
    fn commands_get_theirs_among_what_is_due() {
        let mut queue = Queue::default();
        (1..=20).for_each(|table| queue.push(due(table)));
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(1), Some(2)));
        queue.push(asked(1));
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(1), Some(3)));
    }

    #[test]
    fn a_table_stands_in_the_line_once_unless_somebody_waits() {
        let mut queue = Queue::default();
        queue.push(due(1));
        queue.push(due(1));
        queue.push(asked(1));
        queue.push(asked(1));
        queue.push(due(2));
        assert_eq!((queue.len(), queue.holds(TableId(2)), queue.holds(TableId(3))), (4, true, false));
        // One that runs is passed over and keeps its place.
        assert_eq!(queue.take(|table| table != TableId(1)).map(|queued| queued.table), Some(TableId(2)));
        assert!(queue.take(|table| table != TableId(1)).is_none());
        assert_eq!(queue.len(), 3);
    }
}
