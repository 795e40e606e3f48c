//! How RocksDB is set up, all of it derived from one number: the memory it may take.
//!
//! Memory is charged when it is used: the cache and the write buffers share one budget and start empty,
//! so an idle server pays for neither.

use kalamdb_commons::Family;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBufferManager,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Below this RocksDB does nothing but flush.
const LEAST_MEMORY: usize = 8 * MIB;

/// The share of a write buffer that is a bloom filter of its keys: ten bits for each of 300 000 rows of about 100 bytes.
const MEMTABLE_BLOOM: f64 = 0.012;

/// RocksDB's own family, which it insists on; nothing is kept in it.
pub(super) const UNUSED_FAMILY: &str = "default";

/// The options of the database and of each family.
pub(super) struct Setup {
    pub(super) database: Options,
    pub(super) families: Vec<ColumnFamilyDescriptor>,
}

impl Setup {
    pub(super) fn new(memory_bytes: u64) -> Self {
        let memory = usize::try_from(memory_bytes).unwrap_or(usize::MAX).max(LEAST_MEMORY);
        let cache = Cache::new_lru_cache(memory);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(memory / 2, false, cache.clone());
        let buffer_bytes = (memory / 8).min(64 * MIB);
        let unused = ColumnFamilyDescriptor::new(UNUSED_FAMILY, family(None, &cache, 64 * KIB));
        let families = Family::ALL
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(name.as_str(), family(Some(*name), &cache, buffer_bytes)));
        Self { database: database(&buffers, memory), families: std::iter::once(unused).chain(families).collect() }
    }
}

fn database(buffers: &WriteBufferManager, memory: usize) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(buffers);

    // After a power cut: exactly the writes before the first one that is damaged, in every family.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_atomic_flush(true);
    // See `write::write_log`.
    options.set_manual_wal_flush(true);
    // What an open shows is durable: by RocksDB's default (avoid_flush_during_recovery) what it found in the logs
    // goes into files of its own, synced, before it ends.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    // Bounds what the next start has to replay.
    options.set_max_total_wal_size(memory.clamp(64 * MIB, 1024 * MIB) as u64);

    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    options.set_max_background_jobs(i32::try_from(cores.clamp(2, 6)).unwrap_or(2));
    options.set_avoid_unnecessary_blocking_io(true);
    // Written back steadily, so that a flush or compaction is no burst that a sync then waits behind.
    options.set_bytes_per_sync(MIB as u64);
    // Ten thousand connections need the file descriptors more.
    options.set_max_open_files(512);
    options.set_skip_stats_update_on_db_open(true);

    // Its own log: enough to explain a failure, and no periodic noise or memory.
    options.set_log_level(LogLevel::Info);
    options.set_max_log_file_size(4 * MIB);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family(name: Option<Family>, cache: &Cache, buffer_bytes: usize) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(buffer_bytes);
    options.set_max_write_buffer_number(4);
    options.set_arena_block_size((buffer_bytes / 8).min(128 * KIB));
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_target_file_size_base(buffer_bytes.max(4 * MIB) as u64);
    options.set_max_bytes_for_level_base(4 * buffer_bytes.max(4 * MIB) as u64);
    // A flushed or trimmed partition leaves a run of deletions that the next scan would step over.
    options.add_compact_on_deletion_collector_factory(1024, 256, 0.5);

    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_block_size(8 * KIB);
    match name {
        Some(Family::System | Family::Rows | Family::Manifest) => table.set_bloom_filter(10.0, false),
        // Read in order only.
        Some(Family::Log) | None => {}
    }
    if name == Some(Family::Rows) {
        // A new key is looked for first, and mostly not there.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM);
    }
    options.set_block_based_table_factory(&table);
    options
}
