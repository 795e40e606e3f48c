//! What the way into a statement and back costs: admission, the session, its task, the turn, the answer.
//!
//! Run it as `cargo bench --workspace --bench admission`: with `-p` other features are resolved, and RocksDB is built anew.
//! Each request is refused where its work would begin, so a call is the way alone, waking of threads included; the bar is
//! 25 µs.

use std::sync::Arc;

use divan::Bencher;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{ErrorCode, Identity, NamespaceId, Role, UserId};
use kalamdb_core::{BuildInfo, Engine, EngineArgs, SqlRequest};
use serde_json::{Value as Json, json};

fn main() {
    divan::main();
}

/// A statement for the threads for statements: one hop to the session, one to them, one back. It has a parameter too few.
const PLANNED: &str = "SELECT $1 + $2";
/// An INSERT that plans nothing: started where it comes in. Its table is not there.
const LIGHT: &str = "INSERT INTO missing VALUES ($1, $2)";

#[divan::bench(args = [PLANNED, LIGHT])]
fn there_and_back(bencher: Bencher<'_, '_>, sql: &str) {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let (params, code): (Vec<Json>, _) = match sql {
        PLANNED => (vec![json!(1)], ErrorCode::ParamCountMismatch),
        _ => (vec![json!(1), json!(2)], ErrorCode::TableNotFound),
    };
    let engine = threads.block_on(async {
        let mut settings = Settings::default();
        settings.storage.backend = "memory".to_owned();
        let build = BuildInfo { version: "bench", branch: "bench", commit: "bench" };
        Engine::start(EngineArgs { settings: Arc::new(settings), build }).await.expect("the engine starts")
    });
    let request = SqlRequest {
        identity: Identity { user_id: UserId::new("ann").expect("a user id"), role: Role::User },
        header_user: Ok(None),
        sql: sql.to_owned(),
        params: Arc::new(params),
        namespace: NamespaceId::default_namespace(),
        request_id: "bench".to_owned(),
    };
    let ask = async |engine: Engine, request: SqlRequest| {
        let outcome = engine.execute(request).await;
        assert_eq!(outcome.error.map(|failed| failed.error.code), Some(code));
    };
    // The text is known from the first time on, and the session is open.
    threads.block_on(ask(engine.clone(), request.clone()));
    bencher.bench_local(|| threads.block_on(ask(engine.clone(), request.clone())));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    drop(threads.block_on(engine.stop(deadline)));
}
