//! Admission: which statements run now, which wait, which are refused.
//!
//! Three bounds, from the outside in. A request is *admitted* if the texts of all admitted requests fit into their
//! room, and there are not more of them than may run and wait together; that bounds every session's mailbox, too.
//! Then it takes a place of its user's (`query.max_concurrent_per_user`), then one of the places of all, both in the
//! order of coming, so a flood of one user's waits behind that user's own places and leaves the others theirs: one
//! user's statements never take more than half of all. Whoever finds no place waits, at most `query.max_waiting` of them; more are `OVERLOADED`.
//!
//! A long statement takes several of the places of all: parsed and planned it is many times its text. What
//! operators, results and rows to be written take is bounded by `query.memory_limit` as it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, Result};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Clients;
use crate::SqlRequest;
use crate::engine::Runtime;

/// What a small running statement is taken to need: its plan, and the rows on their way through it.
const PLACE_BYTES: u64 = 2 << 20;
/// A statement's text and parameters are about so many times as large once they are parsed and planned.
const GROWTH: u64 = 16;
/// Places of all, whatever the memory: enough to share a sync.
const FEWEST_PLACES: u64 = 64;
const MOST_PLACES: u64 = 1024;
const PLACES_PER_CORE: u64 = 16;
/// The unit in which texts are counted.
const UNIT_BYTES: u64 = 1 << 10;

/// How much is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Places of all users together.
    pub(crate) running: usize,
    /// Statements that wait for a place.
    pub(crate) waiting: usize,
    /// Texts and parameters of all admitted requests.
    pub(crate) request_bytes: u64,
}

impl Bounds {
    /// By the settings, and the cores of this machine.
    pub(crate) fn of(settings: &Settings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let memory = settings.query.memory_limit;
        let places = (memory / PLACE_BYTES).clamp(FEWEST_PLACES, MOST_PLACES).max(cores * PLACES_PER_CORE);
        Self {
            running: usize::try_from(places).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS),
            waiting: settings.query.max_waiting,
            request_bytes: (memory / 4).max(settings.server.max_body_bytes.saturating_mul(4)),
        }
    }

    /// The most that one user's statements take, so that others run beside them.
    fn of_one_user(&self) -> usize {
        (self.running / 2).max(1)
    }

    /// The places that a request needs.
    fn places(&self, request_bytes: u64) -> u32 {
        let places = 1 + request_bytes.saturating_mul(GROWTH) / PLACE_BYTES;
        let most = self.of_one_user();
        u32::try_from(usize::try_from(places).unwrap_or(usize::MAX).min(most)).unwrap_or(u32::MAX)
    }
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) runtime: Arc<Runtime>,
    pub(super) clients: Clients,
    /// Running statements; closed when the server stops.
    pub(super) running: TaskTracker,
    /// Calls off what is not committing.
    pub(super) cancel: CancellationToken,
    bounds: Bounds,
    texts: Arc<Semaphore>,
    text_units: u32,
    places: Arc<Semaphore>,
    admitted: AtomicUsize,
    waiting: AtomicUsize,
}

/// A request that was let in: it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    places: u32,
    _text: OwnedSemaphorePermit,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.admitted.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What one user may have running.
#[derive(Debug)]
pub(super) struct UserPlaces {
    statements: Arc<Semaphore>,
    /// Its share of the places of all.
    places: Arc<Semaphore>,
}

impl UserPlaces {
    async fn acquire(&self, places: u32) -> std::result::Result<OfUser, AcquireError> {
        let statement = Arc::clone(&self.statements).acquire_owned().await?;
        Ok(OfUser { _statement: statement, _places: Arc::clone(&self.places).acquire_many_owned(places).await? })
    }

    fn try_acquire(&self, places: u32) -> std::result::Result<OfUser, TryAcquireError> {
        let statement = Arc::clone(&self.statements).try_acquire_owned()?;
        Ok(OfUser { _statement: statement, _places: Arc::clone(&self.places).try_acquire_many_owned(places)? })
    }
}

#[derive(Debug)]
struct OfUser {
    _statement: OwnedSemaphorePermit,
    _places: OwnedSemaphorePermit,
}

