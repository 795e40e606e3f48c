//! `CatalogActor`: every DDL statement, one at a time.
//!
//! It awaits no actor. It closes the table's gate where rows are at stake, writes the backend, swaps the
//! shared snapshot, and only then answers, so whoever reads an answer finds the catalog it speaks of.
//! Its mailbox holds at most one message per running statement, which admission bounds.
//!
//! A statement that has begun runs in a task of its own, which ends and answers by itself: an actor that is lost in the
//! middle leaves no half-written catalog, and its successor waits for that task before it reads what is stored.
//! Restart: it reads the catalog anew; statements that had not begun are sent once more by their callers. Shutdown:
//! after all statements have ended.

mod storages;
mod users;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kalamdb_commons::{Error, ErrorCode, NamespaceId, QualifiedTableName, Result, TableId, TableType};
use kalamdb_sql::{NamespaceDefinition, TableDefinition};
use kalamdb_store::{Batch, catalog as records};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::{Mutex, oneshot};

use super::claim::Claim;
use super::gauges::{Gauges, Mail, Named};
use super::plans::PlansClient;
use super::slot::{Lost, Slot, restarting};
use crate::catalog::{CatalogSnapshot, TableEntry, altered, check_table_storage};
use crate::engine::ddl::{Alteration, Ddl, NewTable};
use crate::engine::now_micros;
use crate::engine::{Limits, Runtime, Store};
use crate::task::spawn_on;

/// DDL runs until it is done; this only frees a caller from an actor that hangs.
const APPLY_TIMEOUT: Duration = Duration::from_secs(3600);

/// How statements reach the actor.
#[derive(Debug, Clone)]
pub(crate) struct CatalogClient {
    slot: Arc<Slot<CatalogMsg>>,
}

impl CatalogClient {
    pub(super) fn new(slot: Arc<Slot<CatalogMsg>>) -> Self {
        Self { slot }
    }

    /// Changes the catalog; answers what was done, in a sentence. What was lost before it began is sent once
    /// more; what is called off before it has begun does not begin. It has no deadline.
    pub(crate) async fn apply(&self, ddl: Ddl, limits: &Limits) -> Result<String> {
        let ddl = Arc::new(ddl);
        for _ in 0..2 {
            let claim = Arc::new(Claim::default());
            let (asked, asked_claim) = (Arc::clone(&ddl), Arc::clone(&claim));
            let apply = |reply| CatalogMsg::Apply { ddl: asked, claim: asked_claim, reply };
            let mut asking = pin!(self.slot.ask(apply, APPLY_TIMEOUT));
            let answer = tokio::select! {
                biased;
                // First: what is called off already is not even sent.
                error = limits.called_off() => {
                    if claim.give_up() {
                        return Err(error);
                    }
                    asking.await
                }
                answer = &mut asking => answer,
            };
            match answer {
                Ok(done) => return done,
                Err(Lost::Late) if claim.give_up() => return Err(restarting()),
                Err(Lost::Late) => {
                    let message = "the server did not get to the end of it in time";
                    return Err(Error::new(ErrorCode::Timeout, message).outcome_unknown());
                }
                Err(_) if claim.has_begun() => {
                    return Err(Error::internal("a DDL statement ended without an answer").outcome_unknown());
                }
                Err(_) => {}
            }
        }
        Err(restarting())
    }

    /// Puts a store that was opened again in the place of the one that failed.
    pub(super) async fn adopt(&self, store: Store) -> Result<()> {
        let adopt = |reply| CatalogMsg::Adopt { store: Box::new(store), reply };
        self.slot.ask(adopt, APPLY_TIMEOUT).await.unwrap_or_else(|_| Err(restarting()))
    }
}

/// What the actor is started with.
#[derive(Debug)]
pub(super) struct CatalogArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) gauges: Arc<Gauges>,
    /// Held by the one statement that runs; it outlives the actor that began it.
    pub(super) turn: Arc<Mutex<()>>,
    /// Who is told of each change.
    pub(super) plans: PlansClient,
}

