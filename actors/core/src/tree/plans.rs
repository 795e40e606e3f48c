//! `PlanCacheActor`: keeps the plan cache tidy. Statements find and make plans without it, one compilation per text at a time;
//! it throws out what the catalog has outdated, and everything when it is told to.
//!
//! Its mailbox holds one message at most that says that the catalog has changed, and one for each CLEAR. Restart: it looks through the
//! cache anew. Shutdown: nothing is left undone, the cache goes with the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kalamdb_commons::Result;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::gauges::{Gauges, Mail, Named};
use super::slot::{Slot, restarting};
use crate::engine::Runtime;

/// Clearing takes no time; this only frees a caller from an actor that hangs.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(10);

/// How statements reach the actor.
#[derive(Debug, Clone)]
pub(crate) struct PlansClient {
    slot: Arc<Slot<PlanCacheMsg>>,
    /// The catalog has changed since the actor looked last.
    changed: Arc<AtomicBool>,
}

impl PlansClient {
    pub(super) fn new(slot: Arc<Slot<PlanCacheMsg>>) -> Self {
        Self { slot, changed: Arc::default() }
    }

    /// Forgets all plans; how many texts they were of. It may be done twice: who lost the answer asks again.
    pub(crate) async fn clear(&self) -> Result<u64> {
        for _ in 0..2 {
            if let Ok(count) = self.slot.ask(|reply| PlanCacheMsg::Clear { reply }, CLEAR_TIMEOUT).await {
                return Ok(count);
            }
        }
        Err(restarting())
    }

    /// The catalog has changed: plans of tables that are others by now are of no use.
    pub(super) fn catalog_changed(&self) {
        if !self.changed.swap(true, Ordering::AcqRel) {
            self.slot.cast(PlanCacheMsg::CatalogChanged);
        }
    }
}

/// What the actor is started with.
#[derive(Debug)]
pub(super) struct PlanCacheArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) client: PlansClient,
}

/// What it is asked.
#[derive(Debug)]
pub(super) enum PlanCacheMsg {
    /// Forget all plans.
    Clear {
        /// How many texts they were of.
        reply: RpcReplyPort<u64>,
    },
    /// Throw out what is outdated.
    CatalogChanged,
}

impl Named for PlanCacheMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Clear { .. } => "Clear",
            Self::CatalogChanged => "CatalogChanged",
        }
    }
}

impl PlanCacheArgs {
    /// First the mark, then the look: what changes after the look is told anew.
    fn throw_out(&self) {
        self.client.changed.store(false, Ordering::Release);
        self.runtime.plans().throw_out(&self.runtime.catalog());
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct PlanCacheActor;

impl Actor for PlanCacheActor {
    type Msg = Mail<PlanCacheMsg>;
    type State = PlanCacheArgs;
    type Arguments = PlanCacheArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<PlanCacheMsg>>,
        args: PlanCacheArgs,
    ) -> Result<PlanCacheArgs, ActorProcessingErr> {
        let gauges: &Arc<Gauges> = args.client.slot.gauges();
        gauges.starting(&myself).await?;
        // What one before it was told and did not do.
        args.throw_out();
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<PlanCacheMsg>>,
        mail: Mail<PlanCacheMsg>,
        args: &mut PlanCacheArgs,
    ) -> Result<(), ActorProcessingErr> {
        match mail.open(&myself).await? {
            PlanCacheMsg::Clear { reply } => {
                args.runtime.parsed().clear();
                let _ = reply.send(args.runtime.plans().clear());
            }
            PlanCacheMsg::CatalogChanged => args.throw_out(),
        }
        Ok(())
    }
}
