//! Whether the other end is still there, and what has to be written between messages.
//!
//! The three parts of a connection share it. A connection without traffic costs one timer here and no memory beyond
//! this struct: a client that was silent since the last ping twice in a row is gone. Whatever comes from it counts as an
//! answer. While the session works at a message nothing is read; that is not the client's silence, unless the session
//! waits for the client itself to read.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Pings that may stay unanswered, less one.
const MOST_SILENCES: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Pieces that came.
    received: AtomicU64,
    /// Pieces that were written.
    written: AtomicU64,
    /// A piece waits to be written.
    is_writing: AtomicBool,
    /// The session works, and reads meanwhile nothing.
    is_working: AtomicBool,
    due: Mutex<Due>,
    /// Something is due.
    pub(super) due_now: Notify,
    /// The session's beat.
    pub(super) beat: Notify,
}

/// Control frames to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The answer to the latest ping of the client's; older ones need none (RFC 6455, 5.5.3).
    pub(super) pong: Option<Vec<u8>>,
    /// A ping of ours.
    pub(super) ping: bool,
}

impl Pulse {
    /// Something came.
    pub(super) fn note_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was written.
    pub(super) fn note_written(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether something waits to be written.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Relaxed);
    }

    /// Whether the session works at a message.
    pub(super) fn set_working(&self, is_working: bool) {
        self.is_working.store(is_working, Ordering::Relaxed);
    }

    /// A ping of the client's is to be answered.
    pub(super) fn answer_ping(&self, payload: Vec<u8>) {
        self.change(|due| due.pong = Some(payload));
    }

    fn change(&self, change: impl FnOnce(&mut Due)) {
        change(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner));
        self.due_now.notify_one();
    }

    /// What is due, once.
    pub(super) fn take_due(&self) -> Due {
        std::mem::take(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Beats, until the other end is gone.
    pub(super) async fn run(&self, every: Duration) {
        let mut beats = interval_at(Instant::now() + first_beat(every), every);
        // After a pause of the machine one beat is enough.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silences = None;
        let mut seen = (0, 0);
        loop {
            beats.tick().await;
            let now = (self.received.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
            let is_stuck = self.is_writing.load(Ordering::Relaxed) && now.1 == seen.1;
            let is_heard = now.0 != seen.0 || (self.is_working.load(Ordering::Relaxed) && !is_stuck);
            // Nothing was asked before the first ping.
            let count = silences.map_or(0, |count| if is_heard { 0 } else { count + 1 });
            if count >= MOST_SILENCES {
                return;
            }
            (silences, seen) = (Some(count), now);
            self.change(|due| due.ping = true);
            self.beat.notify_one();
        }
    }
}

/// Some part of the time between two beats: connections that were opened together do not beat together.
fn first_beat(every: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) >> 32;
    every.mul_f64(0.5 + random as f64 / 2f64.powi(33))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(20);

    /// How many pings there were before the end, if it came within ten beats.
    async fn pings(pulse: &Pulse, mut at_ping: impl FnMut(u32)) -> Option<u32> {
        let mut count = 0;
        let asked = async {
            while count < 10 {
                pulse.due_now.notified().await;
                if pulse.take_due().ping {
                    count += 1;
                    at_ping(count);
                }
            }
        };
        // In this order: each ping is counted before the next can be due.
        let ended = tokio::select! { biased; () = asked => false, () = pulse.run(EVERY) => true };
        ended.then_some(count)
    }

    #[tokio::test]
    async fn two_silences_in_a_row_are_the_end() {
        assert_eq!(pings(&Pulse::default(), |_| {}).await, Some(2));
        let pulse = Pulse::default();
        assert_eq!(pings(&pulse, |_| pulse.note_received()).await, None, "whoever answers stays");
        let pulse = Pulse::default();
        let answers_every_other = |count| {
            if count % 2 == 0 {
                pulse.note_received();
            }
        };
        assert_eq!(pings(&pulse, answers_every_other).await, None, "one silence is no end");
        let pulse = Pulse::default();
        let answers_once = |count| {
            if count == 2 {
                pulse.note_received();
            }
        };
        assert_eq!(pings(&pulse, answers_once).await, Some(4));
    }

    #[tokio::test]
    async fn work_of_the_session_is_not_the_clients_silence() {
        let pulse = Pulse::default();
        pulse.set_working(true);
        assert_eq!(pings(&pulse, |_| {}).await, None, "nothing is read meanwhile");
        pulse.set_writing(true);
        assert_eq!(pings(&pulse, |_| pulse.note_written()).await, None, "the client reads");
        assert_eq!(pings(&pulse, |_| {}).await, Some(2), "it does not");
    }

    #[test]
    fn first_beats_are_spread() {
        let mut firsts: Vec<Duration> = (0..1000).map(|_| first_beat(EVERY)).collect();
        firsts.sort_unstable();
        assert!(firsts[0] >= EVERY / 2 && firsts[999] <= EVERY, "{:?} to {:?}", firsts[0], firsts[999]);
        assert!(firsts[999] - firsts[0] > EVERY / 3, "{:?} to {:?}", firsts[0], firsts[999]);
    }

    #[test]
    fn the_latest_ping_is_answered_once() {
        let pulse = Pulse::default();
        pulse.answer_ping(b"a".to_vec());
        pulse.answer_ping(b"b".to_vec());
        assert_eq!(pulse.take_due(), Due { pong: Some(b"b".to_vec()), ping: false });
        assert_eq!(pulse.take_due(), Due::default());
    }
}
