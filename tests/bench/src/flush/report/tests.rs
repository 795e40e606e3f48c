//! The report's members are read by programs: they stay as they are.

use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::args::MeasureArgs;
use crate::flush::scenario::fill::Memory;
use crate::flush::scenario::small_flushes::After;
use crate::flush::scenario::writers::Round;
use crate::flush::table::Moved;
use crate::run::pace::Pace;
use crate::run::report::{Figures, Told};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: MeasureArgs,
}

fn empty() -> Report {
    Report::new(About::new(&Line::parse_from(["flush"]).args, br#"{"status":"ok"}"#))
}

fn figures(pace: Pace, failed: u64) -> Figures {
    Figures::of_test(pace, Duration::from_millis(4), 100, failed)
}

fn report() -> Report {
    let moved = |segments| Moved { rows: 2000, segments, seconds: 2.0, rows_per_second: 1000.0 };
    let memory = Memory { before_bytes: 5 << 20, peak_bytes: 12 << 20, above_bytes: 7 << 20 };
    let open = || figures(Pace::Open { rate: 100.0 }, 0);
    let closed = || figures(Pace::Closed, 0);
    let round = Round { quiet: open(), flushing: open(), flush: moved(Some(10)), p99_ratio: Some(1.5) };
    let after = |flushes| After { flushes, segments: 3, query: closed() };
    Report {
        fill: Some(FillReport { users: 10, insert: moved(None), flush: moved(Some(10)), memory: Some(memory) }),
        writers: Some(WritersReport {
            users: 10,
            rows: 2000,
            in_flight: 16,
            rounds: vec![round],
            p99_ratio: Some(1.5),
        }),
        point_read: Some(PointReadReport {
            rows: 10,
            segments: 20,
            hot: closed(),
            flushed: closed(),
            p50_ratio: Some(2.25),
        }),
        aggregate: Some(AggregateReport {
            rows: 10,
            segments: 20,
            sql: "SELECT 1".into(),
            query: closed(),
            mean_seconds: Some(0.004),
        }),
        small_flushes: Some(SmallFlushesReport {
            rows: 30,
            sql: "SELECT 2".into(),
            flushed: after(3),
            churns: 1,
            churned: Some(after(7)),
        }),
        ..empty()
    }
}

#[test]
fn the_json_has_these_members() {
    let json: Value = serde_json::from_str(&report().to_json()).unwrap();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        members(&json),
        [
            "started_at",
            "url",
            "server",
            "cores",
            "threads",
            "fill",
            "writers",
            "point_read",
            "aggregate",
            "small_flushes",
            "aborted"
        ]
    );
    assert_eq!(members(&json["fill"]), ["users", "insert", "flush", "memory"]);
    assert_eq!(members(&json["fill"]["flush"]), ["rows", "segments", "seconds", "rows_per_second"]);
    assert_eq!(members(&json["fill"]["memory"]), ["before_bytes", "peak_bytes", "above_bytes"]);
    assert_eq!(members(&json["writers"]), ["users", "rows", "in_flight", "rounds", "p99_ratio"]);
    assert_eq!(members(&json["writers"]["rounds"][0]), ["quiet", "flushing", "flush", "p99_ratio"]);
    assert_eq!(json["writers"]["rounds"][0]["quiet"]["offered_rate"], json!(100.0));
    assert_eq!(members(&json["point_read"]), ["rows", "segments", "hot", "flushed", "p50_ratio"]);
    assert_eq!(members(&json["aggregate"]), ["rows", "segments", "sql", "query", "mean_seconds"]);
    assert_eq!(members(&json["small_flushes"]), ["rows", "sql", "flushed", "churns", "churned"]);
    assert_eq!(members(&json["small_flushes"]["churned"]), ["flushes", "segments", "query"]);
}

#[test]
fn the_tables_say_what_it_comes_to() {
    let text = report().to_text();
    for line in [
        "fill           insert        2000        -     2.00      1000          -          -",
        "fill           flush         2000       10     2.00      1000          5         12",
        "writers        quiet        16       100     2.00        50",
        "point-read     hot           1       100",
        "small-flushes  churned       1       100",
        "open loop: writers, flushing, 16 in flight at 100/s offered",
        "fill: 2000 rows of 10 users flushed, 7 MiB above what was used before.",
        "writers: p99 while flushing is 1.50 times that without (median of 1).",
        "point-read: p50 of rows in 20 segments is 2.25 times that of hot ones.",
        "aggregate: 0.004 s on average over 10 rows in 20 segments.",
        "after 3 flushes, with 3 segments.",
        "after 7 flushes, with 3 segments.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("FAILED") && !text.contains("ABORTED"), "{text}");
}

#[test]
fn failures_are_named() {
    assert!(report().is_good());
    let mut bad = report();
    if let Some(writers) = &mut bad.writers {
        writers.rounds[0].flushing = figures(Pace::Open { rate: 100.0 }, 3);
    }
    assert!(!bad.is_good());
    let text = bad.to_text();
    assert!(text.contains("FAILED writers, flushing, 16 in flight: OVERLOADED 3; 0 never sent"), "{text}");

    let aborted = Report { aborted: Some("rows in t: expected 3, found 2".into()), ..empty() };
    assert!(!aborted.is_good());
    assert_eq!(aborted.to_text(), "ABORTED: rows in t: expected 3, found 2");
}

#[test]
fn memory_that_is_not_known_is_said() {
    let mut report = report();
    if let Some(fill) = &mut report.fill {
        fill.memory = None;
    }
    let text = report.to_text();
    assert!(text.contains("fill: 2000 rows of 10 users flushed; the server's memory is not known"), "{text}");
}
