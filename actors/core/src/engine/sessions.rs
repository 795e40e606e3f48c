//! What sessions keep of the tables that their users' statements name.
//!
//! A registration is a table as its name was resolved: all sessions that know a table share one definition of it. It saves the way
//! through the catalog and never a check: in another catalog than its own it counts only if that has the very same
//! definition, so a table that was altered, dropped or made anew is found out by the next statement that names it. Roles and
//! partitions are no part of it.
//!
//! Bounded by number in each session and in all, and by age: what was not used for `session.registration_ttl` goes. In a session
//! the one used least recently makes room; where all sessions together are full, those that were active least recently do.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use kalamdb_commons::settings::SessionSettings;
use kalamdb_commons::{QualifiedTableName, Result, UserId};
use lru::LruCache;
use parking_lot::Mutex;

use super::runtime::now_micros;
use crate::catalog::{CatalogSnapshot, TableEntry};

/// Where all sessions are full, so much of their places is made free at once: one part in so many.
const ROOM_PART: usize = 8;

/// A table under its name, as a catalog has it.
struct Registration {
    entry: Arc<TableEntry>,
    /// The last catalog it was seen in.
    catalog: Weak<CatalogSnapshot>,
    /// Microseconds since the epoch.
    last_used: i64,
}

type Known = LruCache<QualifiedTableName, Registration>;

/// One session's. It counts among all sessions as long as it lives.
pub(crate) struct SessionCache {
    user: UserId,
    all: Arc<SessionCaches>,
    known: Mutex<Known>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    created_at: i64,
    last_active_at: AtomicI64,
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache").field("user", &self.user).finish_non_exhaustive()
    }
}

impl SessionCache {
    /// Notes that the session has something to do, or had.
    pub(crate) fn is_active(&self) {
        self.last_active_at.store(now_micros(), Ordering::Relaxed);
    }

    /// A table by its name; `now` is the statement's time, in microseconds since the epoch.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::table`].
    pub(crate) fn resolve(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        name: &QualifiedTableName,
        now: i64,
    ) -> Result<Arc<TableEntry>> {
        let mut known = self.known.lock();
        self.expire(&mut known, now);
        if let Some(registration) = known.get_mut(name) {
            let was_seen_in = std::ptr::eq(registration.catalog.as_ptr(), Arc::as_ptr(catalog));
            let is_in = || matches!(catalog.table(name), Ok(entry) if Arc::ptr_eq(entry, &registration.entry));
            if was_seen_in || is_in() {
                if !was_seen_in {
                    registration.catalog = Arc::downgrade(catalog);
                }
                registration.last_used = now;
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Arc::clone(&registration.entry));
            }
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        match catalog.table(name) {
            Ok(entry) => {
                let registration =
                    Registration { entry: Arc::clone(entry), catalog: Arc::downgrade(catalog), last_used: now };
                self.register(&mut known, name, registration);
                Ok(Arc::clone(entry))
            }
            Err(error) => {
                if known.pop(name).is_some() {
                    self.all.give_back(1);
                }
                Err(error)
            }
        }
    }

    fn register(&self, known: &mut Known, name: &QualifiedTableName, registration: Registration) {
        if let Some(outdated) = known.get_mut(name) {
            *outdated = registration;
            return;
        }
        if known.len() >= self.all.bounds.max_registrations && !self.evict(known) {
            return;
        }
        // Its own oldest makes room until others have.
        if self.all.take_place() || (self.evict(known) && self.all.take_place()) {
            known.put(name.clone(), registration);
        }
    }

    /// Whether there was one to evict.
    fn evict(&self, known: &mut Known) -> bool {
        let evicted = known.pop_lru().is_some();
        if evicted {
            self.evictions.fetch_add(1, Ordering::Relaxed);
            self.all.give_back(1);
        }
        evicted
    }

    /// Evicts what was not used for too long.
    fn expire(&self, known: &mut Known, now: i64) {
        let ttl = i64::try_from(self.all.bounds.registration_ttl.as_micros()).unwrap_or(i64::MAX);
        while known.peek_lru().is_some_and(|(_, oldest)| now.saturating_sub(oldest.last_used) > ttl) {
            self.evict(known);
        }
    }

    /// Forgets all tables; how many they were.
    fn clear(&self) -> usize {
        let mut known = self.known.lock();
        let count = known.len();
        known.clear();
        self.all.give_back(count);
        count
    }

