//! What may be told of an error of a bucket's client.

use std::error::Error;

/// Longest message, in characters.
const MOST_CHARS: usize = 600;
const MASK: &str = "***";

/// The secrets of one storage, and what hides them.
pub(in crate::storage) struct Masked {
    secrets: Vec<String>,
}

impl Masked {
    pub(super) fn new(mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| !secret.is_empty());
        // Longest first: one secret may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// An error with its causes, as far as they add something, without secrets and in bounded length.
    pub(in crate::storage) fn message(&self, error: &dyn Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let said = inner.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = inner.source();
        }
        let masked = self.secrets.iter().fold(without_queries(&text), |text, secret| text.replace(secret, MASK));
        // What a server answers may have line breaks; a log line has none.
        let mut plain: String =
            masked.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        if let Some((end, _)) = plain.char_indices().nth(MOST_CHARS) {
            plain.truncate(end);
            plain.push('…');
        }
        plain
    }
}

/// Cuts the queries off all addresses: signatures and tokens travel there.
fn without_queries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at);
        out.push_str(before);
        let end =
            address.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '>')).unwrap_or(address.len());
        let (address, after) = address.split_at(end);
        out.push_str(address.split('?').next().unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_queries_are_hidden() {
        let masked = Masked::new(vec!["hunter2".to_owned(), String::new(), "hunter2-long".to_owned()]);
        let error = std::io::Error::other(
            "GET http://host:1/b/x?X-Amz-Signature=abc&sig=def failed (key hunter2-long, hunter2)\nbody https://u?q=1",
        );
        assert_eq!(masked.message(&error), "GET http://host:1/b/x failed (key ***, ***) body https://u");
        let long = std::io::Error::other("é".repeat(10_000));
        assert!(masked.message(&long).chars().count() <= MOST_CHARS + 1);
    }
}
