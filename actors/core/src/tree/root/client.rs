//! How the tree is reached from outside, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kalamdb_live::LiveHub;
use kalamdb_wire::ActorNode;
use ractor::ActorRef;

use super::{RootMsg, Shared};
use crate::StopReport;
use crate::tree::gauges::Mail;
use crate::tree::sessions::SessionsClient;
use crate::tree::slot::takes_messages;

/// How long one actor may take to drain when the tree stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// What it gets when the time is over: enough for an empty mailbox.
const LEAST_DRAIN: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::tree) struct RootClient {
    pub(super) actor: ActorRef<Mail<RootMsg>>,
    pub(in crate::tree) shared: Arc<Shared>,
    pub(super) sessions: SessionsClient,
}

impl RootClient {
    pub(in crate::tree) fn sessions(&self) -> &SessionsClient {
        &self.sessions
    }

    #[cfg(test)]
    pub(in crate::tree) fn actor(&self) -> &ActorRef<Mail<RootMsg>> {
        &self.actor
    }

    /// The singletons that do not run, by the names that the tree has for them.
    pub(in crate::tree) fn down(&self) -> Vec<&'static str> {
        let shared = &self.shared;
        let all = [
            ("root", takes_messages(self.actor.get_status())),
            ("catalog", shared.catalog.is_running()),
            ("flushes", shared.flushes.is_running()),
            ("live", shared.live.supervisor().is_running()),
            ("plan-cache", shared.plans.is_running()),
            ("sessions", shared.sessions.is_running()),
            ("housekeeper", shared.housekeeper.is_running()),
        ];
        all.into_iter().filter(|(_, is_running)| !is_running).map(|(name, _)| name).collect()
    }

    pub(in crate::tree) async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(reason) => reason.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Read from counters, no actor is asked: a stuck one is shown like any other.
    pub(in crate::tree) fn describe(&self, depth: Option<usize>, limit: usize) -> ActorNode {
        let shared = &self.shared;
        let depth = depth.unwrap_or(usize::MAX);
        let mut root = shared.gauges.node("root", Some(self.actor.get_status()));
        if depth == 0 {
            return root;
        }
        let mut sessions = shared.sessions.gauges().node("sessions", shared.sessions.status());
        let (nodes, total) = self.sessions.nodes(if depth > 1 { limit } else { 0 });
        sessions.children = nodes;
        sessions.children_total = Some(total);
        let mut flushes = shared.flushes.gauges().node("flushes", shared.flushes.status());
        let catalog = shared.runtime.catalog();
        let name_of = |table| catalog.table_of(table).map(|entry| entry.definition.name.to_string());
        let (nodes, total) = shared.flush_status.nodes(if depth > 1 { limit } else { 0 }, name_of);
        flushes.children = nodes;
        flushes.children_total = Some(total);
        let supervisor = shared.live.supervisor();
        let mut live = supervisor.gauges().node("live", supervisor.status());
        let (nodes, total) = shared.live.nodes(if depth > 1 { limit } else { 0 });
        live.children = nodes;
        live.children_total = Some(total);
        root.children = vec![
            shared.catalog.gauges().node("catalog", shared.catalog.status()),
            flushes,
            live,
            shared.plans.gauges().node("plan-cache", shared.plans.status()),
            sessions,
            shared.housekeeper.gauges().node("housekeeper", shared.housekeeper.status()),
        ];
        root
    }

    pub(in crate::tree) fn live(&self) -> &Arc<LiveHub> {
        &self.shared.live
    }

    /// Stop order, steps 2 to 5 of the table: running statements, live connections, flushes, then the actors, children first.
    pub(in crate::tree) async fn stop(&self, deadline: Instant, report: &mut StopReport) {
        // Two thirds of the time to finish; then what is not committing is called off.
        let now = Instant::now();
        self.stop_in(now + deadline.saturating_duration_since(now) * 2 / 3, deadline, report).await;
    }

    /// As [`stop`](Self::stop), with the moment from which on statements are called off.
    pub(in crate::tree) async fn stop_in(&self, call_off: Instant, deadline: Instant, report: &mut StopReport) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::Release);
        let running = &shared.admission.running;
        running.close();
        let left = call_off.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left, running.wait()).await.is_err() {
            report.warnings.push(format!("{} statements were called off", running.len()));
            shared.admission.cancel.cancel();
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, running.wait()).await.is_err() {
                report.warnings.push(format!("{} statements had not ended", running.len()));
            }
        }
        // What was committed is told, or found by resuming.
        shared.live.close();
        // What is hot is flushed, in the time that is left but for the end of the actors and the backend.
        let left = deadline.saturating_duration_since(Instant::now());
        let client = shared.flush_client();
        client.flush_everything(&shared.runtime, Instant::now() + left * 4 / 5, report).await;
        drain(shared.housekeeper.get(), "housekeeper", deadline, report).await;
        drain(shared.flushes.get(), "flushes", deadline, report).await;
        drain(shared.sessions.get(), "sessions", deadline, report).await;
        drain(shared.plans.get(), "plan-cache", deadline, report).await;
        drain(shared.live.supervisor().get(), "live", deadline, report).await;
        drain(shared.catalog.get(), "catalog", deadline, report).await;
        drain(Some(self.actor.clone()), "root", deadline, report).await;
    }
}

async fn drain<M: ractor::Message>(actor: Option<ActorRef<M>>, name: &str, deadline: Instant, report: &mut StopReport) {
    let Some(actor) = actor else { return };
    let left = deadline.saturating_duration_since(Instant::now());
    if actor.drain_and_wait(Some(DRAIN_TIMEOUT.min(left).max(LEAST_DRAIN))).await.is_err()
        && actor.get_status() != ractor::ActorStatus::Stopped
    {
        report.warnings.push(format!("actor {name} did not drain"));
    }
}
