//! The tables of a run: made, filled with rows that reads will find, and removed.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::caller::{Caller, Server};
use crate::failure::Failure;

use super::connection::{Address, Head};
use super::rows;
use super::scenario::index;
use super::target::Target;

/// Rows per INSERT of the filling.
const BATCH: usize = 500;
/// Such statements at the same time.
pub(crate) const FILLERS: usize = 8;

/// Of CREATE TABLE: no time and no number of rows makes the server flush it.
pub(crate) const BY_HAND: &str = "WITH (flush_interval = 'off', flush_rows = '1000000000000')";

/// Where tables are made.
#[derive(Debug)]
pub(crate) struct Stage {
    server: Server,
    admin: Caller,
    address: Address,
    namespace: String,
    /// Whether the namespace was not there before.
    own_namespace: bool,
    /// By name in the namespace.
    made: Vec<String>,
}

/// A target with its callers.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) callers: Vec<Caller>,
    /// What each caller's requests begin with.
    pub(crate) heads: Arc<[Head]>,
}

impl Place {
    /// How many callers it has.
    pub(crate) fn callers(&self) -> usize {
        self.callers.len()
    }
}

impl Stage {
    /// Makes sure that there is the namespace.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn set(server: Server, address: Address, namespace: &str) -> Result<Self, Failure> {
        let admin = server.admin()?;
        let own_namespace = match admin.run(&format!("CREATE NAMESPACE {namespace}"), &[]).await {
            Ok(_) => true,
            Err(Failure::Refused { code, .. }) if code == "NAMESPACE_EXISTS" => false,
            Err(failure) => return Err(failure),
        };
        Ok(Self { server, admin, address, namespace: namespace.to_owned(), own_namespace, made: Vec::new() })
    }

    /// # Errors
    /// When no token can be made.
    pub(crate) fn place(&self, target: Target, users: usize) -> Result<Place, Failure> {
        let callers = target.callers(&self.server, users)?;
        let head = |caller: &Caller| Head::post(&self.address, "/api/sql", caller.headers()?);
        let heads = callers.iter().map(head).collect::<Result<Arc<[Head]>, Failure>>()?;
        Ok(Place { target, callers, heads })
    }

    /// An empty table; gives what its callers call it.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn make(&mut self, place: &Place, purpose: &str) -> Result<String, Failure> {
        self.make_with(place, purpose, "").await
    }

    /// The same with what follows the columns in CREATE TABLE.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn make_with(&mut self, place: &Place, purpose: &str, options: &str) -> Result<String, Failure> {
        self.make_of(place, purpose, rows::COLUMNS, options).await
    }

    /// The same with columns of its own.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn make_of(
        &mut self,
        place: &Place,
        purpose: &str,
        columns: &str,
        options: &str,
    ) -> Result<String, Failure> {
        let name = name(place, purpose);
        let (namespace, kind) = (&self.namespace, place.target.kind());
        self.admin
            .run(
                &format!(
                    "DROP TABLE IF EXISTS {namespace}.{name}; CREATE {kind} TABLE {namespace}.{name} ({columns}) {options}"
                ),
                &[],
            )
            .await?;
        let caller = place.callers.first().unwrap_or(&self.admin);
        let called = place.target.table(caller, namespace, &name);
        if !self.made.contains(&name) {
            self.made.push(name);
        }
        Ok(called)
    }

    /// Who makes tables.
    pub(crate) fn admin(&self) -> &Caller {
        &self.admin
    }

    /// Who made it, and what it is called by him.
    pub(crate) fn of_admin(&self, place: &Place, purpose: &str) -> (Caller, String) {
        (self.admin.clone(), format!("{}.{}", self.namespace, name(place, purpose)))
    }

    /// Puts the rows with these ids into the partitions of their owners; gives how many those were.
    ///
    /// # Errors
    /// What the server says; a statement that inserts fewer rows than it was given.
    pub(crate) async fn fill(place: &Place, table: &str, ids: impl Iterator<Item = u64>) -> Result<u64, Failure> {
        let mut of_each: Vec<Vec<u64>> = vec![Vec::new(); place.callers.len()];
        for id in ids {
            of_each[index(id, place.callers.len())].push(id);
        }
        // One owner with all the rows is filled by several statements, many owners by one each.
        let at_once = if of_each.len() == 1 { FILLERS } else { 1 };
        let one_owner = async |(ids, caller): (&Vec<u64>, &Caller)| -> Result<(), Failure> {
            let one_batch = async |ids: &[u64]| insert(caller, table, ids).await;
            stream::iter(ids.chunks(BATCH)).map(one_batch).buffer_unordered(at_once).try_collect().await
        };
        let owners = stream::iter(of_each.iter().zip(&place.callers));
        owners.map(one_owner).buffer_unordered(FILLERS).try_collect::<()>().await?;
        Ok(of_each.iter().map(|ids| ids.len() as u64).sum())
    }

    /// The namespace that tables are made in.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Drops the namespace with all that is in it, whoever made that; not a namespace that was there before.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn raze(self) -> Result<(), Failure> {
        if !self.own_namespace {
            return self.clear().await;
        }
        self.admin.run(&format!("DROP NAMESPACE {} CASCADE", self.namespace), &[]).await.map(drop)
    }

    /// Drops what was made; the namespace too, unless it was there before.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn clear(self) -> Result<(), Failure> {
        for name in &self.made {
            self.admin.run(&format!("DROP TABLE IF EXISTS {}.{name}", self.namespace), &[]).await?;
        }
        if !self.own_namespace {
            return Ok(());
        }
        match self.admin.run(&format!("DROP NAMESPACE {}", self.namespace), &[]).await {
            // Somebody else has moved in meanwhile.
            Err(Failure::Refused { code, .. }) if code == "NAMESPACE_NOT_EMPTY" => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// A table's name in its namespace.
fn name(place: &Place, purpose: &str) -> String {
    format!("{purpose}_{}", place.target.name().replace('-', "_"))
}

async fn insert(caller: &Caller, table: &str, ids: &[u64]) -> Result<(), Failure> {
    let values = |id: &u64| vec![json!(id), json!(rows::body(*id)), json!(rows::number(*id))];
    insert_batch(caller, table, &rows::NAMES, &ids.iter().map(values).collect::<Vec<_>>()).await
}

/// Puts rows of any columns in, one batch after the other.
///
/// # Errors
/// What the server says; a statement that inserts fewer rows than it was given.
pub(crate) async fn insert_rows(
    caller: &Caller,
    table: &str,
    columns: &[&str],
    rows: &[Vec<Value>],
) -> Result<(), Failure> {
    for batch in rows.chunks(BATCH) {
        insert_batch(caller, table, columns, batch).await?;
    }
    Ok(())
}

async fn insert_batch(caller: &Caller, table: &str, columns: &[&str], rows: &[Vec<Value>]) -> Result<(), Failure> {
    let sql = rows::insert_of(table, columns, rows.len());
    let params: Vec<Value> = rows.iter().flatten().cloned().collect();
    let results = caller.run(&sql, &params).await?;
    let inserted = results.last().and_then(|result| result["row_count"].as_u64());
    if inserted == Some(rows.len() as u64) {
        return Ok(());
    }
    Err(Failure::Malformed {
        asked: format!("an INSERT of {} rows into {table}", rows.len()),
        problem: format!("its row_count is {inserted:?}"),
    })
}
