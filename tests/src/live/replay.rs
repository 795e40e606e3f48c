//! The result of a query, kept from the frames of its subscription.
//!
//! A statement is applied when its last frame has come, and not before: until then the bookmark stays, and whoever
//! resumes gets the whole statement anew. Rows are known by their keys.

use std::collections::BTreeMap;

use serde_json::Value;

/// How much of the result is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// What was changed while it was looked at, or so many of the rows changed last.
    Part,
    /// Every row: each change can be checked.
    Whole,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Replay {
    rows: BTreeMap<String, Value>,
    /// Where to resume.
    bookmark: Option<u64>,
    /// The last number that came.
    last_seq: u64,
    /// Frames of a statement whose last has not come.
    statement: Vec<Value>,
    /// Rows of a snapshot whose last frame has not come.
    snapshot: Option<BTreeMap<String, Value>>,
    knowledge: Knowledge,
    /// Whether the last beginning went on from where the one before was.
    resumed: bool,
    /// The frame that ended it.
    ended: Option<Value>,
}

impl Default for Replay {
    fn default() -> Self {
        Self::new(Knowledge::Part)
    }
}

impl Replay {
    fn new(knowledge: Knowledge) -> Self {
        Self {
            rows: BTreeMap::new(),
            bookmark: None,
            last_seq: 0,
            statement: Vec::new(),
            snapshot: None,
            knowledge,
            resumed: false,
            ended: None,
        }
    }

    /// Of a subscription that begins with its whole result: a change that does not fit it is an error.
    #[must_use]
    pub fn whole() -> Self {
        Self::new(Knowledge::Whole)
    }

    /// Rows by their keys, as JSON.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<String, Value> {
        &self.rows
    }

    /// Where to resume; none before anything came that could be resumed from.
    #[must_use]
    pub fn bookmark(&self) -> Option<u64> {
        self.bookmark
    }

    /// Whether the last beginning went on from where the one before was.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The frame that ended it: `closed`, or an `error` before it began.
    #[must_use]
    pub fn ended(&self) -> Option<&Value> {
        self.ended.as_ref()
    }

    /// Whether it ended for good: beginning again from the bookmark would be no good, or is not wanted.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.as_ref().is_some_and(|frame| match frame["type"].as_str() {
            Some("closed") => !["slow_consumer", "shutdown", "internal"].map(Value::from).contains(&frame["reason"]),
            _ => true,
        })
    }

    /// The connection is gone: what is not whole is forgotten.
    pub fn cut(&mut self) {
        self.statement.clear();
        self.snapshot = None;
        self.last_seq = self.bookmark.unwrap_or_default();
    }

    /// Takes a frame of this subscription.
    ///
    /// # Errors
    /// What the frame breaks of the promises: order, uniqueness, changes that do not fit the rows.
    pub fn apply(&mut self, frame: &Value) -> Result<(), String> {
        match frame["type"].as_str().unwrap_or_default() {
            "subscribed" => self.begin(frame),
            "initial_data" => self.snapshot_rows(frame),
            "change" => self.change(frame),
            "progress" => {
                let seq = self.next_seq(frame)?;
                if !self.statement.is_empty() {
                    return Err(format!("progress within a statement: {frame}"));
                }
                self.bookmark = Some(seq);
                Ok(())
            }
            "closed" | "error" => {
                self.ended = Some(frame.clone());
                Ok(())
            }
            "unsubscribed" => Ok(()),
            other => Err(format!("a frame of type {other:?}: {frame}")),
        }
    }

    fn begin(&mut self, frame: &Value) -> Result<(), String> {
        let seq = number(frame, "seq")?;
        self.resumed = frame["resumed"] == true;
        self.ended = None;
        self.statement.clear();
        if !self.resumed {
            self.rows.clear();
            // Until its snapshot is whole there is nothing to resume from.
            self.bookmark = (self.knowledge == Knowledge::Part).then_some(seq);
        }
        self.last_seq = if self.resumed { self.bookmark.unwrap_or(seq) } else { seq };
        Ok(())
    }

    fn snapshot_rows(&mut self, frame: &Value) -> Result<(), String> {
        let snapshot = self.snapshot.get_or_insert_default();
        for (key, row) in pairs(frame, "keys", "rows")? {
            if snapshot.insert(key, row).is_some() {
                return Err(format!("a row came twice: {frame}"));
            }
        }
        if frame["has_more"] == false {
            self.rows = self.snapshot.take().unwrap_or_default();
            self.bookmark = Some(number(frame, "seq")?);
        }
        Ok(())
    }

    fn change(&mut self, frame: &Value) -> Result<(), String> {
        let seq = self.next_seq(frame)?;
        self.statement.push(frame.clone());
        if frame["more"] == true {
            return Ok(());
        }
        let statement = std::mem::take(&mut self.statement);
        // Keys may change places within a statement: everything leaves before anything comes.
        for frame in statement.iter().filter(|frame| frame["change_type"] != "INSERT") {
            let keys = if frame["old_keys"].is_array() { "old_keys" } else { "keys" };
            for (key, old) in pairs(frame, keys, if frame["change_type"] == "UPDATE" { "old_values" } else { "rows" })?
            {
                let had = self.rows.remove(&key);
                if self.knowledge == Knowledge::Whole && had.as_ref() != Some(&old) {
                    return Err(format!("{key} was {had:?}: {frame}"));
                }
            }
        }
        for frame in statement.iter().filter(|frame| frame["change_type"] != "DELETE") {
            for (key, row) in pairs(frame, "keys", "rows")? {
                let had = self.rows.insert(key.clone(), row);
                if had.is_some() && self.knowledge == Knowledge::Whole {
                    return Err(format!("{key} was there already: {frame}"));
                }
            }
        }
        self.bookmark = Some(seq);
        Ok(())
    }

    fn next_seq(&mut self, frame: &Value) -> Result<u64, String> {
        let seq = number(frame, "seq")?;
        if seq <= self.last_seq {
            return Err(format!("after {}: {frame}", self.last_seq));
        }
        self.last_seq = seq;
        Ok(seq)
    }
}

