//! Subscribers who read among others who do not: what the former notice of the latter, and what becomes of those.
//!
//! One user's rows, and equal subscriptions to them: a change is written once and handed to all of them, so that this is
//! where one could hold up another.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;

use super::{OPENERS, follow_all, measure_told};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::counts::slow_consumers;
use crate::live::inserts::Inserts;
use crate::live::readers::{Readers, Told};
use crate::live::socket::{Frame, Said, Socket};
use crate::run::latency::Summary;
use crate::run::meter::{Meter, Sample, Series};
use crate::run::pace::Pace;
use crate::run::ratio::ratio;
use crate::run::report::Figures;
use crate::run::target::Target;

/// The close code of a connection that was ended because it did not read.
const SLOW_CONSUMER: u16 = 4408;

/// What slow subscribers do to fast ones.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SlowReport {
    pub(crate) fast: usize,
    pub(crate) slow: usize,
    pub(crate) in_flight: usize,
    /// The fast ones by themselves.
    pub(crate) without: Phase,
    /// The same fast ones while the slow ones are there.
    pub(crate) with: Phase,
    /// The notifications' p50 and p99 with slow ones, divided by those without.
    pub(crate) p50_ratio: Option<f64>,
    pub(crate) p99_ratio: Option<f64>,
    pub(crate) ends: Ends,
}

/// Inserts, and what fast subscribers were told of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Phase {
    pub(crate) insert: Figures,
    /// From an insert's request to the frame that tells of it, at each of the fast ones; none where an insert failed.
    pub(crate) notification_ms: Option<Summary>,
}

/// What became of the slow ones. What they could read when they read at last was in order and without a gap, and each that
/// was ended was told where to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Ends {
    /// As the server counts: connections that it ended because they did not read.
    pub(crate) counted: u64,
    /// Those that found `closed`/`slow_consumer` and the close code of it.
    pub(crate) slow_consumer: u64,
    /// Those for whose changes there was room on the way.
    pub(crate) open: u64,
    /// Those that found a broken connection.
    pub(crate) gone: u64,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<SlowReport, Failure> {
    let (fast, slow) = (bench.args.fast.get(), bench.args.slow.get());
    let in_flight = bench.args.in_flight.get();
    let place = bench.stage.place(Target::OneUser, 1)?;
    let table = bench.stage.make(&place, "slow").await?;
    let (admin, _) = bench.stage.of_admin(&place, "slow");
    let (address, caller) = (&bench.meter.address, &place.callers[0]);
    let sql = format!("SELECT id, body, n FROM {table}");
    let inserts = Arc::new(Inserts::with_text_of(bench.args.body_bytes.get(), &table, 1));
    let series = |first: u64| Series {
        operation: Arc::<Inserts>::clone(&inserts),
        heads: Arc::clone(&place.heads),
        in_flight,
        first,
        count: u64::MAX - first,
        cap: Some(bench.args.duration),
        pace: Pace::Open { rate: bench.args.rate },
    };
    let sockets = follow_all(address, &vec![caller.clone(); fast], &sql).await?;
    let mut readers = Readers::start(sockets);
    let without = measure_told(bench.meter, series(0), &mut readers, fast).await?;
    if !without.figures.is_bad() {
        // What is behind here would be behind there.
        readers.reach(without.in_all * fast as u64).await?;
    }

    let counted_before = slow_consumers(&admin).await?;
    let sockets = open_slow(bench.meter, caller, slow, &sql).await?;
    let with = bench.meter.warmed().measure(series(without.next)).await?;

    let mut told = Vec::new();
    let mut ends = Ends::default();
    if !without.figures.is_bad() && !with.figures.is_bad() {
        told = readers.finish((without.in_all + with.in_all) * fast as u64).await?;
        inserts.check(&told, |_, _| true)?;
        let each = stream::iter(sockets).map(|socket| end_of(socket, with.in_all)).buffer_unordered(OPENERS);
        ends = each.try_fold(Ends::default(), async |all, one| Ok(all.and(one))).await?;
        ends.counted = slow_consumers(&admin).await?.saturating_sub(counted_before);
    }
    let without = phase(&inserts, &told, without);
    let with = phase(&inserts, &told, with);
    let both = with.notification_ms.zip(without.notification_ms);
    let of_both = |quantile: fn(Summary) -> f64| both.map(|(with, without)| ratio(quantile(with), quantile(without)));
    let (p50_ratio, p99_ratio) = (of_both(|ms| ms.p50), of_both(|ms| ms.p99));
    Ok(SlowReport { fast, slow, in_flight, without, with, p50_ratio, p99_ratio, ends })
}

