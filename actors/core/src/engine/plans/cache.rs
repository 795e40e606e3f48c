//! The compiled plans of this server, by text and namespace.
//!
//! One compilation at a time for each of them: whoever else asks waits for it. Bounded by entries and bytes; what is used
//! least makes room.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kalamdb_commons::settings::QuerySettings;
use kalamdb_commons::{ErrorCode, NamespaceId, Result, SchemaVersion, TableId};
use kalamdb_sql::{ColumnType, ast};
use kalamdb_wire::{PlanCache as Outcome, PlanCacheOverview};
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};
use tokio::sync::Mutex as AsyncMutex;

use super::super::context::StatementContext;
use super::super::params::Params;
use super::super::runtime::now_micros;
use super::compile::{Shape, compile};
use super::template::{Run, Template};
use crate::catalog::CatalogSnapshot;

/// What an entry takes beside its plans.
const ENTRY_BYTES: u64 = 1 << 10;
/// Plans of one text for parameters of different shapes.
const MOST_VARIANTS: usize = 8;

/// Which query of a statement a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The statement itself.
    Query,
    /// What an UPDATE or DELETE reads.
    Change,
    /// What an INSERT … SELECT reads. The types of what it is inserted into are those of parameters that stand alone.
    Insert {
        /// The table that is written.
        table: TableId,
        /// As it was then.
        version: SchemaVersion,
    },
}

impl Part {
    /// Whether it is of the catalog's tables, the plan's own aside.
    fn is_of(self, catalog: &CatalogSnapshot) -> bool {
        match self {
            Self::Query | Self::Change => true,
            Self::Insert { table, version } => {
                catalog.table_of(table).is_some_and(|entry| entry.schema.version == version)
            }
        }
    }
}

/// What a compiled plan is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub(crate) text: Arc<str>,
    pub(crate) namespace: NamespaceId,
    pub(crate) part: Part,
}

/// A plan for parameters of one shape.
#[derive(Debug, Clone)]
enum Variant {
    Compiled(Arc<Template>),
    /// It could not be compiled, as this catalog was.
    Refused {
        shape: Shape,
        catalog: Weak<CatalogSnapshot>,
    },
}

/// The plans of one text.
#[derive(Debug)]
struct Entry {
    variants: RwLock<Vec<Variant>>,
    /// Held by whoever compiles.
    compiling: AsyncMutex<()>,
    hits: AtomicU64,
    compilations: AtomicU64,
    created_at: i64,
    last_used_at: AtomicI64,
}

impl Entry {
    fn new() -> Self {
        let now = now_micros();
        Self {
            variants: RwLock::default(),
            compiling: AsyncMutex::default(),
            hits: AtomicU64::new(0),
            compilations: AtomicU64::new(0),
            created_at: now,
            last_used_at: AtomicI64::new(now),
        }
    }

