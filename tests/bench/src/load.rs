//! A run of `load`: read, fill, verify. What it expects of an answer it computes itself from the files, so
//! an agreement of both says something about the server.

mod dataset;
mod fill;
mod report;
mod tables;
mod tally;
mod verify;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::LoadArgs;
use crate::caller::{Caller, Server};
use crate::failure::Failure;
use dataset::{ByUser, Change, Commit};
use report::Phase;
pub(crate) use report::Report;
use tally::Tally;

/// Runs it all.
///
/// # Errors
/// Input that cannot be read, a server that cannot be asked or refuses. Rows that are not as they
/// should be are in the report.
pub(crate) async fn run(args: &LoadArgs) -> Result<Report, Failure> {
    let commits: Option<ByUser<Commit>> = match &args.commits {
        Some(path) => Some(dataset::read(path, args.limit)?),
        None => None,
    };
    let changes: Option<ByUser<Change>> = match &args.changes {
        Some(path) => Some(dataset::read(path, args.limit)?),
        None => None,
    };
    let server = Server::new(&args.server)?;
    let mut run = Run { args, admin: server.admin()?, server, report: Report::default() };

    let users: BTreeSet<&String> =
        commits.iter().flat_map(|rows| rows.keys()).chain(changes.iter().flat_map(|rows| rows.keys())).collect();
    run.report.users = users.len();
    if !args.verify_only {
        if let Some(rows) = &commits {
            run.load(rows).await?;
        }
        if let Some(rows) = &changes {
            run.load(rows).await?;
        }
    }
    if let Some(rows) = &commits {
        run.verify(rows).await?;
    }
    if let Some(rows) = &changes {
        run.verify(rows).await?;
    }
    if let (Some(commits), Some(changes)) = (&commits, &changes) {
        let began = Instant::now();
        let found = verify::joins(&run.server, args, commits, changes).await?;
        run.report.differences.extend(found);
        run.done("joins, verify", count(changes), began.elapsed());
    }
    Ok(run.report)
}

fn count<T>(rows: &ByUser<T>) -> u64 {
    rows.values().map(|rows| rows.len() as u64).sum()
}

struct Run<'a> {
    args: &'a LoadArgs,
    server: Server,
    admin: Caller,
    report: Report,
}

impl Run<'_> {
    async fn load<T: Tally>(&mut self, rows: &ByUser<T>) -> Result<(), Failure> {
        fill::make_tables::<T>(&self.admin, &self.args.namespace).await?;

        let name = format!("{}, user table", T::TABLE);
        let (progress, began) = (self.progress(&name, count(rows)), Instant::now());
        fill::into_user_table(&self.server, self.args, rows, &progress).await?;
        self.done(&name, count(rows), began.elapsed());

        let name = format!("{}, shared table", T::TABLE);
        progress.reset();
        progress.set_message(name.clone());
        let began = Instant::now();
        fill::into_shared_table(&self.admin, self.args, rows, &progress).await?;
        self.done(&name, count(rows), began.elapsed());
        progress.finish_and_clear();
        Ok(())
    }

    async fn verify<T: Tally>(&mut self, rows: &ByUser<T>) -> Result<(), Failure> {
        let name = format!("{}, verify", T::TABLE);
        let (progress, began) = (self.progress(&name, 2 * count(rows)), Instant::now());
        let mut found = verify::user_table(&self.server, self.args, rows, &progress).await?;
        found.extend(verify::stranger::<T>(&self.server, self.args).await?);
        found.extend(verify::shared_table(&self.admin, self.args, rows, &progress).await?);
        self.report.differences.extend(found);
        progress.finish_and_clear();
        self.done(&name, 2 * count(rows), began.elapsed());
        Ok(())
    }

    fn done(&mut self, name: &str, rows: u64, took: Duration) {
        self.report.phases.push(Phase::new(name.to_owned(), rows, took));
    }

    /// Drawn on the standard error stream, and only on a terminal.
    fn progress(&self, name: &str, rows: u64) -> ProgressBar {
        let target = if self.args.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{msg:<28} {wide_bar} {pos}/{len} rows, {per_sec}, {eta} left")
            .expect("a fixed template");
        ProgressBar::with_draw_target(Some(rows), target).with_style(style).with_message(name.to_owned())
    }
}
