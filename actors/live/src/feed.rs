//! One partition's change log as an actor follows it, for all subscriptions to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_commons::{Error, Seq};
use kalamdb_store::PartitionReader;
use kalamdb_store::codec::changelog::LogEntry;
use kalamdb_wire::{CloseReason, FrameTail};

use crate::LiveQuery;
use crate::evaluator::Evaluator;
use crate::feeder::reason_of;
use crate::source::{LiveSource, TableState};
use crate::subscription::Member;

/// Bytes of the log read at a time.
const PAGE_BYTES: usize = 1 << 20;

/// Subscriptions with equal queries.
#[derive(Debug)]
struct Group {
    query: LiveQuery,
    members: Vec<Member>,
}

impl Group {
    /// Puts in the frames of a statement; members that have ended go.
    fn deliver(&mut self, last: Seq, at: i64, frames: &[FrameTail]) {
        self.members.retain(|member| {
            if member.after >= last {
                return true;
            }
            if frames.is_empty() {
                member.subscription.is_open()
            } else {
                member.subscription.deliver(frames, at).is_ok()
            }
        });
    }

    fn close(self, reason: CloseReason, error: Option<&Error>) {
        for member in &self.members {
            match error {
                Some(error) => member.subscription.fail(reason, error),
                None => member.subscription.close(reason),
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    reader: Arc<dyn PartitionReader>,
    evaluator: Arc<Evaluator>,
    /// Every member has been told everything up to here (LV-2); read by heartbeats.
    cursor: Arc<AtomicU64>,
    groups: HashMap<Arc<str>, Group>,
}

impl Feed {
    /// One that has got as far as its first member.
    pub(crate) fn new(evaluator: &Arc<Evaluator>, first: &Member) -> Self {
        Self {
            reader: evaluator.source.reader(&first.subscription.query),
            evaluator: Arc::clone(evaluator),
            cursor: Arc::new(AtomicU64::new(first.after.0)),
            groups: HashMap::new(),
        }
    }

    fn source(&self) -> &dyn LiveSource {
        &*self.evaluator.source
    }

    fn cursor(&self) -> Seq {
        Seq(self.cursor.load(Ordering::Acquire))
    }

    /// Whether nobody follows.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes in a subscription. One that is behind is told what it lacks; one that is ahead is told nothing twice.
    pub(crate) async fn attach(&mut self, member: Member) {
        let query = member.subscription.query.clone();
        match self.source().table_state(&query) {
            TableState::Same => {}
            TableState::Changed => return member.subscription.close(CloseReason::SchemaChanged),
            TableState::Dropped => return member.subscription.close(CloseReason::TableDropped),
        }
        let cursor = self.cursor();
        let subscription = Arc::clone(&member.subscription);
        let mut alone = Group { query: query.clone(), members: vec![member] };
        let mut after = alone.members.first().map_or(cursor, |member| member.after);
        while after < cursor {
            match self.reader.log(after, cursor, PAGE_BYTES).await {
                Ok(page) => {
                    for (last, entry) in &page.entries {
                        if let Err(error) = evaluate(&self.evaluator, &mut alone, *last, entry) {
                            let (reason, error) = ending(self.source(), &query, error);
                            return alone.close(reason, error.as_ref());
                        }
                    }
                    after = page.reached;
                }
                Err(error) => return alone.close(CloseReason::Internal, Some(&error)),
            }
        }
        if !subscription.is_open() {
            return;
        }
        subscription.follows(&self.cursor);
        let group = self.groups.entry(Arc::clone(&query.key));
        group.or_insert_with(|| Group { query, members: Vec::new() }).members.append(&mut alone.members);
    }

    /// Takes out subscriptions that have ended.
    pub(crate) fn sweep(&mut self) {
        for group in self.groups.values_mut() {
            group.members.retain(|member| member.subscription.is_open());
        }
        self.groups.retain(|_, group| !group.members.is_empty());
    }

    /// Tells everybody what was published since, and ends those whose table is no longer theirs.
    pub(crate) async fn advance(&mut self) {
        // Once: it is the whole server's, and what this partition publishes later wakes the actor again.
        let published = self.reader.published();
        loop {
            let cursor = self.cursor();
            if published <= cursor || self.groups.is_empty() {
                return;
            }
            let page = match self.reader.log(cursor, published, PAGE_BYTES).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(
                        detail = error.detail.as_deref().unwrap_or(&error.message),
                        "a change log cannot be followed"
                    );
                    for (_, group) in self.groups.drain() {
                        group.close(CloseReason::Internal, Some(&error));
                    }
                    return;
                }
            };
            for (last, entry) in &page.entries {
                self.tell(*last, entry);
                // Those who read get a turn to: a burst is no reason to end one that keeps up.
                tokio::task::yield_now().await;
            }
            // After the frames are in (LV-2).
            self.cursor.store(page.reached.0, Ordering::Release);
        }
    }

    fn tell(&mut self, last: Seq, entry: &LogEntry) {
        let evaluator = &*self.evaluator;
        let source = &*evaluator.source;
        let mut ended = Vec::new();
        for (key, group) in &mut self.groups {
            // Rows of a later version come after the catalog knows it.
            if let Some(reason) = over(source.table_state(&group.query)) {
                ended.push((Arc::clone(key), reason, None));
                continue;
            }
            if let Err(error) = evaluate(evaluator, group, last, entry) {
                let (reason, error) = ending(source, &group.query, error);
                ended.push((Arc::clone(key), reason, error));
            } else if group.members.is_empty() {
                ended.push((Arc::clone(key), CloseReason::Internal, None));
            }
        }
        for (key, reason, error) in ended {
            if let Some(group) = self.groups.remove(&key) {
                group.close(reason, error.as_ref());
            }
        }
    }

    /// Ends those whose table lacks columns that they use, or is gone.
    pub(crate) fn check_table(&mut self) {
        let source = self.source();
        let ended: Vec<(Arc<str>, CloseReason)> = self
            .groups
            .iter()
            .filter_map(|(key, group)| Some((Arc::clone(key), over(source.table_state(&group.query))?)))
            .collect();
        for (key, reason) in ended {
            if let Some(group) = self.groups.remove(&key) {
                group.close(reason, None);
            }
        }
    }
}

/// How a query ends that failed on a row: where its table is another by now that is why.
pub(crate) fn ending(source: &dyn LiveSource, query: &LiveQuery, error: Error) -> (CloseReason, Option<Error>) {
    match over(source.table_state(query)) {
        Some(reason) => (reason, None),
        None => (reason_of(&error), Some(error)),
    }
}

fn over(state: TableState) -> Option<CloseReason> {
    match state {
        TableState::Same => None,
        TableState::Changed => Some(CloseReason::SchemaChanged),
        TableState::Dropped => Some(CloseReason::TableDropped),
    }
}

/// Evaluates a statement for a group, and tells its members.
fn evaluate(evaluator: &Evaluator, group: &mut Group, last: Seq, entry: &LogEntry) -> Result<(), Error> {
    if group.members.iter().all(|member| member.after >= last) {
        return Ok(());
    }
    let frames = evaluator.frames(&group.query, last, entry)?;
    group.deliver(last, entry.committed_at, &frames);
    Ok(())
}
