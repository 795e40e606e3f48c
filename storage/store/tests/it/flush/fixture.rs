//! A flush actor without files: segments are rows in memory, by their path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use kalamdb_commons::{NamespaceId, QualifiedTableName, SchemaVersion, Seq, TableId, TableName, TableType};
use kalamdb_sql::{TableDefinition, TableOptions, Value};
use kalamdb_store::codec::files::StoredFile;
use kalamdb_store::codec::keys;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::codec::row::{RowHeader, decode_row, encode_row};
use kalamdb_store::{
    Batch, Changes, CommitError, Committed, CompactedRows, CompactionSource, Direction, Durability, FlushError,
    FlushLimits, FlushedRow, Lease, NewSegment, PartitionId, PendingFile, Pin, RowChange, RowState, SegmentCommit,
    SegmentRows, SegmentsRead, Snapshot, SyncMode, TableTotals, catalog, files, manifest,
};
use parking_lot::Mutex;

use crate::committer::fixture::{Fixture, NOW, TABLE, key};
use crate::support::{Backend, scan};

/// A row in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileRow {
    pub(super) key: Vec<u8>,
    pub(super) seq: Seq,
    pub(super) deleted: bool,
    pub(super) row: Vec<Value>,
}

/// The storage: outlives the server.
pub(super) type Disk = Arc<Mutex<BTreeMap<String, Vec<FileRow>>>>;

/// A server's store, and the storage.
pub(super) struct World {
    pub(super) store: Fixture,
    pub(super) disk: Disk,
    /// For segment ids.
    next_id: Mutex<u128>,
}

impl Deref for World {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.store
    }
}

/// Where a version of a row is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Hot,
    Segment { segment: u128, row: u64 },
}

/// A version that can be seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Version {
    pub(super) seq: Seq,
    pub(super) deleted: bool,
    pub(super) row: Vec<Value>,
    pub(super) place: Place,
}

/// A file that is written and not committed.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) lease: Lease,
    pub(super) file: PendingFile,
    pub(super) segment: NewSegment,
    pub(super) rows: SegmentRows,
}

/// A compaction that is read and written, and not committed.
pub(super) struct Merged {
    pub(super) lease: Lease,
    pub(super) partition: PartitionId,
    pub(super) file: Option<(PendingFile, NewSegment)>,
    pub(super) rows: CompactedRows,
    pub(super) _pin: Pin,
}

impl World {
    pub(super) async fn new(backend: Backend, mode: SyncMode, disk: &Disk) -> Self {
        define(&backend, TABLE).await;
        let store = match mode {
            SyncMode::Sync => Fixture::with_syncer(backend, mode).await,
            SyncMode::Buffered => Fixture::new(backend, mode).await,
        };
        let next_id = disk.lock().keys().filter_map(|path| path.parse::<u128>().ok()).max().unwrap_or(0) + 1;
        Self { store, disk: Arc::clone(disk), next_id: Mutex::new(next_id) }
    }

    pub(super) async fn lease(&self) -> Lease {
        self.committer.raise_lease(TABLE, NOW).await.unwrap()
    }

