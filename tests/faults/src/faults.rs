//! What goes wrong, and when.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kalamdb_store::StoreError;
use tokio::sync::Semaphore;

/// More syncs than any test runs.
const ALL_SYNCS: usize = 1 << 24;

/// The switches of a machine. They hold over power cuts and boots until a test changes them.
#[derive(Debug)]
pub struct Faults {
    fail_writes: AtomicBool,
    fail_syncs: AtomicBool,
    fail_reads: AtomicBool,
    fail_opens: AtomicBool,
    /// Whether a backend that failed would fail again.
    full: AtomicBool,
    /// One in so many syncs fails; 0 for none.
    one_sync_in: AtomicU64,
    longest_sync_micros: AtomicU64,
    /// One permit lets one sync through.
    turns: Semaphore,
    waiting: AtomicUsize,
    syncs: AtomicUsize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            fail_writes: AtomicBool::new(false),
            fail_syncs: AtomicBool::new(false),
            fail_reads: AtomicBool::new(false),
            fail_opens: AtomicBool::new(false),
            full: AtomicBool::new(false),
            one_sync_in: AtomicU64::new(0),
            longest_sync_micros: AtomicU64::new(0),
            turns: Semaphore::new(ALL_SYNCS),
            waiting: AtomicUsize::new(0),
            syncs: AtomicUsize::new(0),
        }
    }
}

impl Faults {
    /// Every write fails, and with the first of them the backend.
    pub fn fail_writes(&self, fail: bool) {
        self.fail_writes.store(fail, Ordering::Release);
    }

    /// Every sync fails, and with the first of them the backend.
    pub fn fail_syncs(&self, fail: bool) {
        self.fail_syncs.store(fail, Ordering::Release);
    }

    /// Every read fails.
    pub fn fail_reads(&self, fail: bool) {
        self.fail_reads.store(fail, Ordering::Release);
    }

    /// Nothing can be opened.
    pub fn fail_opens(&self, fail: bool) {
        self.fail_opens.store(fail, Ordering::Release);
    }

    /// No room: writes and syncs fail, and a failed backend need not be opened again.
    pub fn fill_disk(&self, full: bool) {
        self.full.store(full, Ordering::Release);
    }

    /// On average one sync in `count` fails; 0 for none.
    pub fn fail_one_sync_in(&self, count: u64) {
        self.one_sync_in.store(count, Ordering::Release);
    }

    /// A sync takes up to so long, chosen anew each time.
    pub fn delay_syncs(&self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        self.longest_sync_micros.store(micros, Ordering::Release);
    }

    /// From now on syncs wait.
    pub fn hold_syncs(&self) {
        self.turns.forget_permits(usize::MAX);
    }

    /// Lets so many waiting syncs through.
    pub fn let_through(&self, syncs: usize) {
        self.turns.add_permits(syncs);
    }

    /// Ends [`hold_syncs`](Self::hold_syncs).
    pub fn release_syncs(&self) {
        self.turns.add_permits(ALL_SYNCS);
    }

    /// Syncs that have ended so far, failed ones too.
    #[must_use]
    pub fn syncs(&self) -> usize {
        self.syncs.load(Ordering::Acquire)
    }

    /// Syncs that wait to be let through.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub(crate) async fn before_sync(&self, die: impl Fn(u64) -> u64) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if let Ok(turn) = self.turns.acquire().await {
            turn.forget();
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        let longest = self.longest_sync_micros.load(Ordering::Acquire);
        if longest > 0 {
            tokio::time::sleep(Duration::from_micros(die(longest + 1))).await;
        }
    }

    pub(crate) fn sync_ended(&self) {
        self.syncs.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn sync_fails(&self, die: impl Fn(u64) -> u64) -> bool {
        let one_in = self.one_sync_in.load(Ordering::Acquire);
        self.fail_syncs.load(Ordering::Acquire) || self.is_full() || (one_in > 0 && die(one_in) == 0)
    }

    pub(crate) fn write_fails(&self) -> bool {
        self.fail_writes.load(Ordering::Acquire) || self.is_full()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn check_read(&self) -> Result<(), StoreError> {
        if self.fail_reads.load(Ordering::Acquire) { Err(broken("read")) } else { Ok(()) }
    }

    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.fail_opens.load(Ordering::Acquire) || self.is_full() { Err(broken("open")) } else { Ok(()) }
    }
}

pub(crate) fn broken(action: &'static str) -> StoreError {
    StoreError::Backend { action, message: "No space left on device".to_owned() }
}
