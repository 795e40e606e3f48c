//! A mix: of ten operations seven point reads, two inserts and one update, in a fixed order.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Ask, Insert, Operation, PointRead, index, statement};
use crate::run::{answer, rows};

/// What the operation with a number does, by its last digit.
const ORDER: [Kind; 10] = {
    use Kind::{Insert, Read, Update};
    [Read, Read, Insert, Read, Read, Update, Read, Insert, Read, Read]
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Insert,
    Update,
}

/// Reads and updates of the rows that were there before, and new rows.
#[derive(Debug)]
pub(crate) struct Mixed {
    read: PointRead,
    insert: Insert,
    update: String,
    callers: usize,
    /// New rows have ids of their own, over all parts that share the table.
    next_id: Arc<AtomicU64>,
}

impl Mixed {
    pub(crate) fn new(table: &str, rows: u64, callers: usize, next_id: Arc<AtomicU64>) -> Self {
        Self {
            read: PointRead::new(table, rows, callers),
            insert: Insert::new(table, callers),
            update: statement(&format!("UPDATE {table} SET n = $1 WHERE id = $2")),
            callers,
            next_id,
        }
    }

    fn kind(number: u64) -> Kind {
        ORDER[index(number, ORDER.len())]
    }
}

impl Operation for Mixed {
    fn ask(&self, number: u64) -> Ask {
        match Self::kind(number) {
            Kind::Read => self.read.ask(number),
            Kind::Insert => self.insert.row(self.next_id.fetch_add(1, Ordering::Relaxed)),
            Kind::Update => {
                let id = self.read.id(number);
                let mut body = self.update.clone();
                // Writing to a String cannot fail.
                let _ = write!(body, "{},{id}]}}", rows::number(number));
                Ask { caller: index(id, self.callers), body: body.into() }
            }
        }
    }

    fn is_right(&self, number: u64, body: &[u8]) -> bool {
        match Self::kind(number) {
            // Updates change n, never the text.
            Kind::Read => {
                let text = rows::body(self.read.id(number));
                answer::contains(body, format!(r#""rows":[{{"body":"{text}","n":"#).as_bytes())
                    || answer::only_row(body).is_some_and(|row| row["body"] == text)
            }
            Kind::Insert | Kind::Update => answer::changed_one_row(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_two_one() {
        let of = |kind: Kind| ORDER.iter().filter(|each| **each == kind).count();
        assert_eq!([of(Kind::Read), of(Kind::Insert), of(Kind::Update)], [7, 2, 1]);
    }

    #[test]
    fn new_rows_have_new_ids_and_updates_old_ones() {
        let next_id = Arc::new(AtomicU64::new(100));
        let mixed = Mixed::new("t", 100, 7, Arc::clone(&next_id));
        let mut inserted = Vec::new();
        for number in 0..100 {
            let ask = mixed.ask(number);
            let body: serde_json::Value = serde_json::from_slice(&ask.body).unwrap();
            let id = match Mixed::kind(number) {
                Kind::Insert => {
                    inserted.push(body["params"][0].as_u64().unwrap());
                    continue;
                }
                Kind::Read => &body["params"][0],
                Kind::Update => &body["params"][1],
            };
            let id = id.as_u64().unwrap();
            assert!(id < 100);
            assert_eq!(ask.caller as u64, id % 7);
        }
        assert_eq!(inserted, (100..120).collect::<Vec<_>>());
        assert_eq!(next_id.load(Ordering::Relaxed), 120);
    }
}
