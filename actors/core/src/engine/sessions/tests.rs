use std::collections::HashMap;
use std::time::Duration;

use kalamdb_commons::{ColumnId, ErrorCode, NamespaceId, SchemaVersion, TableId, TableName, TableType};
use kalamdb_sql::{NamespaceDefinition, TableDefinition, TableOptions, TableSchema};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

fn name(table: usize) -> QualifiedTableName {
    QualifiedTableName {
        namespace: NamespaceId::default_namespace(),
        table: TableName::new(format!("t{table}")).expect("a name"),
    }
}

fn entry(table: usize, id: usize) -> Arc<TableEntry> {
    let schema = TableSchema {
        version: SchemaVersion::FIRST,
        columns: Vec::new(),
        primary_key: Vec::new(),
        next_column_id: ColumnId(1),
    };
    let definition = TableDefinition {
        id: TableId(id as u64),
        name: name(table),
        table_type: TableType::User,
        schema,
        options: TableOptions::default(),
        created_at: 0,
    };
    Arc::new(TableEntry::new(definition, HashMap::default()))
}

fn catalog(entries: impl IntoIterator<Item = Arc<TableEntry>>) -> Arc<CatalogSnapshot> {
    let namespace = NamespaceDefinition { name: NamespaceId::default_namespace(), created_at: 0 };
    Arc::new(CatalogSnapshot {
        namespaces: [(namespace.name.clone(), namespace)].into(),
        tables: entries.into_iter().collect(),
        ..CatalogSnapshot::default()
    })
}

fn bounds(per_session: usize, total: usize) -> SessionSettings {
    SessionSettings {
        max_registrations: per_session,
        max_registrations_total: total,
        registration_ttl: Duration::from_secs(600),
        ..SessionSettings::default()
    }
}

fn session(caches: &Arc<SessionCaches>, user: &str) -> Arc<SessionCache> {
    caches.open(UserId::new(user).expect("a user id"))
}

fn total(caches: &SessionCaches) -> usize {
    caches.registrations.load(Ordering::Acquire)
}

fn known(session: &SessionCache) -> usize {
    session.known.lock().len()
}

#[test]
fn a_table_is_looked_up_once_and_shared() {
    let caches = SessionCaches::new(bounds(10, 100));
    let catalog = catalog([entry(1, 1)]);
    let (ann, bob) = (session(&caches, "ann"), session(&caches, "bob"));
    let first = ann.resolve(&catalog, &name(1), 0).expect("there");
    let again = ann.resolve(&catalog, &name(1), 1).expect("there");
    let other = bob.resolve(&catalog, &name(1), 1).expect("there");
    assert!(Arc::ptr_eq(&first, &again) && Arc::ptr_eq(&first, &other));
    let rows = caches.rows();
    assert_eq!(rows.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>(), ["ann", "bob"]);
    assert_eq!((rows[0].registrations, rows[0].hits, rows[0].misses, rows[0].evictions), (1, 1, 1, 0));
    assert_eq!((rows[1].registrations, rows[1].hits, rows[1].misses, rows[1].evictions), (1, 0, 1, 0));
    drop(ann);
    assert_eq!((caches.rows().len(), total(&caches)), (1, 1), "a session goes with what it knew");
}

#[test]
fn what_the_catalog_says_now_counts() {
    let caches = SessionCaches::new(bounds(10, 100));
    let ann = session(&caches, "ann");
    let before = catalog([entry(1, 1), entry(2, 2)]);
    let old = ann.resolve(&before, &name(1), 0).expect("there");
    // Another table was made: this one is what it was.
    let kept = catalog([Arc::clone(&old), entry(3, 3)]);
    assert!(Arc::ptr_eq(&ann.resolve(&kept, &name(1), 0).expect("there"), &old));
    assert_eq!(caches.rows()[0].hits, 1);
    // Dropped and made anew under its name.
    let anew = catalog([entry(1, 4)]);
    assert_eq!(ann.resolve(&anew, &name(1), 0).expect("there").id(), TableId(4));
    // A statement that began before sees what it began with.
    assert_eq!(ann.resolve(&kept, &name(1), 0).expect("there").id(), TableId(1));
    assert_eq!((caches.rows()[0].hits, caches.rows()[0].misses, total(&caches)), (1, 3, 1));
    let gone = catalog([]);
    assert_eq!(ann.resolve(&gone, &name(1), 0).expect_err("gone").code, ErrorCode::TableNotFound);
    assert_eq!((known(&ann), total(&caches)), (0, 0));
}

#[test]
fn ten_thousand_tables_stay_under_the_bounds() {
    let caches = SessionCaches::new(bounds(1000, 2500));
    let catalog = catalog((0..10_000).map(|table| entry(table, table)));
    let sessions: Vec<_> = ["a", "b", "c"].into_iter().map(|user| session(&caches, user)).collect();
    for table in 0..10_000 {
        for session in &sessions {
            let found = session.resolve(&catalog, &name(table), 0).expect("there");
            assert_eq!(found.id(), TableId(table as u64));
            assert!(known(session) <= 1000 && total(&caches) <= 2500);
        }
    }
    let held: usize = sessions.iter().map(|session| known(session)).sum();
    assert_eq!(held, total(&caches));
    let rows = caches.rows();
    assert!(rows.iter().all(|row| row.misses == 10_000 && row.evictions >= 9000), "{rows:?}");
    // The least recently used went: the last ones are there.
    sessions[0].resolve(&catalog, &name(9999), 0).expect("there");
    assert_eq!(caches.rows()[0].hits, 1);
    drop(sessions);
    assert_eq!((total(&caches), caches.rows().len()), (0, 0));
}

