//! Places where a test stops, kills or cuts the power of whoever passes: with the feature `failpoints` only, which
//! tests of the workspace switch on. In every other build nothing is left of them.

/// A flush has raised its table's lease, on disk.
pub const LEASE_RAISED: &str = "flush: after its lease is raised";
/// A flush is about to record its files.
pub const BEFORE_PENDING: &str = "flush: before pending files are recorded";
/// They are recorded, on disk.
pub const AFTER_PENDING: &str = "flush: after pending files are recorded";
/// Its files have their bytes: under temporary names, and not on disk.
pub const FILES_WRITTEN: &str = "flush: after its files are written";
/// They are on disk under their names.
pub const FILES_DURABLE: &str = "flush: after its files are durable";
/// A flush or compaction has the partition, and has found out what it will write.
pub const BEFORE_COMMIT: &str = "flush: before its batch";
/// It has written, and holds the partition still.
pub const AFTER_COMMIT: &str = "flush: after its batch";
/// The batches of a flush's group are acknowledged.
pub const GROUP_ACKNOWLEDGED: &str = "flush: after a group's batches are acknowledged";
/// Pending files are listed, and nobody has asked yet whose they are.
pub const PENDING_LISTED: &str = "collection: pending files are listed";
/// Those that nobody owns are about to be deleted.
pub const BEFORE_PENDING_DELETED: &str = "collection: before pending files are deleted";
/// They are deleted, and listed still.
pub const PENDING_DELETED: &str = "collection: after pending files are deleted";
/// They are not listed any more; the other list comes next.
pub const PENDING_FORGOTTEN: &str = "collection: after pending files are forgotten";
/// Garbage is listed that nobody reads, and is about to be deleted.
pub const BEFORE_GARBAGE_DELETED: &str = "collection: before garbage is deleted";
/// It is deleted, and listed still.
pub const GARBAGE_DELETED: &str = "collection: after garbage is deleted";
/// A collection has ended.
pub const COLLECTED: &str = "collection: its end";
/// A scan is about to open a segment.
pub const BEFORE_SEGMENT: &str = "scan: before a segment is opened";

/// The places of a flush, in its order.
pub const OF_A_FLUSH: [&str; 8] = [
    LEASE_RAISED,
    BEFORE_PENDING,
    AFTER_PENDING,
    FILES_WRITTEN,
    FILES_DURABLE,
    BEFORE_COMMIT,
    AFTER_COMMIT,
    GROUP_ACKNOWLEDGED,
];

/// The places of a collection of files, in its order. Where there is nothing to delete not all are passed.
pub const OF_A_COLLECTION: [&str; 7] = [
    PENDING_LISTED,
    BEFORE_PENDING_DELETED,
    PENDING_DELETED,
    PENDING_FORGOTTEN,
    BEFORE_GARBAGE_DELETED,
    GARBAGE_DELETED,
    COLLECTED,
];

#[cfg(feature = "failpoints")]
pub(crate) use armed::Hook;
#[cfg(feature = "failpoints")]
pub use armed::{Failpoints, Reached};

#[cfg(feature = "failpoints")]
mod armed {
    use std::fmt;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use parking_lot::RwLock;

    use crate::{BackendRegistry, Committer};

    /// What happens to whoever reaches a place: it goes on when this ends, if it ends.
    pub type Reached = Pin<Box<dyn Future<Output = ()> + Send>>;

    pub(crate) type Hook = Arc<dyn Fn(&'static str) -> Reached + Send + Sync>;

    /// What a test has put in the way.
    #[derive(Default)]
    pub struct Failpoints(RwLock<Option<Hook>>);

    impl fmt::Debug for Failpoints {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Failpoints").field("set", &self.0.read().is_some()).finish()
        }
    }

    impl Committer {
        /// From now on this is called at every place, and waited for.
        pub fn set_failpoints(&self, hook: impl Fn(&'static str) -> Reached + Send + Sync + 'static) {
            *self.failpoints().0.write() = Some(Arc::new(hook));
        }

        /// Takes over what a test has put in the way of every store that is opened by these backends.
        pub fn take_failpoints_of(&self, backends: &BackendRegistry) {
            self.failpoints().0.write().clone_from(&backends.failpoints);
        }

        /// Passes a place.
        pub async fn reach(&self, place: &'static str) {
            let hook = self.failpoints().0.read().clone();
            if let Some(hook) = hook {
                hook(place).await;
            }
        }
    }

    impl BackendRegistry {
        /// What is opened from now on, and [takes it over](Committer::take_failpoints_of), calls this at every place.
        pub fn set_failpoints(&mut self, hook: impl Fn(&'static str) -> Reached + Send + Sync + 'static) {
            self.failpoints = Some(Arc::new(hook));
        }
    }
}

#[cfg(not(feature = "failpoints"))]
impl crate::Committer {
    /// Takes over nothing in this build.
    pub fn take_failpoints_of(&self, _backends: &crate::BackendRegistry) {}

    /// Passes a place where a test may be waiting; nothing in this build.
    pub async fn reach(&self, _place: &'static str) {}
}
