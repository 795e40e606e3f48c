//! Aggregates, computed here from the files and by the server from its tables.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::load::dataset::{Change, Commit};
use crate::load::tables::Loadable;

/// A kind of line whose rows can be summed up, in SQL and here, to the same values.
pub(crate) trait Tally: Loadable {
    /// Select items over the table, in the order of [`Tally::expected`].
    const ITEMS: &'static str;

    /// What they should be for these rows, of which there is at least one.
    fn expected(rows: &[&Self]) -> Vec<Value>;
}

fn characters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    json!(texts.collect::<HashSet<_>>().len())
}

impl Tally for Commit {
    const ITEMS: &'static str = "count(*), min(id), max(id), sum(id), min(created_at), max(created_at), \
        count(DISTINCT commit), sum(character_length(subject)), sum(character_length(body)), min(subject)";

    fn expected(rows: &[&Self]) -> Vec<Value> {
        let ids = || rows.iter().map(|row| row.id);
        let moments = || rows.iter().map(|row| row.created_at.as_str());
        vec![
            json!(rows.len()),
            json!(ids().min()),
            json!(ids().max()),
            json!(ids().sum::<i64>()),
            json!(moments().min()),
            json!(moments().max()),
            distinct(rows.iter().map(|row| row.commit.as_str())),
            json!(rows.iter().map(|row| characters(&row.subject)).sum::<i64>()),
            json!(rows.iter().map(|row| characters(&row.body)).sum::<i64>()),
            json!(rows.iter().map(|row| row.subject.as_str()).min()),
        ]
    }
}

impl Tally for Change {
    const ITEMS: &'static str = "count(*), min(id), max(id), sum(id), sum(commit_id), count(DISTINCT path), \
        sum(character_length(path)), max(path), sum(CASE WHEN kind = 'add' THEN 1 ELSE 0 END), \
        sum(CASE WHEN kind = 'delete' THEN 1 ELSE 0 END), count(DISTINCT kind)";

    fn expected(rows: &[&Self]) -> Vec<Value> {
        let ids = || rows.iter().map(|row| row.id);
        let of_kind = |kind: &str| rows.iter().filter(|row| row.kind == kind).count();
        vec![
            json!(rows.len()),
            json!(ids().min()),
            json!(ids().max()),
            json!(ids().sum::<i64>()),
            json!(rows.iter().map(|row| row.commit_id).sum::<i64>()),
            distinct(rows.iter().map(|row| row.path.as_str())),
            json!(rows.iter().map(|row| characters(&row.path)).sum::<i64>()),
            json!(rows.iter().map(|row| row.path.as_str()).max()),
            json!(of_kind("add")),
            json!(of_kind("delete")),
            distinct(rows.iter().map(|row| row.kind.as_str())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_expected_value() {
        let change = Change { user_id: "a".into(), id: 3, commit_id: 2, path: "ж/x".into(), kind: "add".into() };
        let expected = Change::expected(&[&change, &Change { id: 4, ..change.clone() }]);
        assert_eq!(
            expected,
            [
                json!(2),
                json!(3),
                json!(4),
                json!(7),
                json!(4),
                json!(1),
                json!(6),
                json!("ж/x"),
                json!(2),
                json!(0),
                json!(1)
            ]
        );
        let top_level_commas = |items: &str| {
            let mut depth = 0;
            items
                .chars()
                .filter(|c| {
                    depth += i32::from(*c == '(') - i32::from(*c == ')');
                    *c == ',' && depth == 0
                })
                .count()
        };
        assert_eq!(top_level_commas(Change::ITEMS) + 1, expected.len());
    }
}