#[test]
fn a_full_server_makes_room_for_those_that_are_active() {
    let caches = SessionCaches::new(bounds(100, 100));
    let catalog = catalog((0..100).map(|table| entry(table, table)));
    let old = session(&caches, "old");
    let recent = session(&caches, "recent");
    for table in 0..50 {
        old.resolve(&catalog, &name(table), 0).expect("there");
        recent.resolve(&catalog, &name(table), 0).expect("there");
    }
    assert!(!caches.wants_room());
    let new = session(&caches, "new");
    old.last_active_at.store(1, Ordering::Relaxed);
    recent.last_active_at.store(2, Ordering::Relaxed);
    assert_eq!(new.resolve(&catalog, &name(7), 0).expect("there").id(), TableId(7), "it is found all the same");
    assert_eq!((known(&new), total(&caches)), (0, 100));
    assert!(caches.wants_room() && !caches.wants_room(), "one makes room, once");
    caches.make_room();
    assert_eq!((known(&old), known(&recent), total(&caches)), (0, 50, 50));
    assert_eq!(caches.rows().iter().map(|row| row.evictions).sum::<u64>(), 50);
    new.resolve(&catalog, &name(7), 0).expect("there");
    assert_eq!(known(&new), 1);
}

#[test]
fn what_is_not_used_goes_in_time() {
    let caches = SessionCaches::new(bounds(10, 100));
    let catalog = catalog([entry(1, 1), entry(2, 2)]);
    let ann = session(&caches, "ann");
    let minute = 60_000_000;
    ann.resolve(&catalog, &name(1), 0).expect("there");
    ann.resolve(&catalog, &name(2), 0).expect("there");
    ann.resolve(&catalog, &name(1), 9 * minute).expect("there");
    caches.expire(10 * minute);
    assert_eq!(known(&ann), 2);
    caches.expire(10 * minute + 1);
    assert_eq!((known(&ann), caches.rows()[0].evictions, total(&caches)), (1, 1, 1));
    // The clock was set back: nothing is lost by it.
    ann.resolve(&catalog, &name(1), minute).expect("there");
    ann.resolve(&catalog, &name(1), 20 * minute).expect("there");
    assert_eq!((caches.rows()[0].hits, caches.rows()[0].misses, caches.rows()[0].evictions), (2, 3, 2));
}

#[test]
fn one_user_or_all_are_cleared() {
    let caches = SessionCaches::new(bounds(10, 100));
    let catalog = catalog([entry(1, 1), entry(2, 2)]);
    let (ann, bob) = (session(&caches, "ann"), session(&caches, "bob"));
    for session in [&ann, &bob] {
        session.resolve(&catalog, &name(1), 0).expect("there");
        session.resolve(&catalog, &name(2), 0).expect("there");
    }
    assert_eq!(caches.clear(Some(&UserId::new("nobody").expect("a user id"))), 0);
    assert_eq!(caches.clear(Some(&UserId::new("ann").expect("a user id"))), 2);
    assert_eq!((known(&ann), known(&bob), total(&caches)), (0, 2, 2));
    assert_eq!(caches.clear(None), 2);
    assert_eq!(total(&caches), 0);
}

/// SC-011: tables by how often they are used, as Zipf has it.
#[test]
fn a_skewed_load_is_mostly_known() {
    let caches = SessionCaches::new(bounds(1000, 100_000));
    let catalog = catalog((0..10_000).map(|table| entry(table, table)));
    let ann = session(&caches, "ann");
    let mut die = StdRng::seed_from_u64(11);
    let mut sums = Vec::with_capacity(10_000);
    let mut sum = 0.0;
    for rank in 1..=10_000 {
        sum += 1.0 / f64::from(rank);
        sums.push(sum);
    }
    for _ in 0..100_000 {
        let at = die.random_range(0.0..sum);
        let table = sums.partition_point(|up_to| *up_to <= at);
        ann.resolve(&catalog, &name(table), 0).expect("there");
    }
    let row = &caches.rows()[0];
    assert_eq!((row.hits + row.misses, row.registrations), (100_000, 1000));
    // The thousand that are used most are 76 % of all uses: no cache of a thousand knows more.
    assert!((65_000..76_000).contains(&row.hits), "{row:?}");
}

#[test]
fn many_threads_leave_the_count_right() {
    let caches = SessionCaches::new(bounds(20, 60));
    let catalog = catalog((0..100).map(|table| entry(table, table)));
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (caches, catalog) = (&caches, &catalog);
            scope.spawn(move || {
                let mut die = StdRng::seed_from_u64(seed);
                let mut own: Vec<Arc<SessionCache>> = Vec::new();
                for _ in 0..5000 {
                    match die.random_range(0..100) {
                        0..3 => own.push(session(caches, &format!("u{}", die.random_range(0..8)))),
                        3..6 if !own.is_empty() => drop(own.swap_remove(die.random_range(0..own.len()))),
                        6 => drop(caches.clear(None)),
                        7 => caches.make_room(),
                        8 => drop(caches.rows()),
                        _ if !own.is_empty() => {
                            let session = &own[die.random_range(0..own.len())];
                            session.resolve(catalog, &name(die.random_range(0..100)), 0).expect("there");
                        }
                        _ => {}
                    }
                    assert!(total(caches) <= 60);
                }
            });
        }
    });
    assert_eq!((total(&caches), caches.rows().len()), (0, 0), "all sessions are gone");
}
