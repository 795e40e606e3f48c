//! Where tests make an actor fail: at the start of `pre_start`, of every message and of every supervision event,
//! and at named places between.
//!
//! A fault can be armed only where the tests of the actors' crates are built (feature `faults`). In every other build
//! [`Faults`] is an empty value and its methods do nothing, so a program holds no trace of it.

#[cfg(not(any(test, feature = "faults")))]
pub use unarmed::Faults;

#[cfg(any(test, feature = "faults"))]
pub use armed::{Fault, Faults};

#[cfg(not(any(test, feature = "faults")))]
mod unarmed {
    use ractor::{ActorProcessingErr, ActorRef, Message};

    /// See the module.
    #[derive(Debug, Clone, Default)]
    pub struct Faults {}

    impl Faults {
        /// An actor comes to a moment; nothing happens.
        ///
        /// # Errors
        /// None.
        #[inline]
        pub async fn reached<M: Message>(
            &self,
            _kind: &'static str,
            _moment: &'static str,
            _myself: &ActorRef<M>,
        ) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        /// A task comes to a moment; nothing happens.
        #[inline]
        pub fn passed(&self, _kind: &'static str, _moment: &'static str) {}
    }
}

#[cfg(any(test, feature = "faults"))]
mod armed {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use ractor::{ActorProcessingErr, ActorRef, Message};

    /// What happens to an actor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// Its handler panics before it did anything.
        Panic,
        /// Its handler ends with an error.
        Fail,
        /// It is killed before it did anything.
        Kill,
        /// It is killed while it works: the handler ends where it first waits, or after it is done.
        KillMidway,
    }

    impl Fault {
        /// Each of them.
        pub const ALL: [Self; 4] = [Self::Panic, Self::Fail, Self::Kill, Self::KillMidway];
    }

    #[derive(Debug)]
    struct Armed {
        kind: &'static str,
        moment: &'static str,
        skip: usize,
        times: usize,
        fault: Fault,
    }

    #[derive(Debug, Default)]
    struct Plan {
        armed: Vec<Armed>,
        fired: usize,
    }

    /// See the module. All clones are one.
    #[derive(Debug, Clone, Default)]
    pub struct Faults(Arc<Mutex<Plan>>);

    impl Faults {
        /// Arms a fault: the first `skip` times that an actor of this kind comes to the moment nothing happens,
        /// the next `times` times the fault does.
        ///
        /// # Panics
        /// When it would happen no time.
        pub fn arm(&self, kind: &'static str, moment: &'static str, (skip, times): (usize, usize), fault: Fault) {
            assert!(times > 0, "a fault that never happens");
            self.0.lock().armed.push(Armed { kind, moment, skip, times, fault });
        }

        /// How many faults have happened.
        pub fn fired(&self) -> usize {
            self.0.lock().fired
        }

        fn next(&self, kind: &'static str, moment: &'static str) -> Option<Fault> {
            let mut plan = self.0.lock();
            let at = plan.armed.iter().position(|armed| armed.kind == kind && armed.moment == moment)?;
            let armed = plan.armed.get_mut(at)?;
            if armed.skip > 0 {
                armed.skip -= 1;
                return None;
            }
            armed.times -= 1;
            let (fault, is_last) = (armed.fault, armed.times == 0);
            if is_last {
                plan.armed.remove(at);
            }
            plan.fired += 1;
            Some(fault)
        }

        /// An actor comes to a moment.
        ///
        /// # Errors
        /// Where one was armed.
        ///
        /// # Panics
        /// Where that was armed.
        pub async fn reached<M: Message>(
            &self,
            kind: &'static str,
            moment: &'static str,
            myself: &ActorRef<M>,
        ) -> Result<(), ActorProcessingErr> {
            match self.next(kind, moment) {
                None => Ok(()),
                Some(Fault::Panic) => panic!("a fault of the test: {kind} at {moment}"),
                Some(Fault::Fail) => Err(format!("a fault of the test: {kind} at {moment}").into()),
                Some(Fault::Kill) => {
                    myself.kill();
                    std::future::pending().await
                }
                Some(Fault::KillMidway) => {
                    myself.kill();
                    Ok(())
                }
            }
        }

        /// For places in a task, which can only panic.
        ///
        /// # Panics
        /// Where that was armed.
        pub fn passed(&self, kind: &'static str, moment: &'static str) {
            if let Some(fault) = self.next(kind, moment) {
                assert_eq!(fault, Fault::Panic, "a task can only panic");
                panic!("a fault of the test: {kind} at {moment}");
            }
        }
    }
}
