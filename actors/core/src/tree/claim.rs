//! Who has a request: its caller, who may take it back or send it again, or whoever runs it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Goes from waiting to begun or to given up, once.
#[derive(Debug, Default)]
pub(super) struct Claim {
    state: AtomicU8,
    taken: AtomicBool,
}

impl Claim {
    /// It has left the mailbox; what happens to it now is no matter of the actor's.
    pub(super) fn take_out(&self) {
        self.taken.store(true, Ordering::Release);
    }

    /// Whether it has left the mailbox.
    pub(super) fn was_taken_out(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Taken before anything of the request can have an effect; `false` if its caller has given it up, then
    /// nothing must happen.
    pub(super) fn begin(&self) -> bool {
        self.take(BEGUN)
    }

    /// Takes it back; `false` if it has begun, then its outcome must be waited for.
    pub(super) fn give_up(&self) -> bool {
        self.take(GIVEN_UP)
    }

    /// Whether something of it may have had an effect.
    pub(super) fn has_begun(&self) -> bool {
        self.state.load(Ordering::Acquire) == BEGUN
    }

    fn take(&self, next: u8) -> bool {
        self.state.compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_begun_or_given_up_and_never_both() {
        let claim = Claim::default();
        assert!(!claim.has_begun());
        assert!(claim.begin() && claim.has_begun());
        assert!(!claim.give_up() && !claim.begin(), "it has begun");
        let claim = Claim::default();
        assert!(claim.give_up() && !claim.begin() && !claim.has_begun());
    }
}
