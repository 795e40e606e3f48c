//! The server's log: one line per event on standard error, as text or JSON.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;

use kalamdb_commons::settings::{LogFormat, LogLevel, LoggingSettings};
use tracing_subscriber::EnvFilter;

use crate::task::panic_text;

/// The crates whose events follow `logging.level`; of others only what should worry somebody is logged.
const OWN_CRATES: [&str; 9] = [
    "kalamdb_commons",
    "kalamdb_sql",
    "kalamdb_wire",
    "kalamdb_store",
    "kalamdb_segments",
    "kalamdb_live",
    "kalamdb_core",
    "kalamdb_server",
    "kalamdb",
];

/// Starts logging. A second call, from a test perhaps, changes nothing.
pub fn start(settings: &LoggingSettings) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives(settings.level)))
        .with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
        return;
    }
    // Else a panic's text would stand between the lines, and no JSON reader could take it.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = Backtrace::capture();
        tracing::error!(
            panic = panic_text(panic.payload()),
            place = panic.location().map(ToString::to_string),
            thread = thread.name(),
            backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
            "panic"
        );
    }));
}

fn directives(level: LogLevel) -> String {
    let others = match level {
        LogLevel::Error => "error",
        LogLevel::Warn | LogLevel::Info | LogLevel::Debug => "warn",
        LogLevel::Trace => "info",
    };
    OWN_CRATES.iter().fold(others.to_owned(), |text, name| format!("{text},{name}={}", level.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_that_of_our_crates() {
        let text = directives(LogLevel::Debug);
        assert!(text.starts_with("warn,"), "{text}");
        assert!(text.contains("kalamdb_core=debug"), "{text}");
        assert_eq!(EnvFilter::new(&text).to_string().matches("debug").count(), OWN_CRATES.len());
        assert!(directives(LogLevel::Error).starts_with("error,"));
    }
}
