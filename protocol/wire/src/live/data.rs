//! Frames that carry rows, in two halves: the head of a subscription and a tail that is written once for all
//! subscriptions of one query.

use std::sync::Arc;

use bytes::Bytes;

use super::rows::JsonRows;
use crate::response::write_value;

/// What became of a row in the result of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeType {
    /// It left it.
    Delete,
    /// It is another.
    Update,
    /// It came into it.
    Insert,
}

impl ChangeType {
    /// The order in which a statement's changes are told: what goes makes room for what comes.
    pub const ALL: [Self; 3] = [Self::Delete, Self::Update, Self::Insert];

    fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// What a frame says of its subscription.
#[derive(Debug, Clone)]
pub struct FrameHead(Arc<[u8]>);

impl FrameHead {
    /// That of a subscription.
    #[must_use]
    pub fn new(query_id: &str, subscription_id: &str) -> Self {
        let mut text = b",\"query_id\":".to_vec();
        write_value(&mut text, &query_id);
        text.extend_from_slice(b",\"subscription_id\":");
        write_value(&mut text, &subscription_id);
        Self(text.into())
    }
}

/// What a frame says of rows; shared by subscriptions.
#[derive(Debug, Clone)]
pub struct FrameTail {
    kind: &'static str,
    text: Bytes,
    /// Its number: where a client stands that has this frame.
    pub seq: u64,
    /// Whether its number is one to resume from.
    pub is_bookmark: bool,
}

impl FrameTail {
    /// Every change up to `seq` was delivered.
    #[must_use]
    pub fn progress(seq: u64) -> Self {
        let mut text = Vec::new();
        finish(&mut text, seq);
        text.push(b'}');
        Self { kind: "progress", text: text.into(), seq, is_bookmark: true }
    }

    /// Bytes that all subscriptions share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The whole frame for a subscription.
    #[must_use]
    pub fn with_head(&self, head: &FrameHead) -> Vec<u8> {
        let mut frame = Vec::with_capacity(12 + self.kind.len() + head.0.len() + self.text.len());
        frame.extend_from_slice(b"{\"type\":\"");
        frame.extend_from_slice(self.kind.as_bytes());
        frame.push(b'"');
        frame.extend_from_slice(&head.0);
        frame.extend_from_slice(&self.text);
        frame
    }
}

fn finish(text: &mut Vec<u8>, seq: u64) {
    text.extend_from_slice(b",\"seq\":");
    write_value(text, &seq);
}

/// A statement's rows of one kind.
#[derive(Debug, Clone, Default)]
pub struct RowChanges {
    /// The rows: new ones, or for a deletion as they were.
    pub rows: JsonRows,
    /// The rows as they were, for an update.
    pub old_rows: JsonRows,
    /// Their keys.
    pub keys: JsonRows,
    /// Their keys as they were: for an update that changed any, else empty.
    pub old_keys: JsonRows,
}

impl RowChanges {
    /// About what row `at` takes in a frame.
    fn bytes(&self, at: usize) -> usize {
        [&self.rows, &self.old_rows, &self.keys, &self.old_keys].iter().map(|list| list.get(at).len() + 1).sum()
    }
}

/// A statement's change frames, in the order of [`ChangeType::ALL`]; `changes` are the rows of each kind in that order,
/// `last_seq` is the statement's last number. No frame is larger than `max_bytes`, but for one with a single row.
///
/// Numbers grow from frame to frame and stay within the statement, so that resuming from the middle of one begins it anew;
/// only the last is a bookmark. `first_seq` is the statement's first number: a statement of `n` changes has `n` numbers,
/// and at most as many frames.
#[must_use]
pub fn change_frames(changes: &[RowChanges; 3], first_seq: u64, last_seq: u64, max_bytes: usize) -> Vec<FrameTail> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for (kind, changes) in ChangeType::ALL.iter().zip(changes) {
        for range in parts(changes.rows.len(), max_bytes, |at| changes.bytes(at)) {
            let mut text = b",\"change_type\":\"".to_vec();
            text.extend_from_slice(kind.as_str().as_bytes());
            text.extend_from_slice(b"\",\"rows\":");
            changes.rows.write_array(range.clone(), &mut text);
            if *kind == ChangeType::Update {
                text.extend_from_slice(b",\"old_values\":");
                changes.old_rows.write_array(range.clone(), &mut text);
                if !changes.old_keys.is_empty() {
                    text.extend_from_slice(b",\"old_keys\":");
                    changes.old_keys.write_array(range.clone(), &mut text);
                }
            }
            text.extend_from_slice(b",\"keys\":");
            changes.keys.write_array(range, &mut text);
            texts.push(text);
        }
    }
    let count = texts.len() as u64;
    debug_assert!(count <= last_seq + 1 - first_seq, "more frames than numbers");
    let frame = |(at, mut text): (usize, Vec<u8>)| {
        let left = count - 1 - at as u64;
        let seq = last_seq.saturating_sub(left).max(first_seq);
        finish(&mut text, seq);
        text.extend_from_slice(if left > 0 { b",\"more\":true}" } else { b"}" });
        FrameTail { kind: "change", text: text.into(), seq, is_bookmark: left == 0 }
    };
    texts.into_iter().enumerate().map(frame).collect()
}