/// The right to run, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _of_user: OfUser,
    _of_all: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(runtime: Arc<Runtime>, clients: Clients, bounds: Bounds) -> Self {
        let units = (bounds.request_bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u64);
        let text_units = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            runtime,
            clients,
            running: TaskTracker::new(),
            cancel: CancellationToken::new(),
            bounds,
            texts: Arc::new(Semaphore::new(text_units as usize)),
            text_units,
            places: Arc::new(Semaphore::new(bounds.running.max(1))),
            admitted: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The places of a user whose session begins.
    pub(super) fn user_places(&self) -> UserPlaces {
        let most = self.runtime.settings().query.max_concurrent_per_user.clamp(1, Semaphore::MAX_PERMITS);
        UserPlaces {
            statements: Arc::new(Semaphore::new(most)),
            places: Arc::new(Semaphore::new(self.bounds.of_one_user())),
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`ErrorCode::Overloaded`].
    pub(super) fn admit(self: &Arc<Self>, request: &SqlRequest) -> Result<Admitted> {
        let bytes = request.size_in_memory();
        // One alone always fits.
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.text_units);
        let text = Arc::clone(&self.texts)
            .try_acquire_many_owned(units)
            .map_err(|_| overloaded("the requests at hand take too much memory already"))?;
        let most = self.bounds.running.saturating_add(self.bounds.waiting);
        let count = self.admitted.fetch_add(1, Ordering::AcqRel) + 1;
        let admitted = Admitted { admission: Arc::clone(self), places: self.bounds.places(bytes), _text: text };
        if count > most { Err(too_many()) } else { Ok(admitted) }
    }

    /// Waits for a place among the user's, then for those it needs among all.
    ///
    /// # Errors
    /// [`ErrorCode::Overloaded`] when too many wait already; [`ErrorCode::ShuttingDown`].
    ///
    /// # Cancel safety
    /// Safe: the place in the queue is lost.
    pub(super) async fn turn(&self, user: &UserPlaces, admitted: &Admitted) -> Result<Turn> {
        let found = user.try_acquire(admitted.places).ok();
        if found.is_some()
            && let Ok(of_all) = Arc::clone(&self.places).try_acquire_many_owned(admitted.places)
            && let Some(of_user) = found
        {
            return Ok(Turn { _of_user: of_user, _of_all: of_all });
        }
        let waiting = Waiting::enter(&self.waiting);
        if waiting.count > self.bounds.waiting {
            return Err(too_many());
        }
        let wait = async {
            let of_user = match found {
                Some(permit) => permit,
                None => user.acquire(admitted.places).await?,
            };
            let of_all = Arc::clone(&self.places).acquire_many_owned(admitted.places).await?;
            Ok::<_, AcquireError>(Turn { _of_user: of_user, _of_all: of_all })
        };
        tokio::select! {
            () = self.cancel.cancelled() => Err(shutting_down()),
            turn = wait => turn.map_err(|_| shutting_down()),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.admitted.load(Ordering::Acquire) == 0
            && self.waiting.load(Ordering::Acquire) == 0
            && self.places.available_permits() == self.bounds.running
            && self.texts.available_permits() == self.text_units as usize
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.bounds.running - self.places.available_permits()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

fn overloaded(message: &str) -> Error {
    Error::new(ErrorCode::Overloaded, message)
}

fn too_many() -> Error {
    overloaded("too many statements wait already (query.max_waiting)")
}

fn shutting_down() -> Error {
    Error::new(ErrorCode::ShuttingDown, "the server is shutting down")
}

/// Counts a waiting statement.
struct Waiting<'a> {
    counter: &'a AtomicUsize,
    count: usize,
}

impl<'a> Waiting<'a> {
    fn enter(counter: &'a AtomicUsize) -> Self {
        Self { counter, count: counter.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(memory_limit: u64) -> Bounds {
        let mut settings = Settings::default();
        settings.query.memory_limit = memory_limit;
        Bounds::of(&settings)
    }

    #[test]
    fn the_places_follow_the_memory_within_reason() {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        assert_eq!(bounds(1).running, 64.max(16 * cores));
        assert_eq!(bounds(u64::MAX).running, 1024.max(16 * cores));
        assert_eq!(bounds(1 << 30).running, 512.max(16 * cores));
        assert_eq!(bounds(1).request_bytes, 64 << 20, "four of the largest bodies always fit");
        assert_eq!(bounds(1 << 30).request_bytes, 256 << 20);
    }

    #[test]
    fn a_long_statement_takes_several_places_and_never_all() {
        let bounds = Bounds { running: 64, waiting: 10, request_bytes: 1 << 30 };
        assert_eq!([0, 100, 100 << 10].map(|bytes| bounds.places(bytes)), [1, 1, 1]);
        assert_eq!(bounds.places(1 << 20), 9);
        assert_eq!([16 << 20, u64::MAX].map(|bytes| bounds.places(bytes)), [32, 32]);
        assert_eq!(Bounds { running: 1, ..bounds }.places(u64::MAX), 1);
    }
}
