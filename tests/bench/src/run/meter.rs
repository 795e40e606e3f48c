//! One part after the other: a warm-up, then what is measured, with what both processes used meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crate::args::MeasureArgs;
use crate::failure::Failure;

use super::connection::{Address, Head};
use super::drive::{Lanes, Part};
use super::pace::Pace;
use super::process::Process;
use super::report::Figures;
use super::scenario::Operation;

/// What measures.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) address: Address,
    own: Process,
    /// The process of `--server-pid`.
    pub(crate) server: Option<Process>,
    warm_up: Duration,
}

/// What is to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) operation: Arc<dyn Operation>,
    /// One for each caller.
    pub(crate) heads: Arc<[Head]>,
    pub(crate) in_flight: usize,
    /// Number of the first operation of the warm-up.
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// An end after that time even if operations are left.
    pub(crate) cap: Option<Duration>,
    pub(crate) pace: Pace,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Without the warm-up, but for what failed in it.
    pub(crate) figures: Figures,
    /// Right answers, those of the warm-up too.
    pub(crate) in_all: u64,
    /// The number of the first operation behind the warm-up.
    pub(crate) first: u64,
    /// The number after the last operation that was taken.
    pub(crate) next: u64,
}

impl Meter {
    pub(crate) fn new(args: &MeasureArgs, address: Address) -> Self {
        let server = args.server_pid.map(Process::with_pid);
        Self { address, own: Process::own(), server, warm_up: args.warm_up }
    }

    /// Only warms up, so that what it sets off can be waited for before something is measured.
    ///
    /// # Errors
    /// As for [`Self::measure`].
    pub(crate) async fn warm_up(&self, series: Series) -> Result<Sample, Failure> {
        self.measure(Series { cap: Some(Duration::ZERO), pace: Pace::Closed, ..series }).await
    }

    /// The same without a warm-up: for what goes on where something else was measured.
    pub(crate) fn warmed(&self) -> Self {
        Self { warm_up: Duration::ZERO, ..self.clone() }
    }

    /// The server's resident memory; none where it is not known.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.server.as_ref().and_then(Process::usage).map(|usage| usage.rss_bytes)
    }

    /// Warms up, measures.
    ///
    /// # Errors
    /// Only where this program breaks, or nobody listens.
    pub(crate) async fn measure(&self, series: Series) -> Result<Sample, Failure> {
        self.measure_until(series, std::future::pending()).await
    }

    /// Warms up, measures; an open loop ends with `stop` too, which begins when the warm-up has ended.
    ///
    /// # Errors
    /// As for [`Self::measure`].
    pub(crate) async fn measure_until(
        &self,
        series: Series,
        stop: impl Future<Output = ()>,
    ) -> Result<Sample, Failure> {
        let Series { operation, heads, in_flight, first, count, cap, pace } = series;
        let mut lanes = Lanes::open(&self.address, in_flight).await?;
        let mut part = Part { operation, heads, first, count: u64::MAX, cap: Some(self.warm_up), pace: Pace::Closed };
        let warm_up = lanes.run(&part).await?;
        part = Part { first: warm_up.next, count, cap, pace, ..part };

        let usage = |process: Option<&Process>| process.and_then(Process::usage);
        let before = (self.own.usage(), usage(self.server.as_ref()));
        let mut measured = lanes.run_until(&part, stop).await?;
        let after = (self.own.usage(), usage(self.server.as_ref()));
        measured.tally.add_failures(&warm_up.tally);

        let figures = Figures::new(pace, &measured).with_client(before.0, after.0).with_server(before.1, after.1);
        let in_all = warm_up.tally.succeeded() + measured.tally.succeeded();
        Ok(Sample { figures, in_all, first: warm_up.next, next: measured.next })
    }
}
