//! Where a scenario's rows lie, and who asks for them.

use clap::ValueEnum;
use serde::Serialize;

use crate::caller::{Caller, Server};
use crate::failure::Failure;

/// Where the rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// In the partition of one user.
    OneUser,
    /// In the partitions of many users; each request is another user's.
    Users,
    /// In one shared table.
    Shared,
}

impl Target {
    /// Its name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneUser => "one-user",
            Self::Users => "users",
            Self::Shared => "shared",
        }
    }

    /// The callers of its requests: one, or one for each user.
    ///
    /// # Errors
    /// When no token can be made.
    pub(crate) fn callers(self, server: &Server, users: usize) -> Result<Vec<Caller>, Failure> {
        match self {
            Self::OneUser => Ok(vec![server.user("bench-one")?]),
            Self::Users => (0..users).map(|number| server.user(&format!("bench-{number}"))).collect(),
            Self::Shared => Ok(vec![server.admin()?]),
        }
    }

    /// What a table of this target is called by its callers.
    pub(crate) fn table(self, caller: &Caller, namespace: &str, table: &str) -> String {
        match self {
            Self::OneUser | Self::Users => caller.user_table(namespace, table),
            Self::Shared => format!("{namespace}.{table}"),
        }
    }

    /// The word of CREATE TABLE.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::OneUser | Self::Users => "USER",
            Self::Shared => "SHARED",
        }
    }
}
