//! The typed stores over the backend: jobs, schedules, the recorded location, walks over the manifest.

use kalamdb_commons::{Family, NamespaceId, SchemaVersion, Seq, TableId, TableName, UserId};
use kalamdb_store::codec::catalog::{JobRecord, JobStatus, JobTrigger, JobType};
use kalamdb_store::codec::keys;
use kalamdb_store::codec::manifest::ManifestEntry;
use kalamdb_store::codec::marks::DeleteMarks;
use kalamdb_store::codec::meta::{FlushSchedule, LocalLocation};
use kalamdb_store::codec::partition::PartitionRecord;
use kalamdb_store::manifest::{ManifestItem, ManifestWalk, PartitionWalk};
use kalamdb_store::{Batch, Durability, PartitionId, jobs, location, schedule};

use crate::support::{Backend, Harness, Memory};

async fn write(backend: &Backend, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    backend.write(batch, Durability::Logged).await.unwrap();
}

fn job(number: u32, status: JobStatus) -> JobRecord {
    JobRecord {
        job_id: format!("{number:026}"),
        job_type: JobType::Flush,
        status,
        namespace_id: Some(NamespaceId::new("chat").unwrap()),
        table_name: Some(TableName::new("messages").unwrap()),
        trigger: JobTrigger::Manual,
        rows: 1,
        segments: 1,
        storage_location: None,
        attempts: 1,
        error: None,
        node: "node".to_owned(),
        created_at: i64::from(number),
        started_at: None,
        finished_at: match status {
            JobStatus::Queued | JobStatus::Running => None,
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => Some(i64::from(number)),
        },
    }
}

fn numbers(jobs: &[JobRecord]) -> Vec<u32> {
    jobs.iter().map(|job| job.job_id.parse().unwrap()).collect()
}

#[tokio::test]
async fn jobs_are_found_by_age_status_and_id() {
    let backend = Memory::new().open().await;
    let status = |number| match number % 3 {
        0 => JobStatus::Running,
        1 => JobStatus::Completed,
        _ => JobStatus::Failed,
    };
    write(&backend, |batch| (1..=30).for_each(|number| jobs::put(batch, &job(number, status(number))))).await;
    let snapshot = backend.snapshot().await.unwrap();
    assert_eq!(jobs::job(&*snapshot, &format!("{:026}", 7)).await.unwrap(), Some(job(7, JobStatus::Completed)));
    assert_eq!(jobs::job(&*snapshot, "none").await.unwrap(), None);
    let newest = jobs::newest(&*snapshot, None, 4, |_| true).await.unwrap();
    assert_eq!(numbers(&newest), [30, 29, 28, 27]);
    let before = format!("{:026}", 27);
    let failed = |job: &JobRecord| job.status == JobStatus::Failed;
    let older = jobs::newest(&*snapshot, Some(&before), 3, failed).await.unwrap();
    assert_eq!(numbers(&older), [26, 23, 20]);
    assert_eq!(numbers(&jobs::newest(&*snapshot, None, 100, failed).await.unwrap()).len(), 10);
    assert_eq!(jobs::newest(&*snapshot, None, 0, |_| true).await.unwrap(), []);
    assert_eq!(numbers(&jobs::unfinished(&*snapshot).await.unwrap()), (1..=10).map(|n| 3 * n).collect::<Vec<_>>());
}

