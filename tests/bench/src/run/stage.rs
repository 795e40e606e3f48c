//! The tables of a run: made, filled with rows that reads will find, and removed.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::caller::{Caller, Server};
use crate::failure::Failure;

use super::connection::{Address, Head};
use super::rows;
use super::target::Target;

/// Rows per INSERT of the filling.
const BATCH: usize = 500;
/// Such statements at the same time.
const FILLERS: usize = 8;

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
    callers: Vec<Caller>,
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
        let name = format!("{purpose}_{}", place.target.name().replace('-', "_"));
        let (namespace, kind) = (&self.namespace, place.target.kind());
        self.admin
            .run(
                &format!(
                    "DROP TABLE IF EXISTS {namespace}.{name}; CREATE {kind} TABLE {namespace}.{name} ({})",
                    rows::COLUMNS
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

    /// Puts the rows with ids below `count` into the partitions of their owners.
    ///
    /// # Errors
    /// What the server says; a statement that inserts fewer rows than it was given.
    pub(crate) async fn fill(place: &Place, table: &str, count: u64) -> Result<(), Failure> {
        let owners = place.callers.len();
        let ids_of = |owner: usize| (owner as u64..count).step_by(owners);
        let one_owner = async |(owner, caller): (usize, &Caller)| -> Result<(), Failure> {
            let ids: Vec<u64> = ids_of(owner).collect();
            let one_batch = async |ids: &[u64]| insert(caller, table, ids).await;
            // One owner with all the rows is filled by several statements, many owners by one each.
            let at_once = if owners == 1 { FILLERS } else { 1 };
            stream::iter(ids.chunks(BATCH)).map(one_batch).buffer_unordered(at_once).try_collect().await
        };
        stream::iter(place.callers.iter().enumerate()).map(one_owner).buffer_unordered(FILLERS).try_collect().await
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

async fn insert(caller: &Caller, table: &str, ids: &[u64]) -> Result<(), Failure> {
    let groups: Vec<String> =
        (0..ids.len()).map(|row| format!("(${}, ${}, ${})", row * 3 + 1, row * 3 + 2, row * 3 + 3)).collect();
    let sql = format!("INSERT INTO {table} (id, body, n) VALUES {}", groups.join(", "));
    let params: Vec<Value> =
        ids.iter().flat_map(|id| [json!(id), json!(rows::body(*id)), json!(rows::number(*id))]).collect();
    let results = caller.run(&sql, &params).await?;
    let inserted = results.last().and_then(|result| result["row_count"].as_u64());
    if inserted == Some(ids.len() as u64) {
        return Ok(());
    }
    Err(Failure::Malformed {
        asked: format!("an INSERT of {} rows into {table}", ids.len()),
        problem: format!("its row_count is {inserted:?}"),
    })
}
