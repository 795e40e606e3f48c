//! A session without a socket: what it does with messages, beats, tokens and rows of users.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use kalamdb_commons::{Role, UserId};
use kalamdb_wire::{ClientFrame, SubscribeOptions};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;

/// A gate that knows tokens `user`, `user:seconds` (so long from now) and `user/role`, and whom it refuses.
#[derive(Default)]
struct Tokens {
    refused: Mutex<Option<&'static str>>,
    /// How often it was asked who somebody is.
    asked: AtomicU32,
    changes: watch::Sender<u64>,
}

impl Gate for Tokens {
    fn claim(&self, token: &str) -> Result<TokenClaim> {
        let (rest, seconds) = token.split_once(':').unwrap_or((token, "3600"));
        let (user, role) = rest.split_once('/').unwrap_or((rest, "user"));
        if user == "bad" {
            return Err(Error::new(ErrorCode::Unauthorized, "no good"));
        }
        let identity = Identity { user_id: user_id(user), role: role.parse().expect("a role") };
        Ok(TokenClaim { identity, expires_at: now_seconds() + seconds.parse::<f64>().expect("seconds") })
    }

    fn identify(&self, claimed: Identity) -> Result<Identity> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match *self.refused.lock().expect("no panic") {
            Some(user) if claimed.user_id.as_str() == user => Err(Error::new(ErrorCode::Unauthorized, "is disabled")),
            _ => Ok(claimed),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn user_id(text: &str) -> UserId {
    UserId::new(text).expect("a user id")
}

/// Writes down what is asked of it.
struct Recorder {
    identity: Identity,
    done: mpsc::UnboundedSender<Value>,
    /// Answers wait for ever.
    is_stuck: bool,
}

impl Recorder {
    fn note(&self, what: Value) {
        self.done.send(what).expect("the test listens");
    }
}

impl Live for Recorder {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn renew(&mut self, identity: Identity) {
        self.note(json!({"renewed": identity.role.as_str()}));
        self.identity = identity;
    }

    async fn subscribe(&mut self, request: SubscribeRequest) {
        assert_eq!(request.options, SubscribeOptions::default());
        self.note(json!({"subscribed": request.query_id, "as": self.identity.user_id.as_str()}));
    }

    async fn unsubscribe(&mut self, query_id: &str) {
        self.note(json!({"unsubscribed": query_id}));
    }

    async fn send(&mut self, frame: ServerFrame<'_>) {
        if self.is_stuck {
            std::future::pending().await
        }
        self.note(serde_json::from_slice(&frame.to_json()).expect("JSON"));
    }

    fn heartbeat(&mut self) {
        self.note(json!("heartbeat"));
    }

    async fn attend(&mut self) {
        std::future::pending().await
    }
}

/// Messages one after the other, each asked for only when the one before was dealt with.
struct Script(VecDeque<Incoming>);

impl Messages for Script {
    async fn next(&mut self) -> Incoming {
        match self.0.pop_front() {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }
}

fn text(frame: &Value) -> Incoming {
    Incoming::Text(Text { text: frame.to_string(), _share: None })
}

fn authenticate(token: &str) -> Incoming {
    text(&json!({"type": "authenticate", "token": token}))
}

fn subscribe(names: &[&str]) -> Incoming {
    let list: Vec<Value> = names.iter().map(|name| json!({"query_id": name, "sql": "SELECT 1"})).collect();
    text(&json!({"type": "subscribe", "subscriptions": list}))
}

struct Setup {
    gate: Tokens,
    pulse: Pulse,
    claim: Claim,
    beginning: Beginning,
    is_stuck: bool,
}

impl Setup {
    fn of_token(token: &str) -> Self {
        let gate = Tokens::default();
        let claim = Claim::Token(gate.claim(token).expect("a good token"));
        Self { gate, pulse: Pulse::default(), claim, beginning: Beginning::Known, is_stuck: false }
    }

    fn of_localhost() -> Self {
        let identity = Identity { user_id: user_id("system"), role: Role::System };
        Self { claim: Claim::Localhost(identity), ..Self::of_token("ann") }
    }

    /// Plays the messages; what was done, and the end.
    async fn play(&self, messages: impl IntoIterator<Item = Incoming>) -> (Vec<Value>, End) {
        let (done, mut told) = mpsc::unbounded_channel();
        let live = Recorder { identity: self.claim.identity().clone(), done, is_stuck: self.is_stuck };
        let mut session = Session::new(live, &self.gate, &self.pulse, self.claim.clone(), self.beginning);
        let end = session.run(&mut Script(messages.into_iter().collect())).await;
        drop(session);
        let mut all = Vec::new();
        while let Some(what) = told.recv().await {
            all.push(what);
        }
        (all, end)
    }
}

#[track_caller]
fn refuses(end: &End, code: ErrorCode, says: &str) {
    match end {
        End::Refuse(error) => {
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(says), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn closes(end: &End, code: u16) {
    assert!(matches!(end, End::Close(CloseCode(closed), _) if *closed == code), "{end:?}");
}

#[tokio::test]
async fn frames_become_calls_in_their_order() {
    let messages = [
        subscribe(&["a", "b"]),
        text(&json!({"type": "ping"})),
        text(&json!({"type": "unsubscribe", "query_id": "a"})),
        Incoming::Close(CloseCode(1000)),
    ];
    let (done, end) = Setup::of_token("ann").play(messages).await;
    let expected = [
        json!({"subscribed": "a", "as": "ann"}),
        json!({"subscribed": "b", "as": "ann"}),
        json!({"type": "pong"}),
        json!({"unsubscribed": "a"}),
    ];
    assert_eq!(done, expected);
    closes(&end, 1000);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_the_session_goes_on() {
    let raw = |text: &str| Incoming::Text(Text { text: text.to_owned(), _share: None });
    let bad = json!({"type": "subscribe", "subscriptions": [
        {"query_id": "bad", "sql": "x", "colour": 1}, {"query_id": "good", "sql": "x"}, 7]});
    let huge = format!("{{\"type\": \"ping\", \"x\": \"{}\"}}", "x".repeat(PARSE_IN_PLACE_BYTES));
    let messages = [raw(""), raw("{"), raw("[1]"), raw(r#"{"type":"dance"}"#), raw(&huge), text(&bad), Incoming::Gone];
    let (done, end) = Setup::of_token("ann").play(messages).await;
    assert_eq!(done.len(), 8, "{done:?}");
    for error in done.iter().filter(|what| what["type"] == "error") {
        assert_eq!(error["code"], "INVALID_REQUEST", "{error}");
    }
    let about: Vec<&Value> = done.iter().map(|what| &what["query_id"]).collect();
    assert_eq!(about[..6], [&Value::Null, &Value::Null, &Value::Null, &Value::Null, &Value::Null, &json!("bad")]);
    assert_eq!(done[6], json!({"subscribed": "good", "as": "ann"}));
    assert!(matches!(end, End::Gone), "{end:?}");
}

#[tokio::test]
async fn what_is_no_text_ends_it_with_its_code() {
    for (incoming, code) in [
        (Incoming::Binary, 1003),
        (Incoming::Close(CloseCode::NONE), 1005),
        (Incoming::Violation(super::super::frame::Violation { code: CloseCode::TOO_LARGE, reason: "" }), 1009),
    ] {
        let (done, end) = Setup::of_token("ann").play([incoming]).await;
        assert!(done.is_empty(), "{done:?}");
        closes(&end, code);
    }
}

#[tokio::test]
async fn a_token_that_expires_ends_it_also_while_an_answer_waits() {
    let (done, end) = Setup::of_token("ann:0.2").play([subscribe(&["a"])]).await;
    assert_eq!(done.len(), 1);
    refuses(&end, ErrorCode::Unauthorized, "expired");
    let setup = Setup { is_stuck: true, ..Setup::of_token("ann:0.2") };
    let (_, end) = setup.play([text(&json!({"type": "ping"}))]).await;
    refuses(&end, ErrorCode::Unauthorized, "expired");
    let setup = Setup { is_stuck: true, beginning: Beginning::Announced, ..Setup::of_token("ann:0.2") };
    refuses(&setup.play([]).await.1, ErrorCode::Unauthorized, "expired");
    for forever in ["ann:1e300", "ann:1e18", "ann"] {
        let setup = Setup::of_token(forever);
        let played = tokio::time::timeout(Duration::from_millis(50), setup.play([])).await;
        assert!(played.is_err(), "{forever} holds for long");
    }
}

#[tokio::test]
async fn a_token_of_the_same_user_renews() {
    let begun = Instant::now();
    let (done, end) = Setup::of_token("ann:0.2").play([authenticate("ann/service:0.5")]).await;
    let answer = json!({"type": "authenticated", "user_id": "ann", "role": "service"});
    assert_eq!(done, [json!({"renewed": "service"}), answer]);
    refuses(&end, ErrorCode::Unauthorized, "expired");
    assert!(begun.elapsed() > Duration::from_millis(400), "the first token's end was not its own");
    let (done, end) = Setup::of_token("ann").play([authenticate("ann"), authenticate("ann:0.1")]).await;
    assert_eq!(done.len(), 2, "told each time, renewed never: {done:?}");
    refuses(&end, ErrorCode::Unauthorized, "expired");
}

#[tokio::test]
async fn a_token_of_somebody_else_changes_nothing_and_a_bad_one_is_the_end() {
    let messages = [authenticate("bob"), subscribe(&["a"]), authenticate("bad"), subscribe(&["b"])];
    let (done, end) = Setup::of_token("ann").play(messages).await;
    assert_eq!((&done[0]["type"], &done[0]["code"]), (&json!("error"), &json!("FORBIDDEN")));
    assert_eq!(done[1..], [json!({"subscribed": "a", "as": "ann"})]);
    refuses(&end, ErrorCode::Unauthorized, "no good");
}

#[tokio::test]
async fn the_first_frame_may_say_who_the_localhost_caller_is() {
    let (done, end) = Setup::of_localhost().play([authenticate("ann"), subscribe(&["a"])]).await;
    assert!(done.is_empty(), "{done:?}");
    assert!(matches!(&end, End::Again(claim) if claim.identity().user_id.as_str() == "ann"), "{end:?}");
    let (done, end) = Setup::of_localhost().play([subscribe(&["a"]), authenticate("ann"), Incoming::Gone]).await;
    assert_eq!(done[0], json!({"subscribed": "a", "as": "system"}));
    assert_eq!(done[1]["code"], "FORBIDDEN");
    assert!(matches!(end, End::Gone), "{end:?}");
    let (_, end) = Setup::of_localhost().play([authenticate("bad")]).await;
    refuses(&end, ErrorCode::Unauthorized, "no good");
    let began_anew = Setup { beginning: Beginning::Announced, ..Setup::of_token("ann") };
    let (done, _) = began_anew.play([authenticate("bob"), Incoming::Gone]).await;
    assert_eq!(done[0], json!({"type": "authenticated", "user_id": "ann", "role": "user"}));
    assert_eq!(done[1]["code"], "FORBIDDEN", "it has said who it is");
}

#[tokio::test]
async fn a_user_who_is_shut_out_is_noticed_at_the_next_subscription_and_beat() {
    let setup = Setup::of_token("ann");
    *setup.gate.refused.lock().expect("no panic") = Some("ann");
    let (done, end) = setup.play([text(&json!({"type": "ping"})), subscribe(&["a"])]).await;
    assert_eq!(done, [json!({"type": "pong"})]);
    refuses(&end, ErrorCode::Unauthorized, "disabled");
    setup.pulse.beat.notify_one();
    let (done, end) = setup.play([]).await;
    assert!(done.is_empty(), "{done:?}");
    refuses(&end, ErrorCode::Unauthorized, "disabled");
    *setup.gate.refused.lock().expect("no panic") = Some("bob");
    setup.pulse.beat.notify_one();
    let (_, end) = setup.play([authenticate("ann"), authenticate("bad")]).await;
    refuses(&end, ErrorCode::Unauthorized, "no good");
}

#[tokio::test]
async fn a_user_who_is_shut_out_is_noticed_when_users_change() {
    let setup = Setup::of_token("ann");
    let shut_out = async {
        // Nobody listens before the session runs.
        while setup.gate.changes.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        // Another user's change is none of this one's.
        setup.gate.changes.send_modify(|epoch| *epoch += 1);
        tokio::task::yield_now().await;
        *setup.gate.refused.lock().expect("no panic") = Some("ann");
        setup.gate.changes.send_modify(|epoch| *epoch += 1);
    };
    let ((done, end), ()) = tokio::join!(setup.play([]), shut_out);
    assert!(done.is_empty(), "{done:?}");
    refuses(&end, ErrorCode::Unauthorized, "disabled");
}

#[tokio::test]
async fn beats_reach_the_subscriptions() {
    let setup = Setup::of_token("ann");
    let beats = async {
        let before = setup.gate.asked.load(Ordering::Relaxed);
        for beat in 1..=2 {
            setup.pulse.beat.notify_one();
            while setup.gate.asked.load(Ordering::Relaxed) < before + beat {
                tokio::task::yield_now().await;
            }
        }
        *setup.gate.refused.lock().expect("no panic") = Some("ann");
        setup.pulse.beat.notify_one();
        std::future::pending::<()>().await;
    };
    let (done, end) = tokio::select! { played = setup.play([]) => played, () = beats => unreachable!("for ever") };
    assert_eq!(done, [json!("heartbeat"), json!("heartbeat")]);
    refuses(&end, ErrorCode::Unauthorized, "disabled");
}

#[test]
fn a_frame_that_is_parsed_elsewhere_is_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let padded = format!("{}{{\"type\": \"ping\"}}", " ".repeat(PARSE_IN_PLACE_BYTES));
    let parsed = runtime.block_on(parse(Text { text: padded, _share: None }));
    assert!(matches!(parsed, Ok(ClientFrame::Ping)), "{parsed:?}");
}