/// The frames of a snapshot's rows, oldest first; at least one. `is_end` says that no more rows follow these.
#[must_use]
pub fn initial_frames(
    rows: &JsonRows,
    keys: &JsonRows,
    seq: u64,
    batch_rows: usize,
    max_bytes: usize,
    is_end: bool,
) -> Vec<FrameTail> {
    let mut ranges = Vec::new();
    for part in parts(rows.len(), max_bytes, |at| rows.get(at).len() + keys.get(at).len() + 2) {
        let mut start = part.start;
        while start < part.end {
            let end = part.end.min(start.saturating_add(batch_rows.max(1)));
            ranges.push(start..end);
            start = end;
        }
    }
    if ranges.is_empty() {
        ranges.push(0..0);
    }
    let count = ranges.len();
    let frame = |(at, range): (usize, std::ops::Range<usize>)| {
        let has_more = at + 1 < count || !is_end;
        let mut text = b",\"rows\":".to_vec();
        rows.write_array(range.clone(), &mut text);
        text.extend_from_slice(b",\"keys\":");
        keys.write_array(range, &mut text);
        finish(&mut text, seq);
        text.extend_from_slice(if has_more { b",\"has_more\":true}" } else { b",\"has_more\":false}" });
        FrameTail { kind: "initial_data", text: text.into(), seq, is_bookmark: !has_more }
    };
    ranges.into_iter().enumerate().map(frame).collect()
}

