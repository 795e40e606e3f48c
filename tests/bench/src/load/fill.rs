//! Filling the tables with parametrised multi-row INSERTs.

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use crate::args::LoadArgs;
use crate::caller::{Caller, Server};
use crate::failure::Failure;
use crate::load::dataset::ByUser;
use crate::load::tables::{Kind, Loadable};

/// Makes both tables of a kind of line anew.
///
/// # Errors
/// What the server says.
pub(crate) async fn make_tables<T: Loadable>(admin: &Caller, namespace: &str) -> Result<(), Failure> {
    admin.run(&format!("CREATE NAMESPACE IF NOT EXISTS {namespace}"), &[]).await?;
    for kind in [Kind::User, Kind::Shared] {
        admin.run(&kind.ddl::<T>(namespace), &[]).await?;
    }
    Ok(())
}

/// Every user's rows into the user's partition: a user's statements one after the other, several users
/// at once.
///
/// # Errors
/// What the server says; a statement that inserts fewer rows than it was given.
pub(crate) async fn into_user_table<T: Loadable>(
    server: &Server,
    args: &LoadArgs,
    rows: &ByUser<T>,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    // The largest first, so that none of them is left alone at the end.
    let mut users: Vec<(&String, &Vec<T>)> = rows.iter().collect();
    users.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    let one_user = async |(user, rows): (&String, &Vec<T>)| -> Result<(), Failure> {
        let caller = server.user(user)?;
        let table = caller.user_table(&args.namespace, T::TABLE);
        for chunk in rows.chunks(args.batch.get()) {
            let chunk: Vec<&T> = chunk.iter().collect();
            insert(&caller, Kind::User, &table, &chunk).await?;
            progress.inc(chunk.len() as u64);
        }
        Ok(())
    };
    stream::iter(users).map(one_user).buffer_unordered(args.concurrency.get()).try_collect().await
}

/// All rows into the shared table, several statements at once.
///
/// # Errors
/// Like [`into_user_table`].
pub(crate) async fn into_shared_table<T: Loadable>(
    admin: &Caller,
    args: &LoadArgs,
    rows: &ByUser<T>,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    let table = format!("{}.{}", args.namespace, Kind::Shared.table::<T>());
    let mut all: Vec<&T> = rows.values().flatten().collect();
    all.sort_by_key(|row| row.id());
    let one_chunk = async |chunk: &[&T]| -> Result<(), Failure> {
        insert(admin, Kind::Shared, &table, chunk).await?;
        progress.inc(chunk.len() as u64);
        Ok(())
    };
    stream::iter(all.chunks(args.batch.get()))
        .map(one_chunk)
        .buffer_unordered(args.concurrency.get())
        .try_collect()
        .await
}

async fn insert<T: Loadable>(caller: &Caller, kind: Kind, table: &str, rows: &[&T]) -> Result<(), Failure> {
    let sql = kind.insert::<T>(table, rows.len());
    let results = caller.run(&sql, &kind.params(rows)).await?;
    let inserted = results.last().and_then(|result| result["row_count"].as_u64());
    if inserted == Some(rows.len() as u64) {
        return Ok(());
    }
    Err(Failure::Malformed {
        asked: format!("an INSERT of {} rows into {table}", rows.len()),
        problem: format!("its row_count is {inserted:?}"),
    })
}
