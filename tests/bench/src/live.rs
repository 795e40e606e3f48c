//! `live`: measures live queries of a server, by URL: how long a change takes to its subscribers, what writers pay for it,
//! how many subscriptions can be made, what they cost in memory and leave behind, and how long their first rows take.
//!
//! Every change that is due has to come, once and to whom it belongs: a run in which one is missing is a failure. So is
//! one in which the server counts more connections or subscriptions after a scenario than before it.

mod args;
mod counts;
mod inserts;
mod readers;
mod report;
mod scenario;
mod socket;

use crate::failure::Failure;
use crate::run::meter::Meter;
use crate::run::stage::Stage;
use crate::run::{on_stage, say_done};

pub(crate) use args::LiveArgs;
pub(crate) use report::Report;

use counts::Counts;
use scenario::Scenario;

/// What a scenario works with.
#[derive(Debug)]
struct Bench<'a> {
    args: &'a LiveArgs,
    stage: &'a mut Stage,
    meter: &'a Meter,
}

/// Runs it all.
///
/// # Errors
/// As [`on_stage`].
pub(crate) async fn run(args: &LiveArgs) -> Result<Report, Failure> {
    // As many connections as the system gives; too few are found out when they are opened.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let measure =
        async |stage: &mut Stage, meter: &Meter, report: &mut Report| all(Bench { args, stage, meter }, report).await;
    let (report, aborted) = on_stage(&args.measure, Report::new, measure).await?;
    Ok(Report { aborted, ..report })
}

async fn all(mut bench: Bench<'_>, report: &mut Report) -> Result<(), Failure> {
    let admin = bench.stage.admin().clone();
    let counts = Counts::read(&admin).await?;
    for scenario in Scenario::ALL {
        if !bench.args.scenarios.contains(&scenario) {
            continue;
        }
        match scenario {
            Scenario::Latency => report.latency = Some(scenario::latency::measure(&mut bench).await?),
            Scenario::FanOut => report.fan_out = Some(scenario::fan_out::measure(&mut bench).await?),
            Scenario::Slow => report.slow = Some(scenario::slow::measure(&mut bench).await?),
            Scenario::Writers => report.writers = Some(scenario::writers::measure(&mut bench).await?),
            Scenario::Subscribe => report.subscribe = Some(scenario::subscribe::measure(&mut bench).await?),
            Scenario::Idle => report.idle = Some(scenario::idle::measure(&mut bench).await?),
            Scenario::Churn => report.churn = Some(scenario::churn::measure(&mut bench).await?),
            Scenario::InitialRows => report.initial_rows = scenario::initial_rows::measure(&mut bench).await?,
        }
        // The next one is not to measure how this one's connections end.
        counts.settle(&admin).await?;
        say_done(scenario.name());
    }
    Ok(())
}
