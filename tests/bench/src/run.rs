//! `run`: measures a server by URL.
//!
//! A run is a list of parts, one for each scenario, target and number of requests in flight. Each has a
//! warm-up that is not measured. Every answer is checked; one that is wrong or an error makes the run a
//! failure. `/health` is measured first, with each number in flight: what it reaches is what the door and
//! this program allow, so every other rate is also told as a share of it.
//!
//! Its stage, its lanes and its figures are those of `flush`, `live` and `scenarios` too.

pub(crate) mod answer;
mod args;
pub(crate) mod connection;
mod drive;
pub(crate) mod latency;
pub(crate) mod meter;
pub(crate) mod pace;
pub(crate) mod process;
pub(crate) mod query;
pub(crate) mod ratio;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod scenario;
pub(crate) mod stage;
pub(crate) mod target;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::args::MeasureArgs;
use crate::caller::Server;
use crate::failure::Failure;

pub(crate) use args::RunArgs;
pub(crate) use connection::Broken;
pub(crate) use report::Report;

use connection::{Address, Connection, Head};
use drive::{Lanes, Part};
use meter::{Meter, Series};
use pace::Pace;
use report::{About, PartReport, Subject};
use scenario::{Health, Insert, Mixed, Operation, PointRead, Scenario, rate_offered};
use stage::{Place, Stage};

/// What is there without any SQL.
pub(crate) const HEALTH: &str = "/health";
/// How long saturation is looked for where the run does not measure it anyway.
const CALIBRATION: Duration = Duration::from_secs(3);

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) address: Address,
    pub(crate) server: Server,
    pub(crate) about: About,
}

/// Asks the server for its health.
///
/// # Errors
/// A server that cannot be asked at all.
pub(crate) async fn begin(args: &MeasureArgs) -> Result<Begun, Failure> {
    let address = Address::parse(&args.server.url)?;
    let server = Server::new(&args.server)?;
    let health = Head::get(&address, HEALTH)?;
    let answer = Connection::open(&address).await?.exchange(&health, bytes::Bytes::new()).await?;
    Ok(Begun { address, server, about: About::new(args, &answer.body) })
}

/// Sets the stage, has `measure` fill a report, and clears the stage. What was measured before a failure is in the
/// report; why it could not be finished comes beside it.
///
/// # Errors
/// A server that cannot be asked at all.
pub(crate) async fn on_stage<R>(
    args: &MeasureArgs,
    report: impl FnOnce(About) -> R,
    measure: impl AsyncFnOnce(&mut Stage, &Meter, &mut R) -> Result<(), Failure>,
) -> Result<(R, Option<String>), Failure> {
    let Begun { address, server, about } = begin(args).await?;
    let mut stage = Stage::set(server, address.clone(), &args.namespace).await?;
    let meter = Meter::new(args, address);
    let mut report = report(about);
    let mut outcome = measure(&mut stage, &meter, &mut report).await;
    if !args.keep {
        outcome = outcome.and(stage.clear().await);
    }
    Ok((report, outcome.err().map(|failure| failure.to_string())))
}

/// Says that a scenario is done: the tables come at the end.
pub(crate) fn say_done(scenario: &str) {
    let _ = writeln!(std::io::stderr(), "{scenario}: done");
}

/// Runs it all.
///
/// # Errors
/// As [`on_stage`].
pub(crate) async fn run(args: &RunArgs) -> Result<Report, Failure> {
    let new = |about| Report::new(args, about);
    let measure =
        async |stage: &mut Stage, meter: &Meter, report: &mut Report| Run { args, meter, report }.all(stage).await;
    let (report, aborted) = on_stage(&args.measure, new, measure).await?;
    Ok(Report { aborted, ..report })
}

/// Each scenario once, however they were given.
fn in_order(scenarios: &[Scenario]) -> Vec<Scenario> {
    let mut scenarios = scenarios.to_vec();
    scenarios.sort_unstable();
    scenarios.dedup();
    scenarios
}

struct Run<'a> {
    args: &'a RunArgs,
    meter: &'a Meter,
    report: &'a mut Report,
}

