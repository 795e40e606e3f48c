//! `FlushActor`: one table, one flush at a time. The flush runs in a task of its own, which ends by itself: an actor that is
//! lost leaves no half-done batch, and the next flush's lease keeps the one that outlived it from committing.
//!
//! Its mailbox holds at most one message: the coordinator gives it the next flush when it has heard of the end of the one
//! before. Restart: the coordinator starts a new one with the table's next flush. Shutdown: with its coordinator.

use std::sync::Arc;

use kalamdb_commons::{Error, TableId};
use kalamdb_store::codec::catalog::JobTrigger;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use super::job::{Report, run_job};
use super::status::FlushStatus;
use super::{FlushMsg, Own};
use crate::engine::Runtime;
use crate::task::spawn_on;
use crate::tree::gauges::{Gauges, Mail, Named};
use crate::tree::slot::Slot;

/// What the actor is started with.
#[derive(Debug)]
pub(super) struct FlushActorArgs {
    pub(super) runtime: Arc<Runtime>,
    pub(super) coordinator: Arc<Slot<FlushMsg>>,
    pub(super) status: Arc<FlushStatus>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) table: TableId,
}

/// One flush.
#[derive(Debug)]
pub(super) struct FlushTask {
    pub(super) trigger: JobTrigger,
    pub(super) reply: Option<RpcReplyPort<Report>>,
}

/// What it is asked.
#[derive(Debug)]
pub(super) enum TableMsg {
    /// Flush the table.
    Run {
        /// How.
        task: Box<FlushTask>,
    },
}

impl Named for TableMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Run { .. } => "Run",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct FlushActor;

impl Actor for FlushActor {
    type Msg = Mail<TableMsg>;
    type State = FlushActorArgs;
    type Arguments = FlushActorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<TableMsg>>,
        args: FlushActorArgs,
    ) -> Result<FlushActorArgs, ActorProcessingErr> {
        args.gauges.starting(&myself).await?;
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<TableMsg>>,
        mail: Mail<TableMsg>,
        state: &mut FlushActorArgs,
    ) -> Result<(), ActorProcessingErr> {
        let TableMsg::Run { task } = mail.open(&myself).await?;
        let FlushTask { trigger, reply } = *task;
        let (runtime, table, status) = (Arc::clone(&state.runtime), state.table, Arc::clone(&state.status));
        let (done, ended) = oneshot::channel();
        // Also where the coordinator is lost before the task's first step.
        let runs = status.runs(table);
        drop(spawn_on(state.runtime.statements(), "flush", async move {
            let report = run_job(&runtime, table, trigger, &status).await;
            drop(runs);
            if let Some(reply) = reply {
                // Whoever asked may have gone.
                let _ = reply.send(report.clone());
            }
            let _ = done.send(report);
        }));
        state.gauges.passes("begun");
        let report = ended.await.map_err(|_| Error::internal("a flush panicked"))?;
        state.coordinator.cast(FlushMsg::Own(Own::Ended { table, report }));
        Ok(())
    }
}