/// What it keeps.
#[derive(Debug, Clone)]
pub(super) struct CatalogState {
    runtime: Arc<Runtime>,
    gauges: Arc<Gauges>,
    turn: Arc<Mutex<()>>,
    plans: PlansClient,
}

/// What it is asked.
#[derive(Debug)]
pub(super) enum CatalogMsg {
    /// One DDL statement.
    Apply {
        /// What to change; roles are checked already.
        ddl: Arc<Ddl>,
        /// Taken when it begins.
        claim: Arc<Claim>,
        /// What was done.
        reply: RpcReplyPort<Result<String>>,
    },
    /// The store was opened again: take it up, with the catalog it holds.
    Adopt {
        /// Open and recovered.
        store: Box<Store>,
        /// When statements see it.
        reply: RpcReplyPort<Result<()>>,
    },
}

impl Named for CatalogMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "Apply",
            Self::Adopt { .. } => "Adopt",
        }
    }
}

impl CatalogState {
    async fn apply(&self, ddl: Ddl) -> Result<String> {
        // What the snapshot says may not be what the store holds; also where nothing would be written.
        self.runtime.store().committer.check_writable()?;
        let now = now_micros();
        match ddl {
            Ddl::CreateNamespace { name, if_not_exists } => self.create_namespace(name, if_not_exists, now).await,
            Ddl::DropNamespace { name, if_exists, cascade } => self.drop_namespace(name, if_exists, cascade).await,
            Ddl::CreateTable { table, if_not_exists } => self.create_table(*table, if_not_exists, now).await,
            Ddl::AlterTable { name, change } => self.alter_table(&name, &change, now).await,
            Ddl::DropTable { name, table_type, if_exists } => self.drop_table(&name, table_type, if_exists).await,
            Ddl::CreateStorage { storage, if_not_exists } => self.create_storage(*storage, if_not_exists).await,
            Ddl::AlterStorage(altered) => self.alter_storage(*altered).await,
            Ddl::DropStorage { name, if_exists, closed } => self.drop_storage(&name, if_exists, closed.is_some()).await,
            Ddl::CreateUser { user, if_not_exists, options } => {
                self.create_user(user, if_not_exists, options, now).await
            }
            Ddl::AlterUser { user, changes } => self.alter_user(&user, changes, now).await,
            Ddl::DropUser { user, if_exists } => self.drop_user(&user, if_exists).await,
        }
    }

    /// A copy to change; nobody else writes, so nothing is lost between this and the swap.
    fn copy(&self) -> CatalogSnapshot {
        CatalogSnapshot::clone(&self.runtime.catalog())
    }

    /// A change that takes no rows away: nobody can see half of it.
    async fn publish_new(&self, batch: Batch, snapshot: CatalogSnapshot) -> Result<()> {
        self.runtime.store().committer.write_definitions(batch).await?;
        self.gauges.passes("written");
        self.runtime.swap_catalog(snapshot);
        self.plans.catalog_changed();
        Ok(())
    }

    /// A change that takes rows away, or has some written that the catalog before it does not know, with the gates closed that it asks for, of `store`.
    /// `dropped` are the tables that go with everything they have.
    async fn publish(
        &self,
        store: &Store,
        batch: Batch,
        snapshot: CatalogSnapshot,
        dropped: &[Arc<TableEntry>],
    ) -> Result<()> {
        let _changing = self.runtime.changing_catalog();
        if dropped.is_empty() {
            store.committer.write_definitions(batch).await?;
        } else {
            let ids: Vec<TableId> = dropped.iter().map(|entry| entry.id()).collect();
            store.committer.drop_tables(batch, &ids, now_micros()).await?;
            for entry in dropped.iter().filter(|entry| entry.table_type() == TableType::Stream) {
                store.committer_of(TableType::Stream).drop_stream(entry.id()).await?;
            }
        }
        self.gauges.passes("written");
        self.runtime.swap_catalog(snapshot);
        self.plans.catalog_changed();
        Ok(())
    }

