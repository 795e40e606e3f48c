//! Idle sessions go, and what is sent meanwhile runs once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually, user};
use super::live::{connect, next, request};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_retires_and_comes_back() {
    let fixture =
        Fixture::start_with(|settings| settings.session.idle_timeout = Duration::from_millis(200), |_| {}).await;
    let sessions = fixture.tree.root.sessions();
    // One that retires before it is looked at is opened again.
    let opened = async || loop {
        assert_eq!(fixture.rows("ann", "SELECT 1").await, 1);
        if let Some(session) = sessions.session_of(&user("ann")) {
            break session;
        }
    };
    let session = opened().await;
    eventually("the session retires", || sessions.session_of(&user("ann")).is_none()).await;
    eventually("its actor ends", || session.actor.get_status() == ractor::ActorStatus::Stopped).await;
    let again = opened().await;
    assert_eq!(again.shared.gauges.node(String::new(), None).restarts, 0, "retiring is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_running_statement_does_not_retire() {
    let fixture = Fixture::start_with(|settings| settings.session.idle_timeout = Duration::ZERO, |_| {}).await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT)").await;
    fixture.is_whole().await;
    let gate = fixture.runtime.store().committer.close_gate(fixture.table("t")).await;
    let running = {
        let fixture = fixture.clone();
        JoinSet::from_iter([async move { fixture.rows("ann", "INSERT INTO t VALUES (1)").await }])
    };
    let shared = &fixture.tree.root.shared;
    eventually("it has its place", || shared.admission.taken() == 1).await;
    let ticks = fixture.node("sessions").messages_handled;
    eventually("sessions were looked at", || {
        fixture.tree.root.sessions().retire_idle();
        fixture.node("sessions").messages_handled > ticks + 3
    })
    .await;
    assert!(fixture.tree.root.sessions().session_of(&user("ann")).is_some());
    drop(gate);
    assert_eq!(running.join_all().await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_user_is_subscribed_does_not_retire() {
    let fixture = Fixture::start_with(|settings| settings.session.idle_timeout = Duration::ZERO, |_| {}).await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    let (mut connection, mut outbox) = connect(&fixture, "ann");
    connection.subscribe(request("m", &json!({}))).await;
    assert_eq!(next(&mut connection, &mut outbox).await["type"], "subscribed");
    // Somebody else's goes meanwhile.
    fixture.rows("ann", "SELECT 1").await;
    fixture.rows("bob", "SELECT 1").await;
    let sessions = fixture.tree.root.sessions();
    eventually("sessions were looked at", || {
        sessions.retire_idle();
        sessions.session_of(&user("bob")).is_none()
    })
    .await;
    assert!(sessions.session_of(&user("ann")).is_some());
    connection.unsubscribe("m").await;
    eventually("nothing keeps it any more", || {
        sessions.retire_idle();
        sessions.session_of(&user("ann")).is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_registrations_go_though_nobody_asks() {
    let fixture =
        Fixture::start_with(|settings| settings.session.registration_ttl = Duration::from_millis(10), |_| {}).await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT)").await;
    fixture.rows("ann", "SELECT id FROM t").await;
    eventually("the registration goes", || {
        let rows = fixture.runtime.sessions().rows();
        rows.iter().any(|session| session.registrations == 0 && session.evictions > 0)
    })
    .await;
}

/// Sessions are retired all the time while their users send statements, though not so often that one user's statement
/// meets nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn statements_sent_while_sessions_retire_run_exactly_once() {
    const USERS: usize = 4;
    const STATEMENTS: usize = 150;
    let fixture = Fixture::start_with(|settings| settings.session.idle_timeout = Duration::ZERO, |_| {}).await;
    fixture.rows("admin", "CREATE USER TABLE t (id BIGINT)").await;
    let (done, retired) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let answered: Arc<[AtomicUsize; USERS]> = Arc::default();
    let mut retiring = JoinSet::new();
    {
        let (fixture, done, retired) = (fixture.clone(), Arc::clone(&done), Arc::clone(&retired));
        let answered = Arc::clone(&answered);
        retiring.spawn(async move {
            while !done.load(Ordering::Acquire) {
                let counts = || answered.each_ref().map(|count| count.load(Ordering::Acquire));
                let (before, told) = (fixture.node("sessions"), counts());
                fixture.tree.root.sessions().retire_idle();
                eventually("the supervisor looks, and everybody goes on", || {
                    let node = fixture.node("sessions");
                    retired.fetch_max(usize::from(node.children.len() < before.children.len()), Ordering::AcqRel);
                    let looked = node.messages_handled > before.messages_handled;
                    done.load(Ordering::Acquire) || (looked && counts().iter().zip(told).all(|(now, then)| *now > then))
                })
                .await;
            }
        });
    }
    let mut users = JoinSet::new();
    for number in 0..USERS {
        let (fixture, retired, answered) = (fixture.clone(), Arc::clone(&retired), Arc::clone(&answered));
        users.spawn(async move {
            let name = format!("user{number}");
            let mut written = 0;
            let deadline = Instant::now() + Duration::from_secs(60);
            while written < STATEMENTS || retired.load(Ordering::Acquire) == 0 {
                assert_eq!(fixture.rows(&name, &format!("INSERT INTO t VALUES ({written})")).await, 1);
                assert!(Instant::now() < deadline, "no session ever retired: the test tests nothing");
                written += 1;
                answered[number].store(written, Ordering::Release);
            }
            (name, written)
        });
    }
    let users = users.join_all().await;
    done.store(true, Ordering::Release);
    retiring.join_all().await;
    for (name, written) in users {
        assert_eq!(fixture.rows(&name, "SELECT id FROM t").await, written as u64);
        assert_eq!(fixture.rows(&name, "SELECT DISTINCT id FROM t").await, written as u64);
    }
    fixture.is_whole().await;
}
