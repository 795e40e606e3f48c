//! An engine on an unstable machine, spoken to as the door speaks to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_commons::settings::{Durability, Settings};
use kalamdb_commons::{Error, Identity, NamespaceId, Role, UserId};
use kalamdb_core::{BuildInfo, Engine, EngineArgs, SqlRequest};
use kalamdb_faults::Machine;
use kalamdb_store::BackendRegistry;
use kalamdb_wire::StatementResult;
use serde_json::Value as Json;

const BUILD: BuildInfo = BuildInfo { version: "test", branch: "test", commit: "test" };

/// Where the segments of a machine lie: the same in each of its lives.
pub(crate) fn machine_storage(machine: &Machine) -> std::path::PathBuf {
    machine.directory().join("storage")
}

/// Nothing in these tests takes longer.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A running engine. All clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) engine: Engine,
}

impl Server {
    pub(crate) async fn start(machine: &Machine, durability: Durability) -> Self {
        Self::start_with(machine, durability, |_, _| {}).await
    }

    /// With other settings, or with failpoints in its registry.
    pub(crate) async fn start_with(
        machine: &Machine,
        durability: Durability,
        change: impl FnOnce(&mut Settings, &mut BackendRegistry),
    ) -> Self {
        let mut settings = Settings::default();
        settings.storage.backend = Machine::BACKEND.to_owned();
        settings.storage.durability = durability;
        settings.server.workers = 2;
        settings.storage.default_location = machine_storage(machine);
        let mut registry = machine.registry();
        change(&mut settings, &mut registry);
        let args = EngineArgs { settings: Arc::new(settings), build: BUILD };
        let engine = Engine::start_on(args, registry).await.expect("the engine starts");
        Self { engine }
    }

    /// One statement of a user of role `dba`.
    pub(crate) async fn run(&self, user: &str, sql: &str, params: Vec<Json>) -> Result<StatementResult, Error> {
        let request = SqlRequest {
            identity: Identity { user_id: UserId::new(user).expect("a user id"), role: Role::Dba },
            header_user: Ok(None),
            sql: sql.to_owned(),
            params: Arc::new(params),
            namespace: NamespaceId::default_namespace(),
            request_id: "test".to_owned(),
        };
        let mut outcome = self.engine.execute(request).await;
        match outcome.error {
            Some(failed) => Err(failed.error),
            None => Ok(outcome.results.pop().expect("a result")),
        }
    }

    /// The rows of a query as arrays of their values.
    pub(crate) async fn rows(&self, user: &str, sql: &str, params: Vec<Json>) -> Result<Vec<Vec<Json>>, Error> {
        Ok(values(&self.run(user, sql, params).await?))
    }

    /// Waits for the engine to be ready or not.
    pub(crate) async fn until_ready(&self, ready: bool) {
        let deadline = Instant::now() + LONG;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while self.engine.ready().await.is_ok() != ready {
            ticks.tick().await;
            assert!(Instant::now() < deadline, "ready: never {ready}");
        }
    }

    pub(crate) async fn stop(self) {
        self.engine.stop(Instant::now() + Duration::from_secs(5)).await;
    }
}

/// The rows of a result as arrays of their values.
pub(crate) fn values(result: &StatementResult) -> Vec<Vec<Json>> {
    let rows: Vec<Json> = serde_json::from_str(result.rows.as_str()).expect("rows are JSON");
    let rows = rows.iter();
    rows.map(|row| row.as_object().expect("a row is an object").values().cloned().collect()).collect()
}
