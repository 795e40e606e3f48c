//! Live queries that take long to plan: apart from the others, and not for ever.

use kalamdb_live::{LiveCaller, LiveSource};
use kalamdb_wire::{SubscribeOptions, SubscribeRequest};

use super::*;
use crate::live::EngineSource;

fn request(sql: String) -> SubscribeRequest {
    SubscribeRequest {
        query_id: "m".to_owned(),
        sql,
        params: Vec::new(),
        namespace: None,
        user_id: None,
        options: SubscribeOptions::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_turn_to_be_planned_does_not_come_is_out_of_time() {
    let hasty = Server::start_with(|settings| settings.server.request_timeout = Duration::from_millis(300)).await;
    let patient = Server::start().await;
    for server in [&hasty, &patient] {
        let request = Server::request("ann", Role::Dba, "CREATE USER TABLE t (a INT)", Vec::new());
        let (clients, deadline) = (server.tree.clients(), Instant::now() + Duration::from_secs(60));
        let outcome =
            run_request(&server.runtime, &clients, None, &request, None, deadline, &CancellationToken::new()).await.0;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }
    let source = EngineSource::new(Arc::clone(&hasty.runtime));
    let caller = LiveCaller { identity: identity("ann", Role::User), header_user: Ok(None) };
    let chain = |parts: usize| format!("SELECT a{} AS x FROM t", " + a".repeat(parts));
    // As if others were at work at theirs, of which a few are planned at a time.
    let mut others = Vec::new();
    for server in [&hasty, &patient] {
        let all = u32::try_from(server.runtime.heavy_plans().available_permits()).expect("a few");
        others.push(Arc::clone(server.runtime.heavy_plans()).acquire_many_owned(all).await.expect("open"));
    }
    let error = source.compile(&caller, &request(chain(210))).await.expect_err("no turn");
    assert_eq!(error.code, ErrorCode::Timeout, "{error}");
    // What is planned at once does not wait for them.
    let other = EngineSource::new(Arc::clone(&patient.runtime));
    other.compile(&caller, &request(chain(5))).await.expect("it compiles");
    drop(others);
    // Its own turn: however long it takes here, it is one of those.
    let answer = source.compile(&caller, &request(chain(210))).await;
    assert!(answer.as_ref().map_or_else(|error| error.code == ErrorCode::Timeout, |_| true), "{answer:?}");
}
