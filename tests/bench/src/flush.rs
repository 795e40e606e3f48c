//! `flush`: measures what flushes cost a server, by URL.
//!
//! Each scenario makes tables that nothing but `FLUSH TABLE` flushes, and counts what it wrote before it measures reads:
//! a figure of rows that are not there would be worth nothing, so a count that differs ends the run. Requests are sent,
//! checked and timed as those of `run`.

mod args;
mod query;
mod report;
mod scenario;
mod table;

use std::io::Write as _;

use crate::failure::Failure;
use crate::run::meter::Meter;
use crate::run::stage::Stage;

pub(crate) use args::FlushArgs;
pub(crate) use report::Report;

use scenario::Scenario;

/// What a scenario works with.
#[derive(Debug)]
struct Bench<'a> {
    args: &'a FlushArgs,
    stage: &'a mut Stage,
    meter: &'a Meter,
}

/// Runs it all. What was measured before a failure is in the report, and the failure too.
///
/// # Errors
/// A server that cannot be asked at all.
pub(crate) async fn run(args: &FlushArgs) -> Result<Report, Failure> {
    let (mut stage, meter, about) = crate::run::begin(&args.measure).await?;
    let mut report = Report::new(about);
    let mut outcome = all(Bench { args, stage: &mut stage, meter: &meter }, &mut report).await;
    if !args.measure.keep {
        outcome = outcome.and(stage.clear().await);
    }
    report.aborted = outcome.err().map(|failure| failure.to_string());
    Ok(report)
}

async fn all(mut bench: Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    for scenario in Scenario::ALL {
        if !bench.args.scenarios.contains(&scenario) {
            continue;
        }
        match scenario {
            Scenario::Fill => report.fill = Some(scenario::fill::measure(&mut bench).await?),
            Scenario::Writers => report.writers = Some(scenario::writers::measure(&mut bench).await?),
            Scenario::PointRead => report.point_read = Some(scenario::point_read::measure(&mut bench).await?),
            Scenario::Aggregate => report.aggregate = Some(scenario::aggregate::measure(&mut bench).await?),
            Scenario::SmallFlushes => report.small_flushes = Some(scenario::small_flushes::measure(&mut bench).await?),
        }
        // Shows that it goes on; the tables come at the end.
        let _ = writeln!(std::io::stderr(), "{}: done", scenario.name());
    }
    Ok(())
}

/// How many times as much.
fn ratio(one: f64, other: f64) -> f64 {
    one / other.max(1e-9)
}
