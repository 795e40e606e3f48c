//! Single-row inserts at a steady rate, without a flush and while one goes on.

use std::sync::Arc;

use serde::Serialize;

use crate::failure::Failure;
use crate::flush::Bench;
use crate::flush::table::{Moved, Table};
use crate::run::meter::{Sample, Series};
use crate::run::pace::Pace;
use crate::run::ratio::{median, ratio};
use crate::run::report::Figures;
use crate::run::scenario::Insert;
use crate::run::target::Target;

/// What writers meet.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WritersReport {
    pub(crate) users: usize,
    /// Rows that were there to be flushed in each round.
    pub(crate) rows: u64,
    pub(crate) in_flight: usize,
    pub(crate) rounds: Vec<Round>,
    /// The median of the rounds.
    pub(crate) p99_ratio: Option<f64>,
}

/// Inserts without a flush, then beside one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    pub(crate) quiet: Figures,
    /// From the beginning of FLUSH TABLE to its answer.
    pub(crate) flushing: Figures,
    pub(crate) flush: Moved,
    /// p99 while flushing, divided by p99 without.
    pub(crate) p99_ratio: Option<f64>,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<WritersReport, Failure> {
    let (users, rows) = (bench.args.users.get(), bench.args.rows.get() as u64);
    let in_flight = bench.args.in_flight.get();
    let table = Table::make(bench.stage, Target::Users, users, "flush_writers").await?;
    let mut state = State { bench, table: &table, next: 0, written: 0 };
    let mut rounds = Vec::new();
    for _ in 0..state.bench.args.rounds.get() {
        rounds.push(state.round(rows).await?);
    }
    // Where an insert failed nobody knows whether its row is there; the run is a failure anyway.
    if !rounds.iter().any(|round| round.quiet.is_bad() || round.flushing.is_bad()) {
        table.expect(state.written).await?;
    }
    let p99_ratio = median(rounds.iter().filter_map(|round| round.p99_ratio).collect());
    Ok(WritersReport { users, rows, in_flight, rounds, p99_ratio })
}

struct State<'a, 'b> {
    bench: &'a Bench<'b>,
    table: &'a Table,
    /// The first id that has not been used.
    next: u64,
    written: u64,
}

impl State<'_, '_> {
    async fn round(&mut self, rows: u64) -> Result<Round, Failure> {
        self.written += self.table.insert(self.next..self.next + rows).await?.rows;
        self.next += rows;

        let mut series = self.series();
        series.cap = Some(self.bench.args.quiet);
        let quiet = self.bench.meter.measure(series).await?;
        self.wrote(&quiet);

        let mut flush = None;
        let until_flushed = async { flush = Some(self.table.flush().await) };
        let flushing = self.bench.meter.measure_until(self.series(), until_flushed).await?;
        self.wrote(&flushing);
        // The lanes end before it only if they got no answers.
        let flush = flush.ok_or_else(|| Failure::Different {
            what: "inserts that were answered during a flush".to_owned(),
            expected: flushing.figures.succeeded + flushing.figures.failed,
            found: flushing.figures.succeeded,
        })??;
        if flush.rows < rows {
            let what = "rows that were flushed beside the writers, at least".to_owned();
            return Err(Failure::Different { what, expected: rows, found: flush.rows });
        }
        let p99 = |figures: &Figures| figures.latency_ms.map(|latency| latency.p99);
        let p99_ratio = p99(&flushing.figures).zip(p99(&quiet.figures)).map(|(during, without)| ratio(during, without));
        Ok(Round { quiet: quiet.figures, flushing: flushing.figures, flush, p99_ratio })
    }

    fn series(&self) -> Series {
        Series {
            operation: Arc::new(Insert::new(&self.table.called, self.table.callers())),
            heads: self.table.heads(),
            in_flight: self.bench.args.in_flight.get(),
            first: self.next,
            count: u64::MAX - self.next,
            cap: None,
            pace: Pace::Open { rate: self.bench.args.rate },
        }
    }

    fn wrote(&mut self, sample: &Sample) {
        self.next = sample.next;
        self.written += sample.in_all;
    }
}