    pub(super) async fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.backend.snapshot().await.unwrap()
    }

    fn file(&self) -> (u128, StoredFile) {
        let mut next = self.next_id.lock();
        *next += 1;
        (*next, StoredFile { storage: "local".to_owned(), path: next.to_string() })
    }

    /// Reads partitions and writes their files; partitions without hot rows have none. A file has at most `rows` rows.
    pub(super) async fn write_files(
        &self,
        lease: &Lease,
        partitions: Vec<PartitionId>,
        rows: usize,
        limits: FlushLimits,
    ) -> Result<Vec<Written>, FlushError> {
        let mut written = Vec::new();
        for mut hot in self.committer.begin_flush_within(lease, partitions, limits).await? {
            loop {
                let mut file_rows = Vec::new();
                while file_rows.len() < rows {
                    let chunk = hot.next((rows - file_rows.len()).min(100), usize::MAX).await?;
                    if chunk.is_empty() {
                        break;
                    }
                    file_rows.extend(chunk.into_iter().map(|hot| {
                        let (header, row) = decode_row(&hot.stored, &self.schema).unwrap();
                        assert_eq!(header, hot.header);
                        FileRow { key: hot.key.to_vec(), seq: header.seq, deleted: header.deleted, row }
                    }));
                }
                let Some(rows) = hot.cut() else { break };
                let (segment_id, file) = self.file();
                let path = file.path.clone();
                let file = self.committer.record_pending(lease, vec![file]).await?.remove(0);
                let bytes = 100 * file_rows.len() as u64;
                self.disk.lock().insert(path, file_rows);
                written.push(Written { lease: lease.clone(), file, segment: new_segment(segment_id, bytes, 0), rows });
            }
        }
        Ok(written)
    }

    pub(super) async fn commit_file(&self, written: Written) -> Result<SegmentCommit, FlushError> {
        let Written { lease, file, segment, rows } = written;
        let mut guard = self.committer.begin(rows.partition().clone()).await;
        guard.commit_flush(&lease, file, segment, rows).await
    }

    /// Flushes partitions, each into one file.
    pub(super) async fn flush(&self, partitions: Vec<PartitionId>) -> Vec<SegmentCommit> {
        let lease = self.lease().await;
        let written = self.write_files(&lease, partitions, usize::MAX, FlushLimits::default()).await.unwrap();
        let mut commits = Vec::new();
        for file in written {
            commits.push(self.commit_file(file).await.unwrap());
        }
        commits
    }

    /// Reads and writes a compaction of all segments of a partition; tombstones go if they are not to be kept.
    pub(super) async fn merge(
        &self,
        lease: &Lease,
        partition: &PartitionId,
        keep_tombstones: bool,
    ) -> Result<Option<Merged>, FlushError> {
        let pin = self.committer.pin();
        let snapshot = self.snapshot().await;
        let mut sources = Vec::new();
        let mut rows: BTreeMap<Vec<u8>, (usize, u64, FileRow)> = BTreeMap::new();
        for (at, entry) in manifest::entries(&*snapshot, partition).await?.into_iter().enumerate() {
            let marks = manifest::marks(&*snapshot, partition, entry.segment_id).await?;
            for (position, row) in self.read_file(&entry).into_iter().enumerate() {
                let position = position as u64;
                if !marks.contains(position) && (keep_tombstones || !row.deleted) {
                    assert!(rows.insert(row.key.clone(), (at, position, row)).is_none(), "one key in two segments");
                }
            }
            sources.push(CompactionSource { entry, marks });
        }
        if sources.is_empty() {
            return Ok(None);
        }
        let mut compacted = CompactedRows::new(sources);
        for (key, (at, position, row)) in &rows {
            compacted.push(*at, *position, key, row.seq)?;
        }
        let file = if compacted.is_empty() {
            None
        } else {
            let (segment_id, file) = self.file();
            let path = file.path.clone();
            let file = self.committer.record_pending(lease, vec![file]).await?.remove(0);
            let bytes = 100 * compacted.len();
            self.disk.lock().insert(path, rows.into_values().map(|(_, _, row)| row).collect());
            Some((file, new_segment(segment_id, bytes, 1)))
        };
        Ok(Some(Merged { lease: lease.clone(), partition: partition.clone(), file, rows: compacted, _pin: pin }))
    }

    pub(super) async fn commit_merged(&self, merged: Merged) -> Result<SegmentCommit, FlushError> {
        let Merged { lease, partition, file, rows, .. } = merged;
        self.committer.begin(partition).await.commit_compaction(&lease, file, &rows, NOW).await
    }

    pub(super) fn read_file(&self, entry: &ManifestEntry) -> Vec<FileRow> {
        let rows = self.disk.lock().get(&entry.path).cloned();
        let rows = rows.unwrap_or_else(|| panic!("segment {} has no file", entry.path));
        assert_eq!(rows.len() as u64, entry.rows);
        rows
    }

    /// FL-1: every key has one visible version at most, as a snapshot shows it.
    pub(super) async fn versions(
        &self,
        snapshot: &dyn Snapshot,
        partition: &PartitionId,
    ) -> BTreeMap<Vec<u8>, Version> {
        let mut versions = BTreeMap::new();
        let space = keys::rows_partition(partition.table, partition.user.as_ref());
        for (full_key, stored) in scan(snapshot, space.range(), Direction::Forward, 1000).await {
            let (RowHeader { seq, deleted, .. }, row) = decode_row(&stored, &self.schema).unwrap();
            let version = Version { seq, deleted, row, place: Place::Hot };
            versions.insert(full_key[space.prefix.len()..].to_vec(), version);
        }
        for entry in manifest::entries(snapshot, partition).await.unwrap() {
            let marks = manifest::marks(snapshot, partition, entry.segment_id).await.unwrap();
            assert_eq!(marks.len(), entry.deleted_rows, "the entry counts its marks");
            let rows = self.read_file(&entry);
            assert_eq!((&rows[0].key, &rows[rows.len() - 1].key), (&entry.min_key, &entry.max_key));
            let seqs = || rows.iter().map(|row| row.seq);
            assert_eq!((seqs().min(), seqs().max()), (Some(entry.min_seq), Some(entry.max_seq)));
            for (position, row) in rows.into_iter().enumerate() {
                let position = position as u64;
                if marks.contains(position) {
                    continue;
                }
                let place = Place::Segment { segment: entry.segment_id, row: position };
                let version = Version { seq: row.seq, deleted: row.deleted, row: row.row, place };
                if let Some(other) = versions.insert(row.key.clone(), version.clone()) {
                    panic!("FL-1: key {:?} is there twice: {other:?} and {version:?}", row.key);
                }
            }
        }
        versions
    }

    /// The names of live rows by their ids.
    pub(super) async fn live(&self, snapshot: &dyn Snapshot, partition: &PartitionId) -> BTreeMap<i64, String> {
        let versions = self.versions(snapshot, partition).await.into_values();
        versions.filter(|version| !version.deleted).map(|version| id_and_name(&version.row)).collect()
    }

    /// A statement as it is made from what a snapshot shows; some of its rows may lie in segments.
    pub(super) async fn change(&self, snapshot: &dyn Snapshot, partition: &PartitionId, wanted: &[Wanted]) -> Changes {
        let versions = self.versions(snapshot, partition).await;
        let generation = manifest::record(snapshot, partition).await.unwrap().manifest_generation;
        let mut rows = Vec::new();
        let mut flushed: HashMap<Vec<u8>, FlushedRow> = HashMap::new();
        let mut name_flushed = |id: i64| {
            let key = key(id);
            let Some(version) = versions.get(&key) else { return };
            if let Place::Segment { segment, row } = version.place {
                let state = if version.deleted { RowState::Deleted } else { RowState::Live };
                flushed.insert(key.clone(), FlushedRow { key, segment, row, state });
            }
        };
        let live = |id: i64| versions.get(&key(id)).filter(|version| !version.deleted);
        for wanted in wanted {
            match wanted {
                Wanted::Insert(id, name) => {
                    name_flushed(*id);
                    rows.push(crate::committer::fixture::insert(*id, name));
                }
                Wanted::Update(id, new_id, name) => {
                    let Some(version) = live(*id) else { continue };
                    name_flushed(*id);
                    name_flushed(*new_id);
                    rows.push(RowChange::Update {
                        old_key: key(*id),
                        read_seq: version.seq,
                        old_stored: self.stored(version),
                        old_row: version.row.clone(),
                        new_key: key(*new_id),
                        row: crate::committer::fixture::values(*new_id, name),
                    });
                }
                Wanted::Delete(id) => {
                    let Some(version) = live(*id) else { continue };
                    name_flushed(*id);
                    rows.push(RowChange::Delete {
                        key: key(*id),
                        read_seq: version.seq,
                        old_stored: self.stored(version),
                        old_row: version.row.clone(),
                    });
                }
            }
        }
        // A hot row that goes back under its own key has nothing to do with segments.
        let segments = SegmentsRead { generation, rows: flushed.into_values().collect() };
        Changes { segments, ..self.changes(None, rows) }
    }

    fn stored(&self, version: &Version) -> bytes::Bytes {
        let header = RowHeader {
            schema_version: SchemaVersion::FIRST,
            seq: version.seq,
            updated: NOW,
            deleted: version.deleted,
        };
        encode_row(&header, &self.schema, &version.row).into()
    }

    /// Reads and commits until what was read still holds.
    pub(super) async fn run(&self, partition: &PartitionId, wanted: &[Wanted]) -> Result<Committed, CommitError> {
        loop {
            let _pin = self.committer.pin();
            let snapshot = self.snapshot().await;
            let changes = self.change(&*snapshot, partition, wanted).await;
            match self.committer.begin(partition.clone()).await.commit(changes).await {
                Err(CommitError::Stale) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    }

    /// Inserts rows that the test knows to be new.
    pub(super) async fn insert(&self, partition: &PartitionId, ids: impl IntoIterator<Item = i64>) -> Vec<Seq> {
        let rows = ids.into_iter().map(|id| crate::committer::fixture::insert(id, "new")).collect();
        let mut guard = self.committer.begin(partition.clone()).await;
        let segments = SegmentsRead { generation: guard.manifest_generation().await.unwrap(), rows: Vec::new() };
        guard.commit(Changes { segments, ..self.changes(None, rows) }).await.unwrap().seqs
    }

    /// Inserts one row, wherever others of its partition are.
    pub(super) async fn insert_at(&self, partition: &PartitionId, id: i64) {
        self.run(partition, &[Wanted::Insert(id, "new".to_owned())]).await.unwrap();
    }

    /// FL-7 and the records: every sum is what a recount finds.
    pub(super) async fn assert_counted(&self, partitions: &[PartitionId]) {
        let snapshot = self.snapshot().await;
        let mut totals = TableTotals::default();
        for partition in partitions {
            let record = manifest::record(&*snapshot, partition).await.unwrap();
            let hot = self.rows(partition).await;
            let tombstones = hot.iter().filter(|row| row.header.deleted).count() as u64;
            assert_eq!((record.hot_rows, record.hot_tombstones), (hot.len() as u64 - tombstones, tombstones));
            let prefix = keys::rows_partition(partition.table, partition.user.as_ref()).prefix.len();
            let bytes: usize = hot.iter().map(|row| prefix + row.key.len() + row.stored.len()).sum();
            assert_eq!(record.hot_bytes, bytes as u64);
            totals.buffered_rows += hot.len() as u64;
            totals.buffered_bytes += bytes as u64;
            for entry in manifest::entries(&*snapshot, partition).await.unwrap() {
                assert!(record.manifest_generation > 0);
                totals.flushed_rows += entry.rows - entry.deleted_rows;
                totals.segments += 1;
                totals.segment_bytes += entry.bytes;
            }
        }
        assert_eq!(self.committer.totals(TABLE), totals, "FL-7");
    }

    /// FL-2 and FL-5: every file is named by the manifest or by one of the lists, once.
    pub(super) async fn assert_files_are_named(&self) {
        let snapshot = self.snapshot().await;
        let mut named = BTreeSet::new();
        let mut walk = manifest::ManifestWalk::of_everything(&*snapshot);
        while let Some(items) = walk.next_chunk().await.unwrap() {
            for item in items {
                if let manifest::ManifestItem::Entry(_, entry) = item {
                    assert!(self.disk.lock().contains_key(&entry.path), "segment {} has no file", entry.path);
                    assert!(named.insert(entry.path));
                }
            }
        }
        for record in files::pending(&*snapshot).await.unwrap() {
            for file in record.pending.files {
                assert!(named.insert(file.path.clone()), "{} is pending and something else", file.path);
            }
        }
        for record in files::garbage(&*snapshot, None, usize::MAX).await.unwrap() {
            assert!(named.insert(record.entry.file.path.clone()), "{} is garbage twice", record.entry.file.path);
        }
        for path in self.disk.lock().keys() {
            assert!(named.contains(path), "nothing names file {path}");
        }
    }

    /// What recovery and the Housekeeper do. How many files went.
    pub(super) async fn collect(&self) -> usize {
        let pending = self.committer.unowned_pending().await.unwrap();
        let garbage = self.committer.collectable(None, 1000).await.unwrap();
        let mut gone = 0;
        {
            let mut disk = self.disk.lock();
            for file in pending.iter().flat_map(|record| &record.pending.files) {
                gone += usize::from(disk.remove(&file.path).is_some());
            }
            for record in &garbage {
                gone += usize::from(disk.remove(&record.entry.file.path).is_some());
            }
        }
        self.committer.forget_pending(&pending).await.unwrap();
        self.committer.forget_garbage(&garbage).await.unwrap();
        gone
    }
}

/// A change by id, whatever is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Insert(i64, String),
    Update(i64, i64, String),
    Delete(i64),
}

pub(super) fn new_segment(segment_id: u128, bytes: u64, level: u8) -> NewSegment {
    let schema_version = SchemaVersion::FIRST;
    NewSegment { segment_id, shard: String::new(), bytes, schema_version, created_at: NOW, level }
}

pub(super) fn id_and_name(row: &[Value]) -> (i64, String) {
    match row {
        [Value::BigInt(id), Value::Text(name)] => (*id, name.clone()),
        other => panic!("{other:?}"),
    }
}

/// Puts a table into the catalog.
pub(super) async fn define(backend: &Backend, id: TableId) {
    let mut batch = Batch::new();
    let name = QualifiedTableName {
        namespace: NamespaceId::new("chat").unwrap(),
        table: TableName::new(format!("t{id}")).unwrap(),
    };
    let table = TableDefinition {
        id,
        name,
        table_type: TableType::User,
        schema: crate::committer::fixture::schema(),
        options: TableOptions::default(),
        created_at: NOW,
    };
    catalog::put_table(&mut batch, &table, TableId(id.0 + 1), NOW);
    backend.write(batch, Durability::Synced).await.unwrap();
}