    async fn create_namespace(&self, name: NamespaceId, if_not_exists: bool, now: i64) -> Result<String> {
        let mut snapshot = self.copy();
        if snapshot.namespaces.contains_key(&name) {
            if if_not_exists {
                return Ok(format!("namespace '{name}' exists already"));
            }
            return Err(Error::new(ErrorCode::NamespaceExists, format!("Namespace '{name}' exists already.")));
        }
        let definition = NamespaceDefinition { name: name.clone(), created_at: now };
        let mut batch = Batch::new();
        records::put_namespace(&mut batch, &definition);
        let done = format!("namespace '{name}' created");
        snapshot.namespaces.insert(name, definition);
        self.publish_new(batch, snapshot).await?;
        Ok(done)
    }

    async fn drop_namespace(&self, name: NamespaceId, if_exists: bool, cascade: bool) -> Result<String> {
        let mut snapshot = self.copy();
        if !snapshot.namespaces.contains_key(&name) {
            if if_exists {
                return Ok(format!("namespace '{name}' does not exist"));
            }
            snapshot.require_namespace(&name)?;
        }
        let tables: Vec<Arc<TableEntry>> = snapshot.tables_in(&name).cloned().collect();
        if !tables.is_empty() && !cascade {
            let count = tables.len();
            return Err(Error::new(
                ErrorCode::NamespaceNotEmpty,
                format!("Namespace '{name}' holds {count} tables. Drop them first, or use CASCADE."),
            ));
        }
        let mut batch = Batch::new();
        let store = self.runtime.store();
        let mut gates = Vec::with_capacity(tables.len());
        for entry in &tables {
            gates.push(store.committer_of(entry.table_type()).close_gate(entry.id()).await);
            records::delete_table(&mut batch, entry.id());
            snapshot.tables.remove(&entry.definition.name);
        }
        records::delete_namespace(&mut batch, &name);
        snapshot.namespaces.remove(&name);
        self.publish(&store, batch, snapshot, &tables).await?;
        drop(gates);
        for entry in &tables {
            store.committer_of(entry.table_type()).forget_table(entry.id());
        }
        Ok(match tables.len() {
            0 => format!("namespace '{name}' dropped"),
            1 => format!("namespace '{name}' and 1 table dropped"),
            count => format!("namespace '{name}' and {count} tables dropped"),
        })
    }

    async fn create_table(&self, table: NewTable, if_not_exists: bool, now: i64) -> Result<String> {
        let mut snapshot = self.copy();
        let NewTable { name, table_type, schema, options } = table;
        snapshot.require_namespace(&name.namespace)?;
        if snapshot.tables.contains_key(&name) {
            if if_not_exists {
                return Ok(format!("table '{name}' exists already"));
            }
            return Err(Error::new(ErrorCode::TableExists, format!("Table '{name}' exists already.")));
        }
        check_table_storage(&snapshot, &options)?;
        let id = snapshot.next_table_id;
        snapshot.next_table_id = TableId(id.0 + 1);
        let definition = TableDefinition { id, name: name.clone(), table_type, schema, options, created_at: now };
        let mut batch = Batch::new();
        records::put_table(&mut batch, &definition, snapshot.next_table_id, now);
        records::put_birth(&mut batch, id, self.runtime.store().committer.take_number().await?);
        snapshot.tables.put(Arc::new(TableEntry::new(definition, Default::default())));
        self.publish_new(batch, snapshot).await?;
        Ok(format!("{table_type} table '{name}' created"))
    }

    async fn alter_table(&self, name: &QualifiedTableName, change: &Alteration, now: i64) -> Result<String> {
        let mut snapshot = self.copy();
        let entry = Arc::clone(snapshot.table(name)?);
        let (definition, done) = altered(&entry.definition, change)?;
        check_table_storage(&snapshot, &definition.options)?;
        let mut batch = Batch::new();
        records::put_table(&mut batch, &definition, snapshot.next_table_id, now);
        snapshot.tables.put(Arc::new(TableEntry::new(definition, entry.versions.clone())));
        // What is being written with the version so far is written first; what comes later is made anew. Nor does
        // anybody read rows of the new version by the catalog before it.
        let store = self.runtime.store();
        let gate = store.committer_of(entry.table_type()).close_gate(entry.id()).await;
        self.publish(&store, batch, snapshot, &[]).await?;
        drop(gate);
        Ok(done)
    }

