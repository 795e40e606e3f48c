//! Who calls, and what kinds of tables there are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorCode, UserId};

/// What a caller may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its own partitions, and reading public shared tables.
    User,
    /// Any user's partition, shared tables, flushes and status.
    Service,
    /// Everything.
    Dba,
    /// Everything; the role of the localhost rule.
    System,
}

impl Role {
    /// The role's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Dba => "dba",
            Self::System => "system",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    /// Reads a role that may be claimed: `system` is given by the localhost rule only.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "user" => Ok(Self::User),
            "service" => Ok(Self::Service),
            "dba" => Ok(Self::Dba),
            _ => Err(Error::new(
                ErrorCode::Unauthorized,
                format!("unknown role {text:?}: expected user, service or dba"),
            )),
        }
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The caller's own id.
    pub user_id: UserId,
    /// What it may do.
    pub role: Role,
}

/// The three kinds of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableType {
    /// One private partition per user.
    User,
    /// One set of rows for everybody.
    Shared,
    /// Per user, in memory, expiring.
    Stream,
}

impl TableType {
    /// The kind's name as in `WITH (type = '…')`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Shared => "shared",
            Self::Stream => "stream",
        }
    }

    /// Whether each user has a partition of its own.
    #[must_use]
    pub fn is_per_user(self) -> bool {
        match self {
            Self::User | Self::Stream => true,
            Self::Shared => false,
        }
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TableType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "user" => Ok(Self::User),
            "shared" => Ok(Self::Shared),
            "stream" => Ok(Self::Stream),
            _ => Err(Error::new(
                ErrorCode::InvalidOption,
                format!("unknown table type {text:?}: expected user, shared or stream"),
            )),
        }
    }
}
