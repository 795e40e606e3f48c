//! `run`: measures a server by URL.
//!
//! A run is a list of parts, one for each scenario, target and number of requests in flight. Each has a
//! warm-up that is not measured. Every answer is checked; one that is wrong or an error makes the run a
//! failure. `/health` is measured first, with each number in flight: what it reaches is what the door and
//! this program allow, so every other rate is also told as a share of it.

mod answer;
mod args;
mod connection;
mod drive;
mod latency;
mod pace;
mod process;
mod report;
mod rows;
mod scenario;
mod stage;
mod target;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::caller::Server;
use crate::failure::Failure;

pub(crate) use args::RunArgs;
pub(crate) use connection::Broken;
pub(crate) use report::Report;

use connection::{Address, Connection, Head};
use drive::{Lanes, Part};
use pace::Pace;
use process::Process;
use report::{PartReport, Subject};
use scenario::{Health, Insert, Mixed, Operation, PointRead, Scenario, rate_offered};
use stage::{Place, Stage};

/// How long saturation is looked for where the run does not measure it anyway.
const CALIBRATION: Duration = Duration::from_secs(3);

/// Runs it all. What was measured before a failure is in the report, and the failure too.
///
/// # Errors
/// A server that cannot be asked at all.
pub(crate) async fn run(args: &RunArgs) -> Result<Report, Failure> {
    let address = Address::parse(&args.server.url)?;
    let server = Server::new(&args.server)?;
    let health = Head::get(&address, "/health")?;
    let answer = Connection::open(&address).await?.exchange(&health, bytes::Bytes::new()).await?;
    let mut stage = Stage::set(server, address.clone(), &args.namespace).await?;
    let mut run = Run {
        args,
        address,
        own: Process::own(),
        server: args.server_pid.map(Process::with_pid),
        report: Report::new(args, &answer.body),
    };
    let mut outcome = run.all(&mut stage, health).await;
    if !args.keep {
        outcome = outcome.and(stage.clear().await);
    }
    run.report.aborted = outcome.err().map(|failure| failure.to_string());
    Ok(run.report)
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
    address: Address,
    own: Process,
    server: Option<Process>,
    report: Report,
}

impl Run<'_> {
    async fn all(&mut self, stage: &mut Stage, health: Head) -> Result<(), Failure> {
        let heads: Arc<[Head]> = [health].into();
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
            Stage::fill(place, &table, rows).await?;
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
        let mut lanes = Lanes::open(&self.address, subject.in_flight).await?;
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
        let mut lanes = Lanes::open(&self.address, subject.in_flight).await?;
        let mut part = Part {
            operation,
            heads: Arc::clone(heads),
            first: 0,
            count: u64::MAX,
            cap: Some(self.args.warm_up),
            pace: Pace::Closed,
        };
        let warm_up = lanes.run(&part).await?;
        part.first = warm_up.next;
        part.count = self.args.operations(subject.scenario);
        part.cap = self.args.duration;
        part.pace = pace;

        let usage = |process: Option<&Process>| process.and_then(Process::usage);
        let before = (self.own.usage(), usage(self.server.as_ref()));
        let mut measured = lanes.run(&part).await?;
        let after = (self.own.usage(), usage(self.server.as_ref()));
        measured.tally.add_failures(&warm_up.tally);

        let health = self.report.rate_of(Subject { scenario: Scenario::Health, target: None, ..subject });
        let report = PartReport::new(subject, pace, &measured, health)
            .with_client(before.0, after.0)
            .with_server(before.1, after.1);
        // Shows that it goes on; the table comes at the end.
        let _ = writeln!(std::io::stderr(), "{}", report.line());
        self.report.parts.push(report);
        Ok(())
    }
}
