//! A history that keeps all promises, and one for each way to break one.

use super::*;

fn rows(ids: &[i64]) -> Rows {
    ids.iter().map(|id| (*id, (*id, 0))).collect()
}

/// Two rows, then a third; the first goes, which no query for `n >= 2` has; then a fifth in the place of the second.
fn truth() -> Truth {
    let mut truth = Truth::new();
    for (seq, ids) in [(10, &[1, 2][..]), (13, &[1, 2, 3]), (14, &[2, 3]), (17, &[3, 5])] {
        truth.saw(seq, rows(ids)).expect("numbers grow");
    }
    truth
}

fn stands(seq: u64, how: How, ids: &[i64]) -> Event {
    Event::Stands { seq, how, rows: rows(ids) }
}

/// It begins with a snapshot, is cut off in the middle of a statement, and goes on.
fn good() -> Vec<Event> {
    vec![
        Event::Begun { asked: None, seq: 10, resumed: false },
        stands(10, How::Snapshot, &[2]),
        Event::Change { seq: 13, more: false },
        stands(13, How::Statement, &[2, 3]),
        stands(15, How::Progress, &[2, 3]),
        Event::Change { seq: 16, more: true },
        Event::Begun { asked: Some(15), seq: 15, resumed: true },
        Event::Change { seq: 16, more: true },
        Event::Change { seq: 17, more: false },
        stands(17, How::Statement, &[3, 5]),
        Event::Closed { resume_seq: Some(17), bookmark: Some(17) },
    ]
}

fn broken(events: Vec<Event>) -> Vec<&'static str> {
    let history = History { least: 2, events };
    history.broken(&truth()).into_iter().map(|(promise, _)| promise).collect()
}

#[test]
fn a_good_history_breaks_nothing() {
    assert_eq!(broken(good()), Vec::<&str>::new());
    let count = History { least: 2, events: good() }.count();
    assert_eq!((count.stands, count.resumed, count.statements, count.bookmarks), (4, 1, 2, 1));
    assert!(truth().saw(17, rows(&[3])).is_err(), "rows that change without a number");
    assert!(truth().saw(14, rows(&[2, 3])).is_err(), "a number of the past");
    assert!(truth().saw(17, rows(&[3, 5])).is_ok(), "nothing happened");
}

#[test]
fn an_end_before_it_has_begun_need_not_say_where() {
    let mut events = good();
    events.truncate(6);
    events.push(Event::Closed { resume_seq: None, bookmark: None });
    assert_eq!(broken(events), Vec::<&str>::new());
}

#[test]
fn each_broken_promise_is_found() {
    let with = |at: usize, event: Event| {
        let mut events = good();
        events[at] = event;
        events
    };
    let without = |from: usize, to: usize| {
        let mut events = good();
        events.drain(from..to);
        events
    };
    for (promise, what, events) in [
        ("ordered", "a step back", with(8, Event::Change { seq: 16, more: false })),
        ("ordered", "what was known before it began", with(7, Event::Change { seq: 15, more: true })),
        ("unique", "a statement again", {
            let mut events = good();
            events.splice(
                10..,
                [
                    Event::Begun { asked: Some(17), seq: 17, resumed: true },
                    Event::Change { seq: 17, more: false },
                    stands(17, How::Statement, &[3, 5]),
                ],
            );
            events
        }),
        ("atomic", "half a statement", with(9, stands(17, How::Statement, &[2, 3, 5]))),
        ("atomic", "an end in the middle", with(3, stands(12, How::Statement, &[2]))),
        ("reliable", "a statement that was not told", without(2, 5)),
        (
            "resumable",
            "a bookmark that was refused",
            with(6, Event::Begun { asked: Some(15), seq: 17, resumed: false }),
        ),
        ("resumable", "a bookmark of its own", with(6, Event::Begun { asked: Some(15), seq: 14, resumed: true })),
        ("bookmarkable", "a bookmark ahead of its rows", with(4, stands(15, How::Progress, &[2]))),
        ("bookmarkable", "an end somewhere else", {
            with(10, Event::Closed { resume_seq: Some(15), bookmark: Some(17) })
        }),
        ("bookmarkable", "an end that does not say where", {
            with(10, Event::Closed { resume_seq: None, bookmark: Some(17) })
        }),
    ] {
        assert!(broken(events.clone()).contains(&promise), "{what} breaks {:?}", broken(events));
    }
}