fn number(frame: &Value, member: &str) -> Result<u64, String> {
    frame[member].as_u64().ok_or_else(|| format!("no {member}: {frame}"))
}

/// Two lists that run in parallel.
fn pairs(frame: &Value, keys: &str, rows: &str) -> Result<Vec<(String, Value)>, String> {
    let list = |member: &str| frame[member].as_array().ok_or_else(|| format!("no list {member}: {frame}"));
    let (keys, rows) = (list(keys)?, list(rows)?);
    if keys.len() != rows.len() {
        return Err(format!("{} keys of {} rows: {frame}", keys.len(), rows.len()));
    }
    Ok(keys.iter().map(Value::to_string).zip(rows.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(replay: &mut Replay, frames: &[Value]) {
        for frame in frames {
            replay.apply(frame).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    fn change(kind: &str, keys: &[u64], values: &[u64], seq: u64) -> Value {
        let rows: Vec<Value> = values.iter().map(|value| json!({"v": value})).collect();
        json!({"type": "change", "change_type": kind, "keys": keys, "rows": rows, "seq": seq})
    }

    fn begun() -> Replay {
        let mut replay = Replay::whole();
        take(
            &mut replay,
            &[
                json!({"type": "subscribed", "seq": 10, "resumed": false}),
                json!({"type": "initial_data", "keys": [1], "rows": [{"v": 1}], "seq": 10, "has_more": true}),
            ],
        );
        assert_eq!((replay.bookmark(), replay.rows().len()), (None, 0), "half a snapshot is none");
        take(
            &mut replay,
            &[json!({"type": "initial_data", "keys": [2], "rows": [{"v": 2}], "seq": 10, "has_more": false})],
        );
        assert_eq!((replay.bookmark(), replay.rows().len()), (Some(10), 2));
        replay
    }

    #[test]
    fn a_statement_counts_when_it_is_whole() {
        let mut replay = begun();
        let mut first = change("DELETE", &[1], &[1], 11);
        first["more"] = json!(true);
        take(&mut replay, &[first.clone()]);
        assert_eq!((replay.bookmark(), replay.rows().len()), (Some(10), 2));
        // Cut off here, it comes again from the beginning.
        replay.cut();
        take(&mut replay, &[json!({"type": "subscribed", "seq": 10, "resumed": true}), first]);
        take(&mut replay, &[change("INSERT", &[3], &[3], 12)]);
        assert_eq!(replay.bookmark(), Some(12));
        assert_eq!(replay.rows().keys().map(String::as_str).collect::<Vec<_>>(), ["2", "3"]);
        assert!(replay.resumed());
    }

    #[test]
    fn keys_that_change_places_keep_their_rows() {
        let mut replay = begun();
        let update = |old: u64, new: u64, seq: u64| {
            json!({"type": "change", "change_type": "UPDATE", "keys": [new], "old_keys": [old], "rows": [{"v": old}],
                "old_values": [{"v": old}], "seq": seq})
        };
        let mut first = update(1, 2, 11);
        first["more"] = json!(true);
        take(&mut replay, &[first, update(2, 3, 12)]);
        let expected = BTreeMap::from([("2".to_owned(), json!({"v": 1})), ("3".to_owned(), json!({"v": 2}))]);
        assert_eq!(*replay.rows(), expected);
    }

    #[test]
    fn broken_promises_are_told() {
        for (frame, what) in [
            (change("INSERT", &[3], &[3], 10), "a number that came before"),
            (change("INSERT", &[1], &[3], 11), "a key that is there"),
            (change("DELETE", &[3], &[3], 11), "a row that is not there"),
            (change("DELETE", &[1], &[7], 11), "a row that was another"),
            (change("DELETE", &[1, 2], &[1], 11), "lists of different lengths"),
            (json!({"type": "progress", "seq": 9}), "a step back"),
            (json!({"type": "news"}), "an unknown type"),
        ] {
            assert!(begun().apply(&frame).is_err(), "{what}: {frame}");
        }
        let mut partial = Replay::default();
        take(&mut partial, &[json!({"type": "subscribed", "seq": 10, "resumed": false})]);
        assert_eq!(partial.bookmark(), Some(10));
        take(&mut partial, &[change("DELETE", &[3], &[3], 11), json!({"type": "progress", "seq": 20})]);
        assert_eq!(partial.bookmark(), Some(20));
    }
}
