//! What people read.

use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::args::MeasureArgs;
use crate::live::counts::Counts;
use crate::live::scenario::churn::ChurnReport;
use crate::live::scenario::latency::LatencyReport;
use crate::live::scenario::slow::{Ends, Phase, SlowReport};
use crate::live::scenario::writers::{Repeat, WritersReport};
use crate::run::pace::Pace;
use crate::run::report::About;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: MeasureArgs,
}

fn empty() -> Report {
    Report::new(About::new(&Line::parse_from(["live"]).args, br#"{"status":"ok"}"#))
}

fn figures(pace: Pace, failed: u64) -> Figures {
    Figures::of_test(pace, Duration::from_millis(4), 100, failed)
}

fn report() -> Report {
    let open = || figures(Pace::Open { rate: 70.0 }, 0);
    let closed = || figures(Pace::Closed, 0);
    let told = open().response_ms;
    let phase = || Phase { insert: open(), notification_ms: told };
    let repeat = Repeat {
        alone: closed(),
        followed: closed(),
        one_user: closed(),
        shared: closed(),
        followed_ratio: 0.9,
        change_log_ratio: 0.8,
    };
    Report {
        latency: Some(LatencyReport {
            users: 7,
            in_flight: 3,
            insert: open(),
            notification_ms: told,
            p50_ratio: Some(1.04),
        }),
        slow: Some(SlowReport {
            fast: 2,
            slow: 5,
            in_flight: 3,
            without: phase(),
            with: phase(),
            p50_ratio: Some(1.5),
            p99_ratio: Some(2.5),
            ends: Ends { counted: 4, slow_consumer: 3, open: 1, gone: 1 },
        }),
        writers: Some(WritersReport {
            users: 7,
            in_flight: 3,
            repeats: vec![repeat],
            followed_ratio: Some(0.9),
            change_log_ratio: Some(0.8),
        }),
        churn: Some(ChurnReport {
            rounds: 1000,
            users: 7,
            in_flight: 3,
            seconds: 2.0,
            rounds_per_second: 500.0,
            counts: Counts { connections: 1, subscriptions: 2, actors: 3 },
            memory_bytes: [40, 50, 51, 51, 52, 49].map(|mebibytes| mebibytes << 20).into(),
        }),
        ..empty()
    }
}

#[test]
fn every_figure_is_told() {
    let text = report().to_text();
    for said in [
        "7 users, 70 inserts/s offered, 50/s answered",
        "(1.04 times p50)",
        "3 ended as slow consumers (4 by the server's count), 1 still open, 1 gone",
        "(1.50 times p50, 2.50 times p99)",
        "0.90 times the rate without",
        "0.80 times the rate of a shared table (medians of 1)",
        "1000 connections of 7 users in 2.00 s, 500/s, 3 at a time",
        "1 connections, 2 subscriptions, 3 actors before and after",
        "40, 50, 51, 51, 52, 49 MiB before",
        "one-user",
        "open loop: latency, followed, 3 in flight at 70/s offered",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(report().is_good() && !text.contains("FAILED"), "{text}");
}

#[test]
fn the_json_has_these_members() {
    let json: Value = serde_json::from_str(&report().to_json()).unwrap();
    assert_eq!((&json["fan_out"], &json["initial_rows"]), (&Value::Null, &json!([])));
    assert_eq!(json["latency"]["insert"]["offered_rate"], json!(70.0));
    assert_eq!(json["churn"]["counts"], json!({"connections": 1, "subscriptions": 2, "actors": 3}));
    assert_eq!(json["slow"]["ends"], json!({"counted": 4, "slow_consumer": 3, "open": 1, "gone": 1}));
    assert_eq!(json["writers"]["repeats"][0]["change_log_ratio"], json!(0.8));
}

#[test]
fn an_insert_that_failed_makes_the_run_a_failure() {
    let mut failed = report();
    failed.latency.as_mut().unwrap().insert = figures(Pace::Closed, 1);
    assert!(!failed.is_good());
    assert!(failed.to_text().contains("FAILED latency, followed, 3 in flight: OVERLOADED 1"));
    let mut failed = report();
    failed.writers.as_mut().unwrap().repeats[0].shared = figures(Pace::Closed, 1);
    assert!(!failed.is_good());
    let aborted = Report { aborted: Some("because".into()), ..report() };
    assert!(!aborted.is_good() && aborted.to_text().ends_with("ABORTED: because"));
}
