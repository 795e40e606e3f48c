//! A tree over the memory backend whose actors can be made to fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, Identity, NamespaceId, QualifiedTableName, Role, TableId, TableName, UserId};
use kalamdb_faults::Machine;
use kalamdb_store::BackendRegistry;
use kalamdb_wire::ActorNode;

use crate::engine::Runtime;
use crate::tree::admission::Bounds;
use crate::tree::faults::Faults;
use crate::tree::{Tree, TreeArgs};
use crate::{SqlOutcome, SqlRequest};

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Fixture {
    pub(super) runtime: Arc<Runtime>,
    pub(super) tree: Tree,
    pub(super) faults: Faults,
}

impl Fixture {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}, |_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut Settings), narrow: impl FnOnce(&mut Bounds)) -> Self {
        let mut settings = Settings::default();
        settings.storage.backend = "memory".to_owned();
        settings.flush.default_rows = u64::MAX;
        change(&mut settings);
        Self::start_over(settings, BackendRegistry::standard(), narrow).await
    }

    /// Over a disk that can fail.
    pub(super) async fn start_on(machine: &Machine) -> Self {
        let mut settings = Settings::default();
        settings.storage.backend = Machine::BACKEND.to_owned();
        settings.flush.default_rows = u64::MAX;
        Self::start_over(settings, machine.registry(), |_| {}).await
    }

    async fn start_over(settings: Settings, backends: BackendRegistry, narrow: impl FnOnce(&mut Bounds)) -> Self {
        let runtime = Arc::new(Runtime::open(Arc::new(settings), backends).await.expect("the backend opens"));
        let mut args = TreeArgs::new(Arc::clone(&runtime));
        narrow(&mut args.bounds);
        let faults = args.faults.clone();
        let tree = Tree::start(args).await.expect("the tree starts");
        Self { runtime, tree, faults }
    }

    pub(super) async fn run(&self, name: &str, sql: impl Into<String>) -> SqlOutcome {
        self.tree
            .execute(
                SqlRequest {
                    identity: Identity { user_id: user(name), role: Role::Dba },
                    header_user: Ok(None),
                    sql: sql.into(),
                    params: Arc::default(),
                    namespace: NamespaceId::default_namespace(),
                    request_id: "test".to_owned(),
                },
                None,
            )
            .await
    }

    /// Runs what has to succeed; the last statement's rows, or how many it wrote.
    pub(super) async fn rows(&self, name: &str, sql: &str) -> u64 {
        let outcome = self.run(name, sql).await;
        assert!(outcome.error.is_none(), "{sql}: {:?}", outcome.error);
        outcome.results.last().map_or(0, |result| result.row_count)
    }

    /// Runs what has to fail.
    pub(super) async fn error(&self, name: &str, sql: &str) -> Error {
        self.run(name, sql).await.error.unwrap_or_else(|| panic!("{sql} succeeded")).error
    }

    pub(super) async fn fails(&self, name: &str, sql: &str, code: ErrorCode) {
        let error = self.error(name, sql).await;
        assert_eq!(error.code, code, "{sql}: {error}");
    }

    /// The id of a table in the default namespace.
    pub(super) fn table(&self, name: &str) -> TableId {
        let name = QualifiedTableName {
            namespace: NamespaceId::default_namespace(),
            table: TableName::new(name).expect("a table name"),
        };
        self.runtime.catalog().table(&name).expect("the table is there").id()
    }

    /// The node of this name.
    pub(super) fn node(&self, name: &str) -> ActorNode {
        let root = self.tree.describe(None, 1000);
        find(&root, name).unwrap_or_else(|| panic!("no {name} in {root:?}"))
    }

    /// Waits until every singleton runs and nothing is left of what was asked.
    pub(super) async fn is_whole(&self) {
        let shared = &self.tree.root.shared;
        eventually("the tree is whole and at rest", || self.tree.is_up() && shared.admission.is_empty()).await;
        assert!(!shared.has_failed());
        // News of what was lost may still be on its way.
        eventually("no mail is counted", || no_mail_is_counted(&self.tree.describe(None, 1000))).await;
    }
}

fn no_mail_is_counted(node: &ActorNode) -> bool {
    // A tick of the housekeeper may be on its way, or the news of a catalog.
    let most = u64::from(["housekeeper", "sessions", "live", "plan-cache"].contains(&node.name.as_str()));
    node.mailbox_depth <= most && node.children.iter().all(no_mail_is_counted)
}

fn find(node: &ActorNode, name: &str) -> Option<ActorNode> {
    if node.name == name {
        return Some(node.clone());
    }
    node.children.iter().find_map(|child| find(child, name))
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}
