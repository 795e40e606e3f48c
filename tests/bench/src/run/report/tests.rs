//! The report's members are read by programs: they stay as they are.

use clap::Parser;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

fn figures(pace: Pace, right: u64, refused: u64) -> Figures {
    Figures::of_test(pace, Duration::from_millis(4), right, refused)
}

const INSERT: Subject = Subject { scenario: Scenario::Insert, target: Some(Target::OneUser), in_flight: 16 };
const HEALTH: Subject = Subject { scenario: Scenario::Health, target: None, in_flight: 16 };

fn report() -> Report {
    let line = Line::parse_from(["run"]);
    let about = About::new(&line.args.measure, br#"{"status":"ok","version":"1","commit":"abc"}"#);
    let mut report = Report::new(&line.args, about);
    report.parts.push(PartReport::new(HEALTH, figures(Pace::Closed, 1000, 0), None));
    let health = report.rate_of(HEALTH);
    let usage = |milliseconds, rss_bytes| Some(Usage { cpu: Duration::from_millis(milliseconds), rss_bytes });
    let insert = figures(Pace::Closed, 400, 0)
        .with_client(usage(100, 1), usage(600, 2))
        .with_server(usage(0, 1), usage(3000, 4096));
    report.parts.push(PartReport::new(INSERT, insert, health));
    let latency = Subject { scenario: Scenario::InsertLatency, ..INSERT };
    report.parts.push(PartReport::new(latency, figures(Pace::Open { rate: 100.0 }, 200, 0), health));
    report
}

#[test]
fn the_json_has_these_members() {
    let json: Value = serde_json::from_str(&report().to_json()).unwrap();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        members(&json),
        ["started_at", "url", "server", "cores", "threads", "users", "rows", "parts", "aborted"]
    );
    assert_eq!(json["server"]["commit"], "abc");
    let insert = &json["parts"][1];
    assert_eq!(
        members(insert),
        [
            "scenario",
            "target",
            "in_flight",
            "share_of_health",
            "loop",
            "offered_rate",
            "succeeded",
            "failed",
            "not_begun",
            "seconds",
            "rate",
            "latency_ms",
            "response_ms",
            "errors",
            "example",
            "client",
            "server"
        ]
    );
    assert_eq!(insert["scenario"], "insert");
    assert_eq!(insert["target"], "one-user");
    assert_eq!(insert["loop"], "closed");
    assert_eq!(insert["rate"], json!(200.0));
    assert_eq!(insert["share_of_health"], json!(0.4));
    assert_eq!(insert["client"]["cpu_seconds"], json!(0.5));
    assert_eq!(insert["client"]["cpu_share"], json!(0.25));
    assert_eq!(insert["client"]["cpu_micros_per_operation"], json!(1250.0));
    assert_eq!(insert["server"]["cpu_share"], json!(1.5));
    assert_eq!(insert["server"]["rss_bytes"], 4096);
    assert_eq!(members(&insert["latency_ms"]), ["p50", "p95", "p99", "max", "mean"]);
    let open = &json["parts"][2];
    assert_eq!((&open["loop"], &open["offered_rate"]), (&json!("open"), &json!(100.0)));
    assert_eq!(open["share_of_health"], Value::Null, "an offered rate says nothing about what is possible");
    assert_eq!(open["server"], Value::Null);
    assert_eq!(json["parts"][0]["target"], Value::Null);
}

#[test]
fn the_table_says_how_to_read_it() {
    let text = report().to_text();
    assert!(text.contains("insert         one-user     16       400     2.00       200      40%     4."), "{text}");
    assert!(text.contains("open loop: insert-latency, one-user, 16 in flight at 100/s offered"), "{text}");
    assert!(text.contains("closed loop: latency is the time of an answer"), "{text}");
    assert!(!text.contains("FAILED") && !text.contains("ABORTED") && !text.contains("busy"), "{text}");
}

#[test]
fn failures_are_named() {
    let mut bad = report();
    assert!(bad.is_good());
    bad.parts.push(PartReport::new(INSERT, figures(Pace::Closed, 1, 3), None));
    assert!(!bad.is_good());
    let text = bad.to_text();
    assert!(
        text.contains("FAILED insert, one-user, 16 in flight: OVERLOADED 3; 0 never sent; status 503: x"),
        "{text}"
    );

    let mut aborted = report();
    aborted.aborted = Some("gone".into());
    assert!(!aborted.is_good());
    assert!(aborted.to_text().ends_with("ABORTED: gone"));

    let mut nothing = report();
    nothing.parts.push(PartReport::new(INSERT, figures(Pace::Closed, 0, 0), None));
    assert!(!nothing.is_good(), "a part without a single answer is no measurement");
}

#[test]
fn a_busy_client_is_said() {
    let mut report = report();
    let usage = |milliseconds| Some(Usage { cpu: Duration::from_millis(milliseconds), rss_bytes: 0 });
    report.parts[0].figures = report.parts[0].figures.clone().with_client(usage(0), usage(1990));
    assert!(report.to_text().contains("health, 16 in flight: this program was busy"), "{}", report.to_text());
}