impl Run<'_> {
    async fn all(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let heads: Arc<[Head]> = [Head::get(&self.meter.address, HEALTH)?].into();
        for in_flight in self.args.in_flight.clone() {
            let subject = Subject { scenario: Scenario::Health, target: None, in_flight: in_flight.get() };
            self.part(subject, Arc::new(Health), &heads, Pace::Closed).await?;
        }
        for target in self.args.targets.clone() {
            let place = stage.place(target, self.args.users.get())?;
            self.target(stage, &place).await?;
        }
        Ok(())
    }

    async fn target(&mut self, stage: &mut Stage, place: &Place) -> Result<(), Failure> {
        let rows = self.args.rows.get() as u64;
        let next_id = Arc::new(AtomicU64::new(rows));
        let mut filled = None;
        if self.args.scenarios.iter().any(|scenario| scenario.reads_rows()) {
            let table = stage.make(place, "rows").await?;
            Stage::fill(place, &table, 0..rows).await?;
            filled = Some(table);
        }
        for scenario in in_order(&self.args.scenarios) {
            for in_flight in self.args.in_flight.clone() {
                let subject = Subject { scenario, target: Some(place.target), in_flight: in_flight.get() };
                match (scenario, &filled) {
                    (Scenario::Insert, _) => self.insert(stage, place, subject).await?,
                    (Scenario::InsertLatency, _) => self.insert_latency(stage, place, subject).await?,
                    (Scenario::PointRead, Some(table)) => {
                        let read = PointRead::new(table, rows, place.callers());
                        self.part(subject, Arc::new(read), &place.heads, Pace::Closed).await?;
                    }
                    (Scenario::Mixed, Some(table)) => {
                        let mixed = Mixed::new(table, rows, place.callers(), Arc::clone(&next_id));
                        self.part(subject, Arc::new(mixed), &place.heads, Pace::Closed).await?;
                    }
                    // Measured already, and it has no target; tables of the other two are filled.
                    (Scenario::Health | Scenario::PointRead | Scenario::Mixed, _) => {}
                }
            }
        }
        Ok(())
    }

    async fn insert(&mut self, stage: &mut Stage, place: &Place, subject: Subject) -> Result<(), Failure> {
        let operation = Arc::new(Insert::new(&stage.make(place, "inserts").await?, place.callers()));
        self.part(subject, operation, &place.heads, Pace::Closed).await
    }

    async fn insert_latency(&mut self, stage: &mut Stage, place: &Place, subject: Subject) -> Result<(), Failure> {
        let pace = if self.args.closed_loop {
            Pace::Closed
        } else {
            let measured = self.report.rate_of(Subject { scenario: Scenario::Insert, ..subject });
            let saturated = match (self.args.rate, measured) {
                (Some(rate), _) => rate,
                (None, Some(rate)) => rate,
                (None, None) => {
                    let operation = Arc::new(Insert::new(&stage.make(place, "inserts").await?, place.callers()));
                    self.saturate(subject, operation, &place.heads).await?
                }
            };
            Pace::Open { rate: rate_offered(self.args.rate, saturated) }
        };
        let operation = Arc::new(Insert::new(&stage.make(place, "inserts").await?, place.callers()));
        self.part(subject, operation, &place.heads, pace).await
    }

    /// What these operations reach in a closed loop.
    async fn saturate(
        &self,
        subject: Subject,
        operation: Arc<dyn Operation>,
        heads: &Arc<[Head]>,
    ) -> Result<f64, Failure> {
        let mut lanes = Lanes::open(&self.meter.address, subject.in_flight).await?;
        let count = self.args.operations(Scenario::InsertLatency);
        let part =
            Part { operation, heads: Arc::clone(heads), first: 0, count, cap: Some(CALIBRATION), pace: Pace::Closed };
        let measured = lanes.run(&part).await?;
        Ok(report::per_second(measured.tally.succeeded(), measured.took))
    }

    /// Warms up, measures, and adds the part to the report.
    async fn part(
        &mut self,
        subject: Subject,
        operation: Arc<dyn Operation>,
        heads: &Arc<[Head]>,
        pace: Pace,
    ) -> Result<(), Failure> {
        let series = Series {
            operation,
            heads: Arc::clone(heads),
            in_flight: subject.in_flight,
            first: 0,
            count: self.args.operations(subject.scenario),
            cap: self.args.duration,
            pace,
        };
        let sample = self.meter.measure(series).await?;
        let health = self.report.rate_of(Subject { scenario: Scenario::Health, target: None, ..subject });
        let report = PartReport::new(subject, sample.figures, health);
        // Shows that it goes on; the table comes at the end.
        let _ = writeln!(std::io::stderr(), "{}", report.line());
        self.report.parts.push(report);
        Ok(())
    }
}
