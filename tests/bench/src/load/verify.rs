//! Reading everything back, and naming what is not as the files say.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::args::LoadArgs;
use crate::caller::{Caller, Server};
use crate::failure::Failure;
use crate::load::dataset::{ByUser, Change, Commit};
use crate::load::tables::{Kind, Loadable};
use crate::load::tally::Tally;

/// Every user's partition: its aggregates, then each of its rows with each of its values.
///
/// # Errors
/// When the server cannot be asked; what is merely wrong is in the differences.
pub(crate) async fn user_table<T: Tally>(
    server: &Server,
    args: &LoadArgs,
    rows: &ByUser<T>,
    progress: &ProgressBar,
) -> Result<Vec<String>, Failure> {
    let one_user = async |(user, rows): (&String, &Vec<T>)| -> Result<Vec<String>, Failure> {
        let caller = server.user(user)?;
        let table = caller.user_table(&args.namespace, T::TABLE);
        let place = format!("{} of {user}", T::TABLE);
        let mut differences = Vec::new();

        let expected = T::expected(&rows.iter().collect::<Vec<_>>());
        let answered = caller.rows(&format!("SELECT {} FROM {table}", T::ITEMS)).await?;
        if answered != [expected.clone()] {
            differences.push(format!("{place}: aggregates are {}, expected {}", json!(answered), json!(expected)));
        }

        let names: Vec<String> = T::COLUMNS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let answered = caller.rows(&format!("SELECT {} FROM {table} ORDER BY id", names.join(", "))).await?;
        let expected: Vec<Vec<Value>> = rows.iter().map(Loadable::values).collect();
        differences.extend(first_difference(&answered, &expected).map(|what| format!("{place}: {what}")));
        progress.inc(rows.len() as u64);
        Ok(differences)
    };
    let found: Vec<Vec<String>> =
        stream::iter(rows).map(one_user).buffered(args.concurrency.get()).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The shared table: the same aggregates, grouped by user.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn shared_table<T: Tally>(
    admin: &Caller,
    args: &LoadArgs,
    rows: &ByUser<T>,
    progress: &ProgressBar,
) -> Result<Vec<String>, Failure> {
    let table = format!("{}.{}", args.namespace, Kind::Shared.table::<T>());
    let sql = format!("SELECT user_id, {} FROM {table} GROUP BY user_id", T::ITEMS);
    let mut answered: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut row in admin.rows(&sql).await? {
        let user = row.remove(0);
        answered.insert(user.as_str().map_or_else(|| user.to_string(), str::to_owned), row);
    }
    let mut differences = Vec::new();
    for (user, rows) in rows {
        let expected = T::expected(&rows.iter().collect::<Vec<_>>());
        match answered.remove(user) {
            Some(got) if got == expected => {}
            got => differences.push(format!(
                "{table}, rows of {user}: aggregates are {}, expected {}",
                json!(got),
                json!(expected)
            )),
        }
        progress.inc(rows.len() as u64);
    }
    differences.extend(answered.into_keys().map(|user| format!("{table} has rows of {user}, who has none")));
    Ok(differences)
}

/// A join in every partition: changes whose commit is the same user's.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn joins(
    server: &Server,
    args: &LoadArgs,
    commits: &ByUser<Commit>,
    changes: &ByUser<Change>,
) -> Result<Vec<String>, Failure> {
    let one_user = async |(user, changes): (&String, &Vec<Change>)| -> Result<Option<String>, Failure> {
        let ids: std::collections::HashSet<i64> =
            commits.get(user).into_iter().flatten().map(|commit| commit.id).collect();
        let expected = changes.iter().filter(|change| ids.contains(&change.commit_id)).count();
        let caller = server.user(user)?;
        let [left, right] = [Change::TABLE, Commit::TABLE].map(|table| caller.user_table(&args.namespace, table));
        let sql = format!("SELECT count(*) FROM {left} AS c JOIN {right} AS o ON o.id = c.commit_id");
        let answered = caller.rows(&sql).await?;
        let same = answered == [[json!(expected)]];
        Ok((!same).then(|| format!("changes of {user} with commits: {}, expected {expected}", json!(answered))))
    };
    let found: Vec<Option<String>> =
        stream::iter(changes).map(one_user).buffered(args.concurrency.get()).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Somebody without rows sees none.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn stranger<T: Loadable>(server: &Server, args: &LoadArgs) -> Result<Option<String>, Failure> {
    let caller = server.user("nobody of this data")?;
    let table = caller.user_table(&args.namespace, T::TABLE);
    let answered = caller.rows(&format!("SELECT count(*) FROM {table}")).await?;
    Ok((answered != [[json!(0)]]).then(|| format!("{}: a user without rows sees {}", T::TABLE, json!(answered))))
}

fn first_difference(answered: &[Vec<Value>], expected: &[Vec<Value>]) -> Option<String> {
    for (place, (got, wanted)) in answered.iter().zip(expected).enumerate() {
        if got != wanted {
            return Some(format!("row {place} by id is {}, expected {}", json!(got), json!(wanted)));
        }
    }
    (answered.len() != expected.len()).then(|| format!("{} rows, expected {}", answered.len(), expected.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let rows = [vec![json!(1), json!("a")], vec![json!(2), json!("b")]];
        assert_eq!(first_difference(&rows, &rows), None);
        let changed = [rows[0].clone(), vec![json!(2), json!("c")]];
        let said = first_difference(&changed, &rows).unwrap();
        assert!(said.contains("row 1") && said.contains("\"c\"") && said.contains("\"b\""), "{said}");
        assert_eq!(first_difference(&rows[..1], &rows).unwrap(), "1 rows, expected 2");
        assert!(first_difference(&rows, &rows[..1]).is_some());
    }
}
