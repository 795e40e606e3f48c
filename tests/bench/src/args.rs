//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::flush::FlushArgs;
use crate::live::LiveArgs;
use crate::run::RunArgs;
use crate::scenarios::ScenariosArgs;

/// Loads data into a running KalamDB server and verifies it, or measures the server.
#[derive(Debug, Parser)]
#[command(name = "kalamdb-bench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fill user and shared tables from gzipped files of one JSON object a line, then verify counts,
    /// aggregates and rows of every user. Exit code 1 if anything differs.
    Load(LoadArgs),
    /// Measure the server: inserts, point reads, a mix of both, and its health check as the floor.
    /// Exit code 1 if any answer was wrong or an error.
    Run(RunArgs),
    /// Measure what flushes cost: a flush itself, writers beside it, and reads of flushed rows. Exit
    /// code 1 if any answer was wrong or an error, or rows are not what was written.
    Flush(FlushArgs),
    /// Measure live queries: from an insert to its subscribers, slow ones among them, what writers pay, making
    /// subscriptions, idle connections, those that come and go, first rows. Exit code 1 if a change is missing, comes twice,
    /// or to whom it does not belong, or connections stay behind.
    Live(LiveArgs),
    /// Measure statements of one kind after the other: definitions of tables, inserts, queries, updates, deletes, many
    /// clients. Exit code 1 if any answer was wrong or an error, 2 for a scenario that does not exist.
    Scenarios(ScenariosArgs),
}

/// Where the server is, and how to get in.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,

    /// A token with the role `dba`, used for everything; users are named by X-USER-ID. With neither a
    /// token nor a secret the server's localhost rule must let us in.
    #[arg(long, conflicts_with = "secret")]
    pub(crate) token: Option<String>,

    /// The server's HS256 secret: every user then calls with a token of its own. Without it, and
    /// without a token, the variable KALAMDB__AUTH__JWT_SECRET is looked at, as the server does.
    #[arg(long)]
    pub(crate) secret: Option<String>,
}

/// What everything that measures can be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MeasureArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Runs before each part, unmeasured.
    #[arg(long, default_value = "1s", value_parser = read_duration)]
    pub(crate) warm_up: Duration,

    /// The namespace that holds the tables; they are dropped and made anew, and dropped at the end.
    #[arg(long, default_value = "bench")]
    pub(crate) namespace: String,

    /// Leave the tables where they are.
    #[arg(long)]
    pub(crate) keep: bool,

    /// The server's process, on this machine: its CPU time and memory are reported too.
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,

    /// Threads of this program. One is enough until its own CPU share comes near 100 %.
    #[arg(long, default_value = "1")]
    pub(crate) threads: NonZeroUsize,

    /// Write the report as JSON to this file too, `-` for standard output instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Commits: user_id, id, commit, created_at, subject, body.
    #[arg(long, value_name = "FILE", required_unless_present = "changes")]
    pub(crate) commits: Option<PathBuf>,

    /// Changes: user_id, id, commit_id, path, kind.
    #[arg(long, value_name = "FILE")]
    pub(crate) changes: Option<PathBuf>,

    /// The namespace that holds the tables; they are dropped and made anew.
    #[arg(long, default_value = "activity")]
    pub(crate) namespace: String,

    /// Rows per INSERT.
    #[arg(long, default_value = "500")]
    pub(crate) batch: NonZeroUsize,

    /// Statements under way at the same time, each of another user where the table is a user table.
    #[arg(long, default_value = "8")]
    pub(crate) concurrency: NonZeroUsize,

    /// Take only so many lines of each file.
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<usize>,

    /// Load nothing: verify what an earlier load with the same files and limit left.
    #[arg(long)]
    pub(crate) verify_only: bool,

    /// Print the report as one JSON object, without a progress bar.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number above 0.
///
/// # Errors
/// Anything else.
pub(crate) fn read_positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

/// A duration such as `500ms`.
///
/// # Errors
/// Anything else.
pub(crate) fn read_duration(text: &str) -> Result<Duration, String> {
    kalamdb_commons::parse_duration(text).ok_or_else(|| "expected a duration such as 500ms, 30s or 5m".to_owned())
}
