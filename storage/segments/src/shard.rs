//! Which shard a partition's segments go to, where the path template has `{shard}`.
//!
//! A shard depends on nothing but a name: the user's id, or the table's name for a shared table. It is part of
//! paths on disk, so each strategy is fixed for ever; [`stable_hash`] is FNV-1a, 64 bits. A changed strategy
//! holds for later segments, older ones keep their paths in the manifest.

use std::fmt;
use std::sync::Arc;

use kalamdb_commons::{TableName, UserId, stable_hash};

use crate::error::{Result, SegmentError};

/// Most shards of `hash:N`.
pub const MAX_SHARDS: u32 = 65_536;

const LETTERS: u64 = 26;

/// A way to spread partitions over directories.
pub trait ShardingStrategy: fmt::Debug + Send + Sync {
    /// The shard of a name; empty where there are no shards. At most five characters, letters and digits.
    fn shard_of(&self, name: &str) -> String;

    /// The strategy as the option `sharding` names it.
    fn option(&self) -> String;
}

/// `alphabetic`: the first letter of the name in lower case; where it begins with anything else, the letter with the
/// number [`stable_hash`] of the name, modulo 26.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alphabetic;

/// `hash:N`: [`stable_hash`] of the name, modulo N, in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashShards {
    shards: u32,
}

/// `none`: no shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsharded;

impl HashShards {
    /// So many shards, from 1 to [`MAX_SHARDS`].
    #[must_use]
    pub fn new(shards: u32) -> Option<Self> {
        (1..=MAX_SHARDS).contains(&shards).then_some(Self { shards })
    }
}

impl ShardingStrategy for Alphabetic {
    fn shard_of(&self, name: &str) -> String {
        let first = name.bytes().next().filter(u8::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase());
        let letter = first.unwrap_or_else(|| {
            let number = u8::try_from(stable_hash(name) % LETTERS).unwrap_or_default();
            b'a' + number
        });
        char::from(letter).to_string()
    }

    fn option(&self) -> String {
        "alphabetic".to_owned()
    }
}

impl ShardingStrategy for HashShards {
    fn shard_of(&self, name: &str) -> String {
        (stable_hash(name) % u64::from(self.shards)).to_string()
    }

    fn option(&self) -> String {
        format!("hash:{}", self.shards)
    }
}

impl ShardingStrategy for Unsharded {
    fn shard_of(&self, _name: &str) -> String {
        String::new()
    }

    fn option(&self) -> String {
        "none".to_owned()
    }
}

/// The strategy that the option `sharding` names; `None` is the default, `alphabetic`.
///
/// # Errors
/// [`SegmentError::InvalidOption`] for any other text.
pub fn sharding_strategy(option: Option<&str>) -> Result<Arc<dyn ShardingStrategy>> {
    let text = option.unwrap_or("alphabetic");
    let hashed = text.strip_prefix("hash:").and_then(|number| number.parse().ok()).and_then(HashShards::new);
    match (text, hashed) {
        ("alphabetic", _) => Ok(Arc::new(Alphabetic)),
        ("none", _) => Ok(Arc::new(Unsharded)),
        (_, Some(shards)) => Ok(Arc::new(shards)),
        (_, None) => Err(SegmentError::InvalidOption(format!(
            "sharding cannot be {text:?}: 'alphabetic', 'none' or 'hash:N' with N from 1 to {MAX_SHARDS}"
        ))),
    }
}

/// The shard of a partition: by its user, or by the table's name for a shared table.
#[must_use]
pub fn shard_of_partition(strategy: &dyn ShardingStrategy, table: &TableName, user: Option<&UserId>) -> String {
    strategy.shard_of(user.map_or(table.as_str(), UserId::as_str))
}

#[cfg(test)]
mod tests;