    fn row(&self) -> SessionRow {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SessionRow {
            user_id: self.user.clone(),
            registrations: self.known.lock().len() as u64,
            hits: count(&self.hits),
            misses: count(&self.misses),
            evictions: count(&self.evictions),
            created_at: self.created_at,
            last_active_at: self.last_active_at.load(Ordering::Relaxed),
        }
    }
}

impl Drop for SessionCache {
    fn drop(&mut self) {
        self.all.give_back(self.known.get_mut().len());
        // A new session of the user may be there already.
        self.all.sessions.remove_if(&self.user, |_, known| std::ptr::eq(known.as_ptr(), self));
    }
}

/// One session, for whoever asks. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) user_id: UserId,
    pub(crate) registrations: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evictions: u64,
    pub(crate) created_at: i64,
    pub(crate) last_active_at: i64,
}

/// Those of all sessions. What always holds: there are never more registrations than `session.max_registrations_total`.
pub(crate) struct SessionCaches {
    sessions: DashMap<UserId, Weak<SessionCache>>,
    registrations: AtomicUsize,
    /// Somebody found no place.
    is_full: AtomicBool,
    bounds: SessionSettings,
}

impl fmt::Debug for SessionCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCaches").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl SessionCaches {
    pub(crate) fn new(bounds: SessionSettings) -> Arc<Self> {
        Arc::new(Self {
            sessions: DashMap::new(),
            registrations: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            bounds,
        })
    }

    /// The cache of a new session.
    pub(crate) fn open(self: &Arc<Self>, user: UserId) -> Arc<SessionCache> {
        let now = now_micros();
        let cache = Arc::new(SessionCache {
            user: user.clone(),
            all: Arc::clone(self),
            known: Mutex::new(LruCache::unbounded()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            created_at: now,
            last_active_at: AtomicI64::new(now),
        });
        self.sessions.insert(user, Arc::downgrade(&cache));
        cache
    }

    fn take_place(&self) -> bool {
        let most = self.bounds.max_registrations_total;
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        let is_taken = self.registrations.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok();
        if !is_taken {
            self.is_full.store(true, Ordering::Release);
        }
        is_taken
    }

    fn give_back(&self, count: usize) {
        self.registrations.fetch_sub(count, Ordering::AcqRel);
    }

    /// All of them. None is let go of inside the map: a session that ends there takes itself out of it.
    fn live(&self) -> Vec<Arc<SessionCache>> {
        let mut live = Vec::with_capacity(self.sessions.len());
        for session in &self.sessions {
            live.extend(session.value().upgrade());
        }
        live
    }

    /// Whether somebody found no place since this was asked last: then [`make_room`](Self::make_room).
    pub(crate) fn wants_room(&self) -> bool {
        // Nearly always not: reading it keeps it in everybody's cache.
        self.is_full.load(Ordering::Relaxed) && self.is_full.swap(false, Ordering::AcqRel)
    }

    /// Empties the sessions that were active least recently, until an eighth of all places is free.
    pub(crate) fn make_room(&self) {
        let most = self.bounds.max_registrations_total;
        let goal = most - most.div_ceil(ROOM_PART);
        let mut sessions = self.live();
        sessions.sort_by_cached_key(|session| session.last_active_at.load(Ordering::Relaxed));
        for session in sessions {
            if self.registrations.load(Ordering::Acquire) <= goal {
                return;
            }
            let count = session.clear() as u64;
            session.evictions.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Evicts what was not used for too long, in all sessions.
    pub(crate) fn expire(&self, now: i64) {
        for session in self.live() {
            session.expire(&mut session.known.lock(), now);
        }
    }

    /// Forgets the tables of a user's session, or of all; how many they were.
    pub(crate) fn clear(&self, user: Option<&UserId>) -> u64 {
        let sessions = match user {
            Some(user) => self.sessions.get(user).and_then(|session| session.upgrade()).into_iter().collect(),
            None => self.live(),
        };
        sessions.iter().map(|session| session.clear() as u64).sum()
    }

    /// All sessions, by user.
    pub(crate) fn rows(&self) -> Vec<SessionRow> {
        let mut rows: Vec<SessionRow> = self.live().iter().map(|session| session.row()).collect();
        rows.sort_by(|one, other| one.user_id.cmp(&other.user_id));
        rows
    }
}

#[cfg(test)]
mod tests;