    /// The plan for these parameters; `Err` where it is known that there is none.
    fn find(&self, context: &StatementContext, params: &Params) -> Result<Option<Arc<Template>>, ()> {
        for variant in self.variants.read().iter() {
            match variant {
                Variant::Compiled(template)
                    if template.fits(params) && template.is_of(&context.catalog, &context.namespace) =>
                {
                    return Ok(Some(Arc::clone(template)));
                }
                Variant::Refused { shape, catalog }
                    if shape.fits(params) && std::ptr::eq(catalog.as_ptr(), Arc::as_ptr(&context.catalog)) =>
                {
                    return Err(());
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Puts a plan in the place of those that are for the same parameters; how many plans those were.
    fn put(&self, variant: Variant, params: &Params) -> usize {
        let mut variants = self.variants.write();
        let mut replaced = 0;
        variants.retain(|known| match known {
            Variant::Compiled(template) => {
                let stays = !template.fits(params);
                replaced += usize::from(!stays);
                stays
            }
            Variant::Refused { shape, .. } => !shape.fits(params),
        });
        if variants.len() == MOST_VARIANTS {
            variants.remove(0);
        }
        variants.push(variant);
        replaced
    }

    /// Whether there is a plan in it, which is what others are told of: it may hold no more than that none can be had.
    fn has_plans(&self) -> bool {
        self.variants.read().iter().any(|variant| matches!(variant, Variant::Compiled(_)))
    }

    fn bytes(&self) -> u64 {
        let of = |variant: &Variant| match variant {
            Variant::Compiled(template) => template.bytes(),
            Variant::Refused { .. } => ENTRY_BYTES,
        };
        ENTRY_BYTES + self.variants.read().iter().map(of).sum::<u64>()
    }
}

/// An entry with its weight as it was when it was put in: that must not change while it is there.
#[derive(Debug, Clone)]
struct Kept {
    entry: Arc<Entry>,
    bytes: u64,
    /// Which time it was put in, of all; 0 while there is nothing in it.
    time: u64,
}

#[derive(Debug, Clone)]
struct Weight {
    /// Each entry counts as so much at least, which bounds how many they are.
    least: u64,
}

impl Weighter<PlanKey, Kept> for Weight {
    fn weight(&self, key: &PlanKey, kept: &Kept) -> u64 {
        (kept.bytes + 2 * key.text.len() as u64).max(self.least)
    }
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    compilations: AtomicU64,
    evictions: AtomicU64,
    invalidations: AtomicU64,
}

/// Counts plans that had to make room.
#[derive(Debug, Clone)]
struct CountsEvictions(Arc<Counters>);

impl Lifecycle<PlanKey, Kept> for CountsEvictions {
    /// What is being put in, with its time: what was there under its key is replaced, and has made no room by that.
    type RequestState = Option<(PlanKey, u64)>;

    fn on_evict(&self, put_in: &mut Option<(PlanKey, u64)>, key: PlanKey, kept: Kept) {
        let is_replaced = put_in.as_ref().is_some_and(|(own, time)| *own == key && *time != kept.time);
        if !is_replaced && kept.entry.has_plans() {
            self.0.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One entry, for whoever asks.
#[derive(Debug)]
pub(crate) struct PlanRow {
    pub(crate) sql: Arc<str>,
    pub(crate) hits: u64,
    pub(crate) compilations: u64,
    pub(crate) schema_versions: String,
    pub(crate) bytes: u64,
    pub(crate) created_at: i64,
    pub(crate) last_used_at: i64,
}

/// See the module.
pub(crate) struct PlanCache {
    entries: Cache<PlanKey, Kept, Weight, DefaultHashBuilder, CountsEvictions>,
    counters: Arc<Counters>,
    capacity: u64,
    /// How often something was put in.
    times: AtomicU64,
}

impl fmt::Debug for PlanCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanCache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl PlanCache {
    pub(crate) fn new(settings: &QuerySettings) -> Self {
        let (entries, bytes) = (settings.plan_cache_entries.max(1), settings.plan_cache_bytes.max(1));
        let counters: Arc<Counters> = Arc::default();
        let weight = Weight { least: bytes.div_ceil(entries as u64) };
        let lifecycle = CountsEvictions(Arc::clone(&counters));
        let entries_bytes = Cache::with(entries, bytes, weight, DefaultHashBuilder::default(), lifecycle);
        Self { entries: entries_bytes, counters, capacity: entries as u64, times: AtomicU64::new(0) }
    }

    /// Forgets all plans; how many texts they were of.
    pub(crate) fn clear(&self) -> u64 {
        let count = self.with_plans().count() as u64;
        self.entries.clear();
        count
    }

    /// The entries that others are told of, in no order.
    fn with_plans(&self) -> impl Iterator<Item = (PlanKey, Kept)> {
        self.entries.iter().filter(|(_, kept)| kept.entry.has_plans())
    }

    pub(crate) fn overview(&self) -> PlanCacheOverview {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (mut entries, mut bytes) = (0, 0);
        for (_, kept) in self.with_plans() {
            (entries, bytes) = (entries + 1, bytes + kept.bytes);
        }
        PlanCacheOverview {
            entries,
            bytes,
            capacity: self.capacity,
            hits: count(&self.counters.hits),
            misses: count(&self.counters.misses),
            compilations: count(&self.counters.compilations),
            evictions: count(&self.counters.evictions),
            invalidations: count(&self.counters.invalidations),
        }
    }

    /// Throws out plans of tables that are others by now.
    pub(crate) fn throw_out(&self, catalog: &Arc<CatalogSnapshot>) {
        let out = AtomicU64::new(0);
        self.entries.retain(|key, kept| {
            let mut variants = kept.entry.variants.write();
            let is_new = variants.is_empty();
            variants.retain(|variant| match variant {
                Variant::Compiled(template) => {
                    let stays = key.part.is_of(catalog) && template.is_of(catalog, &key.namespace);
                    out.fetch_add(u64::from(!stays), Ordering::Relaxed);
                    stays
                }
                Variant::Refused { catalog: of, .. } => std::ptr::eq(of.as_ptr(), Arc::as_ptr(catalog)),
            });
            // One that has had none yet is being compiled: who asks meanwhile waits for that.
            is_new || !variants.is_empty()
        });
        self.counters.invalidations.fetch_add(out.into_inner(), Ordering::Relaxed);
    }

    /// All entries with plans, in no order.
    pub(crate) fn rows(&self) -> Vec<PlanRow> {
        let row = |(key, kept): (PlanKey, Kept)| {
            let mut versions: Vec<String> = Vec::new();
            for variant in kept.entry.variants.read().iter() {
                if let Variant::Compiled(template) = variant {
                    versions.extend(template.schema_versions());
                }
            }
            versions.sort_unstable();
            versions.dedup();
            PlanRow {
                sql: key.text,
                hits: kept.entry.hits.load(Ordering::Relaxed),
                compilations: kept.entry.compilations.load(Ordering::Relaxed),
                schema_versions: versions.join(", "),
                bytes: kept.bytes,
                created_at: kept.entry.created_at,
                last_used_at: kept.entry.last_used_at.load(Ordering::Relaxed),
            }
        };
        self.with_plans().map(row).collect()
    }

    /// Whether a text is known to be a lookup of one row with parameters like these.
    pub(crate) fn is_point(&self, text: &Arc<str>, namespace: &NamespaceId, params: &Params) -> bool {
        let key = PlanKey { text: Arc::clone(text), namespace: namespace.clone(), part: Part::Query };
        let of = |variant: &Variant| matches!(variant, Variant::Compiled(template) if template.is_point() && template.fits(params));
        self.entries.peek(&key).is_some_and(|kept| kept.entry.variants.read().iter().any(of))
    }

    /// The plan for a query, compiled where it has to be; none where there is none to be had.
    async fn template(
        &self,
        key: PlanKey,
        context: &Arc<StatementContext>,
        params: &Params,
        compiled: impl FnOnce() -> Result<Template>,
    ) -> Option<Found> {
        let known = self.entries.get(&key).map(|kept| kept.entry);
        let entry = match known {
            Some(entry) => entry,
            None => {
                let kept = Kept { entry: Arc::new(Entry::new()), bytes: ENTRY_BYTES, time: 0 };
                // Two that come at once share one: what they wait for is in it.
                let found = self.entries.get_or_insert_with(&key, || Ok::<_, ()>(kept.clone()));
                found.unwrap_or(kept).entry
            }
        };
        entry.last_used_at.store(context.now, Ordering::Relaxed);
        if let Some(template) = entry.find(context, params).ok()? {
            return Some(Found { template, entry, outcome: Outcome::Hit });
        }
        let compiling = entry.compiling.lock().await;
        if let Some(template) = entry.find(context, params).ok()? {
            drop(compiling);
            return Some(Found { template, entry, outcome: Outcome::Hit });
        }
        let made = match compiled() {
            Ok(template) => template.make_ready(context).await.map(|()| template),
            Err(error) => Err(error),
        };
        let (variant, template) = match made {
            Ok(template) => {
                let template = Arc::new(template);
                entry.compilations.fetch_add(1, Ordering::Relaxed);
                self.counters.compilations.fetch_add(1, Ordering::Relaxed);
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
                (Variant::Compiled(Arc::clone(&template)), Some(template))
            }
            // The caller's mistake: of others' statements it says nothing.
            Err(error) if !matches!(error.code, ErrorCode::Internal | ErrorCode::Unsupported) => return None,
            Err(error) => {
                let detail = error.detail.as_deref().unwrap_or_default();
                tracing::debug!(code = %error.code, detail, "a statement is not compiled for all callers");
                (Variant::Refused { shape: Shape::exactly(params), catalog: Arc::downgrade(&context.catalog) }, None)
            }
        };
        let replaced = entry.put(variant, params) as u64;
        self.counters.invalidations.fetch_add(replaced, Ordering::Relaxed);
        let bytes = entry.bytes();
        let time = self.times.fetch_add(1, Ordering::Relaxed) + 1;
        let kept = Kept { entry: Arc::clone(&entry), bytes, time };
        self.entries.insert_with_lifecycle(key.clone(), kept, &mut Some((key, time)));
        drop(compiling);
        Some(Found { template: template?, entry, outcome: Outcome::Miss })
    }

    /// Counts a statement whose plan is not kept here, and whose text was known or was not.
    pub(crate) fn note(&self, was_known: bool) -> Outcome {
        let (counter, outcome) =
            if was_known { (&self.counters.hits, Outcome::Hit) } else { (&self.counters.misses, Outcome::Miss) };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    fn count_hit(&self, entry: &Entry) {
        entry.hits.fetch_add(1, Ordering::Relaxed);
        self.counters.hits.fetch_add(1, Ordering::Relaxed);
    }
}

/// A plan, and how it was come by.
struct Found {
    template: Arc<Template>,
    entry: Arc<Entry>,
    outcome: Outcome,
}

/// A compiled query that is about to run.
pub(crate) struct Prepared {
    pub(crate) run: Run,
    /// Whether it had to be compiled.
    pub(crate) outcome: Outcome,
}

/// Starts the compiled plan of a query; none where it has to be planned for this statement alone.
///
/// # Errors
/// Those of its start; what is wrong with the query itself is said by whoever plans it.
pub(crate) async fn prepare(
    context: &Arc<StatementContext>,
    part: Part,
    query: impl FnOnce() -> Result<ast::Query>,
    params: &Params,
    outputs: &[ColumnType],
) -> Result<Option<Prepared>> {
    let Some(text) = context.plan_text.clone().filter(|_| !context.is_heavy) else { return Ok(None) };
    let key = PlanKey { text, namespace: context.namespace.clone(), part };
    let compiled = || compile(context, query()?, params, outputs);
    let plans = context.runtime.plans();
    let Some(Found { template, entry, outcome }) = plans.template(key, context, params, compiled).await else {
        return Ok(None);
    };
    // What a role may not read is said by the planner, in its words.
    let Ok(partitions) = template.partitions(context) else { return Ok(None) };
    let values = template.values(context, params)?;
    if outcome == Outcome::Hit {
        // Not before: a statement whose parameters are refused does not run by the plan.
        plans.count_hit(&entry);
    }
    let run = template.run(context, partitions, values).await?;
    Ok(Some(Prepared { run, outcome }))
}
