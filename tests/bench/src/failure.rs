//! Why a run could not be finished. What it finds to be wrong in the data is no failure but a
//! difference, see `load::report::Report`.

use std::path::PathBuf;

/// Any reason to give up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {problem}")]
    Line { path: PathBuf, line: usize, problem: String },
    #[error("{0} holds no row")]
    Empty(PathBuf),
    #[error("no answer from {url}: {}", with_causes(.source))]
    NoAnswer { url: String, source: reqwest::Error },
    #[error("the server answered {status} {code} to {asked}: {message}")]
    Refused { status: u16, code: String, message: String, asked: String },
    #[error("the server's answer to {asked} is not what the interface promises: {problem}")]
    Malformed { asked: String, problem: String },
    #[error("{what}: expected {expected}, found {found}")]
    Different { what: String, expected: u64, found: u64 },
    #[error("{0} cannot travel in a header")]
    NoHeader(String),
    #[error("the WebSocket {0}")]
    Socket(String),
    #[error("{url}: {problem}")]
    Url { url: String, problem: String },
    #[error(transparent)]
    Broken(#[from] crate::run::Broken),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("cannot write {path}: {source}")]
    Report { path: PathBuf, source: std::io::Error },
    #[error("cannot make a token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("a worker broke: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// reqwest's own text leaves out the reason ("connection refused").
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
