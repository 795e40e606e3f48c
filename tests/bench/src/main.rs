//! `kalamdb-bench`: puts real data into a running server through its SQL interface, and checks that
//! every user reads back exactly its own rows.
//!
//! It knows the server by URL only. What it expects of an answer it computes itself from the files, so
//! an agreement of both says something about the server.

mod args;
mod caller;
mod dataset;
mod failure;
mod load;
mod report;
mod run;
mod tables;
mod tally;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Load(args) = Args::parse().command;
    match run::run(&args).await {
        Ok(report) => {
            let text = if args.json { report.to_json() } else { report.to_text() };
            // A reader that went away is no failure of the load.
            let _ = writeln!(std::io::stdout(), "{text}");
            if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "kalamdb-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
