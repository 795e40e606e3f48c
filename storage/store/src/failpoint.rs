//! Places where a test stops, kills or cuts the power of whoever passes: with the feature `failpoints` only, which
//! tests of the workspace switch on. In every other build nothing is left of them.

/// A flush is about to record its files.
pub const BEFORE_PENDING: &str = "flush: before pending files are recorded";
/// They are recorded, on disk.
pub const AFTER_PENDING: &str = "flush: after pending files are recorded";
/// A flush or compaction has the partition, and has found out what it will write.
pub const BEFORE_COMMIT: &str = "flush: before its batch";
/// It has written, and holds the partition still.
pub const AFTER_COMMIT: &str = "flush: after its batch";
/// Pending files are listed, and nobody has asked yet whose they are.
pub const PENDING_LISTED: &str = "collection: pending files are listed";

#[cfg(feature = "failpoints")]
pub use armed::{Failpoints, Reached};

#[cfg(feature = "failpoints")]
mod armed {
    use std::fmt;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use parking_lot::RwLock;

    use crate::Committer;

    /// What happens to whoever reaches a place: it goes on when this ends, if it ends.
    pub type Reached = Pin<Box<dyn Future<Output = ()> + Send>>;

    type Hook = Arc<dyn Fn(&'static str) -> Reached + Send + Sync>;

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

        /// Passes a place.
        pub async fn reach(&self, place: &'static str) {
            let hook = self.failpoints().0.read().clone();
            if let Some(hook) = hook {
                hook(place).await;
            }
        }
    }
}

#[cfg(not(feature = "failpoints"))]
impl crate::Committer {
    /// Passes a place where a test may be waiting; nothing in this build.
    pub async fn reach(&self, _place: &'static str) {}
}
