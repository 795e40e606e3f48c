//! `kalamdb-bench`: puts real data into a running server through its SQL interface and checks that every
//! user reads back exactly its own rows (`load`); measures a server (`run`), what its flushes cost (`flush`), its live queries (`live`), and one kind of
//! statement after the other (`scenarios`).
//!
//! It knows the server by URL only.

mod args;
mod caller;
mod failure;
mod flush;
mod live;
mod load;
mod run;
mod scenarios;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, LoadArgs, MeasureArgs};
use failure::Failure;
use run::report::Told;

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Load(args) => load(&args),
        Command::Run(args) => measure(&args.measure, run::run(&args)),
        Command::Flush(args) => measure(&args.measure, flush::run(&args)),
        Command::Live(args) => measure(&args.measure, live::run(&args)),
        Command::Scenarios(args) if args.list => {
            say(&scenarios::list());
            Ok(true)
        }
        Command::Scenarios(args) => measure(&args.measure, scenarios::run(&args)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "kalamdb-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was as it should be.
fn load(args: &LoadArgs) -> Result<bool, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Thread)?;
    let report = runtime.block_on(load::run(args))?;
    say(&if args.json { report.to_json() } else { report.to_text() });
    Ok(report.differences.is_empty())
}

/// Whether all was as it should be.
fn measure<R: Told>(args: &MeasureArgs, run: impl Future<Output = Result<R, Failure>>) -> Result<bool, Failure> {
    let threads = args.threads.get();
    let mut builder = match threads {
        // Without a pool there is nothing to wake: cheaper for a program that must not be in the way.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads).enable_all().build().map_err(Failure::Thread)?;
    let report = runtime.block_on(run)?;
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => say(&report.to_json()),
        Some(path) => {
            say(&report.to_text());
            let written = std::fs::write(path, report.to_json() + "\n");
            written.map_err(|source| Failure::Report { path: path.to_owned(), source })?;
        }
        None => say(&report.to_text()),
    }
    Ok(report.is_good())
}

fn say(text: &str) {
    // A reader that went away is no failure of the run.
    let _ = writeln!(std::io::stdout(), "{text}");
}
