//! What one statement knows: who asks, when it began, what it sees, what it touched.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::execution::memory_pool::MemoryReservation;
use kalamdb_commons::{Error, ErrorCode, Identity, NamespaceId, QualifiedTableName, Result, Role, TableType, UserId};
use kalamdb_sql::{Access, TableRef};
use kalamdb_store::{PartitionId, Pin, Snapshot, Ticket};
use parking_lot::Mutex;

use super::dml::{CHANGED_ROWS, ChangedRows};
use super::errors::from_datafusion;
use super::runtime::{CatalogAndRows, now_micros};
use super::scope::Scope;
use super::{Runtime, SessionCache, Store};
use crate::HeaderUser;
use crate::catalog::{CatalogSnapshot, TableEntry};
use crate::segments::{PartitionSegments, Search};

/// Rows that take less are not worth counting: how many statements run is bounded.
const FREE_ROW_BYTES: u64 = 64 << 10;

/// What a statement wants to do with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Insert,
    Change,
}

/// One attempt at one statement: the catalog and the rows it sees do not change under it.
#[derive(Debug)]
pub(crate) struct StatementContext {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) identity: Identity,
    pub(crate) header_user: HeaderUser,
    pub(crate) namespace: NamespaceId,
    /// `NOW()`, in microseconds.
    pub(crate) now: i64,
    pub(crate) catalog: Arc<CatalogSnapshot>,
    /// Where the rows are read, and written to.
    pub(crate) store: Arc<Store>,
    seen: Option<Seen>,
    /// Whether planning may take long.
    pub(crate) is_heavy: bool,
    /// Its text, where its plans are kept.
    pub(crate) plan_text: Option<Arc<str>>,
    /// Whether its plans are kept if its text comes again.
    pub(crate) is_first_use: bool,
    /// Memory that the request's results take.
    pub(crate) results: Arc<MemoryReservation>,
    session: Option<Arc<SessionCache>>,
    /// Partitions named in any way, and those read by a query among them.
    touched: Mutex<HashSet<PartitionId>>,
    read: Mutex<HashSet<PartitionId>>,
    changed: Mutex<Option<Arc<ChangedRows>>>,
    /// Those of the partitions that were asked for.
    segments: Mutex<HashMap<PartitionId, Arc<PartitionSegments>>>,
    /// Memory that the rows to be written take.
    rows: Mutex<Option<MemoryReservation>>,
    /// Whether writers wait until it is done.
    holds_partition: AtomicBool,
    /// Whose partitions the statement is about, once it has named one.
    owner: Mutex<Option<UserId>>,
}

/// The rows as a statement sees them.
#[derive(Debug)]
struct Seen {
    snapshot: Arc<dyn Snapshot>,
    streams: Arc<dyn Snapshot>,
    /// Keeps the files of the segments that the snapshot's manifest names.
    _pin: Pin,
    /// Writes after this one are not in the snapshot.
    newest: Ticket,
}

impl StatementContext {
    /// Catalog and rows of one instant: if DDL came between the two, both are taken again.
    pub(crate) async fn begin(scope: &Scope, now: Option<i64>) -> Result<Arc<Self>> {
        let CatalogAndRows { catalog, store, pin, snapshot, streams } = scope.runtime.catalog_and_rows().await?;
        let newest = store.committer.newest();
        Ok(Self::new(scope, now, catalog, store, Some(Seen { snapshot, streams, _pin: pin, newest })))
    }

    /// For a statement that reads no rows.
    pub(crate) async fn begin_unseeing(scope: &Scope, now: Option<i64>) -> Result<Arc<Self>> {
        let (catalog, store) = scope.runtime.catalog_and_store().await?;
        Ok(Self::new(scope, now, catalog, store, None))
    }

