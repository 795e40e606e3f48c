//! Stopping, in order: nothing is taken apart while something still needs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_core::{Engine, StopReport};
use tokio_util::sync::CancellationToken;

use crate::door::{Connections, Door};

/// One step of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `/ready` says 503, the listener is closed, new statements are `SHUTTING_DOWN`.
    Refuse,
    /// Running statements finish or are cancelled, never one that is committing; then subscriptions are told
    /// `closed`/`shutdown` and their connections end with 1001; then tables are flushed and the actors drained, children first; then the backend is synced and closed.
    Engine,
    /// Answers are delivered, connections closed.
    Connections,
}

/// The order, and each step's part of `server.shutdown_timeout` in percent. Time that a step leaves
/// over is the next one's.
pub const STEPS: [(Step, u32); 3] = [(Step::Refuse, 0), (Step::Engine, 90), (Step::Connections, 10)];

/// What a stop takes apart.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) door: Arc<Door>,
    pub(crate) engine: Engine,
    pub(crate) connections: Connections,
    pub(crate) listening: CancellationToken,
}

/// Goes through [`STEPS`]; over after `timeout` at the latest.
pub(crate) async fn run(running: Running, timeout: Duration) -> StopReport {
    let begun = Instant::now();
    let mut report = StopReport::default();
    let mut share = 0;
    for (step, percent) in STEPS {
        share += percent;
        let deadline = begun + timeout * share / 100;
        match step {
            Step::Refuse => {
                running.listening.cancel();
                running.door.begin_stop();
            }
            Step::Engine => report.warnings.extend(running.engine.stop(deadline).await.warnings),
            Step::Connections => {
                let cut = running.connections.finish(deadline.into()).await;
                if cut > 0 {
                    report.warnings.push(format!("{cut} connections were cut before their answer was delivered"));
                }
            }
        }
        tracing::info!(step = ?step, took_ms = begun.elapsed().as_millis(), "shutdown step done");
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_share_the_whole_time() {
        assert_eq!(STEPS.iter().map(|(_, percent)| percent).sum::<u32>(), 100);
        assert_eq!(STEPS[0].0, Step::Refuse, "nothing new while the rest is taken apart");
    }
}