#[tokio::test]
async fn old_jobs_and_those_too_many_expire_when_they_are_finished() {
    let backend = Memory::new().open().await;
    let status = |number| if number == 2 { JobStatus::Running } else { JobStatus::Completed };
    write(&backend, |batch| (1..=10).for_each(|number| jobs::put(batch, &job(number, status(number))))).await;
    let expired = async |before: i64, most: usize, limit: usize| {
        let snapshot = backend.snapshot().await.unwrap();
        let ids = jobs::expired(&*snapshot, before, most, limit).await.unwrap();
        ids.iter().map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(expired(0, 10, 100).await, [] as [u32; 0]);
    assert_eq!(expired(4, 10, 100).await, [1, 3], "old ones, but not one that runs");
    assert_eq!(expired(0, 7, 100).await, [1, 3, 4], "three too many");
    assert_eq!(expired(6, 9, 100).await, [1, 3, 4, 5]);
    assert_eq!(expired(100, 0, 2).await, [1, 3]);
    write(&backend, |batch| jobs::delete(batch, &format!("{:026}", 1))).await;
    assert_eq!(expired(4, 10, 100).await, [3]);
}

#[tokio::test]
async fn schedules_are_kept_by_table() {
    let backend = Memory::new().open().await;
    let due = |at| FlushSchedule { due_at: at, last_flush_at: (at > 5).then_some(at - 5) };
    write(&backend, |batch| {
        for (table, at) in [(300, 3), (2, 20), (70_000, 70)] {
            schedule::put(batch, TableId(table), &due(at));
        }
    })
    .await;
    let snapshot = backend.snapshot().await.unwrap();
    let all = schedule::all(&*snapshot).await.unwrap();
    assert_eq!(all, [(TableId(2), due(20)), (TableId(300), due(3)), (TableId(70_000), due(70))]);
    assert_eq!(schedule::of_table(&*snapshot, TableId(300)).await.unwrap(), Some(due(3)));
    write(&backend, |batch| schedule::delete(batch, TableId(300))).await;
    let snapshot = backend.snapshot().await.unwrap();
    assert_eq!(schedule::of_table(&*snapshot, TableId(300)).await.unwrap(), None);
}

#[tokio::test]
async fn the_location_of_local_is_recorded() {
    let backend = Memory::new().open().await;
    assert_eq!(location::local(&*backend.snapshot().await.unwrap()).await.unwrap(), None);
    let here = LocalLocation { path: "/srv/kalam".to_owned() };
    write(&backend, |batch| location::put_local(batch, &here)).await;
    assert_eq!(location::local(&*backend.snapshot().await.unwrap()).await.unwrap(), Some(here));
}

fn entry(segment_id: u128) -> ManifestEntry {
    ManifestEntry {
        segment_id,
        storage: "local".to_owned(),
        path: segment_id.to_string(),
        shard: String::new(),
        rows: 1 << 20,
        bytes: 1,
        schema_version: SchemaVersion::FIRST,
        min_seq: Seq(1),
        max_seq: Seq(1),
        min_key: vec![1],
        max_key: vec![1],
        deleted_rows: 0,
        created_at: 0,
        level: 0,
    }
}

/// Partitions with many segments and more marks than a chunk holds; nothing is missed and nothing comes twice.
#[tokio::test]
async fn walks_meet_every_partition_and_every_segment_in_order() {
    let backend = Memory::new().open().await;
    let users: Vec<Option<UserId>> = ["a", "a b", "ab", "b"].map(|user| Some(UserId::new(user).unwrap())).into();
    let mut expected: Vec<(PartitionId, Vec<u128>)> = Vec::new();
    let mut marks = DeleteMarks::new();
    for row in (0..60_000).step_by(2) {
        marks.insert(row);
    }
    let encoded = marks.encode();
    for table in [1, 2, 7] {
        let owners = if table == 7 { vec![None] } else { users.clone() };
        for (at, user) in owners.into_iter().enumerate() {
            let partition = PartitionId { table: TableId(table), user };
            let segments: Vec<u128> = (0..[0, 3, 1500, 1][at]).collect();
            write(&backend, |batch| {
                let user = partition.user.as_ref();
                let record = PartitionRecord { hot_rows: at as u64, ..PartitionRecord::default() };
                batch.put(Family::Manifest, keys::partition_record_key(partition.table, user), record.encode());
                for segment in &segments {
                    let key = keys::manifest_entry_key(partition.table, user, *segment);
                    batch.put(Family::Manifest, key, entry(*segment).encode());
                    for container in 0..2 {
                        let key = keys::delete_mark_key(partition.table, user, *segment, container);
                        batch.put(Family::Manifest, key, encoded.clone());
                    }
                }
            })
            .await;
            expected.push((partition, segments));
        }
    }
    let snapshot = backend.snapshot().await.unwrap();
    let mut found: Vec<(PartitionId, Vec<u128>)> = Vec::new();
    let mut walk = ManifestWalk::of_everything(&*snapshot);
    while let Some(items) = walk.next_chunk().await.unwrap() {
        assert!(!items.is_empty());
        for item in items {
            match item {
                ManifestItem::Record(partition, _) => found.push((partition, Vec::new())),
                ManifestItem::Entry(partition, entry) => {
                    let (last, segments) = found.last_mut().unwrap();
                    assert_eq!(*last, partition);
                    segments.push(entry.segment_id);
                }
            }
        }
    }
    assert_eq!(found, expected);
    let read = snapshot.keys_read();
    assert!(read < 15_000, "{read} keys: marks are jumped over");

    let mut records = Vec::new();
    let mut walk = PartitionWalk::new(&*snapshot, TableId(2));
    while let Some(chunk) = walk.next_chunk().await.unwrap() {
        records.extend(chunk);
    }
    let of_table = expected.into_iter().map(|(partition, _)| partition).filter(|found| found.table == TableId(2));
    assert_eq!(
        records.iter().map(|(partition, _)| partition.clone()).collect::<Vec<_>>(),
        of_table.collect::<Vec<_>>()
    );
    assert_eq!(records.iter().map(|(_, record)| record.hot_rows).collect::<Vec<_>>(), [0, 1, 2, 3]);
}
