//! The rows that a subscription begins with: from its request to the last of them.

use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::live::Bench;
use crate::live::socket::Socket;
use crate::run::stage::Stage;
use crate::run::target::Target;

/// What a subscription's first rows take.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InitialRowsReport {
    pub(crate) rows: u64,
    pub(crate) took_ms: f64,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<Vec<InitialRowsReport>, Failure> {
    let place = bench.stage.place(Target::OneUser, 1)?;
    let table = bench.stage.make(&place, "initial").await?;
    let most = bench.args.initial.iter().copied().max().unwrap_or(0);
    Stage::fill(&place, &table, 0..most).await?;
    let mut reports = Vec::new();
    for rows in &bench.args.initial {
        let mut socket = Socket::open(&bench.meter.address, &place.callers[0]).await?;
        let start = Instant::now();
        socket.follow(&format!("SELECT id, body, n FROM {table}"), json!({"last_rows": rows})).await?;
        let mut found = 0;
        loop {
            let frame = socket.expect("initial_data").await?;
            found += frame["rows"].as_array().map_or(0, |rows| rows.len() as u64);
            if frame["has_more"] == json!(false) {
                break;
            }
        }
        let took_ms = start.elapsed().as_secs_f64() * 1e3;
        if found != *rows {
            return Err(Failure::Different { what: "first rows".to_owned(), expected: *rows, found });
        }
        reports.push(InitialRowsReport { rows: *rows, took_ms });
    }
    Ok(reports)
}
