//! Many subscriptions are made: how many a second.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;

use super::{OPENERS, open_all};
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::socket::Socket;
use crate::run::target::Target;

/// What subscriptions cost to make.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SubscribeReport {
    pub(crate) connections: usize,
    pub(crate) subscriptions: usize,
    /// From the first request to the last `subscribed`, connections being open.
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<SubscribeReport, Failure> {
    let (connections, each) = (bench.args.users.get(), bench.args.each.get());
    let place = bench.stage.place(Target::Users, connections)?;
    let table = bench.stage.make(&place, "subscribed").await?;
    let sockets = open_all(&bench.meter.address, &place.callers).await?;
    let sql = format!("SELECT id, body FROM {table} WHERE n > $1");
    let one = |mut socket: Socket| {
        let list = (0..each).map(|at| json!({"query_id": format!("q{at}"), "sql": sql, "params": [at]})).collect();
        async move {
            socket.subscribe(list).await?;
            for _ in 0..each {
                socket.expect("subscribed").await?;
            }
            Ok::<Socket, Failure>(socket)
        }
    };
    let begun = Instant::now();
    let sockets: Vec<Socket> = stream::iter(sockets).map(one).buffer_unordered(OPENERS).try_collect().await?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(sockets);
    let subscriptions = connections * each;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = subscriptions as f64 / seconds.max(1e-9);
    Ok(SubscribeReport { connections, subscriptions, seconds, per_second })
}
