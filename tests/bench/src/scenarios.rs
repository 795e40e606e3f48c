//! `scenarios`: what single statements and small sequences of them cost, by URL: a scenario a file, by name or all.
//!
//! Every scenario has a namespace of its own under a name that nobody else has, which is dropped after it. Before the first,
//! `/health` is measured with every number in flight that will be used. A scenario that cannot be finished does not keep the
//! others from running, and makes the run a failure, as every answer that is wrong or an error does.

mod aggregate;
mod alter_table;
mod args;
mod concurrent_selects;
mod create_table;
mod crud;
mod ddl;
mod delete;
mod delete_range;
mod drop_table;
mod flushed_aggregate;
mod flushed_lookup;
mod ground;
mod insert;
mod insert_batch;
mod insert_large;
mod insert_wide;
mod join;
mod mixed;
mod order_limit;
mod point_lookup;
mod report;
mod scenario;
mod select_all;
mod select_count;
mod select_filter;
mod steps;
mod update;
mod wide;
mod wide_results;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;
use crate::run::connection::Head;
use crate::run::meter::{Meter, Sample, Series};
use crate::run::pace::Pace;
use crate::run::scenario::{Health, Operation};
use crate::run::stage::Stage;
use crate::run::{Begun, HEALTH, begin};

pub(crate) use args::ScenariosArgs;
pub(crate) use report::Report;

use ground::{Ground, Prepared};
use report::{Line, Unfinished};
use scenario::{ALL, HEALTH_KIND, HEALTH_NAME, HEALTH_TIMES, Scenario};

/// What there is, a line each.
pub(crate) fn list() -> String {
    let width = ALL.iter().map(|scenario| scenario.name().len()).max().unwrap_or_default();
    let line = |scenario: &&dyn Scenario| format!("{:<width$}  {}", scenario.name(), scenario.about());
    ALL.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs those that are asked for.
///
/// # Errors
/// A server that cannot be asked at all.
pub(crate) async fn run(args: &ScenariosArgs) -> Result<Report, Failure> {
    // As many connections as the system gives; too few are found out when they are opened.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let begun = begin(&args.measure).await?;
    let meter = Meter::new(&args.measure, begun.address.clone());
    let mut run = Run { args, meter: &meter, report: Report::new(begun.about.clone()) };
    let chosen = args.chosen();
    let used: BTreeSet<NonZeroUsize> = chosen.iter().flat_map(|scenario| scenario.in_flight(args)).collect();
    for in_flight in used {
        run.health(in_flight).await?;
    }
    let mark = mark();
    for scenario in chosen {
        if let Err(failure) = run.scenario(scenario, &begun, &mark).await {
            let unfinished = Unfinished { scenario: scenario.name(), why: failure.to_string() };
            let _ = writeln!(std::io::stderr(), "{unfinished}");
            run.report.unfinished.push(unfinished);
        }
    }
    Ok(run.report)
}

/// What tells the namespaces of this run from those of any other.
fn mark() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    format!("{since:x}_{:x}", std::process::id())
}

struct Run<'a> {
    args: &'a ScenariosArgs,
    meter: &'a Meter,
    report: Report,
}

impl Run<'_> {
    async fn health(&mut self, in_flight: NonZeroUsize) -> Result<(), Failure> {
        let heads: Arc<[Head]> = [Head::get(&self.meter.address, HEALTH)?].into();
        let count = self.args.operations(HEALTH_TIMES);
        let sample = self.sample(Arc::new(Health), &heads, in_flight, 0, count).await?;
        self.report.add(HEALTH_NAME, HEALTH_KIND, in_flight, sample.figures);
        Ok(())
    }

    /// In a namespace that is gone afterwards, however it went.
    async fn scenario(&mut self, scenario: &dyn Scenario, begun: &Begun, mark: &str) -> Result<(), Failure> {
        let namespace = format!("{}_{mark}_{}", self.args.measure.namespace, scenario.name().replace('-', "_"));
        let mut stage = Stage::set(begun.server.clone(), begun.address.clone(), &namespace).await?;
        let mut outcome = self.on_stage(scenario, &mut stage).await;
        if !self.args.measure.keep {
            outcome = outcome.and(stage.raze().await);
        }
        outcome
    }

    /// Every number in flight works on the same tables, and goes on with the numbers after those of the one before.
    async fn on_stage(&mut self, scenario: &dyn Scenario, stage: &mut Stage) -> Result<(), Failure> {
        let mut ground = Ground { stage, args: self.args };
        let Prepared { operation, heads, left } = scenario.prepare(&mut ground).await?;
        let count = self.args.operations(scenario.times());
        let (mut next, mut right, mut all_right) = (0, 0, true);
        for in_flight in scenario.in_flight(self.args) {
            let sample = self.sample(Arc::clone(&operation), &heads, in_flight, next, count).await?;
            next = sample.next;
            right += sample.in_all;
            all_right &= !sample.figures.is_bad();
            self.report.add(scenario.name(), scenario.kind(), in_flight, sample.figures);
        }
        match left {
            // What failed may have left anything, and is told already.
            Some(left) if all_right => left.check(right).await,
            _ => Ok(()),
        }
    }

    async fn sample(
        &self,
        operation: Arc<dyn Operation>,
        heads: &Arc<[Head]>,
        in_flight: NonZeroUsize,
        first: u64,
        count: u64,
    ) -> Result<Sample, Failure> {
        let series = Series {
            operation,
            heads: Arc::clone(heads),
            in_flight: in_flight.get(),
            first,
            count,
            cap: self.args.duration,
            pace: Pace::Closed,
        };
        self.meter.measure(series).await
    }
}

impl Report {
    /// Adds a line, and shows that it goes on: the table comes at the end.
    fn add(
        &mut self,
        scenario: &'static str,
        kind: &'static str,
        in_flight: NonZeroUsize,
        figures: crate::run::report::Figures,
    ) {
        let health = self.parts.iter().find(|line| line.scenario == HEALTH_NAME && line.in_flight == in_flight.get());
        let health = health.map(|line| line.figures.rate).filter(|rate| *rate > 0.0);
        let share_of_health = health.map(|rate| figures.rate / rate);
        let line = Line { scenario, kind, in_flight: in_flight.get(), share_of_health, figures };
        let _ = writeln!(std::io::stderr(), "{}", line.in_table().said());
        self.parts.push(line);
    }
}
