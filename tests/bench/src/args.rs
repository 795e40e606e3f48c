//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::run::RunArgs;

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
