//! Which users' sessions failed, and who is refused for it.
//!
//! What is kept is bounded: an entry goes when its failures are past, and the oldest goes when there are too many.

use std::collections::HashMap;
use std::time::Duration;

use kalamdb_commons::UserId;
use tokio::time::Instant;

use super::budget::RestartBudget;

/// A user whose session fails so often within a minute is refused for [`REFUSAL`].
pub const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// How long that is.
pub const REFUSAL: Duration = Duration::from_secs(60);
/// Users that are remembered at most.
const MOST_USERS: usize = 10_000;

#[derive(Debug)]
struct Failures {
    budget: RestartBudget,
    count: u64,
    last: Instant,
    last_error: String,
    refused_until: Option<Instant>,
}

impl Failures {
    fn is_past(&self, now: Instant) -> bool {
        self.budget.is_fresh(now) && self.refused_until.is_none_or(|until| until <= now)
    }
}

/// See the module.
#[derive(Debug)]
pub struct UserFailures {
    users: HashMap<UserId, Failures>,
    most: usize,
}

impl Default for UserFailures {
    fn default() -> Self {
        Self { users: HashMap::new(), most: MOST_USERS }
    }
}

impl UserFailures {
    /// A session of the user failed.
    pub fn record(&mut self, user: UserId, last_error: String, now: Instant) {
        if self.users.len() >= self.most && !self.users.contains_key(&user) {
            self.make_room(now);
        }
        let failures = self.users.entry(user).or_insert_with(|| Failures {
            budget: RestartBudget::new(FAILURES, WINDOW, Duration::ZERO),
            count: 0,
            last: now,
            last_error: String::new(),
            refused_until: None,
        });
        // A failure past the budget (of a session that was open already) finds the user refused.
        let _ = failures.budget.spend(now);
        failures.count += 1;
        (failures.last, failures.last_error) = (now, last_error);
        if failures.budget.is_spent(now) {
            failures.refused_until = Some(now + REFUSAL);
        }
    }

    /// How much longer the user is refused, if it is.
    #[must_use]
    pub fn refusal(&self, user: &UserId, now: Instant) -> Option<Duration> {
        let until = self.users.get(user)?.refused_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// How often the user's sessions failed, as far as is remembered, and why the last did.
    #[must_use]
    pub fn history(&self, user: &UserId) -> (u64, Option<String>) {
        self.users.get(user).map_or((0, None), |failures| (failures.count, Some(failures.last_error.clone())))
    }

    /// Forgets what is past.
    pub fn forget(&mut self, now: Instant) {
        self.users.retain(|_, failures| !failures.is_past(now));
    }

    fn make_room(&mut self, now: Instant) {
        self.forget(now);
        if self.users.len() < self.most {
            return;
        }
        let oldest = self.users.iter().min_by_key(|(_, failures)| failures.last).map(|(user, _)| user.clone());
        if let Some(oldest) = oldest {
            self.users.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).expect("a user id")
    }

    fn fail(failures: &mut UserFailures, name: &str, now: Instant) {
        failures.record(user(name), "killed".to_owned(), now);
    }

    #[test]
    fn a_user_past_its_budget_is_refused_for_a_minute_and_nobody_else() {
        let (mut failures, begin) = (UserFailures::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        for second in 0..FAILURES as u64 {
            assert_eq!(failures.refusal(&user("ann"), at(second)), None, "after {second} failures");
            fail(&mut failures, "ann", at(second));
        }
        assert_eq!(failures.refusal(&user("ann"), at(4)), Some(Duration::from_secs(60)));
        assert_eq!(failures.refusal(&user("ann"), at(63)), Some(Duration::from_secs(1)));
        assert_eq!(failures.refusal(&user("ann"), at(64)), None, "a minute later");
        assert_eq!(failures.refusal(&user("bob"), at(4)), None);
        assert_eq!(failures.history(&user("ann")), (5, Some("killed".to_owned())));
        // The old failures are over with the minute, too.
        fail(&mut failures, "ann", at(65));
        assert_eq!(failures.refusal(&user("ann"), at(65)), None);
    }

    #[test]
    fn failures_far_apart_refuse_nobody() {
        let (mut failures, begin) = (UserFailures::default(), Instant::now());
        for minute in 0..20 {
            let now = begin + Duration::from_secs(minute * 16);
            fail(&mut failures, "ann", now);
            assert_eq!(failures.refusal(&user("ann"), now), None, "minute {minute}");
        }
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let (mut failures, begin) = (UserFailures::default(), Instant::now());
        for _ in 0..FAILURES {
            fail(&mut failures, "refused", begin);
        }
        fail(&mut failures, "once", begin);
        failures.forget(begin + Duration::from_secs(59));
        assert_eq!(failures.users.len(), 2);
        failures.forget(begin + Duration::from_secs(61));
        assert_eq!(failures.users.len(), 0);
    }

    #[test]
    fn many_users_do_not_grow_it_and_push_out_the_oldest() {
        let (mut failures, begin) = (UserFailures { most: 100, ..UserFailures::default() }, Instant::now());
        for number in 0..1000 {
            fail(&mut failures, &format!("user {number}"), begin + Duration::from_millis(number));
            assert!(failures.users.len() <= 100);
        }
        assert_eq!(failures.history(&user("user 999")).0, 1);
        assert_eq!(failures.history(&user("user 0")).0, 0);
        // One that is known makes no room.
        fail(&mut failures, "user 999", begin + Duration::from_secs(2));
        assert_eq!((failures.users.len(), failures.history(&user("user 900")).0), (100, 1));
    }
}
