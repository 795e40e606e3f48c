//! Where the power goes: at a place that flushes or collections of files pass, at a time of the test's choice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use kalamdb_faults::Machine;
use kalamdb_store::{BackendRegistry, failpoint};
use tokio::sync::watch;

use super::super::World;
use super::disk::Disk;

/// What happens to who comes to the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Passes.
    Absent,
    /// Waits until the trap is armed.
    Holds,
    /// Has the power cut.
    Armed,
}

/// Of one life.
#[derive(Debug)]
pub(super) struct Trap {
    machine: Machine,
    disk: Arc<Disk>,
    world: Arc<World>,
    place: Option<&'static str>,
    /// How many pass an armed trap before it springs.
    passes: AtomicI64,
    /// The names that the files of a flush have just been given are lost.
    names_are_lost: bool,
    guard: watch::Sender<Guard>,
    /// Files are not collected before the power goes.
    keeps_files: bool,
    /// It has sprung at its place.
    sprung: AtomicBool,
    dark: watch::Sender<bool>,
    collections: watch::Sender<usize>,
}

impl Trap {
    pub(super) fn new(
        machine: &Machine,
        disk: &Arc<Disk>,
        world: &Arc<World>,
        (place, passes): (Option<&'static str>, i64),
        guard: Guard,
        keeps_files: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            machine: machine.clone(),
            disk: Arc::clone(disk),
            world: Arc::clone(world),
            place,
            passes: AtomicI64::new(passes),
            names_are_lost: passes % 2 == 0,
            guard: watch::Sender::new(guard),
            keeps_files,
            sprung: AtomicBool::new(false),
            dark: watch::Sender::new(false),
            collections: watch::Sender::new(0),
        })
    }

    pub(super) fn set(self: &Arc<Self>, registry: &mut BackendRegistry) {
        let trap = Arc::clone(self);
        registry.set_failpoints(move |place| {
            let trap = Arc::clone(&trap);
            Box::pin(async move { trap.reached(place).await })
        });
    }

    pub(super) fn arm(&self) {
        self.guard.send_replace(Guard::Armed);
    }

    pub(super) fn has_sprung(&self) -> bool {
        self.sprung.load(Ordering::Acquire)
    }

    /// Collections of files that have ended in this life.
    pub(super) fn collections(&self) -> watch::Receiver<usize> {
        self.collections.subscribe()
    }

    async fn reached(&self, place: &'static str) {
        if place == failpoint::PENDING_LISTED && self.keeps_files {
            let dark = self.dark.subscribe().wait_for(|dark| *dark).await.is_ok();
            assert!(dark, "the trap is there for as long as its machine");
        }
        let springs = self.place == Some(place) && self.springs().await;
        if place == failpoint::FILES_DURABLE && !(springs && self.names_are_lost) {
            self.disk.names_are_durable();
        }
        if springs {
            self.cut_power().await;
            self.sprung.store(true, Ordering::Release);
        }
        if place == failpoint::COLLECTED {
            self.collections.send_modify(|collections| *collections += 1);
        }
    }

    async fn springs(&self) -> bool {
        let mut guard = self.guard.subscribe();
        let guard = guard.wait_for(|guard| *guard != Guard::Holds).await.map(|guard| *guard);
        guard.is_ok_and(|guard| guard == Guard::Armed) && self.passes.fetch_sub(1, Ordering::AcqRel) == 0
    }

    /// In this order: what was not written by now never will be, and who sees the power gone gives up.
    pub(super) async fn cut_power(&self) {
        self.machine.cut_power().await.expect("the power is cut");
        self.disk.freeze();
        self.world.dark.store(true, Ordering::Release);
        self.dark.send_replace(true);
    }
}