    async fn drop_table(
        &self,
        name: &QualifiedTableName,
        table_type: Option<TableType>,
        if_exists: bool,
    ) -> Result<String> {
        let mut snapshot = self.copy();
        let entry = match snapshot.table(name) {
            Ok(entry) => Arc::clone(entry),
            Err(_) if if_exists => return Ok(format!("table '{name}' does not exist")),
            Err(error) => return Err(error),
        };
        if let Some(expected) = table_type
            && expected != entry.table_type()
        {
            return Err(Error::new(
                ErrorCode::TableNotFound,
                format!("Table '{name}' is a {} table, not a {expected} table.", entry.table_type()),
            ));
        }
        let mut batch = Batch::new();
        records::delete_table(&mut batch, entry.id());
        snapshot.tables.remove(name);
        // Nobody commits to it from here on; whoever comes later finds it gone.
        let store = self.runtime.store();
        let gate = store.committer_of(entry.table_type()).close_gate(entry.id()).await;
        self.publish(&store, batch, snapshot, &[Arc::clone(&entry)]).await?;
        drop(gate);
        store.committer_of(entry.table_type()).forget_table(entry.id());
        Ok(format!("table '{name}' dropped"))
    }

    /// Runs one statement to its end in a task, and waits for it.
    ///
    /// # Errors
    /// When it panicked: what is in memory may differ from what is stored.
    ///
    /// # Cancel safety
    /// Safe: a task that has begun ends by itself.
    async fn run(&self, ddl: Arc<Ddl>, claim: Arc<Claim>, reply: RpcReplyPort<Result<String>>) -> Result<()> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if !claim.begin() {
            return Ok(());
        }
        let (done, ended) = oneshot::channel();
        let state = self.clone();
        drop(spawn_on(self.runtime.statements(), "DDL statement", async move {
            let result = state.apply(Ddl::clone(&ddl)).await;
            // The caller may have given up; what was done is done.
            let _ = reply.send(result);
            drop(turn);
            let _ = done.send(());
        }));
        ended.await.map_err(|_| Error::internal("a DDL statement panicked"))
    }

    /// The namespace that is there from the first start.
    async fn ensure_default_namespace(&self) -> Result<()> {
        let name = NamespaceId::default_namespace();
        // Only a data directory without any: an operator may have dropped it.
        if self.runtime.catalog().namespaces.is_empty() {
            self.create_namespace(name, true, now_micros()).await?;
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct CatalogActor;

impl Actor for CatalogActor {
    type Msg = Mail<CatalogMsg>;
    type State = CatalogState;
    type Arguments = CatalogArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<CatalogMsg>>,
        args: CatalogArgs,
    ) -> Result<CatalogState, ActorProcessingErr> {
        args.gauges.starting(&myself).await?;
        let state = CatalogState { runtime: args.runtime, gauges: args.gauges, turn: args.turn, plans: args.plans };
        // A statement that the one before began writes to its end.
        let turn = Arc::clone(&state.turn).lock_owned().await;
        // What is in the backend is the truth: one that ended between write and swap left the snapshot behind.
        // From a store that has failed nothing is read: it comes with the one that takes its place.
        if state.runtime.store().has_failed() {
            return Ok(state);
        }
        state.runtime.reload_catalog().await?;
        state.ensure_default_namespace().await?;
        drop(turn);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<CatalogMsg>>,
        mail: Mail<CatalogMsg>,
        state: &mut CatalogState,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            CatalogMsg::Apply { ddl, claim, reply } => state.run(ddl, claim, reply).await?,
            CatalogMsg::Adopt { store, reply } => {
                // Between two statements, also one that an actor before this one began.
                let turn = Arc::clone(&state.turn).lock_owned().await;
                let result = state.runtime.adopt(*store).await;
                drop(turn);
                let _ = reply.send(result);
            }
        }
        Ok(())
    }
}
