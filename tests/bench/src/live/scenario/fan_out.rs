//! One user's inserts to many equal subscriptions: how long until the last of them is told.

use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::open_all;
use crate::failure::Failure;
use crate::live::Bench;
use crate::run::latency::{Latencies, Summary};
use crate::run::rows;
use crate::run::target::Target;

/// Subscriptions on each connection.
const EACH: usize = 10;

/// What a change to many takes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FanOutReport {
    pub(crate) subscriptions: usize,
    pub(crate) inserts: u64,
    /// From an insert's request to the last frame of it.
    pub(crate) last_ms: Option<Summary>,
    /// Frames that were told in a second, inserts one after the other.
    pub(crate) changes_per_second: f64,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<FanOutReport, Failure> {
    let connections = bench.args.fan.get().div_ceil(EACH);
    let place = bench.stage.place(Target::OneUser, 1)?;
    let table = bench.stage.make(&place, "fan").await?;
    let caller = &place.callers[0];
    let mut sockets = open_all(&bench.meter.address, &vec![caller.clone(); connections]).await?;
    let sql = format!("SELECT id FROM {table}");
    for socket in &mut sockets {
        socket.subscribe((0..EACH).map(|at| json!({"query_id": format!("q{at}"), "sql": sql})).collect()).await?;
        for _ in 0..EACH {
            socket.expect("subscribed").await?;
        }
    }
    let (mut last, inserts) = (Latencies::default(), bench.args.inserts.get() as u64);
    let begun = Instant::now();
    for id in 0..inserts {
        let params = [json!(id), json!(rows::body(id)), json!(rows::number(id))];
        let start = Instant::now();
        caller.run(&rows::insert(&table), &params).await?;
        for socket in &mut sockets {
            let mut told = [false; EACH];
            for _ in 0..EACH {
                let frame = socket.expect("change").await?;
                let place = (0..EACH).find(|at| frame["query_id"] == format!("q{at}")).map(|at| &mut told[at]);
                let is_new = place.is_some_and(|told| !std::mem::replace(told, true));
                if !is_new || frame["keys"] != json!([id]) {
                    return Err(Failure::Socket(format!("was to tell each subscription of {id}, and said {frame}")));
                }
            }
        }
        last.record(start.elapsed());
    }
    let subscriptions = connections * EACH;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let told = (inserts * subscriptions as u64) as f64;
    let changes_per_second = told / begun.elapsed().as_secs_f64().max(1e-9);
    Ok(FanOutReport { subscriptions, inserts, last_ms: last.summary(), changes_per_second })
}
