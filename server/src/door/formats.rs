//! Which form an answer takes: `Accept` by RFC 9110, and rows that leave while their query runs.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use kalamdb_commons::{Error, Result};
use kalamdb_core::{AnswerFormat, AnswerStream};
use kalamdb_wire::ErrorBody;
use tokio_util::sync::CancellationToken;
use warp::Reply;
use warp::reply::Response;

use super::answer;
use super::context::RequestId;

/// A media type of ours.
struct Form {
    /// None is JSON.
    format: Option<AnswerFormat>,
    kind: &'static str,
    subtype: &'static str,
    parameters: &'static [(&'static str, &'static str)],
}

/// Our forms, in the order in which they win where a client does not care.
const FORMS: [Form; 4] = [
    Form { format: None, kind: "application", subtype: "json", parameters: &[("charset", "utf-8")] },
    Form {
        format: Some(AnswerFormat::Ndjson),
        kind: "application",
        subtype: "x-ndjson",
        parameters: &[("charset", "utf-8")],
    },
    Form {
        format: Some(AnswerFormat::Csv),
        kind: "text",
        subtype: "csv",
        parameters: &[("charset", "utf-8"), ("header", "present")],
    },
    Form {
        format: Some(AnswerFormat::Arrow),
        kind: "application",
        subtype: "vnd.apache.arrow.stream",
        parameters: &[],
    },
];

/// The format of a SELECT's rows by `Accept`; none for JSON, which also answers what cannot be met.
///
/// The highest quality wins; among equals the form that is named more exactly, then the one that is named first.
pub(super) fn accepted(headers: &HeaderMap) -> Option<AnswerFormat> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range> = values.flat_map(|value| split(value, ',')).filter_map(Range::read).collect();
    let mut best: Option<(u16, usize, std::cmp::Reverse<usize>)> = None;
    let mut chosen = None;
    for form in &FORMS {
        // The most exact range decides about a form.
        let matching = ranges
            .iter()
            .enumerate()
            .filter_map(|(at, range)| Some((range.exactness(form)?, std::cmp::Reverse(at), range.quality)));
        let Some((exactness, at, quality)) = matching.max() else { continue };
        let rank = (quality, exactness, at);
        if quality > 0 && best.is_none_or(|best| rank > best) {
            (best, chosen) = (Some(rank), form.format);
        }
    }
    chosen
}

/// One element of `Accept`.
struct Range {
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
    /// In thousandths.
    quality: u16,
}

impl Range {
    /// None for what is no media range, or has a weight that is none.
    fn read(text: &str) -> Option<Self> {
        let mut parts = split(text, ';');
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self {
            kind: kind.trim().to_ascii_lowercase(),
            subtype: subtype.trim().to_ascii_lowercase(),
            parameters: Vec::new(),
            quality: 1000,
        };
        if range.kind.is_empty() || range.subtype.is_empty() || (range.kind == "*" && range.subtype != "*") {
            return None;
        }
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            if name == "q" {
                range.quality = quality(value.trim())?;
                // What follows is about the weight.
                break;
            }
            range.parameters.push((name, value.trim().trim_matches('"').to_ascii_lowercase()));
        }
        Some(range)
    }

    /// How exactly it names the form; none if it does not.
    fn exactness(&self, form: &Form) -> Option<usize> {
        let has = |asked: &(String, String)| form.parameters.contains(&(asked.0.as_str(), asked.1.as_str()));
        if !self.parameters.iter().all(has) {
            return None;
        }
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (asked, "*") if asked == form.kind => Some(1),
            (asked, of_it) if asked == form.kind && of_it == form.subtype => Some(2 + self.parameters.len()),
            _ => None,
        }
    }
}

/// A weight of at most three digits after the point, in thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{whole}{digits:0<3}").parse().ok()?;
    Some(thousandths).filter(|thousandths| *thousandths <= 1000)
}

/// The trimmed parts between separators that do not stand in a quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        character == separator && !is_quoted
    });
    parts.map(str::trim)
}

/// Marks an answer whose query may end before its client has read what there is.
#[derive(Debug, Clone)]
pub(super) struct QueryOver(pub(super) CancellationToken);

/// An answer that is sent as it comes.
pub(super) fn stream(rows: AnswerStream, format: AnswerFormat, request_id: &RequestId) -> Response {
    let over = QueryOver(rows.over());
    let rows = Rows { rows, format, request_id: request_id.clone(), is_over: false };
    let mut response = warp::reply::stream(rows).into_response();
    let content_type = match format {
        AnswerFormat::Ndjson => "application/x-ndjson",
        AnswerFormat::Csv => "text/csv; charset=utf-8; header=present",
        AnswerFormat::Arrow => "application/vnd.apache.arrow.stream",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(over);
    response
}

/// The rows, and how an error ends them: a line of NDJSON, else no final chunk.
struct Rows {
    rows: AnswerStream,
    format: AnswerFormat,
    request_id: RequestId,
    is_over: bool,
}

impl Stream for Rows {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.rows).poll_next(context));
        Poll::Ready(next.map(|chunk| chunk.or_else(|error| self.end(error))))
    }
}

impl Rows {
    fn end(&mut self, error: Error) -> Result<Bytes> {
        self.is_over = true;
        answer::log(&error, &self.request_id);
        match self.format {
            AnswerFormat::Ndjson => Ok(ErrorBody::new(&error, Some(0), Vec::new()).to_line().into()),
            AnswerFormat::Csv | AnswerFormat::Arrow => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<AnswerFormat> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        accepted(&headers)
    }

    #[test]
    fn accept_is_read_as_rfc_9110_has_it() {
        use AnswerFormat::{Arrow, Csv, Ndjson};
        for (accept, format) in [
            ("*/*", None),
            ("application/json, text/plain, */*", None),
            ("text/html, application/xml;q=0.9, */*;q=0.8", None),
            ("application/*", None),
            ("text/csv", Some(Csv)),
            ("TEXT/CSV; Charset=\"UTF-8\"", Some(Csv)),
            ("text/csv; header=absent", None),
            ("text/*", Some(Csv)),
            ("text/csv, */*", Some(Csv)),
            ("text/csv;q=0.4, application/x-ndjson;q=0.5", Some(Ndjson)),
            ("application/json;q=0.5, application/vnd.apache.arrow.stream", Some(Arrow)),
            ("text/csv;q=0, */*;q=0.1", None),
            ("application/json;q=0, application/*", Some(Ndjson)),
            ("application/x-ndjson, application/json", Some(Ndjson)),
            ("application/json, application/x-ndjson", None),
            ("x/y; a=\"text/csv, \\\" text/csv\", application/x-ndjson", Some(Ndjson)),
            ("text/csv;q=2, image/png", None),
            ("text/csv;q=0.0001", None),
            ("", None),
            ("nonsense", None),
        ] {
            assert_eq!(chosen(accept), format, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()), None);
    }
}
