//! `flush`: measures what flushes cost a server, by URL.
//!
//! Each scenario makes tables that nothing but `FLUSH TABLE` flushes, and counts what it wrote before it measures reads:
//! a figure of rows that are not there would be worth nothing, so a count that differs ends the run. Requests are sent,
//! checked and timed as those of `run`.

mod args;
mod query;
mod report;
pub(crate) mod scenario;
pub(crate) mod table;

use crate::failure::Failure;
use crate::run::meter::Meter;
use crate::run::stage::Stage;
use crate::run::{on_stage, say_done};

pub(crate) use args::FlushArgs;
pub(crate) use report::Report;

use scenario::Scenario;

/// What a scenario works with.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    args: &'a FlushArgs,
    stage: &'a mut Stage,
    meter: &'a Meter,
}

/// Runs it all.
///
/// # Errors
/// As [`on_stage`].
pub(crate) async fn run(args: &FlushArgs) -> Result<Report, Failure> {
    let measure =
        async |stage: &mut Stage, meter: &Meter, report: &mut Report| all(Bench { args, stage, meter }, report).await;
    let (report, aborted) = on_stage(&args.measure, Report::new, measure).await?;
    Ok(Report { aborted, ..report })
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
        say_done(scenario.name());
    }
    Ok(())
}
