//! What the server counts of live queries, which has to be where it was once everybody is gone.

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Duration, Instant, interval};

use crate::caller::Caller;
use crate::failure::Failure;

/// A server that notices within this time that somebody has gone notices.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// At a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Open WebSocket connections.
    pub(crate) connections: u64,
    /// Their subscriptions.
    pub(crate) subscriptions: u64,
    /// Actors that follow users' partitions.
    pub(crate) actors: u64,
}

impl Counts {
    /// As they are now.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn read(admin: &Caller) -> Result<Self, Failure> {
        let overview = admin.get("/api/actors/live").await?;
        let tree = admin.get("/api/actors?depth=1").await?;
        let groups = tree["children"].as_array().map(Vec::as_slice).unwrap_or_default();
        let live = groups.iter().find(|group| group["name"] == "live").unwrap_or(&Value::Null);
        Ok(Self {
            connections: number(&overview, "connections")?,
            subscriptions: number(&overview, "subscriptions")?,
            actors: number(live, "children_total")?,
        })
    }

    /// Waits until they are these again.
    ///
    /// # Errors
    /// They are not within half a minute.
    pub(super) async fn settle(self, admin: &Caller) -> Result<(), Failure> {
        let deadline = Instant::now() + LIMIT;
        let mut ticks = interval(PAUSE);
        loop {
            ticks.tick().await;
            let now = Self::read(admin).await?;
            match self.difference(now) {
                None => return Ok(()),
                Some(failure) if Instant::now() > deadline => return Err(failure),
                Some(_) => {}
            }
        }
    }

    fn difference(self, now: Self) -> Option<Failure> {
        let of_each = [
            ("connections", self.connections, now.connections),
            ("subscriptions", self.subscriptions, now.subscriptions),
            ("live queries' actors", self.actors, now.actors),
        ];
        of_each.into_iter().find(|(_, expected, found)| expected != found).map(|(what, expected, found)| {
            Failure::Different { what: format!("{what} when all were closed"), expected, found }
        })
    }
}

/// Connections that the server has ended since its start because they did not read.
///
/// # Errors
/// What the server says.
pub(super) async fn slow_consumers(admin: &Caller) -> Result<u64, Failure> {
    number(&admin.get("/api/actors/live").await?, "slow_consumers")
}

fn number(object: &Value, member: &str) -> Result<u64, Failure> {
    let malformed = || Failure::Malformed { asked: member.to_owned(), problem: "no number".to_owned() };
    object[member].as_u64().ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_named() {
        let begun = Counts { connections: 1, subscriptions: 2, actors: 3 };
        assert!(begun.difference(begun).is_none());
        let failure = begun.difference(Counts { subscriptions: 4, ..begun }).unwrap();
        assert_eq!(failure.to_string(), "subscriptions when all were closed: expected 2, found 4");
    }
}