/// Rows in parts of at most so many bytes, each with one row at least.
fn parts(rows: usize, max_bytes: usize, bytes: impl Fn(usize) -> usize) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut size) = (0, 0);
    for at in 0..rows {
        let row = bytes(at);
        if at > start && size + row > max_bytes {
            parts.push(start..at);
            (start, size) = (at, 0);
        }
        size += row;
    }
    if start < rows {
        parts.push(start..rows);
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::{Value, json};

    use super::*;

    fn list(values: &[Value]) -> JsonRows {
        let mut rows = JsonRows::default();
        for value in values {
            let Ok(()) = rows.push_with(|out| {
                out.extend_from_slice(value.to_string().as_bytes());
                Ok::<(), Infallible>(())
            });
        }
        rows
    }

    fn read(tail: &FrameTail) -> Value {
        serde_json::from_slice(&tail.with_head(&FrameHead::new("m\"1", "c-m\"1"))).expect("JSON")
    }

    #[test]
    fn a_statement_of_one_kind_is_one_frame() {
        let update = RowChanges {
            rows: list(&[json!({"a": 2})]),
            old_rows: list(&[json!({"a": 1})]),
            keys: list(&[json!("k")]),
            old_keys: JsonRows::default(),
        };
        let frames = change_frames(&[RowChanges::default(), update, RowChanges::default()], 43, 43, 1000);
        assert_eq!(frames.iter().map(|frame| (frame.seq, frame.is_bookmark)).collect::<Vec<_>>(), [(43, true)]);
        assert_eq!(
            read(&frames[0]),
            json!({"type": "change", "query_id": "m\"1", "subscription_id": "c-m\"1", "change_type": "UPDATE",
                "rows": [{"a": 2}], "old_values": [{"a": 1}], "keys": ["k"], "seq": 43})
        );
    }

    #[test]
    fn frames_of_a_statement_have_growing_numbers_of_its_own() {
        let rows: Vec<Value> = (0..6).map(|at| json!({"a": at})).collect();
        let keys: Vec<Value> = (0..6).map(|at| json!(at)).collect();
        let insert = RowChanges { rows: list(&rows), keys: list(&keys), ..RowChanges::default() };
        let delete = RowChanges { rows: list(&rows[..1]), keys: list(&keys[..1]), ..RowChanges::default() };
        // A row takes 7 bytes, its key 1, and each list a separator: two rows fit.
        let frames = change_frames(&[delete, RowChanges::default(), insert], 10, 16, 24);
        let told: Vec<(u64, bool)> = frames.iter().map(|frame| (frame.seq, frame.is_bookmark)).collect();
        assert_eq!(told, [(13, false), (14, false), (15, false), (16, true)]);
        let read: Vec<Value> = frames.iter().map(read).collect();
        assert_eq!(read[0]["change_type"], "DELETE");
        assert_eq!(
            read.iter().map(|frame| frame.get("more").cloned()).collect::<Vec<_>>()[2..],
            [Some(json!(true)), None]
        );
        let all: Vec<Value> =
            read[1..].iter().flat_map(|frame| frame["rows"].as_array().expect("rows").clone()).collect();
        assert_eq!(all, rows);
    }

    #[test]
    fn a_row_that_is_too_large_goes_alone() {
        let rows = [json!("x".repeat(100)), json!(1), json!(2)];
        let insert = RowChanges { rows: list(&rows), keys: list(&rows), ..RowChanges::default() };
        let frames = change_frames(&[RowChanges::default(), RowChanges::default(), insert], 1, 3, 50);
        let counts: Vec<usize> =
            frames.iter().map(|frame| read(frame)["rows"].as_array().map_or(0, Vec::len)).collect();
        assert_eq!(counts, [1, 2]);
    }

    #[test]
    fn a_snapshot_is_split_by_rows_and_bytes_and_never_silent() {
        let rows: Vec<Value> = (0..5).map(|at| json!({"a": at})).collect();
        let keys: Vec<Value> = (0..5).map(|at| json!(at)).collect();
        let frames = initial_frames(&list(&rows), &list(&keys), 41, 2, 1000, true);
        let told: Vec<_> = frames.iter().map(|frame| (read(frame)["has_more"].clone(), frame.is_bookmark)).collect();
        assert_eq!(told, [(json!(true), false), (json!(true), false), (json!(false), true)]);
        let empty = initial_frames(&JsonRows::default(), &JsonRows::default(), 41, 2, 1000, true);
        assert_eq!(empty.len(), 1);
        assert_eq!(
            read(&empty[0]),
            json!({"type": "initial_data", "query_id": "m\"1", "subscription_id": "c-m\"1", "rows": [], "keys": [],
                "seq": 41, "has_more": false})
        );
        assert_eq!(initial_frames(&list(&rows), &list(&keys), 41, 9, 1, true).len(), 5);
        assert_eq!(read(&FrameTail::progress(57))["type"], "progress");
    }
}