    fn new(
        scope: &Scope,
        now: Option<i64>,
        catalog: Arc<CatalogSnapshot>,
        store: Arc<Store>,
        seen: Option<Seen>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime: Arc::clone(&scope.runtime),
            identity: scope.identity.clone(),
            header_user: scope.header_user.clone(),
            namespace: scope.namespace.clone(),
            now: now.unwrap_or_else(now_micros),
            catalog,
            store,
            seen,
            is_heavy: scope.is_heavy,
            plan_text: scope.plan_text.clone(),
            is_first_use: scope.is_first_use,
            results: Arc::clone(&scope.results),
            session: scope.session.clone(),
            touched: Mutex::default(),
            read: Mutex::default(),
            changed: Mutex::default(),
            segments: Mutex::default(),
            rows: Mutex::default(),
            holds_partition: AtomicBool::new(false),
            owner: Mutex::default(),
        })
    }

    /// The rows as all of the statement sees them.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a statement that was begun as one that reads none.
    pub(crate) fn snapshot(&self) -> Result<&dyn Snapshot> {
        let seen = self.seen.as_ref().ok_or_else(|| Error::internal("a statement without a snapshot reads rows"))?;
        Ok(seen.snapshot.as_ref())
    }

    /// The rows of tables of a kind, as all of the statement sees them.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub(crate) fn rows_of(&self, table_type: TableType) -> Result<&dyn Snapshot> {
        match (table_type, &self.seen) {
            (TableType::Stream, Some(seen)) => Ok(seen.streams.as_ref()),
            _ => self.snapshot(),
        }
    }

    /// Rows of a table from before this moment (microseconds since the epoch) are not seen any more, though they may be
    /// there; none where rows live for ever.
    pub(crate) fn expired_before(&self, entry: &TableEntry) -> Option<i64> {
        entry.stream_bounds(self.runtime.settings()).map(|bounds| self.now.saturating_sub(bounds.ttl))
    }

    /// From now on its partition's writers wait for it.
    pub(crate) fn hold_partition(&self) {
        self.holds_partition.store(true, Ordering::Release);
    }

    /// Whether they do.
    pub(crate) fn holds_partition(&self) -> bool {
        self.holds_partition.load(Ordering::Acquire)
    }

    /// Whether it was begun as one that reads rows.
    pub(crate) fn sees_rows(&self) -> bool {
        self.seen.is_some()
    }

    /// A partition's segments as all of the statement sees them.
    pub(crate) async fn segments(&self, partition: &PartitionId) -> Result<Arc<PartitionSegments>> {
        if let Some(known) = self.segments.lock().get(partition) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(PartitionSegments::read(self.snapshot()?, partition).await?);
        read.teach(partition, self.runtime.segments().ranges());
        self.segments.lock().insert(partition.clone(), Arc::clone(&read));
        Ok(read)
    }

    /// Those of a partition's segments that may hold a key; perhaps others, too.
    pub(crate) async fn segments_around(&self, partition: &PartitionId, key: &[u8]) -> Result<Arc<PartitionSegments>> {
        if let Some(known) = self.segments.lock().get(partition) {
            return Ok(Arc::clone(known));
        }
        match PartitionSegments::around(self.snapshot()?, partition, key, self.runtime.segments()).await? {
            Some(few) => Ok(Arc::new(few)),
            None => self.segments(partition).await,
        }
    }

    /// A search in a partition's segments.
    pub(crate) fn search<'a>(&'a self, entry: &'a TableEntry, partition: &'a PartitionId) -> Result<Search<'a>> {
        Ok(Search { stores: self.runtime.segments(), snapshot: self.snapshot()?, entry, partition })
    }

    /// Full name of a table named in the statement.
    pub(crate) fn qualify(&self, table: &TableRef) -> QualifiedTableName {
        QualifiedTableName {
            namespace: table.namespace.clone().unwrap_or_else(|| self.namespace.clone()),
            table: table.table.clone(),
        }
    }

    /// Finds a table and the one partition of it that this statement may touch (4.5: no statement ever
    /// reads two users' partitions).
    pub(crate) fn resolve(&self, table: &TableRef, action: Action) -> Result<(Arc<TableEntry>, PartitionId)> {
        let name = self.qualify(table);
        if action != Action::Read && super::show::is_virtual(name.namespace.as_str()) {
            return Err(Error::new(ErrorCode::Forbidden, format!("'{name}' is made by the server: nobody writes it")));
        }
        let entry = match &self.session {
            Some(session) => session.resolve(&self.catalog, &name, self.now)?,
            None => Arc::clone(self.catalog.table(&name)?),
        };
        if action == Action::Change && entry.table_type() == TableType::Stream {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "'{name}' is a stream table: its rows are inserted, and go by themselves; they are not changed"
                ),
            ));
        }
        let user = self.partition_user(&entry, table.user_qualifier)?;
        self.check_role(&entry, action)?;
        if let Some(user) = &user {
            let mut owner = self.owner.lock();
            if owner.get_or_insert_with(|| user.clone()) != user {
                return Err(Error::new(
                    ErrorCode::InvalidSql,
                    "a statement is about one user's partitions: the caller's, or with the user qualifier everywhere \
                     those of the user in X-USER-ID",
                ));
            }
        }
        let partition = PartitionId { table: entry.id(), user };
        self.touched.lock().insert(partition.clone());
        if action == Action::Read {
            self.read.lock().insert(partition.clone());
        }
        Ok((entry, partition))
    }

    fn partition_user(&self, entry: &TableEntry, user_qualifier: bool) -> Result<Option<UserId>> {
        match (entry.table_type().is_per_user(), user_qualifier) {
            (true, false) => Ok(Some(self.identity.user_id.clone())),
            (false, false) => Ok(None),
            (false, true) => Err(Error::new(
                ErrorCode::InvalidSql,
                format!(
                    "'{}' is a shared table: the user qualifier is for user and stream tables",
                    entry.definition.name
                ),
            )),
            (true, true) => {
                let Some(user) = self.header_user.as_ref().map_err(Error::clone)? else {
                    return Err(Error::new(
                        ErrorCode::UserIdRequired,
                        "a name with the user qualifier needs the X-USER-ID header",
                    ));
                };
                if self.identity.role == Role::User && user != &self.identity.user_id {
                    return Err(Error::new(ErrorCode::Forbidden, "role user reaches its own partitions only"));
                }
                Ok(Some(user.clone()))
            }
        }
    }

    fn check_role(&self, entry: &TableEntry, action: Action) -> Result<()> {
        if self.identity.role != Role::User {
            return Ok(());
        }
        let allowed = match (entry.table_type(), action) {
            (TableType::User, _) | (TableType::Stream, Action::Read | Action::Insert) => true,
            (TableType::Stream, Action::Change) => false,
            (TableType::Shared, Action::Read) => entry.access() == Access::Public,
            (TableType::Shared, Action::Insert | Action::Change) => false,
        };
        if allowed { Ok(()) } else { Err(forbidden()) }
    }

    /// Whether a query of this statement reads the partition.
    pub(crate) fn reads(&self, partition: &PartitionId) -> bool {
        self.read.lock().contains(partition)
    }

    /// Sees to it that so many bytes of rows that this attempt is going to write are counted against
    /// `query.memory_limit`, as long as it lives.
    ///
    /// # Errors
    /// [`ErrorCode::ResourcesExhausted`].
    pub(crate) fn reserve_rows(&self, bytes: u64) -> Result<()> {
        if bytes < FREE_ROW_BYTES {
            return Ok(());
        }
        self.with_rows(|rows| {
            let held = rows.size();
            rows.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(held))
        })
    }

    /// Counts rows beside those that are counted already.
    ///
    /// # Errors
    /// [`ErrorCode::ResourcesExhausted`].
    pub(crate) fn reserve_more_rows(&self, bytes: u64) -> Result<()> {
        self.with_rows(|rows| rows.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX)))
    }

    fn with_rows(&self, reserve: impl FnOnce(&MemoryReservation) -> datafusion::common::Result<()>) -> Result<()> {
        let mut rows = self.rows.lock();
        reserve(rows.get_or_insert_with(|| self.runtime.memory().reserve("rows"))).map_err(from_datafusion)
    }

    /// Gives the next plans of this statement the rows it changes, as table [`CHANGED_ROWS`].
    pub(crate) fn set_changed_rows(&self, rows: ChangedRows) {
        *self.changed.lock() = Some(Arc::new(rows));
    }

    /// That table, if `name` is its name.
    pub(crate) fn changed_rows(&self, name: &str) -> Option<Arc<ChangedRows>> {
        if name == CHANGED_ROWS { self.changed.lock().clone() } else { None }
    }

    /// The request's namespace, where it is one of those whose tables the server makes.
    pub(crate) fn virtual_namespace(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|namespace| super::show::is_virtual(namespace))
    }

    /// Deletions before this moment (microseconds since the epoch) are no longer seen by anybody.
    pub(crate) fn deleted_since(&self) -> i64 {
        let retention = self.runtime.settings().storage.deleted_retention.as_micros();
        self.now.saturating_sub(i64::try_from(retention).unwrap_or(i64::MAX))
    }

    /// CM-3: waits until nothing this statement saw can be taken back.
    pub(crate) async fn wait_visible(&self) -> Result<()> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let touched: Vec<PartitionId> = self.touched.lock().iter().cloned().collect();
        for partition in touched {
            self.store.committer.wait_visible(&partition, seen.newest).await?;
        }
        Ok(())
    }
}

/// The one answer to what a role may not do.
pub(crate) fn forbidden() -> Error {
    Error::new(ErrorCode::Forbidden, "the caller's role may not do this")
}