fn phase(inserts: &Inserts, told: &[Told], sample: Sample) -> Phase {
    let ids: Range<u64> = sample.first..sample.next;
    Phase { insert: sample.figures, notification_ms: inserts.until_told(told, &ids).summary() }
}

/// Subscribers who will not read.
async fn open_slow(meter: &Meter, caller: &Caller, count: usize, sql: &str) -> Result<Vec<Socket>, Failure> {
    let one = |_| async {
        let mut socket = Socket::open_narrow(&meter.address, caller).await?;
        socket.follow(sql, json!({})).await?;
        Ok::<Socket, Failure>(socket)
    };
    stream::iter(0..count).map(one).buffered(OPENERS).try_collect().await
}

/// Reads what a slow subscriber was told, to its end or to the last of so many changes.
async fn end_of(mut socket: Socket, expected: u64) -> Result<Ends, Failure> {
    let mut found = Found::default();
    while found.changes < expected {
        match socket.said().await? {
            Said::Text(text) => found.read(&Frame::read(&text)?, &text)?,
            Said::Closed(Some(SLOW_CONSUMER)) if found.is_closed => {
                return Ok(Ends { slow_consumer: 1, ..Ends::default() });
            }
            Said::Closed(code) => {
                return Err(Failure::Socket(format!("of a slow subscriber was closed with code {code:?}")));
            }
            Said::Gone(_) => return Ok(Ends { gone: 1, ..Ends::default() }),
        }
    }
    Ok(Ends { open: 1, ..Ends::default() })
}

/// What a slow subscriber has read so far.
#[derive(Debug, Default)]
struct Found {
    changes: u64,
    last: Option<u64>,
    is_closed: bool,
}

impl Found {
    /// One more frame.
    ///
    /// # Errors
    /// A change that does not come after the one before it, and an end that is not that of a slow consumer or does not say
    /// where to go on.
    fn read(&mut self, frame: &Frame<'_>, text: &str) -> Result<(), Failure> {
        let wrong = || Err(Failure::Socket(format!("of a slow subscriber told it, after {:?}, {text}", self.last)));
        match frame.kind {
            "change" if !self.is_closed && frame.seq.is_some() && frame.seq > self.last => {
                self.last = frame.seq;
                self.changes += frame.keys.len() as u64;
            }
            "closed" if !self.is_closed && frame.reason == Some("slow_consumer") => {
                let goes_on = frame.resume_seq.is_some() && self.last.is_none_or(|last| frame.resume_seq == Some(last));
                if !goes_on {
                    return wrong();
                }
                self.is_closed = true;
            }
            "progress" => {}
            _ => return wrong(),
        }
        Ok(())
    }
}

impl Ends {
    fn and(self, other: Self) -> Self {
        Self {
            counted: self.counted + other.counted,
            slow_consumer: self.slow_consumer + other.slow_consumer,
            open: self.open + other.open,
            gone: self.gone + other.gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(texts: &[&str]) -> Result<Found, String> {
        let mut found = Found::default();
        for text in texts {
            let frame = Frame::read(text).map_err(|error| error.to_string())?;
            found.read(&frame, text).map_err(|error| error.to_string())?;
        }
        Ok(found)
    }

    const FIRST: &str = r#"{"type":"change","keys":[1],"seq":40}"#;
    const SECOND: &str = r#"{"type":"change","keys":[2],"seq":41}"#;
    const CLOSED: &str = r#"{"type":"closed","reason":"slow_consumer","resume_seq":41}"#;

    #[test]
    fn an_end_says_where_to_go_on() {
        let found = read_all(&[FIRST, r#"{"type":"progress","seq":40}"#, SECOND, CLOSED]).unwrap();
        assert_eq!((found.changes, found.last, found.is_closed), (2, Some(41), true));
        assert!(read_all(&[CLOSED]).unwrap().is_closed, "nothing of it was written");
        assert!(read_all(&[FIRST, CLOSED]).is_err(), "a change is missing");
        assert!(read_all(&[r#"{"type":"closed","reason":"slow_consumer"}"#]).is_err());
        assert!(read_all(&[r#"{"type":"closed","reason":"killed","resume_seq":41}"#]).is_err());
    }

    #[test]
    fn changes_come_in_order() {
        assert!(read_all(&[SECOND, FIRST]).is_err());
        assert!(read_all(&[FIRST, FIRST]).is_err());
        assert!(read_all(&[CLOSED, SECOND]).is_err());
    }
}
