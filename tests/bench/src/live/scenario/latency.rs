//! From an insert to its subscriber: measured from right before the request is sent to right after the frame is read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep_until};

use super::open_all;
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::socket::Socket;
use crate::run::answer::changed_one_row;
use crate::run::connection::{Address, Connection, Head};
use crate::run::latency::{Latencies, Summary};
use crate::run::rows;
use crate::run::target::Target;

/// What a change takes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyReport {
    pub(crate) users: usize,
    pub(crate) in_flight: usize,
    pub(crate) offered_rate: f64,
    pub(crate) inserts: u64,
    /// From an insert's request to its answer.
    pub(crate) insert_ms: Option<Summary>,
    /// From an insert's request to the frame that tells its subscriber.
    pub(crate) notification_ms: Option<Summary>,
    /// p50 of the notification divided by that of the insert.
    pub(crate) p50_ratio: Option<f64>,
}

/// Of each insert, by its id.
type Moments = Arc<Vec<OnceLock<Instant>>>;

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<LatencyReport, Failure> {
    let (users, in_flight, rate) = (bench.args.users.get(), bench.args.in_flight.get(), bench.args.rate);
    let place = bench.stage.place(Target::Users, users)?;
    let table = bench.stage.make(&place, "live").await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of inserts")]
    let count = ((rate * bench.args.duration.as_secs_f64()) as u64).max(1);
    let starts: Moments = Arc::new((0..count).map(|_| OnceLock::new()).collect());
    let ends: Moments = Arc::new((0..count).map(|_| OnceLock::new()).collect());
    let mut sockets = open_all(&bench.meter.address, &place.callers).await?;
    for socket in &mut sockets {
        socket.follow(&format!("SELECT id FROM {table}"), serde_json::json!({})).await?;
    }
    let received = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for (user, socket) in sockets.into_iter().enumerate() {
        let reader = Reader { user, users, ends: Arc::clone(&ends), received: Arc::clone(&received) };
        readers.spawn(reader.read(socket));
    }
    let begun = Instant::now() + Duration::from_millis(100);
    let mut writers = JoinSet::new();
    for number in 0..in_flight {
        let lane = Lane {
            address: bench.meter.address.clone(),
            heads: Arc::clone(&place.heads),
            sql: rows::insert(&table),
            starts: Arc::clone(&starts),
            begun,
            rate,
        };
        writers.spawn(lane.write(lane_of(number as u64, in_flight as u64, count)));
    }
    let mut inserts = Latencies::default();
    while let Some(lane) = writers.join_next().await {
        inserts.add(&lane??);
    }
    // What was acknowledged is told; how soon is what the readers know.
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let deadline = Instant::now() + Duration::from_secs(30);
    while received.load(Ordering::Acquire) < count && Instant::now() < deadline {
        ticks.tick().await;
    }
    let found = received.load(Ordering::Acquire);
    if found != count {
        return Err(Failure::Different { what: "changes that were told".to_owned(), expected: count, found });
    }
    readers.abort_all();
    while let Some(reader) = readers.join_next().await {
        if let Ok(Err(failure)) = reader {
            return Err(failure);
        }
    }
    let mut notifications = Latencies::default();
    for told in ends.iter().zip(starts.iter()).filter_map(|(end, start)| Some(*end.get()? - *start.get()?)) {
        notifications.record(told);
    }
    let (insert_ms, notification_ms) = (inserts.summary(), notifications.summary());
    let p50_ratio = insert_ms.zip(notification_ms).map(|(insert, told)| told.p50 / insert.p50.max(1e-9));
    Ok(LatencyReport {
        users,
        in_flight,
        offered_rate: rate,
        inserts: inserts.count(),
        insert_ms,
        notification_ms,
        p50_ratio,
    })
}

fn lane_of(lane: u64, lanes: u64, count: u64) -> impl Iterator<Item = u64> + Send {
    (lane..count).step_by(usize::try_from(lanes).unwrap_or(usize::MAX).max(1))
}

/// Whose row an insert is.
fn user_of(id: u64, users: usize) -> usize {
    usize::try_from(rows::scatter(id)).unwrap_or_default() % users.max(1)
}

struct Reader {
    user: usize,
    users: usize,
    ends: Moments,
    received: Arc<AtomicU64>,
}

impl Reader {
    /// Notes when each change was told; ends when it is aborted, or something is wrong.
    async fn read(self, mut socket: Socket) -> Result<(), Failure> {
        loop {
            let text = socket.text().await?;
            let now = Instant::now();
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            if frame["type"] == "progress" {
                continue;
            }
            let rows = frame["rows"].as_array().filter(|_| frame["type"] == "change");
            let Some(rows) = rows else { return Err(Failure::Socket(format!("was to say change, and said {text}"))) };
            for id in rows.iter().filter_map(|row| row["id"].as_u64()) {
                let place = usize::try_from(id).ok().and_then(|id| self.ends.get(id));
                let is_new = user_of(id, self.users) == self.user && place.is_some_and(|place| place.set(now).is_ok());
                if !is_new {
                    return Err(Failure::Socket(format!("told of {id} twice, or of another's row")));
                }
                self.received.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

struct Lane {
    address: Address,
    heads: Arc<[Head]>,
    sql: String,
    starts: Moments,
    begun: Instant,
    rate: f64,
}

impl Lane {
    async fn write(self, ids: impl Iterator<Item = u64> + Send) -> Result<Latencies, Failure> {
        let mut connection = Connection::open(&self.address).await?;
        let mut took = Latencies::default();
        for id in ids {
            let mut body = format!("{{\"sql\":\"{}\",\"params\":[", self.sql);
            rows::write_params(&mut body, id);
            body.push_str("]}");
            let user = user_of(id, self.heads.len());
            #[expect(clippy::cast_precision_loss, reason = "numbers of inserts")]
            let due = self.begun + Duration::from_secs_f64(id as f64 / self.rate);
            sleep_until(due.into()).await;
            let start = Instant::now();
            if let Some(place) = self.starts.get(usize::try_from(id).unwrap_or(usize::MAX)) {
                let _ = place.set(start);
            }
            let answer = connection.exchange(&self.heads[user], Bytes::from(body)).await?;
            took.record(start.elapsed());
            if answer.status != 200 || !changed_one_row(&answer.body) {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(Failure::Malformed { asked: "an insert".to_owned(), problem: said });
            }
        }
        Ok(took)
    }
}
