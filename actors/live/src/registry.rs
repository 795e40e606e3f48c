//! Who is subscribed: all subscriptions by name, and the places that they take among their users'.

use std::sync::Arc;

use dashmap::DashMap;
use kalamdb_commons::UserId;

use crate::subscription::Subscription;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) all: DashMap<Arc<str>, Arc<Subscription>>,
    of_user: DashMap<UserId, usize>,
}

impl Registry {
    /// A place among a user's subscriptions, of `most`; none when they are all taken. Taken before the subscription begins, so
    /// that connections that ask at the same time do not get the same one.
    pub(crate) fn reserve(self: &Arc<Self>, user: &UserId, most: usize) -> Option<Place> {
        let mut taken = self.of_user.entry(user.clone()).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Place { registry: Arc::clone(self), user: user.clone() })
    }

    pub(crate) fn add(&self, subscription: &Arc<Subscription>) {
        self.all.insert(Arc::clone(&subscription.live_id), Arc::clone(subscription));
    }

    pub(crate) fn remove(&self, subscription: &Subscription) {
        // Not a later one of the same name.
        let is_it = |_: &Arc<str>, known: &Arc<Subscription>| std::ptr::eq(known.as_ref(), subscription);
        self.all.remove_if(&subscription.live_id, is_it);
    }

    /// Subscriptions of a user, those that are about to begin among them.
    pub(crate) fn count_of(&self, user: &UserId) -> usize {
        self.of_user.get(user).map_or(0, |count| *count)
    }
}

/// One of the places that a user may take; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Arc<Registry>,
    user: UserId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.of_user.remove_if_mut(&self.user, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}
