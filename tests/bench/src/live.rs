//! `live`: measures live queries of a server, by URL: how long a change takes to its subscribers, how many
//! subscriptions can be made, what they cost in memory, and how long their first rows take.
//!
//! Every change that is due has to come, once and to whom it belongs: a run in which one is missing is a failure.

mod args;
mod report;
mod scenario;
mod socket;

use std::io::Write as _;

use crate::failure::Failure;
use crate::run::meter::Meter;
use crate::run::stage::Stage;

pub(crate) use args::LiveArgs;
pub(crate) use report::Report;

use scenario::Scenario;

/// What a scenario works with.
#[derive(Debug)]
struct Bench<'a> {
    args: &'a LiveArgs,
    stage: &'a mut Stage,
    meter: &'a Meter,
}

/// Runs it all. What was measured before a failure is in the report, and the failure too.
///
/// # Errors
/// A server that cannot be asked at all.
pub(crate) async fn run(args: &LiveArgs) -> Result<Report, Failure> {
    // As many connections as the system gives; too few are found out when they are opened.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
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
            Scenario::Latency => report.latency = Some(scenario::latency::measure(&mut bench).await?),
            Scenario::FanOut => report.fan_out = Some(scenario::fan_out::measure(&mut bench).await?),
            Scenario::Subscribe => report.subscribe = Some(scenario::subscribe::measure(&mut bench).await?),
            Scenario::Idle => report.idle = Some(scenario::idle::measure(&mut bench).await?),
            Scenario::InitialRows => report.initial_rows = scenario::initial_rows::measure(&mut bench).await?,
        }
        // Shows that it goes on; the tables come at the end.
        let _ = writeln!(std::io::stderr(), "{}: done", scenario.name());
    }
    Ok(())
}
